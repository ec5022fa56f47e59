/* SPDX-License-Identifier: Apache-2.0
 * box_checkpoint.c - checkpoints of a run's workspace, between two of its steps.
 *
 * Of layers, while nothing runs in the sandbox and nothing was left in /tmp or
 * the home: it is frozen, a rename, and opened again by who needs it next.  Else
 * the files are looked at, and what is new of them is packed.  Where the agent
 * says nothing of it that must not take much of the run's time. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "caisson/freeze.h"
#include "core/fd.h"
#include "run/box_network.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/stores.h"
#include "sandbox/frozen.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

/* WALK_SHARE: of the time since the last one, at most one part of so many. */
enum { PLAIN_MS = 600000, WALK_SHARE = 50, TOLD_MAX = 1 << 16 };

int64_t
csn_box_checkpoint_ms(const struct csn_box *b)
{
  const struct csn_agent_sandbox *s = &b->agent->sandbox;
  if (!b->agent->has_sandbox || b->run->box_run || b->agent->run_parent ||
      s->checkpoint_ms == CSN_CHECKPOINT_NEVER)
    return -1;
  if (s->checkpoint_ms > 0)
    return s->checkpoint_ms;
  bool is_cheap = b->from && strcmp(s->backend, "jail") == 0 && !s->level;
  return s->checkpoint_ms == CSN_CHECKPOINT_EACH || is_cheap ? 0 : PLAIN_MS;
}

static void
name_of(const struct csn_box *b, int64_t seq, char name[CSN_BOX_SAVED_NAME])
{
  snprintf(name, CSN_BOX_SAVED_NAME, "%s.%lld", csn_box_id(b), (long long)seq);
}

void
csn_box_base_name(const struct csn_box *b, char name[CSN_BOX_SAVED_NAME])
{
  snprintf(name, CSN_BOX_SAVED_NAME, "%s.base", csn_box_id(b));
}

/* ---- those that are kept ---- */

void
csn_box_saw(struct csn_box *b, int64_t seq, const csn_json *data)
{
  csn_str name = csn_json_str(data, "snapshot", CSN_STR(""));
  if (!name.n || name.n >= CSN_BOX_SAVED_NAME)
    return;
  if (b->n_saved == CSN_BOX_SAVED_KEPT) {
    memmove(&b->saved[0], &b->saved[1], sizeof b->saved[0] * (CSN_BOX_SAVED_KEPT - 1));
    b->n_saved--;
  }
  struct csn_box_saved *to = &b->saved[b->n_saved++];
  to->seq = seq;
  to->is_frozen = csn_json_bool(data, "frozen", false);
  snprintf(to->name, sizeof to->name, "%.*s", (int)name.n, name.p);
}

/* Room for one more: the others' records are committed. */
static void
drop_oldest(struct csn_box *b)
{
  if (b->n_saved < CSN_BOX_SAVED_KEPT)
    return;
  csn_frozen_drop(b->run->rt->state_fd, b->saved[0].name);
  if (!b->saved[0].is_frozen)
    csn_frozen_drop_snapshot(b->run->rt->state_fd, b->saved[0].name);
  memmove(&b->saved[0], &b->saved[1], sizeof b->saved[0] * (CSN_BOX_SAVED_KEPT - 1));
  b->n_saved--;
}

void
csn_box_drop_saved(struct csn_box *b)
{
  if (b->run->state.cfg.checkpoint_ms < 0)
    return;
  csn_frozen_drop_of(b->run->rt->state_fd, csn_box_id(b));
  b->n_saved = 0;
}

/* ---- making one ---- */

/* Nothing is lost by a freeze: no process, no file elsewhere, no open port, no
 * time that the sandbox has used up. */
static bool
can_be_frozen(struct csn_box *b, csn_scope *sc)
{
  bool has_more = true;
  return b->sb->stack && !b->sb->stack->is_copied && !b->n_forwards && !b->n_dead &&
         b->sb->held.value[CSN_LIMIT_WALL] == CSN_UNLIMITED &&
         csn_sandbox_rests(b->sb, sc, &has_more, NULL) == 0 && !has_more;
}

