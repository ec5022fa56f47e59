/* SPDX-License-Identifier: Apache-2.0
 *
 * docker.c - a container of a container engine as a sandbox (docs/docker.md).
 *
 * One connection holds the input of its first process, which ends when that
 * ends: a harness that dies takes the processes with it, however it dies.  The
 * stopped container keeps the workspace, a volume, until it is opened again or
 * swept away.  Commands are in docker_proc.c, what a container is made of in
 * docker_create.c. */
#include "sandbox/backend/docker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/backends.h"
#include "sandbox/snap_tree.h"
#include "sandbox/stack.h"
#include "wire/tar_write.h"

enum { BODY_MAX = 4 << 20, CLOSE_MS = 30000, GONE_POLLS = 250, GONE_POLL_MS = 20, YOUNG_S = 60 };

static struct csn_docker *
docker_of(csn_sandbox *sb)
{
  return (struct csn_docker *)sb; /* base is the first member */
}

/* ---- requests about the container ---- */

int
csn_docker_ask(const struct csn_docker *d, csn_scope *sc, const char *method, const char *id,
               const char *what, csn_arena *a, const csn_json **answer, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  csn_buf_addf(&path, "/containers/%s%s", id, what);
  return csn_engine_ask(&d->engine, sc, method, path.p, (csn_str){0}, a, answer, err);
}

int
csn_docker_remove(const struct csn_docker *d, csn_scope *sc, const char *id, csn_err *err)
{
  int rc = 0;
  for (int i = 0; i < GONE_POLLS; i++) {
    rc = csn_docker_ask(d, sc, "DELETE", id, "?force=true&v=true", NULL, NULL, err);
    if (rc != CSN_E_CONFLICT) /* somebody else removes it just now */
      break;
    struct timespec pause = {.tv_nsec = GONE_POLL_MS * 1000000L};
    nanosleep(&pause, NULL);
  }
  return rc == CSN_E_NOT_FOUND || rc > 0 ? 0 : rc;
}

int
csn_docker_take_id(char id[CSN_DOCKER_ID + 1], csn_str text, csn_err *err)
{
  bool is_id = text.n == CSN_DOCKER_ID;
  for (size_t i = 0; is_id && i < text.n; i++)
    is_id = text.p[i] && strchr("0123456789abcdef", text.p[i]);
  if (!is_id)
    return csn_fail(err, CSN_E_PARSE, "the container engine gave a strange id to a container");
  memcpy(id, text.p, text.n);
  id[text.n] = '\0';
  return 0;
}

/* ---- making one ---- */

/* "caisson-OWNER-NAME", or a random one. */
static const char *
name_of(const struct csn_docker *d, const char *label)
{
  char random[13];
  csn_random_name(random, sizeof random - 1);
  char *name =
      (char *)(uintptr_t)csn_arena_printf(d->arena, "caisson-%.100s", label ? label : random).p;
  for (char *c = name; *c; c++)
    if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
          strchr("_.-", *c)))
      *c = '-';
  return name;
}

int
csn_docker_make(const struct csn_docker *d, csn_scope *sc, const char *name, csn_str body,
                char id[CSN_DOCKER_ID + 1], const csn_json **warnings, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(300);
  const csn_json *v = NULL;
  csn_buf_addf(&path, "/containers/create?name=%s", name);
  int rc = csn_engine_ask(&d->engine, sc, "POST", path.p, body, d->arena, &v, err);
  if (rc >= 0)
    rc = csn_docker_take_id(id, csn_json_str(v, "Id", (csn_str){0}), err);
  if (rc == 0 && warnings)
    *warnings = csn_json_get(v, "Warnings");
  return rc;
}

