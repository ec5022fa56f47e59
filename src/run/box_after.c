/* SPDX-License-Identifier: Apache-2.0
 *
 * box_after.c - a run that goes on in the workspace of an earlier one.
 *
 * The workspace and its base are moved, not copied: two renames.  Whichever of
 * them was done before a crash is found done when the run is resumed.  The
 * earlier run's lease and lock are held meanwhile, so nothing of it is alive. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/fd.h"
#include "run/driver.h"

/* 1: moved now; 0: it is not there. */
static int
move(int from, int to, const char *name, csn_err *err)
{
  if (renameat(from, name, to, name) == 0)
    return 1;
  return errno == ENOENT ? 0 : csn_fail_errno(err, "cannot move %s", name);
}

static int
move_all(struct csn_box *b, int from, csn_err *err)
{
  int to = b->folder_fd;
  csn_auto(csn_closep) int lock = csn_open_beneath(from, "lock", O_RDWR, 0, err);
  if (lock < 0)
    return lock;
  if (flock(lock, LOCK_EX | LOCK_NB) < 0)
    return csn_fail(err, CSN_E_CONFLICT, "processes of it still run; wait for their end");
  static const char *const first[] = {"base", "base.tree"};
  int rc = 0;
  for (size_t i = 0; rc >= 0 && i < CSN_COUNT(first); i++)
    rc = move(from, to, first[i], err);
  if (rc >= 0)
    rc = move(from, to, "workspace", err);
  return rc != 0 ? rc : move(from, to, "stack", err);
}

int
csn_box_take_over(struct csn_box *b, csn_err *err)
{
  const char *after = b->run->opts.after;
  if (csn_box_has_workspace(b->folder_fd))
    return 0; /* in an earlier life of this run */
  csn_journal *j = NULL;
  int rc = csn_journal_open(b->run->rt->store, csn_cstr(after), true, &j, err);
  if (rc < 0)
    return csn_wrap(err, rc, "the workspace of run %s", after);
  char id[CSN_BOX_ID_MAX];
  snprintf(id, sizeof id, "%s%s%s", csn_journal_id(j), b->index ? "." : "",
           b->index ? b->name : "");
  csn_auto(csn_closep) int from = csn_box_folder(b->run->rt, id, err);
  rc = from < 0 ? from : move_all(b, from, err);
  if (rc == 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "nothing is left of it: it was removed, or moved on");
  csn_journal_close(j);
  return rc < 0 ? csn_wrap(err, rc, "the workspace of run %s", after) : 0;
}
