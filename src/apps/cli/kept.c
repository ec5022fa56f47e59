/* SPDX-License-Identifier: Apache-2.0
 * kept.c - see kept.h. */
#include "kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "caisson/remote.h"
#include "core/fd.h"
#include "run/box_remote.h"
#include "sandbox/backends.h"
#include "sandbox/jail.h"

#define FOLDER "kept"
#define RECORD "sandbox.json"
#define HERE "here" /* files of one elsewhere, for a while */
#define LABEL "kept."

enum { RECORD_MAX = 1 << 20, REMOVE_MS = 60000, LOCK_WAIT_MS = 3000 };

int
cli_kept_init(cli *c, cli_kept *k, csn_err *err)
{
  *k = (cli_kept){
      .c = c, .state = -1, .path = CSN_BUF(64 << 10), .dir = -1, .lock = -1, .workspace = -1};
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = cli_state_open(c, true, &k->state, &k->path, err);
  return rc < 0 ? rc : csn_mkdirs(k->state, FOLDER, 0700, err);
}

void
cli_kept_close(cli_kept *k)
{
  csn_sandbox_close(csn_steal(k->sb));
  if (k->dir >= 0 && k->told)
    (void)!csn_jail_remove(k->dir, HERE, NULL);
  cli_box_fini(&k->box);
  csn_closep(&k->workspace);
  csn_closep(&k->dir);
  csn_closep(&k->lock);
  csn_closep(&k->state);
  csn_buf_fini(&k->path);
}

/* ---- names ---- */

static int
take_name(cli_kept *k, const char *name, csn_err *err)
{
  size_t n = strlen(name);
  bool good = n > 0 && n <= CLI_KEPT_NAME_MAX;
  for (size_t i = 0; good && i < n; i++) {
    char ch = name[i];
    good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (i > 0 && (ch == '_' || ch == '-'));
  }
  if (!good)
    return csn_fail(err, CSN_E_INVALID,
                    "\"%.60s\" cannot name a sandbox: letters, digits, and '_' and '-' not at the "
                    "beginning, at most %d",
                    name, CLI_KEPT_NAME_MAX);
  memcpy(k->name, name, n + 1);
  return 0;
}

static int
open_folder(cli_kept *k, csn_err *err)
{
  char path[sizeof FOLDER + CLI_KEPT_NAME_MAX + 1];
  csn_err why;
  snprintf(path, sizeof path, FOLDER "/%s", k->name);
  k->dir = csn_open_beneath(k->state, path, O_RDONLY | O_DIRECTORY, 0, &why);
  if (k->dir == CSN_E_NOT_FOUND)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "there is no sandbox %s; `caisson sandbox ls` lists them, `caisson sandbox "
                    "create` makes one",
                    k->name);
  return k->dir < 0 ? csn_fail(err, why.code, "sandbox %s: %s", k->name, why.msg) : 0;
}

/* A sandbox holds its lock until its last process has gone, which may be a
 * little after the command that used it. */
