/* SPDX-License-Identifier: Apache-2.0
 * box.c - the sandbox of a run.
 *
 * Everything of it that outlives a process is the folder sandboxes/ID of the
 * state folder: workspace/ (what commands see) or, of layers, stack/; base/
 * (what local_dir entries brought, for diff and apply) or base.tree (the snapshot
 * that it began with); claims/ (which commands began), outputs/, and lock, held
 * by every process of the sandbox until it has ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_environment.h"
#include "run/box_grants.h"
#include "run/box_manifest.h"
#include "run/box_mount.h"
#include "run/box_network.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/box_snapshot.h"
#include "run/redact.h"
#include "sandbox/accounts.h"
#include "sandbox/frozen.h"
#include "sandbox/guard.h"
#include "sandbox/jail.h"
#include "sandbox/manifest_mount.h"
#include "sandbox/stack.h"

enum { LOCK_WAIT_MS = 10000, FETCH_MS = 300000 };

void
csn_box_init(struct csn_box *b, csn_run *r)
{
  *b = (struct csn_box){.run = r,
                        .is_touched = true,
                        .told = {.folder = -1, .fd = -1},
                        .folder_fd = -1,
                        .workspace_fd = -1,
                        .lock_fd = -1,
                        .layers_fd = -1,
                        .mounts_fd = -1};
  pthread_mutex_init(&b->lock, NULL);
}

const char *
csn_box_id(const struct csn_box *b)
{
  return b->index ? b->id : csn_journal_id(b->run->journal);
}

int
csn_box_open_folder(int dir, const char *path, csn_err *err)
{
  return csn_open_beneath(dir, path, O_RDONLY | O_DIRECTORY, 0, err);
}

int
csn_box_folder(csn_rt *rt, const char *id, csn_err *err)
{
  char path[CSN_BOX_ID_MAX + 20];
  snprintf(path, sizeof path, "sandboxes/%s", id);
  int fd = csn_box_open_folder(rt->state_fd, path, err);
  return csn_wrap(err, fd, "the workspace of run %s", id);
}

/* Waits until every process of an earlier life of this sandbox has ended. */
static int
take_lock(struct csn_box *b, csn_err *err)
{
  b->lock_fd = csn_open_beneath(b->folder_fd, "lock", O_RDWR | O_CREAT, 0600, err);
  if (b->lock_fd < 0)
    return b->lock_fd;
  csn_scope sc;
  csn_scope_init(&sc, &b->run->scope, LOCK_WAIT_MS);
  int rc = 0;
  while (rc == 0 && flock(b->lock_fd, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      rc = csn_fail_errno(err, "lock of the sandbox");
    else
      rc = csn_scope_check(&sc, err);
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL); /* the kernel offers no wait with a deadline here */
  }
  csn_scope_fini(&sc);
  return csn_wrap(err, rc, "processes of an earlier sandbox of this run still end");
}

int
csn_box_lock_folder(struct csn_box *b, csn_err *err)
{
  if (b->folder_fd >= 0)
    return 0;
  char path[CSN_BOX_ID_MAX + 20];
  snprintf(path, sizeof path, "sandboxes/%s", csn_box_id(b));
  int rc = csn_mkdirs(b->run->rt->state_fd, path, 0700, err);
  if (rc < 0)
    return rc;
  b->folder_fd = csn_box_open_folder(b->run->rt->state_fd, path, err);
  if (b->folder_fd < 0)
    return b->folder_fd;
  rc = take_lock(b, err);
  if (rc < 0) { /* the folder stands for the lock: whoever comes next waits for it, too */
    csn_closep(&b->lock_fd);
    csn_closep(&b->folder_fd);
    b->lock_fd = b->folder_fd = -1;
  }
  return rc;
}

