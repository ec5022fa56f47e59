/* SPDX-License-Identifier: Apache-2.0
 * box_remote.c - see box_remote.h. */
#include "run/box_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "core/fd.h"
#include "core/hash.h"
#include "run/box_environment.h"
#include "run/box_mount.h"
#include "run/box_save.h"
#include "sandbox/backends.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

enum { STATE_MAX = 64 << 10, OWNER_DIGITS = 16, END_MS = 60000 };
#define STATE CSN_BOX_STATE

bool
csn_box_is_remote(const struct csn_box *b)
{
  const csn_sandbox_ops *ops =
      b->agent->has_sandbox ? csn_sandbox_find_in(b->run->rt->backends, b->agent->sandbox.backend)
                            : NULL;
  return ops && ops->is_remote;
}

int
csn_box_check_backend(const struct csn_box *b, csn_err *err)
{
  const csn_run *r = b->run;
  bool is_asked_for = r->opts.backend && b->backend_changed;
  return csn_agent_check_backend(b->agent, r->rt->backends, r->opts.harness_tools || is_asked_for,
                                 err);
}

int
csn_box_open_sandbox(struct csn_box *b, csn_scope *sc, csn_sandbox_spec *spec, csn_sandbox **out,
                     csn_err *err)
{
  const struct csn_rt *rt = b->run->rt;
  const struct csn_sandbox_own *given = spec->own;
  struct csn_sandbox_own own = given ? *given : (struct csn_sandbox_own){0};
  int rc = csn_box_check_backend(b, err);
  own.log = rt->log;
  own.told = csn_box_told(b);
  spec->own = &own;
  if (rc == 0)
    rc = csn_sandbox_open_of(out, sc, csn_sandbox_find_in(rt->backends, spec->backend), spec, err);
  spec->own = given;
  return rc;
}

int
csn_box_label(const char *state_path, const char *name, csn_buf *out, csn_err *err)
{
  struct utsname u;
  char hex[65];
  csn_auto(csn_freep) char *path = realpath(state_path, NULL);
  if (!path || uname(&u) < 0)
    return csn_fail_errno(err, "the state folder's path");
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(1 << 16);
  csn_buf_addf(&all, "%s:%s", u.nodename, path);
  csn_digest d = csn_sha256_of(csn_buf_str(&all));
  csn_digest_hex(&d, hex);
  hex[OWNER_DIGITS] = '\0';
  csn_buf_addf(out, name ? "%s/%s" : "%s", hex, name);
  return csn_buf_done(out, "a label", err);
}