static int
create(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(BODY_MAX);
  const csn_json *warnings = NULL;
  int rc = csn_docker_body(d, spec, &body, err);
  if (rc == 0 && d->has_volumes)
    rc = csn_docker_volumes_make(d, sc, spec, err);
  if (rc == 0)
    rc = csn_docker_make(d, sc, d->name, csn_buf_str(&body), d->id, &warnings, err);
  if (rc == CSN_E_CONFLICT && spec->label) { /* a process that died before it could tell of it */
    rc = csn_docker_remove(d, sc, d->name, err);
    if (rc == 0 &&
        d->has_volumes) /* the engine takes one that is there for the one it shall make */
      rc = csn_docker_volumes_drop(d, sc, err);
    if (rc == 0 && d->has_volumes)
      rc = csn_docker_volumes_make(d, sc, spec, err);
    if (rc == 0)
      rc = csn_docker_make(d, sc, d->name, csn_buf_str(&body), d->id, &warnings, err);
  }
  if (rc == 0)
    csn_docker_held(d, spec->limits, warnings);
  return csn_wrap(err, rc, "make a container");
}

/* Takes hold of its input, then lets it run. */
static int
start(struct csn_docker *d, csn_scope *sc, csn_err *err)
{
  char path[120];
  snprintf(path, sizeof path, "/containers/%s/attach?stream=1&stdin=1", d->id);
  int rc = csn_engine_hijack(&d->engine, sc, path, (csn_str){0}, &d->life, err);
  if (rc == 0)
    rc = csn_docker_ask(d, sc, "POST", d->id, "/start", NULL, NULL, err);
  return rc < 0 ? csn_wrap(err, rc, "start the container") : 0;
}

static int
to_buf(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return csn_buf_done(user, "an archive", err);
}

/* The volume is root's, and nobody in the container may change that.  An entry
 * that names it from itself says whose it is. */
static int
own_workspace(struct csn_docker *d, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096), head = CSN_BUF(4096);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char *base = strrchr(d->base.root, '/') + 1;
  csn_tar_writer w = {.out = to_buf, .user = &head};
  const csn_tar_entry e = {.kind = CSN_TAR_DIR,
                           .name = csn_arena_printf(a, "../%s", base).p,
                           .link = "",
                           .mode = 0755,
                           .uid = d->base.uid,
                           .gid = d->base.gid,
                           .mtime_s = time(NULL)};
  csn_buf_addf(&path, "/containers/%s/archive?path=", d->id);
  csn_engine_escape(&path, csn_cstr(d->base.root));
  int rc = csn_tar_put(&w, &e, err);
  if (rc == 0)
    rc = csn_tar_put_end(&w, err);
  if (rc == 0)
    rc = csn_engine_upload(&d->engine, sc, path.p, csn_buf_str(&head), -1, err);
  return csn_wrap(err, rc, "the workspace's owner");
}

/* Of a user with a name: the numbers that the image gives it. */
static int
look_up_user(struct csn_docker *d, csn_scope *sc, csn_err *err)
{
  const char *const argv[] = {"sh", "-c", "echo $(id -u):$(id -g)", NULL};
  const csn_exec x = {.argv = argv, .claim_fd = -1};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  enum csn_stream which;
  int64_t uid = 0, gid = -1;
  if (d->base.uid > 0 || d->is_build)
    return 0;
  int rc = csn_docker_spawn(&d->base, sc, &x, &p, err);
  while (rc >= 0 && (rc = p->ops->read(p, sc, &out, 1000, &which, err)) > 0)
    continue;
  if (rc < 0)
    return rc;
  csn_str text = csn_str_trim(csn_buf_str(&out));
  size_t colon = csn_str_find(text, CSN_STR(":"), 0);
  if (colon == SIZE_MAX || !csn_str_int(csn_strn(text.p, colon), &uid) ||
      !csn_str_int(csn_strn(text.p + colon + 1, text.n - colon - 1), &gid) || uid < 1 || gid < 0 ||
      uid > INT32_MAX || gid > INT32_MAX)
    return csn_fail(err, CSN_E_INVALID,
                    "user %s of the image: expected one with a number, and never root", d->user);
  d->base.uid = (int)uid;
  d->base.gid = (int)gid;
  return 0;
}

