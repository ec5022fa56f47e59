/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_volume.c - volumes of a container that show storage of others: made
 * before it, gone with it.
 *
 * Each has the label of its sandbox, so that those which a harness that died has
 * left are found, and the container's name in another.  Their options, which
 * hold credentials, stay at the engine. */
#include <stdio.h>

#include "sandbox/backend/docker.h"
#include "sandbox/mount_authority.h"
#include "sandbox/mount_volume.h"

enum { BODY_MAX = 1 << 20, NAME_MAX_BYTES = 255 };
#define OF_CONTAINER "caisson.container"

/* m NULL: the workspace's, which has a name of its own beside storage. */
static void
put_name(const struct csn_docker *d, const csn_mount *m, csn_buf *out)
{
  if (m)
    csn_mount_volume_name(d->name, m, out);
  else
    csn_buf_addf(out, "%s-workspace", d->name);
}

static int
make_one(const struct csn_docker *d, csn_scope *sc, const char *label, const csn_mount *m,
         csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(NAME_MAX_BYTES), body = CSN_BUF(BODY_MAX);
  int rc = 0;
  csn_jw w;
  put_name(d, m, &name);
  csn_jw_init(&w, &body);
  csn_jw_obj(&w);
  csn_jw_key(&w, "Name");
  csn_jw_str(&w, csn_buf_str(&name));
  if (m) {
    csn_jw_key(&w, "Driver");
    csn_jw_str(&w, csn_mount_volume_driver(m));
    csn_jw_key(&w, "DriverOpts");
    csn_jw_obj(&w);
    rc = csn_mount_volume_options(m, d->base.uid, d->base.gid, &w, err);
    csn_jw_end(&w);
  }
  csn_jw_key(&w, "Labels");
  csn_jw_obj(&w);
  csn_jw_key(&w, CSN_DOCKER_LABEL);
  csn_jw_strz(&w, label ? label : "");
  csn_jw_key(&w, OF_CONTAINER);
  csn_jw_strz(&w, d->name);
  csn_jw_end(&w);
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_buf_done(&name, "the name of a volume", err);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_engine_ask(&d->engine, sc, "POST", "/volumes/create", csn_buf_str(&body), NULL, NULL,
                        err);
  if (body.p)
    explicit_bzero(body.p, body.n);
  return rc < 0 ? rc : 0;
}

static int
make_storage(const struct csn_docker *d, csn_scope *sc, const char *label, const csn_mount *m,
             csn_err *err)
{
  csn_str driver = csn_mount_volume_driver(m);
  if (!csn_mount_is_volume(m))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the mount at %s: a container mounts nothing itself; use the strategy "
                    "docker_volume",
                    m->place.p);
  int rc = make_one(d, sc, label, m, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the mount at %s: the container engine has no volume driver \"%.*s\"; install "
                    "its plugin there (docs/mounts.md)",
                    m->place.p, (int)(driver.n & 0x3f), driver.p);
  return csn_wrap(err, csn_mount_redact_err(m, rc, err), "the mount at %s", m->place.p);
}

int
csn_docker_volumes_make(const struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                        csn_err *err)
{
  int rc = make_one(d, sc, spec->label, NULL, err);
  for (size_t i = 0; rc == 0 && spec->mounts && spec->mounts[i]; i++)
    rc = make_storage(d, sc, spec->label, spec->mounts[i], err);
  return rc;
}

static void
put_one(const struct csn_docker *d, const csn_mount *m, bool is_filled, csn_jw *w)
{
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(NAME_MAX_BYTES);
  put_name(d, m, &name);
  csn_jw_obj(w);
  csn_jw_key(w, "Type");
  csn_jw_strz(w, "volume");
  if (m || d->has_volumes) {
    csn_jw_key(w, "Source");
    csn_jw_str(w, csn_buf_str(&name));
  }
  csn_jw_key(w, "Target");
  csn_jw_str(w, m ? m->place : csn_cstr(d->base.root));
  if (m) {
    csn_jw_key(w, "ReadOnly");
    csn_jw_bool(w, m->is_read_only);
  }
  if (is_filled) { /* else what the image has there is put into it, with its owner */
    csn_jw_key(w, "VolumeOptions");
    csn_jw_raw(w, CSN_STR("{\"NoCopy\":true}"));
  }
  csn_jw_end(w);
}

