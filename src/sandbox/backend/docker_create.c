/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_create.c - what a container of ours is: from a specification to the
 * request that makes it.
 *
 * Everything is off that is not needed: no network, no capabilities, none to be
 * gained, a root file system that cannot be written, folders in memory for what
 * programs write aside, a volume for the workspace, no log.  The first process
 * reads its input until it ends, and that is held by the harness: so a
 * container outlives no harness. */
#include <stdio.h>

#include "sandbox/backend/docker.h"
#include "sandbox/backends.h"
#include "sandbox/jail_limits.h"
#include "sandbox/limits.h"
#include "sandbox/strings.h"

enum { USER_MAX = 64 };
#define DEFAULT_MEMORY (2LL << 30)
#define HOME "/home/user"

/* ---- options ---- */

/* A word of Docker's: nothing that could be another part of a path or query. */
static bool
is_word(csn_str s, const char *further)
{
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
          (c && strchr(further, c))))
      return false;
  }
  return s.n > 0 && s.n < 300 && s.p[0] != '-';
}

/* UID or UID:GID, not root: as UID:GID; or a name, as it is. */
int
csn_docker_take_user(struct csn_docker *d, csn_str user, csn_err *err)
{
  int64_t uid = 0, gid = 0;
  size_t colon = csn_str_find(user, CSN_STR(":"), 0);
  csn_str first = colon == SIZE_MAX ? user : csn_strn(user.p, colon);
  if (user.n > USER_MAX || !is_word(user, "_.-:"))
    return csn_fail(err, CSN_E_INVALID, "user \"%.*s\": expected NAME or UID[:GID]",
                    (int)(user.n < 60 ? user.n : 60), user.p ? user.p : "");
  if (!csn_str_int(first, &uid)) {
    d->user = csn_arena_dup(d->arena, user).p;
    return csn_str_eq(first, CSN_STR("root"))
               ? csn_fail(err, CSN_E_INVALID, "user root: commands are never root")
               : 0;
  }
  gid = uid;
  if (colon != SIZE_MAX && !csn_str_int(csn_strn(user.p + colon + 1, user.n - colon - 1), &gid))
    return csn_fail(err, CSN_E_INVALID, "user \"%.*s\": expected NAME or UID[:GID]", (int)user.n,
                    user.p);
  if (uid < 1 || gid < 0 || uid > INT32_MAX || gid > INT32_MAX)
    return csn_fail(err, CSN_E_INVALID, "user %.*s: commands are never root", (int)user.n, user.p);
  d->base.uid = (int)uid;
  d->base.gid = (int)gid;
  d->user = csn_arena_printf(d->arena, "%lld:%lld", (long long)uid, (long long)gid).p;
  return 0;
}

int
csn_docker_options(struct csn_docker *d, const csn_sandbox_spec *spec, csn_err *err)
{
  const csn_json *o = spec->options;
  csn_str image = csn_json_str(o, "image", (csn_str){0}),
          runtime = csn_json_str(o, "runtime", (csn_str){0});
  int rc = 0;
  if (spec->rootfs)
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "rootfs: a container's is its image; use `image`");
  csn_json_each (m, o) {
    bool is_known = false;
    for (const csn_sandbox_option *k = csn_sandbox_docker.options; k->name; k++)
      is_known |= csn_str_eq(m->key, csn_cstr(k->name)) && m->kind == k->kind;
    if (rc == 0 && !is_known)
      rc = csn_fail(err, CSN_E_INVALID,
                    "options.%.*s: expected image, host and runtime, which are texts",
                    (int)(m->key.n & 0xff), m->key.p);
  }
  if (rc < 0)
    return rc;
  if (image.n && !is_word(image, "_.-/:@"))
    return csn_fail(err, CSN_E_INVALID, "image \"%.*s\" is no name of an image",
                    (int)(image.n < 100 ? image.n : 100), image.p);
  if (runtime.n && !is_word(runtime, "_.-"))
    return csn_fail(err, CSN_E_INVALID, "runtime \"%.*s\" is no name of a runtime",
                    (int)(runtime.n < 100 ? runtime.n : 100), runtime.p);
  d->image = image.n ? csn_arena_dup(d->arena, image).p : NULL;
  d->runtime = runtime.n ? csn_arena_dup(d->arena, runtime).p : NULL;
  rc = csn_engine_init(&d->engine, csn_json_str(o, "host", (csn_str){0}), err);
  return rc < 0 ? rc : csn_docker_network_check(d, spec, err);
}

/* ---- the container ---- */

