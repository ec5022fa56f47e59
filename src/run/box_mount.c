/* SPDX-License-Identifier: Apache-2.0
 * box_mount.c - see box_mount.h.
 *
 * The back-end makes them while it opens the sandbox (spec.mounts) and takes them
 * down when it closes it, so they are made again whenever a run is resumed.  What
 * was written and is not stored yet waits in the folder mounts/ of the sandbox,
 * where a resumed run finds it.  Those that are made inside of a sandbox elsewhere
 * come when its files are there, or these would be unpacked into the storage. */
#include "run/box_mount.h"

#include <fcntl.h>

#include "core/fd.h"
#include "run/box_manifest.h"
#include "run/box_network.h"
#include "run/box_save.h"
#include "run/redact.h"
#include "sandbox/jail.h"
#include "sandbox/manifest_mount.h"
#include "sandbox/mount_inside.h"
#include "sandbox/mount_volume.h"

enum { LEAVE_MS = 60000 };

static int
find(struct csn_box *b, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_closep) int source = csn_box_source(b, err);
  csn_mount **list = NULL;
  int rc = source < 0 ? source : csn_manifest_mounts(b->agent->manifest, source, a, &list, err);
  if (rc < 0)
    return csn_wrap(err, rc, "manifest");
  csn_box_redact_need(b->run);
  for (size_t i = 0; list[i]; i++)
    for (size_t k = 0; k < CSN_MOUNT_FIELDS_MAX; k++)
      if (csn_mount_field_is_secret(list[i], k) && list[i]->fields[k])
        csn_redact_add(b->run->redact, csn_cstr(csn_mount_field(list[i], k)),
                       list[i]->fields[k]->text);
  b->mounts = list;
  b->mounts_arena = csn_steal(a);
  return 0;
}

int
csn_box_mounts_need(struct csn_box *b, csn_err *err)
{
  const csn_manifest *m = b->agent->manifest;
  if (!m || !csn_manifest_mount(m, 0, NULL))
    return 0;
  int rc = b->mounts ? 0 : find(b, err);
  if (rc == 0)
    rc = csn_mkdirs(b->folder_fd, "mounts", 0700, err);
  if (rc < 0)
    return rc;
  csn_closep(&b->mounts_fd); /* the folder may be another one */
  b->mounts_fd = csn_open_beneath(b->folder_fd, "mounts", O_RDONLY | O_DIRECTORY, 0, err);
  for (size_t i = 0; b->mounts_fd >= 0 && b->mounts[i]; i++)
    b->mounts[i]->cache_fd = b->mounts_fd;
  return b->mounts_fd < 0 ? b->mounts_fd : 0;
}

void
csn_box_mounts_end(const struct csn_box *b)
{
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 16);
  csn_str line;
  if (strcmp(b->sb->ops->name, "jail") != 0)
    return;
  csn_jail_settle(b->sb, &told);
  for (csn_str rest = csn_buf_str(&told); csn_str_line(&rest, &line);)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "%.*s", (int)line.n, line.p);
}

void
csn_box_mounts_free(struct csn_box *b)
{
  csn_mounts_wipe(b->mounts);
  csn_arena_free(csn_steal(b->mounts_arena));
  b->mounts = NULL;
  csn_closep(&b->mounts_fd);
}

/* ---- inside ---- */

int
csn_box_mounts_enter(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && b->mounts && b->mounts[i]; i++)
    if (!csn_mount_is_volume(b->mounts[i]))
      rc = csn_mount_inside_open(b->sb, sc, b->mounts[i], err);
  if (rc < 0) /* or the next call would work in it without them */
    csn_box_end_processes(b);
  return rc;
}

void
csn_box_mounts_leave(struct csn_box *b)
{
  csn_err err;
  csn_scope sc; /* the run's may be over */
  size_t n = 0;
  csn_scope_init(&sc, NULL, LEAVE_MS);
  while (b->sb && b->mounts && b->mounts[n])
    n++;
  while (n-- > 0) /* those inside of others first */
    if (!csn_mount_is_volume(b->mounts[n]) &&
        csn_mount_inside_close(b->sb, &sc, b->mounts[n], &err) < 0)
      csn_logf(b->run->rt->log, CSN_LOG_WARN, "%s", err.msg);
  csn_scope_fini(&sc);
}