/* Of a sandbox that nobody has opened again since it was frozen or lost. */
static int
freeze_closed(struct csn_box *b, csn_scope *sc, const char *name, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *stack = NULL;
  csn_auto(csn_closep) int store = csn_frozen_layers_open(b->run->rt->state_fd, err);
  csn_auto(csn_closep) int dir =
      store < 0 ? store : csn_box_open_folder(b->folder_fd, "stack", err);
  const csn_layers l = {.store_fd = store};
  int rc = dir < 0 ? dir : csn_stack_open(&stack, sc, dir, &l, err);
  if (rc == 0)
    rc = csn_stack_freeze(stack, err);
  return rc < 0
             ? rc
             : csn_frozen_put(b->run->rt->state_fd, name, (const char *const *)stack->names, err);
}

enum { IS_PLAIN = 1, IS_SAME = 2, IS_EARLY = 3 };

/* It is of layers, and what the last checkpoint has. */
static bool
is_same(const struct csn_box *b)
{
  csn_stack_changes changes;
  if (!b->sb || !b->sb->stack || b->sb->stack->is_copied || !b->n_saved || !b->has_saved_mark)
    return false;
  csn_stack_look(b->sb->stack, &changes);
  return changes.is_few && changes.mark == b->saved_mark;
}

/* What little was changed is copied, and the sandbox stays open.  IS_PLAIN: it
 * is not so little, or somebody is at work. */
static int
copy(struct csn_box *b, csn_scope *sc, const char *name, csn_err *err)
{
  csn_stack *stack = b->sb ? b->sb->stack : NULL;
  csn_stack_changes changes;
  char layer[CSN_LAYER_NAME];
  bool has_more;
  if (!stack || stack->is_copied || csn_sandbox_rests(b->sb, sc, &has_more, NULL) < 0)
    return IS_PLAIN;
  csn_stack_look(stack, &changes);
  int rc = changes.is_few && changes.n ? csn_stack_copy_changes(stack, sc, layer, err) : IS_PLAIN;
  if (rc == 0)
    rc = csn_frozen_put_copy(b->run->rt->state_fd, name, (const char *const *)stack->names, layer,
                             err);
  if (rc == 0) {
    b->saved_mark = changes.mark;
    b->has_saved_mark = true;
  }
  return rc;
}

/* IS_PLAIN: it is not of layers, or something would be lost. */
static int
freeze(struct csn_box *b, csn_scope *sc, const char *name, csn_err *err)
{
  const char *const *names;
  if (csn_box_is_remote(b))
    return IS_PLAIN;
  if (!b->sb) {
    csn_auto(csn_closep) int stack = csn_box_open_folder(b->folder_fd, "stack", NULL);
    return stack < 0 ? IS_PLAIN : freeze_closed(b, sc, name, err);
  }
  if (!can_be_frozen(b, sc))
    return IS_PLAIN;
  csn_shell_free(csn_steal(b->shell));
  int rc = csn_sandbox_freeze(b->sb, sc, &names, err);
  if (rc == 0)
    rc = csn_frozen_put(b->run->rt->state_fd, name, names, err);
  csn_sandbox_close(csn_steal(b->sb));
  csn_box_network_settle(b);
  return rc;
}

static int
save_folder(struct csn_box *b, csn_scope *sc, const char *name, int folder, bool is_workspace,
            csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(TOLD_MAX);
  csn_snapshot_saving how = {.name = name, .told = &told};
  csn_snapshot out;
  if (is_workspace && b->agent->manifest)
    how.omit = csn_manifest_ephemeral(b->agent->manifest, a);
  int rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  if (rc == 0)
    rc = csn_snapshot_save(s, sc, &how, folder, &out, err);
  return rc == CSN_E_EXISTS ? 0 : rc;
}

