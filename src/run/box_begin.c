/* SPDX-License-Identifier: Apache-2.0
 * box_begin.c - how the workspace of a run begins: with what the manifest says,
 * with a snapshot, with a checkpoint of its own, or with what an earlier run left.
 *
 * The file `making` stands in the folder until it is whole: half a workspace
 * would look like one whose files were removed.
 *
 * Of layers (sandbox/stack.h) it is the folder stack/, else workspace/. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_manifest.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/stores.h"
#include "sandbox/frozen.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

static int
fresh_folder(int dir, const char *name, csn_err *err)
{
  int rc = csn_jail_remove(dir, name, err);
  if (rc == 0)
    rc = csn_mkdirs(dir, name, 0755, err);
  return rc < 0 ? rc : csn_box_open_folder(dir, name, err);
}

/* What the manifest says, into an empty workspace; of one that began otherwise
 * what does not last.  One that is elsewhere is a folder here until it is sent. */
static int
fill_workspace(struct csn_box *b, csn_scope *sc, bool is_empty, csn_err *err)
{
  if (!b->agent->manifest)
    return 0;
  csn_auto(csn_closep) int base = is_empty ? fresh_folder(b->folder_fd, "base", err) : -1;
  if (is_empty && base < 0)
    return base;
  if (csn_box_is_remote(b) &&
      (b->workspace_fd = csn_box_open_folder(b->folder_fd, "workspace", err)) < 0)
    return b->workspace_fd;
  int rc = csn_box_fill(b, sc, base, !is_empty, err);
  if (csn_box_is_remote(b)) {
    csn_closep(&b->workspace_fd);
    b->workspace_fd = -1;
  }
  return rc;
}

int
csn_box_fill_remote(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  int folder = fresh_folder(b->folder_fd, "workspace", err), rc = folder < 0 ? folder : 0;
  csn_closep(&folder);
  if (rc == 0)
    rc = fill_workspace(b, sc, false, err);
  return rc < 0 ? rc : csn_box_remote_send(b, sc, err);
}

/* ---- what it begins with ---- */

int
csn_box_from_find(struct csn_box *b, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot there;
  b->from = b->index ? NULL : b->run->opts.from;
  if (!b->from && b->agent->has_sandbox && !b->run->opts.after)
    b->from = b->agent->sandbox.from;
  if (!b->from)
    return 0;
  if (b->run->opts.after)
    return csn_fail(err, CSN_E_INVALID,
                    "a run that goes on in the workspace of run %s cannot begin with a snapshot",
                    b->run->opts.after);
  if (!b->agent->has_sandbox)
    return csn_fail(err, CSN_E_INVALID, "agent %s has no sandbox that could begin with snapshot %s",
                    csn_agent_name(b->agent), b->from);
  int rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  if (rc == 0)
    rc = csn_snapshot_find(s, b->from, &there, err);
  if (rc == 0)
    b->from_tree = there.tree;
  return rc;
}

void
csn_box_zero(const struct csn_box *b, csn_jw *w)
{
  char hex[65];
  if (b->from) {
    csn_digest_hex(&b->from_tree, hex);
    csn_jw_key(w, "from");
    csn_jw_obj(w);
    csn_jw_key(w, "snapshot");
    csn_jw_strz(w, b->from);
    csn_jw_key(w, "tree");
    csn_jw_strz(w, hex);
    csn_jw_end(w);
  }
  if (b->lent.n) {
    csn_jw_key(w, "sandbox_state");
    csn_jw_raw(w, b->lent);
  }
}

void
csn_box_read_zero(struct csn_box *b, const csn_json *zero)
{
  const csn_json *from = csn_json_get(zero, "from");
  csn_str name = csn_json_str(from, "snapshot", CSN_STR(""));
  bool is_good = csn_digest_from_hex(csn_json_str(from, "tree", CSN_STR("")), &b->from_tree);
  b->from = name.n && is_good ? csn_arena_dup(b->run->keep, name).p : NULL;
  const csn_json *lent = csn_json_get(zero, "sandbox_state");
  if (csn_json_is(lent, CSN_JSON_OBJECT))
    b->lent = csn_arena_dup(b->run->keep, lent->raw);
}

bool
csn_box_has_workspace(int folder)
{
  struct stat st;
  return fstatat(folder, "stack/layers", &st, AT_SYMLINK_NOFOLLOW) == 0 ||
         fstatat(folder, "workspace", &st, AT_SYMLINK_NOFOLLOW) == 0 ||
         fstatat(folder, "state.json", &st, AT_SYMLINK_NOFOLLOW) == 0; /* it is elsewhere */
}

bool
csn_box_is_there(int folder)
{
  struct stat st;
  return fstatat(folder, "making", &st, AT_SYMLINK_NOFOLLOW) < 0 && csn_box_has_workspace(folder);
}