static int
open_plain(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = create(d, sc, spec, err);
  if (rc < 0)
    return rc;
  rc = start(d, sc, err);
  if (rc < 0 && d->has_init && err && strstr(err->msg, "docker-init")) {
    csn_link_close(csn_steal(d->life)); /* an engine without one */
    rc = csn_docker_remove(d, sc, d->id, err);
    d->id[0] = '\0';
    d->has_init = false;
    if (rc == 0)
      rc = create(d, sc, spec, err);
    if (rc == 0)
      rc = start(d, sc, err);
  }
  if (rc == 0)
    rc = look_up_user(d, sc, err);
  return rc < 0 || d->is_build ? rc : own_workspace(d, sc, err);
}

/* An engine that reads or writes files of a container mounts all its volumes once
 * more, which their drivers refuse.  So a container without them comes first: it
 * says who the user is, and gives him the workspace. */
static int
open_with_volumes(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_sandbox_spec bare = *spec;
  bare.mounts = NULL;
  int rc = csn_docker_volumes_drop(d, sc, err);
  if (rc == 0)
    rc = open_plain(d, sc, &bare, err);
  csn_link_close(csn_steal(d->life));
  if (rc == 0)
    rc = csn_docker_remove(d, sc, d->id, err);
  if (rc < 0)
    return rc;
  d->id[0] = '\0';
  rc = create(d, sc, spec, err);
  return rc < 0 ? rc : start(d, sc, err);
}

static int
open_new(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = csn_docker_image(d, sc, spec, err);
  if (rc == 0)
    rc = csn_docker_network_open(d, sc, spec, err);
  if (rc < 0)
    return rc;
  return d->has_volumes ? open_with_volumes(d, sc, spec, err) : open_plain(d, sc, spec, err);
}

/* ---- opening one again ---- */

static int
open_again(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  const csn_json *v = NULL;
  csn_str id;
  int64_t uid = csn_json_int(spec->state, "uid", 0), gid = csn_json_int(spec->state, "gid", 0);
  int rc = csn_json_need_str(spec->state, "container", &id, err);
  if (rc == 0)
    rc = csn_docker_take_id(d->id, id, err);
  if (rc == 0)
    rc = csn_docker_ask(d, sc, "GET", d->id, "/json", d->arena, &v, err);
  char was[CSN_DOCKER_ID + 1];
  memcpy(was, d->id, sizeof was);
  d->id[0] = '\0'; /* nothing is done to one that is not ours */
  if (rc < 0)
    return rc;
  const csn_json *config = csn_json_get(v, "Config"), *host = csn_json_get(v, "HostConfig");
  csn_str label = csn_json_str(csn_json_get(config, "Labels"), CSN_DOCKER_LABEL, (csn_str){0}),
          root = csn_json_str(config, "WorkingDir", (csn_str){0}),
          name = csn_json_str(v, "Name", (csn_str){0}),
          user = csn_json_str(config, "User", (csn_str){0});
  if (!csn_str_eq(label, csn_cstr(spec->label)) || !csn_str_eq(root, csn_cstr(d->base.root)) ||
      uid < 1 || uid > INT32_MAX || gid < 0 || gid > INT32_MAX || !user.n ||
      !csn_str_starts(name, CSN_STR("/caisson-")) || memchr(name.p + 1, '/', name.n - 1))
    return csn_fail(err, CSN_E_CONFLICT, "container %.12s is not what was made for this", was);
  rc = csn_docker_volumes_find(d, csn_json_get(host, "Mounts"), spec, err);
  if (rc < 0)
    return rc;
  memcpy(d->id, was, sizeof was);
  d->user = csn_arena_dup(d->arena, user).p;
  d->name = csn_arena_dup(d->arena, name).p + 1;
  d->base.uid = (int)uid;
  d->base.gid = (int)gid;
  d->has_init = csn_json_bool(host, "Init", false);
  d->image_id = csn_arena_dup(d->arena, csn_json_str(v, "Image", (csn_str){0})).p;
  csn_docker_held(d, spec->limits, NULL);
  /* What still runs there belongs to nobody any more. */
  rc = csn_docker_ask(d, sc, "POST", d->id, "/stop?t=0", NULL, NULL, err);
  if (rc >= 0)
    rc = csn_docker_network_open(d, sc, spec, err);
  return rc < 0 ? rc : start(d, sc, err);
}