/* The folder that the back-end gets, and what of it is layers. */
static int
open_workspace(struct csn_box *b, csn_sandbox_spec *spec, csn_layers *layers, csn_err *err)
{
  struct stat st;
  bool is_layered = fstatat(b->folder_fd, "stack/layers", &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (b->workspace_fd < 0)
    b->workspace_fd = csn_box_open_folder(b->folder_fd, is_layered ? "stack" : "workspace", err);
  if (b->workspace_fd < 0)
    return b->workspace_fd;
  spec->workspace_fd = b->workspace_fd;
  if (!is_layered)
    return 0;
  if (b->layers_fd < 0)
    b->layers_fd = csn_frozen_layers_open(b->run->rt->state_fd, err);
  *layers = (csn_layers){.store_fd = b->layers_fd};
  spec->layers = layers;
  return b->layers_fd < 0 ? b->layers_fd : 0;
}

/* NAME=VALUE of the manifest and of the section `sandbox`. */
static int
environment_of(const struct csn_box *b, csn_scope *sc, csn_arena *to, const char *const **out,
               csn_err *err)
{
  const char *const *lists[] = {NULL, b->agent->sandbox.environment};
  int rc = csn_box_environment(b, sc, to, &lists[0], err);
  size_t n = 0, k = 0;
  if (rc < 0)
    return rc;
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    for (const char *const *e = lists[i]; e && *e; e++)
      n++;
  const char **env = csn_arena_alloc(to, (n + 1) * sizeof *env);
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    for (const char *const *e = lists[i]; e && *e; e++)
      env[k++] = *e;
  *out = env;
  return 0;
}

int
csn_box_open_machine(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  const csn_agent *a = b->agent;
  csn_layers layers;
  csn_sandbox_spec spec = {
      .backend = a->sandbox.backend,
      .level = a->sandbox.level,
      .root = a->manifest ? csn_manifest_root(a->manifest) : NULL,
      .user = a->sandbox.run_as,
      .devices = a->sandbox.devices,
      .limits = &a->sandbox.limits,
      .expose = a->sandbox.expose,
      .n_expose = a->sandbox.n_expose,
      .pool = a->sandbox.pool,
      .has_scopes = csn_agent_any_scopes(b->run->agent),
      .options = a->sandbox.options,
  };
  bool is_remote = csn_box_is_remote(b);
  int rc = csn_box_lock_folder(b, err);
  if (rc == 0 && !is_remote)
    rc = open_workspace(b, &spec, &layers, err);
  if (rc == 0)
    rc = csn_box_network_need(b, err);
  if (rc == 0)
    rc = csn_box_mounts_need(b, err);
  if (rc < 0)
    return rc;
  csn_arena *tmp = csn_arena_new(0);
  struct csn_sandbox_own own = {0};
  spec.own = &own;
  rc = csn_box_grants(b, tmp, &own.grants, err);
  spec.network = csn_box_network_policy(b);
  spec.lock_fd = b->lock_fd;
  spec.mounts = (const csn_mount *const *)b->mounts;
  if (rc == 0 && is_remote)
    rc = csn_box_remote_spec(b, tmp, &spec, err);
  if (a->manifest)
    csn_manifest_accounts(a->manifest, tmp, &spec);
  if (rc == 0)
    rc = environment_of(b, sc, tmp, &spec.environment, err);
  if (rc == 0)
    rc = csn_box_programs(b, sc, tmp, &spec, err);
  if (rc == 0)
    rc = csn_box_open_sandbox(b, sc, &spec, &b->sb, err);
  csn_arena_free(tmp);
  if (rc == 0 && is_remote)
    rc = csn_box_remote_opened(b, err);
  if (rc == 0)
    rc = csn_box_ports_open(b, err);
  if (rc < 0 && b->sb) {
    csn_box_ports_close(b);
    csn_sandbox_close(csn_steal(b->sb));
  }
  if (rc < 0)
    return rc;
  b->opened_ns = csn_now_ns();
  b->shell = csn_shell_new(b->sb, b->run->agent->limits.output_tokens);
  csn_shell_set_cwd(b->shell, a->sandbox.cwd);
  if (b->run->redact) {
    csn_output_filter filter = csn_redact_filter(b->run->redact);
    csn_shell_set_filter(b->shell, &filter);
  }
  return 0;
}

csn_run *
csn_box_owner(csn_run *r)
{
  while (r->box_run)
    r = r->box_run;
  return r;
}

/* A sandbox that died under the run is put aside: calls in it hear of it, the
 * next ones get a new one over the same workspace. */
static void
put_dead_aside(struct csn_box *b, const csn_sandbox *suspect)
{
  if (!b->sb || b->n_dead == CSN_COUNT(b->dead) || (b->sb != suspect && !csn_guard_is_dead(b->sb)))
    return;
  csn_box_ports_close(b); /* the next one has its own */
  if (b->mounts) /* one that lost a mount still runs, over the workspace that the next one gets */
    csn_box_mounts_end(b);
  b->dead[b->n_dead++] = (struct csn_dead_box){csn_steal(b->sb), csn_steal(b->shell)};
}

void
csn_box_enter(struct csn_box *b)
{
  pthread_mutex_lock(&b->lock);
  b->users++;
  pthread_mutex_unlock(&b->lock);
}

void
csn_box_leave(struct csn_box *b)
{
  b->users--; /* without its lock: the run's is held, which who has that may wait for */
}

int
csn_box_folder_of(struct csn_box *b, csn_err *err)
{
  pthread_mutex_lock(&b->lock);
  int fd = fcntl(b->folder_fd, F_DUPFD_CLOEXEC, 0);
  pthread_mutex_unlock(&b->lock);
  return fd < 0 ? csn_fail_errno(err, "the folder of the run's workspace") : fd;
}

void
csn_box_suspect(struct csn_box *b, const csn_sandbox *sb)
{
  pthread_mutex_lock(&b->lock);
  put_dead_aside(b, sb);
  pthread_mutex_unlock(&b->lock);
}

int
csn_box_need(struct csn_box *b, csn_sandbox **sb, csn_shell **shell, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&b->lock);
  put_dead_aside(b, NULL);
  if (!b->agent->has_sandbox)
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "agent %s has no sandbox", csn_agent_name(b->agent));
  else
    rc = csn_box_open_again(b, err);
  b->is_touched = true;
  *sb = b->sb;
  *shell = b->shell;
  pthread_mutex_unlock(&b->lock);
  return rc;
}