/* Layers cost nothing to begin with, and nothing to make a checkpoint of. */
static bool
wants_layers(const struct csn_box *b)
{
  const struct csn_agent_sandbox *s = &b->agent->sandbox;
  return strcmp(s->backend, "jail") == 0 && !s->level &&
         (b->from || s->checkpoint_ms == CSN_CHECKPOINT_EACH);
}

static int
begin_layered(struct csn_box *b, csn_scope *sc, const char *const *names, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *stack = NULL;
  csn_auto(csn_closep) int store = csn_frozen_layers_open(b->run->rt->state_fd, err);
  csn_auto(csn_closep) int dir = store < 0 ? store : fresh_folder(b->folder_fd, "stack", err);
  const csn_layers l = {.store_fd = store, .names = names};
  return dir < 0 ? dir : csn_stack_open(&stack, sc, dir, &l, err);
}

static int
begin_with_tree(struct csn_box *b, csn_scope *sc, const char *name, const csn_digest *tree,
                csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot of = {.tree = *tree};
  const char *const *names;
  snprintf(of.name, sizeof of.name, "%s", name);
  int rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  if (rc == 0 && wants_layers(b)) {
    rc = csn_snapshot_layers(s, sc, &of, a, &names, err);
    return rc < 0 ? rc : begin_layered(b, sc, names, err);
  }
  csn_auto(csn_closep) int dir = rc < 0 ? rc : fresh_folder(b->folder_fd, "workspace", err);
  return dir < 0 ? dir : csn_snapshot_restore(s, sc, &of, dir, err);
}

/* A checkpoint that was frozen is layers; another is a snapshot. */
static int
begin_with_saved(struct csn_box *b, csn_scope *sc, const struct csn_box_saved *from, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot there;
  const char *const *names;
  int rc;
  if (from->is_frozen) {
    rc = csn_frozen_get(b->run->rt->state_fd, from->name, a, &names, err);
    return rc < 0 ? rc : begin_layered(b, sc, names, err);
  }
  rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  if (rc == 0)
    rc = csn_snapshot_find(s, from->name, &there, err);
  csn_snapshots_free(csn_steal(s));
  return rc < 0 ? rc : begin_with_tree(b, sc, from->name, &there.tree, err);
}

/* What diff and apply compare with. */
static int
write_base(struct csn_box *b, bool is_restored, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot there;
  char name[CSN_BOX_SAVED_NAME];
  if (b->from)
    return csn_began_with_write(b->folder_fd, &b->from_tree, err);
  if (!is_restored)
    return 0;
  csn_box_base_name(b, name);
  int rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  if (rc == 0 && csn_snapshot_find(s, name, &there, NULL) == 0)
    rc = csn_began_with_write(b->folder_fd, &there.tree, err);
  return rc;
}

/* The folder, but for what the manifest adds in the open sandbox.  1: it is empty. */
static int
begin(struct csn_box *b, csn_scope *sc, const struct csn_box_saved *from, csn_err *err)
{
  int rc = from              ? begin_with_saved(b, sc, from, err)
           : b->from         ? begin_with_tree(b, sc, b->from, &b->from_tree, err)
           : wants_layers(b) ? begin_layered(b, sc, NULL, err)
                             : fresh_folder(b->folder_fd, "workspace", err);
  if (rc < 0)
    return rc;
  if (!from && !b->from && !wants_layers(b))
    csn_closep(&rc);
  rc = write_base(b, from != NULL, err);
  return rc < 0 ? rc : !from && !b->from;
}

int
csn_box_begin(struct csn_box *b, csn_scope *sc, const struct csn_box_saved *from, csn_err *err)
{
  int folder = b->folder_fd;
  b->has_saved_mark = false;
  int rc = csn_file_write(folder, "making", CSN_STR(""), 0600, false, err);
  if (rc == 0 && csn_box_is_remote(b))
    rc = csn_box_remote_discard(b, sc, err);
  for (const char *const *old = (const char *const[]){"stack", "workspace", NULL}; *old; old++)
    if (rc == 0)
      rc = csn_jail_remove(folder, *old, err);
  if (rc == 0)
    rc = begin(b, sc, from, err);
  bool is_empty = rc > 0;
  if (rc >= 0)
    rc = csn_box_open_machine(b, sc, err);
  if (rc == 0)
    rc = fill_workspace(b, sc, is_empty, err);
  if (rc == 0)
    rc = csn_box_fill_scopes(b, err);
  if (rc == 0 && csn_box_is_remote(b))
    rc = csn_box_remote_send(b, sc, err);
  if (rc == 0 && unlinkat(folder, "making", 0) < 0)
    rc = csn_fail_errno(err, "the mark of a workspace that is being made");
  return rc;
}