/* ---- the operations ---- */

static void
docker_close(csn_sandbox *sb)
{
  struct csn_docker *d = docker_of(sb);
  csn_scope sc;
  csn_scope_init(&sc, NULL, CLOSE_MS);
  if (d->id[0] && d->keep)
    (void)!csn_docker_ask(d, &sc, "POST", d->id, "/stop?t=0", NULL, NULL, NULL);
  else if (d->id[0])
    (void)!csn_docker_remove(d, &sc, d->id, NULL);
  if (d->has_volumes && !d->keep)
    (void)!csn_docker_volumes_drop(d, &sc, NULL);
  csn_docker_network_close(d, &sc, !d->id[0] || !d->keep);
  csn_scope_fini(&sc);
  csn_link_close(d->life);
  csn_engine_fini(&d->engine);
  csn_arena_free(d->arena);
  pthread_mutex_destroy(&d->lock);
  free(sb->root);
  free(d);
}

static void
docker_closep(struct csn_docker **d)
{
  if (*d)
    docker_close(&(*d)->base);
}

static int
check_root(const char *root, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(CSN_SNAP_PATH_MAX);
  csn_buf_addc(&clean, '/');
  clean.n = 0;
  bool is_fine = csn_path_add(&clean, csn_cstr(root)) && clean.n > 0 && !clean.over &&
                 strcmp(clean.p, root + 1) == 0;
  return is_fine ? 0
                 : csn_fail(err, CSN_E_INVALID,
                            "root \"%.100s\": expected the clean absolute path of a folder", root);
}

/* Not in the container's configuration, which becomes the image's. */
static const char *const of_builds[] = {"HOME=/root", "LANG=C.UTF-8", NULL};

static int
docker_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  const char *root = spec->root ? spec->root : "/workspace";
  csn_auto(docker_closep) struct csn_docker *d = csn_alloc(sizeof *d);
  *d = (struct csn_docker){
      .base = {.ops = &csn_sandbox_docker, .workspace_fd = -1, .uid = -1, .gid = -1},
      .arena = csn_arena_new(0),
      .is_build = csn_spec_build(spec) != NULL,
      .has_init = true,
      .has_volumes = spec->mounts && spec->mounts[0]};
  d->name = name_of(d, spec->label);
  if (d->is_build)
    d->variables = of_builds;
  pthread_mutex_init(&d->lock, NULL);
  d->base.root = csn_dupz(csn_cstr(root));
  int rc = check_root(root, err);
  if (rc == 0)
    rc = csn_docker_options(d, spec, err);
  if (rc < 0)
    return rc;
  d->keep = spec->state != NULL; /* one that was there stays should this fail */
  rc = spec->state ? open_again(d, sc, spec, err) : open_new(d, sc, spec, err);
  if (rc < 0)
    return rc;
  d->keep = spec->keep;
  *out = &csn_steal(d)->base;
  return 0;
}

static int
docker_get(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd, csn_err *err)
{
  struct csn_docker *d = docker_of(sb);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
  if (paths || d->has_volumes) /* the engine gives one at a time, and storage, too */
    return csn_sandbox_get_by_tar(sb, sc, paths, tar_fd, err);
  csn_buf_addf(&path, "/containers/%s/archive?path=", d->id);
  csn_engine_escape(&path, csn_cstr(sb->root));
  csn_buf_addz(&path, "%2F.");
  return csn_engine_download(&d->engine, sc, path.p, tar_fd, CSN_SNAP_BYTES_MAX, err);
}