void
csn_docker_volumes_put(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w)
{
  put_one(d, NULL, spec->mounts && spec->mounts[0], w);
  for (size_t i = 0; spec->mounts && spec->mounts[i]; i++)
    put_one(d, spec->mounts[i], true, w);
}

int
csn_docker_volumes_find(struct csn_docker *d, const csn_json *its, const csn_sandbox_spec *spec,
                        csn_err *err)
{
  d->has_volumes = false;
  csn_json_each (m, its) /* the workspace's alone has no name */
    d->has_volumes =
        d->has_volumes || (csn_str_eq(csn_json_str(m, "Type", (csn_str){0}), CSN_STR("volume")) &&
                           csn_json_str(m, "Source", (csn_str){0}).n);
  for (size_t i = 0; spec->mounts && spec->mounts[i]; i++) {
    bool is_there = false;
    csn_json_each (m, its)
      is_there |= csn_str_eq(csn_json_str(m, "Target", (csn_str){0}), spec->mounts[i]->place);
    if (!is_there)
      return csn_fail(err, CSN_E_CONFLICT,
                      "the container was made without the mount at %s, and none can be added to it",
                      spec->mounts[i]->place.p);
  }
  return 0;
}

/* ---- taking them away ---- */

static int
list(const struct csn_docker *d, csn_scope *sc, const char *label, const char *value, csn_arena *a,
     const csn_json **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(2000), filter = CSN_BUF(600), word = CSN_BUF(400);
  const csn_json *v = NULL;
  csn_buf_addf(&word, "%s%s%s", label, value ? "=" : "", value ? value : "");
  csn_buf_addz(&filter, "{\"label\":[");
  csn_json_quote(&filter, csn_buf_str(&word));
  csn_buf_addz(&filter, "]}");
  csn_buf_addz(&path, "/volumes?filters=");
  csn_engine_escape(&path, csn_buf_str(&filter));
  int rc = csn_buf_done(&path, "a question to the container engine", err);
  if (rc == 0)
    rc = csn_engine_ask(&d->engine, sc, "GET", path.p, (csn_str){0}, a, &v, err);
  *out = csn_json_get(v, "Volumes");
  return rc < 0 ? rc : 0;
}

/* 1: removed; 0: it is not there or somebody uses it. */
static int
remove_one(const struct csn_docker *d, csn_scope *sc, csn_str name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(2000);
  csn_buf_addz(&path, "/volumes/");
  csn_engine_escape(&path, name);
  int rc = csn_engine_ask(&d->engine, sc, "DELETE", path.p, (csn_str){0}, NULL, NULL, err);
  return rc == CSN_E_NOT_FOUND || rc == CSN_E_CONFLICT ? 0 : rc < 0 ? rc : 1;
}

int
csn_docker_volumes_drop(const struct csn_docker *d, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *all = NULL;
  int rc = d->name ? list(d, sc, OF_CONTAINER, d->name, a, &all, err) : 0;
  csn_json_each (v, all)
    if (rc >= 0)
      rc = remove_one(d, sc, csn_json_str(v, "Name", (csn_str){0}), err);
  return csn_wrap(err, rc < 0 ? rc : 0, "volumes of the sandbox");
}

int
csn_docker_volumes_sweep(const struct csn_docker *d, csn_scope *sc, const csn_sandbox_sweep *how,
                         csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *all = NULL;
  size_t n = how->owner ? strlen(how->owner) : 0;
  int rc = list(d, sc, CSN_DOCKER_LABEL, NULL, a, &all, err);
  csn_json_each (v, all) {
    char label[200];
    csn_str name = csn_json_str(v, "Name", (csn_str){0}),
            text = csn_json_str(csn_json_get(v, "Labels"), CSN_DOCKER_LABEL, (csn_str){0});
    /* One without an owner goes with its container; a stranger may be making it now. */
    if (rc < 0 || !text.n || text.n >= sizeof label)
      continue;
    snprintf(label, sizeof label, "%.*s", (int)text.n, text.p);
    if ((n && (strncmp(label, how->owner, n) != 0 || label[n] != '/')) ||
        (how->is_wanted && how->is_wanted(how->user, label)))
      continue;
    rc = remove_one(d, sc, name, err);
    if (rc == 1 && how->removed)
      how->removed(how->user,
                   csn_arena_printf(a, "volume %.*s of %s", (int)(name.n & 0xff), name.p, label).p);
  }
  return rc < 0 ? rc : 0;
}
