/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_pull.c - the image of a container: found, fetched from a registry by the
 * engine, or sent to it as an archive.
 *
 * What is heard while the engine fetches is told to whoever opens the sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/backend/docker.h"
#include "sandbox/engine_auth.h"
#include "sandbox/stack.h"

enum { LAYERS_MAX = 256, LAYER_ID = 32, HEX_SHOWN = 32, FIELD_MAX = 64 << 10 };

/* ---- what is heard ---- */

struct layer {
  char id[LAYER_ID];
  bool is_done;
};

struct fetching {
  const struct csn_docker *d;
  csn_sandbox_told told;
  struct layer layers[LAYERS_MAX];
  size_t n, done;
};

static void
tell(const struct fetching *f)
{
  char text[200];
  if (!f->told.fn || f->n == 0)
    return;
  snprintf(text, sizeof text, "fetching image %.100s: %zu of %zu layers", f->d->image, f->done,
           f->n);
  f->told.fn(f->told.user, text);
}

static void
take_layer(struct fetching *f, csn_str id, bool is_done)
{
  size_t i = 0;
  if (id.n == 0 || id.n >= LAYER_ID)
    return;
  while (i < f->n && !csn_str_eq(csn_cstr(f->layers[i].id), id))
    i++;
  if (i == LAYERS_MAX)
    return;
  if (i == f->n) {
    memcpy(f->layers[i].id, id.p, id.n);
    f->layers[i].id[id.n] = '\0';
    f->n++;
  }
  if (is_done && !f->layers[i].is_done) {
    f->layers[i].is_done = true;
    f->done++;
  }
  if (is_done || f->n == 1)
    tell(f);
}

static int
on_line(void *user, const csn_json *line, csn_err *err)
{
  struct fetching *f = user;
  csn_str error = csn_json_str(line, "error", (csn_str){0}),
          status = csn_json_str(line, "status", (csn_str){0}),
          id = csn_json_str(line, "id", (csn_str){0});
  if (error.n)
    return csn_fail(err, CSN_E_UNAVAILABLE, "%.*s", (int)(error.n < 300 ? error.n : 300), error.p);
  if (csn_str_eq(status, CSN_STR("Pulling fs layer")))
    take_layer(f, id, false);
  else if (csn_str_eq(status, CSN_STR("Pull complete")) ||
           csn_str_eq(status, CSN_STR("Already exists")))
    take_layer(f, id, true);
  return 0;
}

/* ---- from a registry ---- */

/* Who may not have it, or is not known there, gets to hear what to do. */
static int
explain(const struct csn_docker *d, csn_str registry, bool is_known, const csn_err *why,
        csn_err *err)
{
  bool is_refused = why->code == CSN_E_DENIED || strstr(why->msg, "denied") ||
                    strstr(why->msg, "unauthorized") || strstr(why->msg, "no basic auth");
  if (!is_refused)
    return csn_fail(err, why->code, "image %s is not there and cannot be fetched: %s", d->image,
                    why->msg);
  return csn_fail(err, CSN_E_DENIED,
                  "image %s is not there, or %.*s does not give it to %s; `docker login %.*s` says "
                  "who you are: %s",
                  d->image, (int)(registry.n & 0xff), registry.p,
                  is_known ? "whom docker's config.json names" : "somebody unknown",
                  (int)(registry.n & 0xff), registry.p, why->msg);
}

static int
pull(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(2000), field = CSN_BUF(FIELD_MAX);
  csn_auto(csn_freep) struct fetching *f = csn_alloc(sizeof *f);
  csn_str registry = csn_engine_registry(csn_cstr(d->image));
  const char *slash = strrchr(d->image, '/'), *colon = strrchr(d->image, ':');
  csn_err why, unread = {0};
  *f = (struct fetching){.d = d, .told = csn_spec_told(spec)};
  csn_buf_addz(&path, "/images/create?fromImage=");
  csn_engine_escape(&path, csn_cstr(d->image));
  if (!colon || (slash && slash > colon)) /* else it would be all tags there are */
    csn_buf_addz(&path, "&tag=latest");
  int known = csn_engine_auth(sc, registry, &field, &unread);
  if (known < 0) /* what is public needs none */
    csn_buf_clear(&field);
  int rc = csn_engine_watch(&d->engine, sc, path.p, csn_buf_str(&field), on_line, f, &why);
  if (field.p)
    explicit_bzero(field.p, field.n);
  if (rc == 0)
    return 0;
  rc = explain(d, registry, known > 0, &why, err);
  return known < 0 ? csn_wrap(err, rc, "%s", unread.msg) : rc;
}