static int
docker_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err)
{
  struct csn_docker *d = docker_of(sb);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
  if (d->has_volumes)
    return csn_sandbox_put_by_tar(sb, sc, tar_fd, err);
  csn_buf_addf(&path, "/containers/%s/archive?path=", d->id);
  csn_engine_escape(&path, csn_cstr(sb->root));
  return csn_engine_upload(&d->engine, sc, path.p, (csn_str){0}, tar_fd, err);
}

static void
docker_state(csn_sandbox *sb, csn_jw *w)
{
  csn_jw_key(w, "container");
  csn_jw_strz(w, docker_of(sb)->id);
  if (docker_of(sb)->network_id[0]) {
    csn_jw_key(w, "network");
    csn_jw_strz(w, docker_of(sb)->network_id);
  }
  csn_jw_key(w, "uid");
  csn_jw_int(w, sb->uid);
  csn_jw_key(w, "gid");
  csn_jw_int(w, sb->gid);
}

static int
turn(csn_sandbox *sb, csn_scope *sc, const char *what, csn_err *err)
{
  const struct csn_docker *d = docker_of(sb);
  int rc = csn_docker_ask(d, sc, "POST", d->id, what, NULL, NULL, err);
  return rc < 0 ? rc : 0;
}

static int
docker_pause(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return turn(sb, sc, "/pause", err);
}

static int
docker_resume(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return turn(sb, sc, "/unpause", err);
}

static int
docker_destroy(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct csn_docker *d = docker_of(sb);
  int rc = d->id[0] ? csn_docker_remove(d, sc, d->id, err) : 0;
  if (rc == 0)
    d->id[0] = '\0';
  return rc == 0 && d->has_volumes ? csn_docker_volumes_drop(d, sc, err) : rc;
}

static void
docker_describe(csn_sandbox *sb, csn_jw *w)
{
  const struct csn_docker *d = docker_of(sb);
  const char *const lines[][2] = {{"isolation", "container"},
                                  {"engine", d->engine.host},
                                  {"image", d->image},
                                  {"image_id", d->image_id},
                                  {"runtime", d->runtime ? d->runtime : "the engine's"},
                                  {"network", d->has_policy ? "policy" : "none"},
                                  {"capabilities", "none"},
                                  {"files", "a volume of the engine"},
                                  {"container", d->id}};
  for (size_t i = 0; i < CSN_COUNT(lines); i++) {
    csn_jw_key(w, lines[i][0]);
    csn_jw_strz(w, lines[i][1]);
  }
  csn_jw_key(w, "init");
  csn_jw_bool(w, d->has_init);
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

/* Its first process has ended when the engine closes the connection to it. */
static void
docker_usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  struct csn_docker *d = docker_of(sb);
  struct pollfd fd = {.fd = csn_link_fd(d->life), .events = POLLIN};
  u->is_dead = poll(&fd, 1, is_lost ? 1000 : 0) > 0;
  pthread_mutex_lock(&d->lock);
  u->reached[CSN_LIMIT_MEMORY] = d->oom_kills;
  pthread_mutex_unlock(&d->lock);
}

static int
docker_dial(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd, csn_err *err)
{
  const struct csn_docker *d = docker_of(sb);
  return d->graft ? csn_graft_dial(d->graft, sc, port, fd, err)
                  : csn_sandbox_dial_by_command(sb, sc, port, fd, err);
}

static int
docker_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to, int64_t *reached,
                csn_err *err)
{
  const struct csn_docker *d = docker_of(sb);
  return d->graft ? csn_graft_restrict(d->graft, sc, to, reached, err) : 0;
}

/* ---- what others left ---- */

