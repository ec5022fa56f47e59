/* SPDX-License-Identifier: Apache-2.0
 * snapshotting.c - a sandbox that begins with a snapshot or ends as one; see
 * snapshotting.h. */
#include "snapshotting.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "depots.h"
#include "importing.h"
#include "sandbox/jail.h"

static int
open_store(cli *c, cli_layered *l, csn_err *err)
{
  csn_auto(csn_closep) int state = -1;
  if (l->store)
    return 0;
  int rc = cli_state_open(c, true, &state, NULL, err);
  return rc < 0 ? rc : cli_snapshots_at(state, &l->store, err);
}

/* A folder that gc leaves alone while we hold a lock on it. */
static int
make_work(cli_layered *l, csn_err *err)
{
  csn_random_name(l->name, sizeof l->name - 1);
  l->dir = fcntl(l->store->work, F_DUPFD_CLOEXEC, 0);
  l->layers.store_fd = fcntl(l->store->layers, F_DUPFD_CLOEXEC, 0);
  if (l->dir < 0 || l->layers.store_fd < 0 || mkdirat(l->dir, l->name, 0755) < 0)
    return csn_fail_errno(err, "make the workspace");
  l->work = openat(l->dir, l->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return l->work < 0 || flock(l->work, LOCK_SH) < 0 ? csn_fail_errno(err, "the workspace") : 0;
}

int
cli_layered_open(cli *c, cli_layered *l, csn_sandbox_spec *spec, csn_err *err)
{
  l->dir = l->work = l->layers.store_fd = -1;
  if (!l->from && !l->save)
    return 0;
  if (l->from && spec->workspace_fd >= 0)
    return csn_fail(err, CSN_E_INVALID, "option --from: --workspace says already where to begin");
  int rc = l->save ? csn_snapshot_name_check(l->save, err) : 0;
  if (rc == 0)
    rc = open_store(c, l, err);
  if (rc == 0 && l->save && csn_snapshot_find(l->store, l->save, &l->base, NULL) == 0)
    rc = csn_fail(err, CSN_E_EXISTS, "option --snapshot: there is a snapshot %s already", l->save);
  if (rc == 0 && l->from)
    rc = csn_snapshot_find(l->store, l->from, &l->base, err);
  if (rc == 0 && l->from)
    rc = csn_snapshot_layers(l->store, &c->scope, &l->base, c->arena, &l->layers.names, err);
  if (rc < 0 || spec->workspace_fd >= 0)
    return rc;
  rc = make_work(l, err);
  spec->workspace_fd = l->work;
  spec->layers = &l->layers;
  return rc;
}

void
cli_layered_opened(cli_layered *l)
{
  csn_snapshots_free(csn_steal(l->store));
}

void
cli_snapshot_saved(cli *c, const csn_snapshot *r, const csn_buf *told)
{
  if (told->n)
    cli_put(stderr, csn_buf_str(told));
  cli_note(c, "snapshot %s: %lld files, %s", r->name, (long long)r->files,
           cli_size(c->arena, (uint64_t)r->bytes).p);
}

int
cli_layered_save(cli *c, cli_layered *l, int folder, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 20);
  csn_snapshot_saving how = {.name = l->save, .told = &told};
  csn_snapshot r = {0};
  if (!l->save)
    return 0;
  int rc = open_store(c, l, err);
  if (rc == 0)
    rc = l->work >= 0 ? csn_snapshot_save_stack(l->store, &c->scope, &how,
                                                l->from ? &l->base : NULL, l->work, &r, err)
                      : csn_snapshot_save(l->store, &c->scope, &how, folder, &r, err);
  if (rc < 0)
    return rc;
  cli_snapshot_saved(c, &r, &told);
  return 0;
}

void
cli_layered_close(cli_layered *l)
{
  csn_snapshots_free(csn_steal(l->store));
  csn_closep(&l->work);
  if (l->dir >= 0)
    (void)!csn_jail_remove(l->dir, l->name, NULL); /* or gc does */
  csn_closep(&l->dir);
  csn_closep(&l->layers.store_fd);
}