/* Box locked: ends every process. */
void
csn_box_end_processes(struct csn_box *b)
{
  csn_box_ports_close(b);
  while (b->n_dead) {
    struct csn_dead_box *dead = &b->dead[--b->n_dead];
    csn_shell_free(dead->shell);
    csn_sandbox_close(dead->sb);
  }
  if (b->shell)
    csn_shell_free(csn_steal(b->shell));
  if (b->sb && b->mounts)
    csn_box_mounts_end(b);
  if (b->sb)
    csn_sandbox_close(csn_steal(b->sb));
  csn_box_network_settle(b);
}

static void
close_folders(struct csn_box *b)
{
  int *const fds[] = {&b->workspace_fd, &b->layers_fd, &b->folder_fd, &b->lock_fd};
  for (size_t i = 0; i < CSN_COUNT(fds); i++) {
    csn_closep(fds[i]);
    *fds[i] = -1;
  }
}

void
csn_box_let_go(struct csn_box *b)
{
  csn_box_end_processes(b);
  close_folders(b);
}

int
csn_box_abandon(struct csn_box *b, csn_err *err)
{
  if (b->users <= 1) { /* who calls this has no use for it either */
    csn_box_let_go(b);
    return 0;
  }
  put_dead_aside(b, b->sb);
  if (b->sb)
    return csn_fail(err, CSN_E_CONFLICT, "calls are still at work in %zu lost sandboxes",
                    CSN_COUNT(b->dead));
  close_folders(b);
  return 0;
}

/* Box locked: ends it; then removes sandboxes/ID with `what` appended, NULL for
 * nothing.  Whoever comes next waits for the lock until that is done. */
static void
end_box(struct csn_box *b, const char *what)
{
  if (what && csn_box_is_remote(b) && !csn_box_remote_end(b))
    what = NULL; /* its state stays, so that it can be ended later */
  csn_box_end_processes(b);
  csn_auto(csn_buf_finip) csn_buf layers = CSN_BUF(1 << 16);
  int lock = b->lock_fd;
  if (what && !*what && b->folder_fd >= 0)
    (void)!csn_file_read(b->folder_fd, "stack/layers", &layers, NULL);
  if (what && b->folder_fd >= 0)
    (void)!csn_remove_tree(b->folder_fd, "mounts", NULL);
  b->lock_fd = -1;
  csn_box_let_go(b);
  if (what) {
    char path[CSN_BOX_ID_MAX + 20];
    csn_err err;
    snprintf(path, sizeof path, "sandboxes/%s%s", csn_box_id(b), what);
    if (csn_jail_remove(b->run->rt->state_fd, path, &err) < 0)
      csn_logf(b->run->rt->log, CSN_LOG_WARN, "%s: %s", path, err.msg);
    csn_box_drop_saved(b);
    csn_frozen_drop_layers(b->run->rt->state_fd, csn_buf_str(&layers));
  }
  csn_closep(&lock);
}

