/* SPDX-License-Identifier: Apache-2.0
 * agent_sandbox.c - the section `sandbox` of agent.yaml: a table of its keys,
 * each with how it is read and how the resolved form writes it. */
#include "core/fd.h"
#include "run/agent_read.h"
#include "sandbox/devices.h"
#include "sandbox/mount_authority.h"
#include "sandbox/rootfs_word.h"

/* One key.  `read` gets the key's value; `write` adds nothing when the agent
 * does not have it. */
struct part {
  const char *key;
  int (*read)(const struct csn_agent_reader *r, const csn_json *m);
  void (*write)(const csn_agent *a, csn_jw *w);
};

/* ---- level ---- */

static int
read_level(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_agent *a = r->a;
  bool is_native = m->kind == CSN_JSON_STRING && csn_str_eq(m->text, CSN_STR("native"));
  bool is_gvisor = m->kind == CSN_JSON_STRING && csn_str_eq(m->text, CSN_STR("gvisor"));
  if (!is_native && !is_gvisor)
    return csn_agent_complain(r, m, "sandbox.level: expected native or gvisor");
  if (strcmp(a->sandbox.backend, "jail") != 0)
    return csn_agent_complain(r, m, "sandbox.level: only the back-end jail has levels");
  a->sandbox.level = is_gvisor ? "gvisor" : NULL;
  return 0;
}

static void
write_level(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.level)
    return;
  csn_jw_key(w, "level");
  csn_jw_strz(w, a->sandbox.level);
}

/* ---- rootfs ---- */

static int
read_rootfs(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_agent *a = r->a;
  int rc = csn_agent_want(r, m, "sandbox.rootfs", CSN_JSON_STRING);
  if (rc == 0 && memchr(m->text.p, '\0', m->text.n))
    rc = csn_agent_complain(r, m, "sandbox.rootfs: a NUL character is not allowed");
  if (rc < 0 || m->text.n == 0)
    return rc;
  csn_rootfs_word word;
  csn_auto(csn_buf_finip) csn_buf resolved = CSN_BUF(1 << 16);
  csn_rootfs_word_resolve(&resolved, m->text, a->folder);
  rc = csn_buf_done(&resolved, "sandbox.rootfs", r->err);
  if (rc == 0)
    rc = csn_rootfs_word_parse(csn_buf_str(&resolved), &word, r->err);
  if (rc < 0)
    return csn_agent_complain(r, m,
                              "sandbox.rootfs: expected host, a folder, dir:PATH, tar:FILE, "
                              "oci:PATH or image:NAME");
  a->sandbox.rootfs = csn_arena_dup(a->arena, csn_buf_str(&resolved)).p;
  return 0;
}

static void
write_rootfs(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.rootfs)
    return;
  csn_jw_key(w, "rootfs");
  csn_jw_strz(w, a->sandbox.rootfs);
}

/* ---- run_as ---- */

static int
read_run_as(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = csn_agent_want(r, m, "sandbox.run_as", CSN_JSON_STRING);
  if (rc == 0 && (m->text.n == 0 || memchr(m->text.p, '\0', m->text.n)))
    rc = csn_agent_complain(r, m, "sandbox.run_as: expected the name or number of a user");
  if (rc == 0)
    r->a->sandbox.run_as = csn_arena_dup(r->a->arena, m->text).p;
  return rc;
}

static void
write_run_as(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.run_as)
    return;
  csn_jw_key(w, "run_as");
  csn_jw_strz(w, a->sandbox.run_as);
}

/* ---- cwd ---- */

static int
read_cwd(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4000);
  int rc = csn_agent_want(r, m, "sandbox.cwd", CSN_JSON_STRING);
  if (rc < 0)
    return rc;
  if (!m->text.n || m->text.p[0] == '/' || memchr(m->text.p, '\0', m->text.n) ||
      memchr(m->text.p, '\\', m->text.n) || !csn_path_add(&clean, m->text) || clean.over)
    return csn_agent_complain(r, m, "sandbox.cwd: expected a folder of the workspace, as in repo");
  r->a->sandbox.cwd = clean.n ? csn_arena_dup(r->a->arena, csn_buf_str(&clean)).p : NULL;
  return 0;
}

