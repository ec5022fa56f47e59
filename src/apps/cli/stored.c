/* SPDX-License-Identifier: Apache-2.0
 * stored.c - see stored.h. */
#include "stored.h"

#include <fcntl.h>

#include "caisson/manifest.h"
#include "core/fd.h"

int
cli_stored_open(cli *c, cli_stored *s, csn_err *err)
{
  *s = (cli_stored){.fd = -1};
  int rc = cli_state_open(c, false, &s->fd, NULL, err);
  if (rc == 0)
    rc = csn_store_open(&s->store, s->fd, CSN_DURABLE_PROCESS, err);
  if (rc < 0)
    cli_stored_close(s);
  return rc;
}

void
cli_stored_close(cli_stored *s)
{
  if (s->store)
    csn_store_close(s->store);
  csn_closep(&s->fd);
  *s = (cli_stored){.fd = -1};
}

struct finder {
  cli *c;
  csn_str agent;
};

static int
take_zero(void *user, const csn_record *r, csn_err *err)
{
  struct finder *f = user;
  f->agent = csn_arena_dup(f->c->arena, r->data);
  return CSN_E_EXISTS; /* one record is enough */
}

static int
open_trees(cli_stored *s, const char *id, cli_tree *t, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
  csn_buf_addf(&path, "sandboxes/%s/base/%.*s", id, (int)t->entry.n, t->entry.p);
  t->base_fd = csn_open_beneath(s->fd, path.p, O_RDONLY | O_DIRECTORY, 0, err);
  csn_buf_clear(&path);
  csn_buf_addf(&path, "sandboxes/%s/workspace/%.*s", id, (int)t->entry.n, t->entry.p);
  if (t->base_fd >= 0)
    t->work_fd = csn_open_beneath(s->fd, path.p, O_RDONLY | O_DIRECTORY, 0, err);
  int rc = t->base_fd < 0 ? t->base_fd : t->work_fd;
  return rc < 0 ? csn_wrap(err, rc, "the workspace of run %s is gone", id) : 0;
}

static int
each_in_manifest(cli *c, cli_stored *s, const char *id, const csn_json *agent,
                 int (*fn)(void *user, const cli_tree *t, csn_err *err), void *user, csn_err *err)
{
  const csn_json *json = csn_json_get(agent, "manifest");
  csn_str folder = csn_json_str(agent, "folder", CSN_STR("."));
  csn_manifest *m = NULL;
  int rc = json ? csn_manifest_from_json(c->arena, json, &m, err) : 0;
  if (rc < 0)
    return rc;
  const char *path, *src;
  size_t i = 0;
  for (; m && csn_manifest_local_dir(m, i, &path, &src); i++) {
    cli_tree t = {.entry = csn_cstr(path), .src = csn_cstr(src), .base_fd = -1, .work_fd = -1};
    if (*src != '/')
      t.src = csn_arena_printf(c->arena, "%.*s/%s", (int)folder.n, folder.p, src);
    rc = open_trees(s, id, &t, err);
    if (rc == 0)
      rc = fn(user, &t, err);
    csn_closep(&t.base_fd);
    csn_closep(&t.work_fd);
    if (rc < 0)
      return rc;
  }
  if (i == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s has no folder of this machine in its workspace",
                    id);
  return 0;
}

int
cli_each_tree(cli *c, cli_stored *s, const char *run,
              int (*fn)(void *user, const cli_tree *t, csn_err *err), void *user, csn_err *err)
{
  csn_journal *j;
  int rc = csn_journal_open(s->store, csn_cstr(run), false, &j, err);
  if (rc < 0)
    return rc;
  struct finder f = {.c = c};
  csn_err why;
  rc = csn_journal_read(j, 0, take_zero, &f, &why);
  const char *id = csn_arena_dup(c->arena, csn_cstr(csn_journal_id(j))).p;
  csn_journal_close(j);
  if (rc < 0 && rc != CSN_E_EXISTS) {
    if (err)
      *err = why;
    return rc;
  }
  const csn_json *zero;
  rc = csn_json_parse(c->arena, f.agent, &zero, err);
  if (rc < 0)
    return rc;
  return each_in_manifest(c, s, id, csn_json_get(zero, "agent"), fn, user, err);
}