/* Members that say what the run works in. */
static void
tell_ready(csn_sandbox *sb, csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_key(w, "backend");
  csn_jw_strz(w, sb->ops->name);
  csn_jw_key(w, "root");
  csn_jw_strz(w, sb->root);
  if (sb->ops->describe)
    sb->ops->describe(sb, w);
  csn_jw_end(w);
}

int
csn_box_make(struct csn_box *b, csn_scope *sc, csn_jw *ready, csn_err *err)
{
  bool is_new = !b->run->opts.after;
  pthread_mutex_lock(&b->lock);
  int rc = csn_box_lock_folder(b, err);
  if (rc == 0 && b->lent.n) {
    rc = csn_box_lent_begin(b, sc, err);
  } else if (rc == 0 && is_new) {
    rc = csn_box_begin(b, sc, NULL, err);
  } else if (rc == 0) {
    if (!csn_box_remote_is_there(b)) /* else it was in an earlier life of this run */
      rc = csn_box_take_over(b, err);
    if (rc == 0)
      rc = csn_box_open_machine(b, sc, err);
    if (rc == 0 && csn_box_is_remote(b))
      rc = csn_box_remote_send(b, sc, err);
  }
  if (rc == 0)
    tell_ready(b->sb, ready);
  if (rc < 0) /* half a workspace would look like one whose files were removed */
    end_box(b, is_new ? "" : NULL);
  pthread_mutex_unlock(&b->lock);
  return rc;
}

void
csn_box_unmake(struct csn_box *b)
{
  pthread_mutex_lock(&b->lock);
  end_box(b, b->run->opts.after ? NULL : "");
  pthread_mutex_unlock(&b->lock);
}

static bool
is_worth_keeping(const struct csn_box *b)
{
  const char *path, *src;
  if (b->agent->manifest && csn_manifest_local_dir(b->agent->manifest, 0, &path, &src))
    return true;
  return b->run->opts.keep_workspace || (b->agent->n_outputs && !b->run->opts.out_dir);
}

/* Of a run that is over: what is wanted of a workspace elsewhere comes here.
 * False when it did not, so that it stays where it is. */
static bool
fetch_workspace(struct csn_box *b)
{
  csn_err err = {0};
  csn_scope sc; /* the run's may be over as well */
  if (!csn_box_remote_is_there(b) || !(b->run->opts.snapshot || is_worth_keeping(b)))
    return true;
  csn_scope_init(&sc, NULL, FETCH_MS);
  int rc = b->sb ? 0 : csn_box_open_machine(b, &sc, &err);
  if (rc == 0)
    rc = csn_box_remote_fetch(b, &sc, &err);
  csn_scope_fini(&sc);
  if (rc < 0)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "%s", err.msg);
  return rc == 0;
}

static void
save_workspace(struct csn_box *b, bool is_over)
{
  if (!is_over || !b->run->opts.snapshot || b->folder_fd < 0)
    return;
  csn_box_end_processes(b);
  csn_box_snapshot_save(b);
}

void
csn_box_close(struct csn_box *b, bool is_over)
{
  pthread_mutex_lock(&b->lock);
  if (!is_over) /* nobody asks any more */
    free(csn_steal(b->news));
  is_over = is_over && fetch_workspace(b);
  save_workspace(b, is_over);
  end_box(b, !is_over ? NULL : is_worth_keeping(b) ? "/claims" : "");
  pthread_mutex_unlock(&b->lock);
}

void
csn_box_sweep(struct csn_box *b)
{
  csn_err err;
  if (!b->agent->has_sandbox)
    return;
  int folder = csn_box_folder(b->run->rt, csn_box_id(b), &err);
  if (folder < 0)
    return; /* it was removed */
  csn_closep(&folder);
  pthread_mutex_lock(&b->lock);
  bool is_open = csn_box_lock_folder(b, &err) == 0, is_here = is_open && fetch_workspace(b);
  save_workspace(b, is_here);
  if (is_open)
    end_box(b, !is_here ? NULL : is_worth_keeping(b) ? "/claims" : "");
  else
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "%s", err.msg);
  pthread_mutex_unlock(&b->lock);
}