/* One of the list: 1 when it was removed. */
static int
sweep_one(struct csn_docker *d, csn_scope *sc, const csn_json *v, const csn_sandbox_sweep *how,
          csn_err *err)
{
  char id[CSN_DOCKER_ID + 1], label[200];
  csn_str got = csn_json_str(v, "Id", (csn_str){0}),
          text = csn_json_str(csn_json_get(v, "Labels"), CSN_DOCKER_LABEL, (csn_str){0});
  size_t n = how->owner ? strlen(how->owner) : 0;
  int64_t young_s = how->young_ms ? how->young_ms / 1000 : YOUNG_S;
  bool is_new = csn_str_eq(csn_json_str(v, "State", (csn_str){0}), CSN_STR("created")) &&
                csn_json_int(v, "Created", 0) + young_s > time(NULL);
  if (got.n != CSN_DOCKER_ID || text.n >= sizeof label || is_new ||
      csn_str_eq(text, CSN_STR(CSN_DOCKER_NO_LABEL)))
    return 0;
  snprintf(id, sizeof id, "%.*s", (int)got.n, got.p);
  snprintf(label, sizeof label, "%.*s", (int)text.n, text.p ? text.p : "");
  if (strspn(id, "0123456789abcdef") != CSN_DOCKER_ID ||
      (n && *label && (strncmp(label, how->owner, n) != 0 || label[n] != '/')) ||
      (how->is_wanted && how->is_wanted(how->user, *label ? label : NULL)))
    return 0;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_json_each (first, csn_json_get(v, "Names")) /* "/NAME" */
    if (first->kind == CSN_JSON_STRING && first->text.n > 1 && !d->name)
      d->name = csn_arena_dup(a, csn_strn(first->text.p + 1, first->text.n - 1)).p;
  csn_str of = csn_json_str(csn_json_get(v, "Labels"), CSN_DOCKER_NETWORK_LABEL, (csn_str){0});
  int rc = csn_docker_remove(d, sc, id, err);
  if (rc == 0)
    rc = csn_docker_volumes_drop(d, sc, err);
  d->name = NULL;
  if (rc == 0 && of.n) { /* what it held the network of is told of */
    if (csn_str_starts(of, CSN_STR("caisson-")))
      csn_graft_remove(csn_arena_dup(a, of).p);
    return 0;
  }
  if (rc == 0 && how->removed) {
    how->removed(how->user,
                 csn_arena_printf(a, "container %.12s%s%s", id, *label ? " of " : "", label).p);
  }
  return rc < 0 ? rc : 1;
}

static int
docker_sweep(csn_scope *sc, const csn_json *options, const csn_sandbox_sweep *how, csn_err *err)
{
  static const char filters[] = "{\"label\":[\"" CSN_DOCKER_LABEL "\"],"
                                "\"status\":[\"created\",\"exited\",\"dead\"]}";
  struct csn_docker d = {.base = {.ops = &csn_sandbox_docker}};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(1000);
  const csn_json *list = NULL;
  int rc = csn_engine_init(&d.engine, csn_json_str(options, "host", (csn_str){0}), err), n = 0;
  if (rc < 0)
    return rc;
  csn_buf_addz(&path, "/containers/json?all=1&filters=");
  csn_engine_escape(&path, csn_cstr(filters));
  rc = csn_engine_ask(&d.engine, sc, "GET", path.p, (csn_str){0}, a, &list, err);
  csn_json_each (v, list) {
    if (rc >= 0)
      rc = sweep_one(&d, sc, v, how, err);
    n += rc == 1;
  }
  if (rc >= 0)
    rc = csn_docker_volumes_sweep(&d, sc, how, err);
  csn_engine_fini(&d.engine);
  return rc < 0 ? rc : n;
}

static const csn_sandbox_option options[] = {
    {"image", CSN_JSON_STRING}, {"host", CSN_JSON_STRING}, {"runtime", CSN_JSON_STRING}, {0}};

const csn_sandbox_ops csn_sandbox_docker = {
    .size = sizeof(csn_sandbox_ops),
    .name = "docker",
    .open = docker_open,
    .close = docker_close,
    .spawn = csn_docker_spawn,
    .dial = docker_dial,
    .describe = docker_describe,
    .usage = docker_usage,
    .restrict_network = docker_restrict,
    .is_remote = true,
    .has_users = true,
    .options = options,
    .get = docker_get,
    .put = docker_put,
    .state = docker_state,
    .pause = docker_pause,
    .resume = docker_resume,
    .destroy = docker_destroy,
    .sweep = docker_sweep,
};
