/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_build.c - environments in a container engine (environment_remote.h):
 * a container of the base in which commands are root, committed as an image.
 *
 * The image is caisson-env:HEX, the hash of the base's id and of every command.
 * Its labels say what came, and that no sandbox of ours is to be found by them. */
#include <stdio.h>

#include "sandbox/backend/docker.h"
#include "sandbox/backends.h"
#include "sandbox/environment_remote.h"
#include "sandbox/rootfs_word.h"
#include "sandbox/stack.h"

enum { HEX_SHOWN = 32, LABELS_MAX = 8 << 20 };
#define REPOSITORY "caisson-env"
#define RESOLVED "caisson.resolved"
#define BASE "caisson.base"

/* What a build needs to know of its base. */
struct base {
  struct csn_docker d; /* never opened: where the engine is, and the image */
  const csn_json *config;
};

static void
base_fini(struct base *b)
{
  csn_engine_fini(&b->d.engine);
  csn_arena_free(b->d.arena);
}

static int
ask_image(const struct csn_docker *d, csn_scope *sc, const char *method, const char *image,
          const char *what, const csn_json **answer, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(2000);
  csn_buf_addz(&path, "/images/");
  csn_engine_escape(&path, csn_cstr(image));
  csn_buf_addz(&path, what);
  return csn_engine_ask(&d->engine, sc, method, path.p, (csn_str){0}, d->arena, answer, err);
}

/* The image that the options name counts; without one, an archive can be sent. */
static int
find_base(struct base *b, const csn_environment *e, csn_scope *sc, const csn_sandbox_spec *spec,
          csn_err *err)
{
  csn_rootfs_word w = {.kind = CSN_ROOTFS_HOST};
  if (b->d.image)
    return 0;
  int rc = csn_rootfs_word_parse(e->base, &w, err);
  if (rc == 0 && w.kind != CSN_ROOTFS_TAR)
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "what is built upon in a container is sandbox.image, such as image: debian:12, "
                  "or a base of the form tar:FILE");
  return rc < 0 ? rc : csn_docker_image_of(&b->d, sc, w.path, spec, err);
}

static int
base_init(struct base *b, const csn_environment *e, csn_scope *sc, const csn_json *options,
          const csn_sandbox_told *told, csn_err *err)
{
  const struct csn_sandbox_own own = {.told = *told};
  const csn_sandbox_spec spec = {.backend = "docker", .options = options, .own = &own};
  const csn_json *v = NULL;
  *b = (struct base){
      .d = {.base = {.ops = &csn_sandbox_docker, .uid = -1, .gid = -1}, .arena = csn_arena_new(0)}};
  int rc = csn_docker_options(&b->d, &spec, err);
  if (rc == 0)
    rc = find_base(b, e, sc, &spec, err);
  if (rc == 0)
    rc = csn_docker_image(&b->d, sc, &spec, err);
  if (rc == 0)
    rc = ask_image(&b->d, sc, "GET", b->d.image_id, "/json", &v, err);
  if (rc >= 0)
    b->config = csn_json_get(v, "Config");
  return rc < 0 ? rc : 0;
}

/* 1: it is there. */
static int
find(const struct base *b, csn_scope *sc, csn_environment_built *built, csn_err *err)
{
  const csn_json *v = NULL;
  int rc = ask_image(&b->d, sc, "GET", built->image, "/json", &v, err);
  if (rc < 0)
    return rc == CSN_E_NOT_FOUND ? 0 : rc;
  csn_str said =
      csn_json_str(csn_json_get(csn_json_get(v, "Config"), "Labels"), RESOLVED, CSN_STR("{}"));
  csn_buf_add(&built->resolved, said);
  built->was_there = true;
  return csn_buf_done(&built->resolved, "the label " RESOLVED, err) < 0 ? CSN_E_LIMIT : 1;
}

/* ---- keeping it ---- */

static void
put_kept(csn_jw *w, const csn_json *config, const char *key)
{
  const csn_json *v = csn_json_get(config, key);
  if (!v || v->kind == CSN_JSON_NULL)
    return;
  csn_jw_key(w, key);
  csn_jw_value(w, v);
}