static void
put_text(csn_jw *w, const char *key, const char *text)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, text);
}

static void
put_number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

static void
put_bool(csn_jw *w, const char *key, bool b)
{
  csn_jw_key(w, key);
  csn_jw_bool(w, b);
}

static void
put_ulimit(csn_jw *w, const char *name, int64_t soft, int64_t hard)
{
  csn_jw_obj(w);
  put_text(w, "Name", name);
  put_number(w, "Soft", soft);
  put_number(w, "Hard", hard);
  csn_jw_end(w);
}

/* Memory without a word is bounded: a host is shared. */
static int64_t
memory_of(const csn_jail_limits *asked)
{
  return asked->memory == 0 ? DEFAULT_MEMORY : asked->memory;
}

static void
put_limits(csn_jw *w, const csn_sandbox_limits *l)
{
  csn_jail_limits asked;
  csn_jail_limits_ask(l, &asked);
  int64_t memory = memory_of(&asked);
  if (memory > 0) {
    put_number(w, "Memory", memory);
    put_number(w, "MemorySwap", asked.swap < 0 ? -1 : memory + asked.swap);
  }
  put_number(w, "PidsLimit", asked.pids);
  if (asked.cpu > 0)
    put_number(w, "NanoCpus", asked.cpu * 1000000);
  csn_jw_key(w, "Ulimits");
  csn_jw_arr(w);
  if (asked.open_files > 0)
    put_ulimit(w, "nofile", asked.open_files, asked.most_open_files);
  if (asked.file_size > 0)
    put_ulimit(w, "fsize", asked.file_size, asked.file_size);
  put_ulimit(w, "core", 0, 0);
  csn_jw_end(w);
}

void
csn_docker_put_folder(csn_jw *w, const char *from, const char *to)
{
  csn_jw_obj(w);
  put_text(w, "Type", "bind");
  put_text(w, "Source", from);
  put_text(w, "Target", to);
  put_bool(w, "ReadOnly", true);
  csn_jw_end(w);
}

/* Folders in memory: nothing of them becomes a part of an image that is built. */
struct folder {
  const char *path, *how;
};
static const struct folder of_a_run[] = {{"/tmp", "exec,mode=1777"},
                                         {"/var/tmp", "exec,mode=1777"},
                                         {"/run", "noexec,mode=755"},
                                         {HOME, "exec,mode=700"},
                                         {0}},
                           of_a_build[] = {{"/tmp", "exec,mode=1777"},
                                           {"/run", "noexec,mode=755"},
                                           {"/root", "exec,mode=700"},
                                           {"/home", "exec,mode=755"},
                                           {0}};

static void
put_mounts(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w)
{
  csn_jw_key(w, "Tmpfs");
  csn_jw_obj(w);
  for (const struct folder *f = d->is_build ? of_a_build : of_a_run; f->path; f++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(200);
    csn_buf_addf(&text, "rw,nosuid,nodev,%s", f->how);
    if (d->is_build)
      csn_buf_addz(&text, ",uid=0,gid=0");
    else if (d->base.uid > 0) /* a folder that the image has keeps its mode, so it is the user's */
      csn_buf_addf(&text, ",uid=%d,gid=%d", d->base.uid, d->base.gid);
    else
      csn_buf_addz(&text, ",mode=1777");
    put_text(w, f->path, text.p);
  }
  csn_jw_end(w);
  csn_jw_key(w, "Mounts");
  csn_jw_arr(w);
  if (!d->is_build)
    csn_docker_volumes_put(d, spec, w);
  if (d->has_policy)
    csn_docker_put_folder(w, csn_graft_trust(d->graft), CSN_GRAFT_PLACE);
  csn_jw_end(w);
}

static void
put_host(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w)
{
  static const char *const all[] = {"ALL", NULL}, *const opts[] = {"no-new-privileges", NULL},
                           /* of files and of who one is, as in a jail's build */
                                                      *const of_builds[] = {
                                                          "CHOWN",  "DAC_OVERRIDE",
                                                          "FOWNER", "FSETID",
                                                          "KILL",   "SETUID",
                                                          "SETGID", NULL};
  csn_jw_key(w, "HostConfig");
  csn_jw_obj(w);
  if (d->graft) {
    csn_auto(csn_buf_finip) csn_buf of = CSN_BUF(100);
    csn_buf_addf(&of, "container:%s", d->network_id);
    put_text(w, "NetworkMode", of.p);
  } else {
    put_text(w, "NetworkMode", "none");
  }
  put_text(w, "IpcMode", "private");
  put_bool(w, "Privileged", false);
  put_bool(w, "ReadonlyRootfs", !d->is_build);
  put_bool(w, "Init", d->has_init);
  csn_strings_to_json(w, "CapDrop", all);
  csn_strings_to_json(w, "CapAdd", d->is_build ? of_builds : NULL);
  csn_strings_to_json(w, "SecurityOpt", opts);
  if (d->runtime)
    put_text(w, "Runtime", d->runtime);
  csn_jw_key(w, "LogConfig");
  csn_jw_obj(w);
  put_text(w, "Type", "none");
  csn_jw_end(w);
  put_mounts(d, spec, w);
  put_limits(w, spec->limits);
  csn_jw_end(w);
}