static void
write_cwd(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.cwd)
    return;
  csn_jw_key(w, "cwd");
  csn_jw_strz(w, a->sandbox.cwd);
}

/* ---- devices ---- */

static int
read_devices(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = csn_agent_want(r, m, "sandbox.devices", CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  const char **list = csn_arena_alloc(r->a->arena, (m->n + 1) * sizeof *list);
  size_t n = 0;
  csn_json_each (one, m) {
    size_t known = n;
    for (const char *const *w = csn_device_words; *w; w++)
      if (one->kind == CSN_JSON_STRING && csn_str_eq(one->text, csn_cstr(*w)))
        list[n++] = *w;
    if (n == known)
      return csn_agent_complain(r, one, "sandbox.devices: expected nvidia, dri or fuse");
  }
  if (n && strcmp(r->a->sandbox.backend, "jail") != 0)
    return csn_agent_complain(r, m, "sandbox.devices: only the back-end jail has devices");
  r->a->sandbox.devices = list;
  return 0;
}

static void
write_devices(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.devices)
    return;
  csn_jw_key(w, "devices");
  csn_jw_arr(w);
  for (const char *const *d = a->sandbox.devices; *d; d++)
    csn_jw_strz(w, *d);
  csn_jw_end(w);
}

/* ---- environment ---- */

const char *const *
csn_environment_of(csn_arena *a, const csn_json *v)
{
  const char **list = csn_arena_alloc(a, ((v ? v->n : 0) + 1) * sizeof *list);
  size_t n = 0;
  csn_json_each (m, v)
    list[n++] =
        csn_arena_printf(a, "%.*s=%.*s", (int)m->key.n, m->key.p, (int)m->text.n, m->text.p).p;
  return list;
}

static int
read_environment(const struct csn_agent_reader *r, const csn_json *env)
{
  int rc = csn_agent_want(r, env, "sandbox.environment", CSN_JSON_OBJECT);
  csn_json_each (m, env) {
    if (rc < 0)
      return rc;
    if (m->key.n == 0 || memchr(m->key.p, '=', m->key.n) || memchr(m->key.p, '\0', m->key.n))
      return csn_agent_complain(r, m, "sandbox.environment: '%.*s' is no name for a variable",
                                (int)m->key.n, m->key.p);
    rc = csn_agent_want(r, m, "sandbox.environment", CSN_JSON_STRING);
  }
  r->a->sandbox.environment = csn_environment_of(r->a->arena, env);
  return rc;
}

static void
write_environment(const csn_agent *a, csn_jw *w)
{
  csn_jw_key(w, "environment");
  csn_jw_obj(w);
  for (const char *const *e = a->sandbox.environment; e && *e; e++) {
    const char *equals = strchr(*e, '=');
    csn_jw_keyn(w, csn_strn(*e, (size_t)(equals - *e)));
    csn_jw_strz(w, equals + 1);
  }
  csn_jw_end(w);
}

/* ---- pool ---- */

static int
read_pool(const struct csn_agent_reader *r, const csn_json *m)
{
  enum { MOST = 256 };
  int64_t n = 0;
  if (m->kind != CSN_JSON_NUMBER || !csn_str_int(m->text, &n) || n < 0 || n > MOST)
    return csn_agent_complain(r, m, "sandbox.pool: expected a whole number from 0 to %d", MOST);
  r->a->sandbox.pool = (uint32_t)n;
  return 0;
}

static void
write_pool(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.pool)
    return;
  csn_jw_key(w, "pool");
  csn_jw_int(w, a->sandbox.pool);
}

/* ---- mount_credentials ---- */