/* Of a workspace that is elsewhere: through a folder here. */
static int
save_remote(struct csn_box *b, csn_scope *sc, const char *name, csn_err *err)
{
  int rc = b->sb ? 0 : csn_box_open_machine(b, sc, err);
  if (rc == 0)
    rc = csn_jail_remove(b->folder_fd, "saving", err);
  if (rc == 0)
    rc = csn_mkdirs(b->folder_fd, "saving", 0700, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int folder = csn_box_open_folder(b->folder_fd, "saving", err);
  rc = folder < 0 ? folder : csn_stage_pull(sc, b->sb, folder, err);
  if (rc == 0)
    rc = save_folder(b, sc, name, folder, true, err);
  (void)!csn_jail_remove(b->folder_fd, "saving", NULL);
  return rc;
}

/* By looking at all files; 1: it is too early for that. */
static int
walk(struct csn_box *b, csn_scope *sc, const char *name, csn_err *err)
{
  int64_t now = csn_now_ns();
  bool is_asked = b->agent->sandbox.checkpoint_ms == CSN_CHECKPOINT_EACH;
  if (!is_asked && b->walked_ns && now - b->walked_ns < b->walk_ns * WALK_SHARE)
    return 1;
  bool is_remote = csn_box_is_remote(b);
  csn_auto(csn_closep) int own =
      b->sb || is_remote ? -1 : csn_box_open_folder(b->folder_fd, "workspace", err);
  int folder = b->sb ? b->sb->workspace_fd : own;
  if (folder < 0 && !is_remote)
    return b->sb ? 1 : folder;
  csn_frozen_drop_snapshot(b->run->rt->state_fd, name); /* that an earlier life did not record */
  int rc = is_remote ? save_remote(b, sc, name, err) : save_folder(b, sc, name, folder, true, err);
  b->walked_ns = csn_now_ns();
  b->walk_ns = b->walked_ns - now;
  return rc;
}

/* Once: what diff and apply compare with is as mortal as the workspace. */
static int
save_base(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  char name[CSN_BOX_SAVED_NAME];
  csn_auto(csn_closep) int base = csn_box_open_folder(b->folder_fd, "base", NULL);
  if (b->n_saved || base < 0)
    return 0;
  csn_box_base_name(b, name);
  return save_folder(b, sc, name, base, false, err);
}

static int
checkpoint(struct csn_box *b, const char *name, bool *is_frozen, csn_err *err)
{
  int rc = csn_box_lock_folder(b, err);
  if (rc == 0 && !csn_box_is_there(b->folder_fd))
    rc = csn_fail(err, CSN_E_NOT_FOUND, "the workspace is gone");
  if (rc == 0)
    rc = save_base(b, &b->run->scope, err);
  if (rc == 0 && is_same(b))
    return IS_SAME;
  drop_oldest(b);
  b->has_saved_mark = false;
  if (rc == 0)
    rc = copy(b, &b->run->scope, name, err);
  if (rc == IS_PLAIN && (rc = freeze(b, &b->run->scope, name, err)) == 0) {
    b->saved_mark = 0; /* nothing is changed from here on */
    b->has_saved_mark = true;
  }
  *is_frozen = rc == 0;
  return rc == IS_PLAIN ? walk(b, &b->run->scope, name, err) : rc;
}

/* One among several: its own time is not over, or nobody was in it. */
static int
look_first(const struct csn_box *b)
{
  int64_t ms = csn_box_checkpoint_ms(b);
  if (!b->name)
    return 0;
  if (ms < 0 || !b->is_touched)
    return IS_SAME;
  bool is_early = ms > b->run->state.cfg.checkpoint_ms && b->saved_ns &&
                  csn_now_ns() - b->saved_ns < ms * 1000000;
  return is_early ? IS_EARLY : 0;
}

int
csn_box_checkpoint(struct csn_box *b, int64_t seq, csn_jw *w, csn_err *err)
{
  char name[CSN_BOX_SAVED_NAME];
  bool is_frozen = false;
  csn_err why = {0};
  name_of(b, seq, name);
  pthread_mutex_lock(&b->lock);
  int rc = look_first(b);
  if (rc == 0) {
    b->is_touched = false;
    rc = checkpoint(b, name, &is_frozen, &why);
    b->saved_ns = csn_now_ns();
    b->is_touched = rc != 0 && rc != IS_SAME;
  }
  pthread_mutex_unlock(&b->lock);
  if (rc == CSN_E_CANCELLED) {
    if (err)
      *err = why;
    return rc;
  }
  if (rc == 0) {
    csn_jw_key(w, "snapshot");
    csn_jw_strz(w, name);
  } else if (rc == IS_SAME) {
    csn_jw_key(w, "same");
    csn_jw_bool(w, true);
  }
  if (is_frozen) {
    csn_jw_key(w, "frozen");
    csn_jw_bool(w, true);
  }
  if (rc < 0)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "checkpoint %s: %s", name, why.msg);
  return rc == 0 || rc == IS_SAME ? 0 : CSN_BOX_AGAIN;
}