static int
take_lock(cli_kept *k, bool alone, csn_err *err)
{
  k->lock = csn_open_beneath(k->dir, "lock", O_RDWR | O_CREAT, 0600, err);
  if (k->lock < 0)
    return k->lock;
  int64_t until = csn_now_ns() + LOCK_WAIT_MS * INT64_C(1000000);
  while (flock(k->lock, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
    struct timespec pause = {.tv_nsec = 2000000};
    if (errno != EWOULDBLOCK && errno != EINTR)
      return csn_fail_errno(err, "lock sandbox %s", k->name);
    if (csn_now_ns() > until)
      return csn_fail(err, CSN_E_CONFLICT, "sandbox %s is in use; wait until that has ended",
                      k->name);
    int rc = csn_scope_check(&k->c->scope, err);
    if (rc < 0)
      return rc;
    nanosleep(&pause, NULL); /* the kernel offers no wait with a deadline here */
  }
  return 0;
}

int
cli_kept_names(const cli_kept *k, csn_names *names, csn_err *err)
{
  csn_auto(csn_closep) int dir = csn_open_beneath(k->state, FOLDER, O_RDONLY | O_DIRECTORY, 0, err);
  return dir < 0 ? dir : csn_names_read(names, dir, 1 << 20, err);
}

/* ---- records ---- */

static int
write_record(cli_kept *k, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "format");
  csn_jw_int(&w, 1);
  csn_jw_key(&w, "id");
  csn_jw_strz(&w, k->id);
  csn_jw_key(&w, "created_ms");
  csn_jw_int(&w, k->created_ms);
  csn_jw_key(&w, "options");
  cli_box_to_json(&k->opts, &w);
  if (k->sb && csn_sandbox_is_remote(k->opts.backend)) {
    csn_jw_key(&w, "state");
    csn_jw_obj(&w);
    csn_sandbox_state(k->sb, &w);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_file_write(k->dir, RECORD, csn_buf_str(&text), 0600, true, err);
}

static int
read_record(cli_kept *k, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  const csn_json *v = NULL;
  int rc = csn_file_read(k->dir, RECORD, &text, err);
  if (rc == 0)
    rc = csn_json_parse(k->c->arena, csn_arena_dup(k->c->arena, csn_buf_str(&text)), &v, err);
  if (rc == 0 && csn_json_int(v, "format", 0) != 1)
    rc = csn_fail(err, CSN_E_INVALID, "it was written by another version");
  if (rc == 0)
    rc = cli_box_from_json(k->c, csn_json_get(v, "options"), &k->opts, err);
  if (rc < 0)
    return csn_wrap(err, rc, "sandbox %s", k->name);
  csn_str id = csn_json_str(v, "id", CSN_STR(""));
  snprintf(k->id, sizeof k->id, "%.*s", (int)(id.n < sizeof k->id ? id.n : 0), id.p);
  k->created_ms = csn_json_int(v, "created_ms", 0);
  k->told = csn_json_get(v, "state");
  return 0;
}

int
cli_kept_read(cli_kept *k, const char *name, csn_err *err)
{
  csn_closep(&k->dir);
  k->dir = -1;
  int rc = take_name(k, name, err);
  if (rc == 0)
    rc = open_folder(k, err);
  return rc < 0 ? rc : read_record(k, err);
}

bool
cli_kept_wants(cli *c, int state, const char *label)
{
  csn_names names = {0};
  csn_err err;
  bool found = false;
  const char *id = label ? strstr(label, "/" LABEL) : NULL;
  if (!id)
    return false;
  cli_kept k = {.c = c, .state = state, .dir = -1};
  bool is_told = cli_kept_names(&k, &names, &err) == 0 || err.code == CSN_E_NOT_FOUND;
  for (size_t i = 0; is_told && !found && i < names.n; i++) {
    found = cli_kept_read(&k, names.p[i], &err) == 0 && strcmp(k.id, id + strlen("/" LABEL)) == 0;
  }
  csn_closep(&k.dir);
  csn_names_fini(&names);
  return found || !is_told; /* nothing is ended that we know nothing of */
}

int
cli_kept_find(cli_kept *k, const char *name, bool alone, csn_err *err)
{
  int rc = take_name(k, name, err);
  if (rc == 0)
    rc = open_folder(k, err);
  if (rc == 0)
    rc = take_lock(k, alone, err);
  return rc < 0 ? rc : read_record(k, err);
}

/* ---- opening ---- */

int
cli_kept_open(cli_kept *k, csn_err *err)
{
  csn_sandbox_spec *spec = &k->box.spec;
  bool is_remote = csn_sandbox_is_remote(k->opts.backend);
  csn_auto(csn_buf_finip) csn_buf label = CSN_BUF(200), name = CSN_BUF(100);
  int rc = cli_box_read(k->c, &k->opts, &k->box, err);
  csn_buf_addf(&name, LABEL "%s", k->id);
  if (rc == 0 && is_remote)
    rc = csn_box_label(k->path.p, name.p, &label, err);
  if (rc == 0 && !is_remote && k->workspace < 0) {
    k->workspace = csn_open_beneath(k->dir, "workspace", O_RDONLY | O_DIRECTORY, 0, err);
    rc = k->workspace < 0 ? k->workspace : 0;
  }
  if (rc == 0) {
    spec->workspace_fd = k->workspace;
    spec->lock_fd = is_remote ? -1 : k->lock;
    spec->keep = is_remote;
    spec->label = is_remote ? csn_arena_dup(k->c->arena, csn_buf_str(&label)).p : NULL;
    spec->state = k->told;
    rc = csn_sandbox_open(&k->sb, &k->c->scope, spec, err);
    cli_status(k->c, NULL);
  }
  if (rc == CSN_E_NOT_FOUND && k->told)
    return csn_wrap(err, rc, "sandbox %s is gone; `caisson sandbox rm` forgets it", k->name);
  return csn_wrap(err, rc, "sandbox %s", k->name);
}

/* Words that mean the same from another folder. */
static int
fix_paths(cli_kept *k, csn_err *err)
{
  int rc = cli_box_read(k->c, &k->opts, &k->box, err);
  if (rc < 0)
    return rc;
  k->opts.rootfs = k->box.spec.rootfs;
  if (k->opts.backend && csn_exec_is_word(csn_cstr(k->opts.backend))) {
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(64 << 10);
    rc = csn_exec_find(&path, k->opts.backend, err);
    if (rc < 0)
      return rc;
    k->opts.backend = csn_arena_printf(k->c->arena, CSN_EXEC_WORD "%s", path.p).p;
  }
  if (k->opts.network.extra_roots) {
    csn_auto(csn_freep) char *real = realpath(k->opts.network.extra_roots, NULL);
    if (!real)
      return csn_fail_errno(err, "option --extra-roots: %s", k->opts.network.extra_roots);
    k->opts.network.extra_roots = csn_arena_dup(k->c->arena, csn_cstr(real)).p;
  }
  cli_box_fini(&k->box);
  k->box.rootfs = NULL;
  return 0;
}

int
cli_kept_make(cli_kept *k, const char *name, const cli_box_opts *o, csn_err *err)
{
  char path[sizeof FOLDER + CLI_KEPT_NAME_MAX + 1];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  k->created_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
  k->opts = *o;
  csn_random_name(k->id, sizeof k->id - 1);
  int rc = take_name(k, name, err);
  if (rc == 0)
    rc = fix_paths(k, err);
  if (rc < 0)
    return rc;
  snprintf(path, sizeof path, FOLDER "/%s", k->name);
  if (mkdirat(k->state, path, 0700) < 0)
    return errno == EEXIST ? csn_fail(err, CSN_E_EXISTS, "there is a sandbox %s already", k->name)
                           : csn_fail_errno(err, "make sandbox %s", k->name);
  rc = open_folder(k, err);
  if (rc == 0)
    rc = take_lock(k, true, err);
  if (rc == 0)
    rc = write_record(k, err); /* so that gc knows whose it is while it is made */
  if (rc == 0 && !csn_sandbox_is_remote(o->backend))
    rc = csn_mkdirs(k->dir, "workspace", 0755, err);
  if (rc == 0)
    rc = cli_kept_open(k, err);
  if (rc == 0 && csn_sandbox_is_remote(o->backend))
    rc = write_record(k, err);
  if (rc == 0)
    return 0;
  csn_err unheard;
  (void)!cli_kept_remove(k, &unheard);
  return rc;
}

int
cli_kept_files(cli_kept *k, csn_err *err)
{
  if (!csn_sandbox_is_remote(k->opts.backend)) {
    if (k->workspace < 0)
      k->workspace = csn_open_beneath(k->dir, "workspace", O_RDONLY | O_DIRECTORY, 0, err);
    return k->workspace;
  }
  int rc = k->sb ? 0 : cli_kept_open(k, err);
  if (rc == 0)
    rc = csn_jail_remove(k->dir, HERE, err);
  if (rc == 0)
    rc = csn_mkdirs(k->dir, HERE, 0700, err);
  if (rc < 0)
    return rc;
  k->workspace = csn_open_beneath(k->dir, HERE, O_RDONLY | O_DIRECTORY, 0, err);
  rc = k->workspace < 0 ? k->workspace : csn_stage_pull(&k->c->scope, k->sb, k->workspace, err);
  return rc < 0 ? rc : k->workspace;
}

int
cli_kept_replace(cli_kept *k, cli_kept *old, csn_err *err)
{
  char from[sizeof FOLDER + CLI_KEPT_NAME_MAX + 1], to[sizeof from];
  snprintf(from, sizeof from, FOLDER "/%s", k->name);
  snprintf(to, sizeof to, FOLDER "/%s", old->name);
  int rc = cli_kept_remove(old, err);
  if (rc == 0 && renameat(k->state, from, k->state, to) < 0)
    rc = csn_fail_errno(err, "name sandbox %s", old->name);
  return rc;
}

int
cli_kept_remove(cli_kept *k, csn_err *err)
{
  char path[sizeof FOLDER + CLI_KEPT_NAME_MAX + 1];
  int rc = 0;
  if (csn_sandbox_is_remote(k->opts.backend) && (k->sb || k->told)) {
    csn_scope sc; /* the command's may be over */
    csn_scope_init(&sc, NULL, REMOVE_MS);
    rc = k->sb ? 0 : cli_kept_open(k, err);
    if (rc == 0)
      rc = csn_sandbox_destroy(k->sb, &sc, err);
    csn_scope_fini(&sc);
    if (rc == CSN_E_NOT_FOUND)
      rc = 0; /* it has ended by itself */
  }
  csn_sandbox_close(csn_steal(k->sb));
  csn_closep(&k->workspace);
  snprintf(path, sizeof path, FOLDER "/%s", k->name);
  return rc < 0 ? rc : csn_jail_remove(k->state, path, err);
}

int
cli_kept_use(cli *c, cli_kept *k, const char *name, bool alone, csn_err *err)
{
  int rc = cli_kept_init(c, k, err);
  return rc < 0 ? rc : cli_kept_find(k, name, alone, err);
}
