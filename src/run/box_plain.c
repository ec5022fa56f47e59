/* SPDX-License-Identifier: Apache-2.0
 * box_plain.c - the workspace of a run as folders, for people and for diff and
 * apply: layers are merged into workspace/, and what it began with is base/. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_save.h"
#include "run/stores.h"
#include "sandbox/frozen.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

static bool
is_there(int folder, const char *path)
{
  struct stat st;
  return fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Cut off anywhere, it goes on where it was: the merged files get their name by
 * one rename, and the layers go after that. */
static int
merge(int state_fd, int folder, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *stack = NULL;
  csn_auto(csn_closep) int store = csn_frozen_layers_open(state_fd, err);
  csn_auto(csn_closep) int dir = store < 0 ? store : csn_box_open_folder(folder, "stack", err);
  csn_auto(csn_closep) int upper = -1;
  const csn_layers l = {.store_fd = store};
  int rc = dir < 0 ? dir : csn_stack_open(&stack, sc, dir, &l, err);
  if (rc == 0)
    rc = csn_stack_copy(stack, sc, &upper, err);
  if (rc == 0 && renameat(dir, "upper", folder, "workspace") < 0)
    rc = csn_fail_errno(err, "workspace/");
  return rc;
}

static int
lay_out_workspace(int state_fd, int folder, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_closep) int lock = csn_open_beneath(folder, "lock", O_RDWR | O_CREAT, 0600, err);
  if (lock < 0)
    return lock;
  if (flock(lock, LOCK_EX | LOCK_NB) < 0)
    return csn_fail(err, CSN_E_CONFLICT,
                    "the run is at work in a workspace of layers; look when it has stopped");
  int rc = is_there(folder, "workspace") ? 0 : merge(state_fd, folder, sc, err);
  return rc < 0 ? rc : csn_jail_remove(folder, "stack", err);
}

static int
lay_out_base(struct csn_project *p, int state_fd, int folder, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot r = {.name = "that the run began with"};
  char name[32] = "base.";
  csn_random_name(name + 5, 20);
  int rc = csn_began_with_read(folder, &r.tree, err);
  if (rc == 0)
    rc = csn_snapshots_here(p, state_fd, &s, err);
  if (rc == 0)
    rc = csn_mkdirs(folder, name, 0700, err);
  csn_auto(csn_closep) int to = rc < 0 ? rc : csn_box_open_folder(folder, name, err);
  if (to < 0)
    return to;
  rc = csn_snapshot_restore(s, sc, &r, to, err);
  if (rc == 0 && renameat(folder, name, folder, "base") < 0 && errno != ENOTEMPTY &&
      errno != EEXIST)
    rc = csn_fail_errno(err, "base/");
  (void)!csn_remove_tree(folder, name, NULL);
  return rc;
}

int
csn_box_lay_out(struct csn_project *p, int state_fd, const char *id, csn_scope *sc, csn_err *err)
{
  char path[CSN_BOX_ID_MAX + 20];
  snprintf(path, sizeof path, "sandboxes/%s", id);
  csn_auto(csn_closep) int folder = csn_box_open_folder(state_fd, path, NULL);
  int rc = 0;
  if (folder < 0)
    return 0; /* whoever needs it will say what is missing */
  if (is_there(folder, "stack/layers"))
    rc = lay_out_workspace(state_fd, folder, sc, err);
  if (rc == 0 && is_there(folder, "base.tree") && !is_there(folder, "base"))
    rc = lay_out_base(p, state_fd, folder, sc, err);
  return csn_wrap(err, rc, "the workspace of run %s", id);
}