/* What is left out, or null, the engine would take from the container. */
static void
put_list(csn_jw *w, const char *key, const csn_json *v, const char *otherwise)
{
  csn_jw_key(w, key);
  if (v && v->kind == CSN_JSON_ARRAY && v->n) {
    csn_jw_value(w, v);
    return;
  }
  csn_jw_arr(w);
  if (otherwise)
    csn_jw_strz(w, otherwise);
  csn_jw_end(w);
}

/* What the base says of itself holds; the rest would be the building container's. */
static int
commit_body(const struct base *b, const csn_environment_built *built, csn_buf *out, csn_err *err)
{
  static const char *const kept[] = {"WorkingDir", "User"};
  const csn_json *command = csn_json_get(b->config, "Cmd"),
                 *entry = csn_json_get(b->config, "Entrypoint");
  csn_str signal = csn_json_str(b->config, "StopSignal", CSN_STR("SIGTERM"));
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  for (size_t i = 0; i < CSN_COUNT(kept); i++)
    put_kept(&w, b->config, kept[i]);
  csn_jw_key(&w, "StopSignal");
  csn_jw_str(&w, signal.n ? signal : CSN_STR("SIGTERM"));
  put_list(&w, "Entrypoint", entry, NULL);
  put_list(&w, "Cmd", command, "sh");
  csn_jw_key(&w, "Labels");
  csn_jw_obj(&w);
  csn_jw_key(&w, CSN_DOCKER_LABEL);
  csn_jw_strz(&w, CSN_DOCKER_NO_LABEL);
  csn_jw_key(&w, RESOLVED);
  csn_jw_str(&w, csn_buf_str(&built->resolved));
  csn_jw_key(&w, BASE);
  csn_jw_strz(&w, b->d.image);
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* Nothing runs in it any more, so all is written that will be. */
static int
commit(const struct base *b, csn_scope *sc, const char *id, const csn_environment_built *built,
       csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(LABELS_MAX), path = CSN_BUF(500);
  const char *tag = built->image + strlen(REPOSITORY ":");
  int rc = csn_docker_ask(&b->d, sc, "POST", id, "/stop?t=0", NULL, NULL, err);
  csn_buf_addf(&path, "/commit?container=%s&repo=" REPOSITORY "&tag=%s", id, tag);
  if (rc >= 0)
    rc = commit_body(b, built, &body, err);
  if (rc == 0)
    rc = csn_engine_ask(&b->d.engine, sc, "POST", path.p, csn_buf_str(&body), NULL, NULL, err);
  return rc < 0 ? csn_wrap(err, rc, "keep the image %s", built->image) : 0;
}

static int
make(const struct base *b, csn_environment *e, csn_scope *sc, const csn_json *options,
     const csn_environment_progress *progress, csn_environment_built *built, csn_err *err)
{
  static const int is_build = 1;
  const csn_json *on = NULL;
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  int rc = csn_environment_options(&csn_environment_docker, options, b->d.image_id, b->d.arena, &on,
                                   err);
  const csn_sandbox_spec spec = {.backend = "docker",
                                 .workspace_fd = -1,
                                 .lock_fd = -1,
                                 .options = on,
                                 .network = e->network,
                                 .own = &(struct csn_sandbox_own){.build = &is_build}};
  if (rc == 0)
    rc = csn_sandbox_open(&sb, sc, &spec, err);
  if (rc == 0)
    rc = csn_environment_run(e, sb, sc, progress, &built->resolved, err);
  return rc < 0 ? rc : commit(b, sc, ((const struct csn_docker *)sb)->id, built, err);
}

struct telling {
  const csn_environment_progress *progress;
  bool is_begun;
};

/* Of the base that is fetched: a step of the build. */
static void
on_told(void *user, const char *what)
{
  struct telling *t = user;
  csn_str text = csn_cstr(what);
  if (!t->is_begun)
    t->progress->fn(t->progress->user, what, NULL);
  t->is_begun = true;
  t->progress->fn(t->progress->user, what, &text);
}

static int
build(csn_environment *e, csn_scope *sc, const csn_json *options,
      const csn_environment_progress *progress, csn_environment_built *built, csn_err *err)
{
  csn_auto(base_fini) struct base b;
  csn_auto(csn_closep) int lock = -1;
  char hex[65];
  struct telling telling = {.progress = progress};
  const csn_sandbox_told told = {progress ? on_told : NULL, &telling};
  int rc = base_init(&b, e, sc, options, &told, err);
  if (rc < 0)
    return rc;
  csn_digest name = csn_environment_hash(e, csn_cstr(b.d.image_id));
  csn_digest_hex(&name, hex);
  snprintf(built->image, sizeof built->image, REPOSITORY ":%.*s", HEX_SHOWN, hex);
  rc = find(&b, sc, built, err);
  if (rc == 0)
    rc = csn_environment_own(&lock, sc, &name, err);
  if (rc == 0)
    rc = find(&b, sc, built, err);
  if (rc != 0)
    return rc < 0 ? rc : 0;
  return make(&b, e, sc, options, progress, built, err);
}

/* ---- those that are there ---- */

/* What was built, and the archives that it was built upon. */
static bool
is_ours(csn_str name)
{
  return csn_str_starts(name, CSN_STR(REPOSITORY ":")) ||
         csn_str_starts(name, CSN_STR(CSN_DOCKER_BASES ":"));
}

static void
tell(const csn_json *v, void (*fn)(void *user, const csn_environment_image *image), void *user)
{
  csn_environment_image i = {
      .base = csn_json_str(csn_json_get(v, "Labels"), BASE, CSN_STR("")),
      .created_ms = csn_json_int(v, "Created", 0) * 1000,
      .bytes = csn_json_int(v, "Size", 0),
  };
  csn_json_each (tag, csn_json_get(v, "RepoTags")) {
    i.name = tag->text;
    if (tag->kind == CSN_JSON_STRING && is_ours(i.name))
      fn(user, &i);
  }
}

static int
list(csn_scope *sc, const csn_json *options,
     void (*fn)(void *user, const csn_environment_image *image), void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(500);
  const csn_json *all = NULL;
  csn_engine e;
  int rc = csn_engine_init(&e, csn_json_str(options, "host", (csn_str){0}), err);
  if (rc < 0)
    return rc;
  csn_buf_addz(&path, "/images/json?filters=");
  csn_engine_escape(&path,
                    CSN_STR("{\"reference\":[\"" REPOSITORY "\",\"" CSN_DOCKER_BASES "\"]}"));
  rc = csn_engine_ask(&e, sc, "GET", path.p, (csn_str){0}, a, &all, err);
  csn_json_each (v, all)
    tell(v, fn, user);
  csn_engine_fini(&e);
  return rc < 0 ? rc : 0;
}

static int
remove_image(csn_scope *sc, const csn_json *options, csn_str name, int64_t *bytes, csn_err *err)
{
  struct csn_docker d = {.arena = csn_arena_new(0)};
  csn_auto(csn_freep) char *image = csn_dupz(name);
  const csn_json *history = NULL;
  int rc = is_ours(name)
               ? csn_engine_init(&d.engine, csn_json_str(options, "host", (csn_str){0}), err)
               : csn_fail(err, CSN_E_INVALID,
                          "%s: expected " REPOSITORY ":HEX, as `image ls` says it", image);
  if (rc == 0)
    rc = ask_image(&d, sc, "GET", image, "/history", &history, err);
  if (rc >= 0) {
    *bytes = history && history->child ? csn_json_int(history->child, "Size", 0) : 0;
    rc = ask_image(&d, sc, "DELETE", image, "", NULL, err);
  }
  csn_engine_fini(&d.engine);
  csn_arena_free(d.arena);
  return rc < 0 ? rc : 0;
}

const csn_environment_maker csn_environment_docker = {
    .backend = "docker",
    .option = "image",
    .build = build,
    .list = list,
    .remove = remove_image,
};