bool
csn_box_wants(int state_fd, const char *label)
{
  char path[160];
  struct stat st;
  const char *name = label ? strchr(label, '/') : NULL;
  if (!name || !name[1] || strlen(name) > 80 || strchr(name + 1, '/') || name[1] == '.')
    return false;
  snprintf(path, sizeof path, "sandboxes/%s/" STATE, name + 1);
  if (fstatat(state_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return true;
  /* A harness that makes it right now has not written that down yet, but holds its lock. */
  snprintf(path, sizeof path, "sandboxes/%s/lock", name + 1);
  csn_auto(csn_closep) int lock = csn_open_beneath(state_fd, path, O_RDWR, 0, NULL);
  return lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool
csn_box_remote_is_there(const struct csn_box *b)
{
  struct stat st;
  return csn_box_is_remote(b) && b->folder_fd >= 0 &&
         fstatat(b->folder_fd, STATE, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int
csn_box_remote_spec(struct csn_box *b, csn_arena *a, csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(STATE_MAX), label = CSN_BUF(200);
  spec->workspace_fd = spec->lock_fd = -1;
  spec->keep = true;
  int rc = csn_box_label(b->run->rt->state_path, csn_box_id(b), &label, err);
  if (rc < 0)
    return rc;
  spec->label = csn_arena_dup(a, csn_buf_str(&label)).p;
  if (!csn_box_remote_is_there(b))
    return 0;
  rc = csn_file_read(b->folder_fd, STATE, &text, err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&text)), &spec->state, err);
  return csn_wrap(err, rc, "what is known of the sandbox of run %s", csn_box_id(b));
}

int
csn_box_remote_opened(struct csn_box *b, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(STATE_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_sandbox_state(b->sb, &w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_file_write(b->folder_fd, STATE, csn_buf_str(&text), 0600, true, err);
}

int
csn_box_remote_discard(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_sandbox_spec spec = {.backend = b->agent->sandbox.backend,
                           .options = b->agent->sandbox.options};
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  if (!csn_box_remote_is_there(b))
    return 0;
  if (csn_box_is_lent(b))
    return csn_box_lent_return(b, err);
  int rc = csn_box_remote_spec(b, a, &spec, err);
  if (rc == 0)
    rc = csn_box_open_sandbox(b, sc, &spec, &sb, err);
  if (rc == 0)
    rc = csn_sandbox_destroy(sb, sc, err);
  if (rc < 0 && rc != CSN_E_NOT_FOUND)
    return rc;
  return unlinkat(b->folder_fd, STATE, 0) < 0 ? csn_fail_errno(err, STATE) : 0;
}

static int
send_files(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_closep) int folder =
      csn_open_beneath(b->folder_fd, "workspace", O_RDONLY | O_DIRECTORY, 0, err);
  csn_names names = {0};
  if (folder < 0)
    return folder == CSN_E_NOT_FOUND ? 0 : folder;
  int rc = csn_names_read(&names, folder, SIZE_MAX, err);
  if (rc == 0 && names.n)
    rc = csn_stage_push(sc, b->sb, folder, err);
  csn_names_fini(&names);
  return rc < 0 ? rc : csn_jail_remove(b->folder_fd, "workspace", err);
}

int
csn_box_remote_send(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  int rc = send_files(b, sc, err);
  return rc < 0 ? rc : csn_box_mounts_enter(b, sc, err);
}

int
csn_box_remote_fetch(struct csn_box *b, csn_scope *sc, csn_err *err)
{
  int rc = csn_jail_remove(b->folder_fd, "arriving", err);
  if (rc == 0)
    rc = csn_mkdirs(b->folder_fd, "arriving", 0755, err);
  csn_auto(csn_closep) int folder =
      rc < 0 ? rc : csn_open_beneath(b->folder_fd, "arriving", O_RDONLY | O_DIRECTORY, 0, err);
  rc = folder < 0 ? folder : csn_stage_pull(sc, b->sb, folder, err);
  if (rc == 0)
    rc = csn_jail_remove(b->folder_fd, "workspace", err);
  if (rc == 0 && renameat(b->folder_fd, "arriving", b->folder_fd, "workspace") < 0)
    rc = csn_fail_errno(err, "the workspace's folder");
  return csn_wrap(err, rc, "bring the workspace of run %s here", csn_box_id(b));
}

int
csn_box_remote_forget(struct csn_box *b, csn_err *err)
{
  if (csn_box_is_lent(b))
    return csn_box_lent_return(b, err);
  return unlinkat(b->folder_fd, STATE, 0) < 0 ? csn_fail_errno(err, STATE) : 0;
}

bool
csn_box_remote_end(struct csn_box *b)
{
  csn_err err;
  csn_scope sc; /* the run's may be over */
  if (!b->sb && !csn_box_remote_is_there(b))
    return true;
  csn_box_mounts_leave(b);
  if (csn_box_is_lent(b))
    return csn_box_lent_return(b, NULL) == 0;
  csn_scope_init(&sc, NULL, END_MS);
  int rc = b->sb ? csn_sandbox_destroy(b->sb, &sc, &err) : csn_box_remote_discard(b, &sc, &err);
  csn_scope_fini(&sc);
  if (rc < 0)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "%s; `caisson sandbox gc` ends it later", err.msg);
  else
    (void)!unlinkat(b->folder_fd, STATE, 0);
  return rc >= 0;
}