int
csn_docker_body(struct csn_docker *d, const csn_sandbox_spec *spec, csn_buf *out, csn_err *err)
{
  /* Nothing but its input's end ends it; not a word of the image's is used. */
  static const char *const entry[] = {"sh", "-c", "exec cat >/dev/null", NULL}, *const none[] = {
                                                                                    NULL};
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  put_text(&w, "Image", d->image_id && *d->image_id ? d->image_id : d->image);
  put_text(&w, "User", d->user);
  put_text(&w, "WorkingDir", d->is_build ? "/" : d->base.root);
  if (!d->graft) /* else it has that one's */
    put_text(&w, "Hostname", "sandbox");
  csn_strings_to_json(&w, "Entrypoint", entry);
  csn_strings_to_json(&w, "Cmd", none);
  put_text(&w, "StopSignal", "SIGKILL");
  put_bool(&w, "OpenStdin", true);
  put_bool(&w, "StdinOnce", true);
  put_bool(&w, "AttachStdin", true);
  put_bool(&w, "NetworkDisabled", d->graft == NULL);
  csn_jw_key(&w, "Env");
  csn_jw_arr(&w);
  if (!d->is_build) { /* else it would be the image's */
    csn_jw_strz(&w, "HOME=" HOME);
    csn_jw_strz(&w, "LANG=C.UTF-8");
  }
  for (const char *const *e = spec->environment; e && *e; e++)
    csn_jw_strz(&w, *e);
  csn_jw_end(&w);
  csn_jw_key(&w, "Labels");
  csn_jw_obj(&w);
  put_text(&w, CSN_DOCKER_LABEL, spec->label ? spec->label : "");
  csn_jw_end(&w);
  put_host(d, spec, &w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

void
csn_docker_held(struct csn_docker *d, const csn_sandbox_limits *l, const csn_json *warnings)
{
  static const struct {
    enum csn_limit which;
    const char *words; /* of the engine, about a kernel that lacks it */
  } lacks[] = {{CSN_LIMIT_MEMORY, "memory limit"},
               {CSN_LIMIT_SWAP, "swap limit"},
               {CSN_LIMIT_PIDS, "PIDs limit"},
               {CSN_LIMIT_CPU, "CPU"}};
  csn_jail_limits asked;
  csn_jail_limits_ask(l, &asked);
  const int64_t values[CSN_LIMITS] = {[CSN_LIMIT_MEMORY] = memory_of(&asked),
                                      [CSN_LIMIT_SWAP] = asked.swap,
                                      [CSN_LIMIT_PIDS] = asked.pids,
                                      [CSN_LIMIT_CPU] = asked.cpu,
                                      [CSN_LIMIT_OPEN_FILES] = asked.most_open_files,
                                      [CSN_LIMIT_FILE_SIZE] = asked.file_size};
  static const enum csn_limit its[] = {CSN_LIMIT_MEMORY, CSN_LIMIT_SWAP,       CSN_LIMIT_PIDS,
                                       CSN_LIMIT_CPU,    CSN_LIMIT_OPEN_FILES, CSN_LIMIT_FILE_SIZE};
  for (size_t i = 0; i < CSN_COUNT(its); i++) {
    d->base.held.state[its[i]] = CSN_LIMIT_ENFORCED;
    d->base.held.value[its[i]] = values[its[i]];
  }
  csn_json_each (v, warnings)
    for (size_t i = 0; i < CSN_COUNT(lacks); i++)
      if (v->kind == CSN_JSON_STRING &&
          csn_str_find(v->text, csn_cstr(lacks[i].words), 0) != SIZE_MAX) {
        d->base.held.state[lacks[i].which] = CSN_LIMIT_ABSENT;
        d->base.held.value[lacks[i].which] = CSN_UNLIMITED;
      }
}