/* ---- from an archive ---- */

/* The same file gives the same image, without being read again. */
static int
name_archive(struct csn_docker *d, int fd, csn_err *err)
{
  struct stat st;
  char hex[65];
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "fstat");
  const int64_t is[] = {(int64_t)st.st_dev, (int64_t)st.st_ino, (int64_t)st.st_size,
                        (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec};
  csn_digest sum = csn_sha256_of(csn_strn((const char *)is, sizeof is));
  csn_digest_hex(&sum, hex);
  d->image = csn_arena_printf(d->arena, CSN_DOCKER_BASES ":%.*s", HEX_SHOWN, hex).p;
  return 0;
}

int
csn_docker_image_of(struct csn_docker *d, csn_scope *sc, csn_str archive,
                    const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_freep) char *file = csn_dupz(archive);
  csn_auto(csn_closep) int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(300);
  csn_auto(csn_freep) struct fetching *f = csn_alloc(sizeof *f);
  const csn_json *v = NULL;
  int rc = fd < 0 ? csn_fail_errno(err, "%s", file) : name_archive(d, fd, err);
  if (rc < 0)
    return rc;
  *f = (struct fetching){.d = d};
  csn_buf_addf(&path, "/images/%s/json", d->image);
  rc = csn_engine_ask(&d->engine, sc, "GET", path.p, (csn_str){0}, d->arena, &v, err);
  if (rc != CSN_E_NOT_FOUND)
    return rc < 0 ? rc : 0;
  csn_sandbox_told told = csn_spec_told(spec);
  if (told.fn)
    told.fn(told.user, csn_arena_printf(d->arena, "sending %.200s to the engine", file).p);
  csn_buf_clear(&path);
  csn_buf_addf(&path, "/images/create?fromSrc=-&repo=" CSN_DOCKER_BASES "&tag=%s",
               d->image + strlen(CSN_DOCKER_BASES ":"));
  rc = csn_engine_import(&d->engine, sc, path.p, fd, on_line, f, err);
  return csn_wrap(err, rc, "%s", file);
}

/* ---- which it is ---- */

int
csn_docker_image(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(2000);
  const csn_json *v = NULL;
  if (!d->image)
    return csn_fail(err, CSN_E_INVALID,
                    "it needs an `image`, such as image: debian:12, with a POSIX sh in it");
  csn_buf_addz(&path, "/images/");
  csn_engine_escape(&path, csn_cstr(d->image));
  csn_buf_addz(&path, "/json");
  int rc = csn_engine_ask(&d->engine, sc, "GET", path.p, (csn_str){0}, d->arena, &v, err);
  if (rc == CSN_E_NOT_FOUND) {
    rc = pull(d, sc, spec, err);
    if (rc == 0)
      rc = csn_engine_ask(&d->engine, sc, "GET", path.p, (csn_str){0}, d->arena, &v, err);
  }
  if (rc < 0)
    return rc;
  d->image_id = csn_arena_dup(d->arena, csn_json_str(v, "Id", (csn_str){0})).p;
  csn_str user = csn_json_str(csn_json_get(v, "Config"), "User", (csn_str){0});
  if (d->is_build) {
    d->user = "0:0";
    d->base.uid = d->base.gid = 0;
    return 0;
  }
  if (spec->user)
    return csn_docker_take_user(d, csn_cstr(spec->user), err);
  if (csn_docker_take_user(d, user, NULL) < 0) /* none, or root */
    return csn_docker_take_user(d, CSN_STR("1000:1000"), err);
  return 0;
}