static int
read_mount_credentials(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_err why;
  int rc = csn_agent_want(r, m, "sandbox.mount_credentials", CSN_JSON_OBJECT);
  if (rc == 0 && csn_mount_allowed_read(m, &why) < 0)
    rc = csn_agent_complain(r, m, "sandbox.mount_credentials: %s", why.msg);
  return rc < 0 ? rc : csn_agent_keep_value(r, m, &r->a->sandbox.mount_credentials);
}

static void
write_mount_credentials(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.mount_credentials)
    return;
  csn_jw_key(w, "mount_credentials");
  csn_jw_value(w, a->sandbox.mount_credentials);
}

/* ---- the section ---- */

enum { MORE_MAX = 4 };

/* In the order in which the resolved form has them. */
static const struct part parts[] = {
    {"backend", csn_agent_read_backend, csn_agent_write_backend},
    {"level", read_level, write_level},
    {"rootfs", read_rootfs, write_rootfs},
    {"run_as", read_run_as, write_run_as},
    {"cwd", read_cwd, write_cwd},
    {"devices", read_devices, write_devices},
    {"environment", read_environment, write_environment},
    {"limits", csn_agent_read_limits, csn_agent_write_limits},
    {"strict", csn_agent_read_strict, csn_agent_write_strict},
    {"network", csn_agent_read_network, csn_agent_write_network},
    {"secrets", csn_agent_read_secrets, csn_agent_write_secrets},
    {"expose", csn_agent_read_expose, csn_agent_write_expose},
    {"pool", read_pool, write_pool},
    {"mount_credentials", read_mount_credentials, write_mount_credentials},
    {"from", csn_agent_read_from, csn_agent_write_from},
    {"checkpoint", csn_agent_read_checkpoint, csn_agent_write_checkpoint},
};

int
csn_agent_read_one_sandbox(const struct csn_agent_reader *r, const csn_json *m,
                           const char *const *more)
{
  const char *keys[CSN_COUNT(parts) + CSN_OPTIONS_MAX + MORE_MAX + 1] = {NULL};
  size_t n = CSN_COUNT(parts);
  for (size_t i = 0; i < CSN_COUNT(parts); i++)
    keys[i] = parts[i].key;
  for (; *more; more++)
    keys[n++] = *more;
  int rc = csn_agent_want(r, m, "sandbox", CSN_JSON_OBJECT);
  const csn_json *backend = rc == 0 ? csn_json_get(m, "backend") : NULL;
  if (backend) /* which decides what other keys there are */
    rc = csn_agent_read_backend(r, backend);
  csn_agent_option_keys(r, keys + n);
  if (rc == 0)
    rc = csn_agent_only(r, m, "sandbox.", keys);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(parts); i++) {
    const csn_json *value = csn_json_get(m, parts[i].key);
    if (value)
      rc = parts[i].read(r, value);
  }
  return rc < 0 ? rc : csn_agent_read_options(r, m);
}

int
csn_agent_read_sandbox(const struct csn_agent_reader *r, const csn_json *v)
{
  static const char *const no_more[] = {NULL};
  const csn_json *m = csn_json_get(v, "sandbox"), *several = csn_json_get(v, "sandboxes");
  csn_agent *a = r->a;
  a->has_sandbox = m || several || a->has_shell || a->has_files || a->skills || a->manifest;
  a->sandbox.backend = "jail";
  if (m && several)
    return csn_agent_complain(r, several, "sandbox and sandboxes exclude each other");
  if (several)
    return csn_agent_read_boxes(r, several);
  return m ? csn_agent_read_one_sandbox(r, m, no_more) : 0;
}

void
csn_agent_write_one_sandbox(const csn_agent *a, csn_jw *w)
{
  for (size_t i = 0; i < CSN_COUNT(parts); i++)
    parts[i].write(a, w);
  csn_agent_write_options(a, w);
}

void
csn_agent_sandbox_to_json(const csn_agent *a, csn_jw *w)
{
  if (a->box_name) {
    csn_agent_write_boxes(a, w);
    return;
  }
  csn_jw_key(w, "sandbox");
  csn_jw_obj(w);
  csn_agent_write_one_sandbox(a, w);
  csn_jw_end(w);
}
