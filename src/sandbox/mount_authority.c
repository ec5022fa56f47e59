/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_authority.c - see mount_authority.h.
 *
 * One table says which fields are credentials, which of them are secret, and how
 * far each reaches. */
#include "sandbox/mount_authority.h"

#include <stdio.h>

#include "core/fd.h"
#include "sandbox/manifest_int.h"

enum { SECRET_MIN = 4, PATH_MAX_BYTES = 4096 };

static const struct field {
  const char *key;
  enum csn_mount_scope scope;
  bool is_secret, is_file; /* is_file: a path inside of the sandbox */
} fields[] = {
    {"access_key_id", CSN_MOUNT_KEYS, false, false},
    {"secret_access_key", CSN_MOUNT_KEYS, true, false},
    {"session_token", CSN_MOUNT_KEYS, true, false},
    {"access_id", CSN_MOUNT_KEYS, false, false},
    {"service_account_file", CSN_MOUNT_BROAD, false, true},
    {"service_account_credentials", CSN_MOUNT_KEYS, true, false},
    {"access_token", CSN_MOUNT_KEYS, true, false},
    {"identity_client_id", CSN_MOUNT_BROAD, false, false},
    {"account_key", CSN_MOUNT_KEYS, true, false},
    {"client_secret", CSN_MOUNT_KEYS, true, false},
    {"token", CSN_MOUNT_KEYS, true, false},
    {"box_config_file", CSN_MOUNT_BROAD, false, true},
    {"config_credentials", CSN_MOUNT_KEYS, true, false},
};
static const char *const addresses[] = {"endpoint", "endpoint_url", "custom_domain", NULL};

/* Given, as text or as where it is found. */
static bool
is_given(const csn_json *v)
{
  return v && v->kind != CSN_JSON_NULL && (v->kind != CSN_JSON_STRING || v->text.n) &&
         (v->kind != CSN_JSON_OBJECT || v->child);
}

/* An address with a user or a query in it. */
static bool
has_key_in(csn_str url)
{
  return csn_str_find(url, CSN_STR("@"), 0) != SIZE_MAX ||
         csn_str_find(url, CSN_STR("?"), 0) != SIZE_MAX;
}

/* Arguments of rclone that say nothing of whom it asks. */
static bool
are_plain(const csn_json *args)
{
  static const char *const words[] = {"--allow-other", "--buffer-size", "--uid", "--gid", NULL};
  bool is_value = false;
  csn_json_each (v, args) {
    char word[32] = "";
    if (is_value) {
      is_value = false;
      continue;
    }
    size_t n = 0;
    for (; n < v->text.n && n + 1 < sizeof word && v->text.p[n] != '='; n++)
      word[n] = (char)(n > 1 && v->text.p[n] == '_' ? '-' : v->text.p[n]);
    if (!csn_str_is_one_of(csn_strn(word, n), words))
      return false;
    is_value = strcmp(word, words[0]) != 0 && n == v->text.n;
  }
  return true;
}

static void
raise_to(enum csn_mount_scope to, const char *why, enum csn_mount_scope *scope, const char **what)
{
  if (*scope < to && what)
    *what = why;
  *scope = *scope < to ? to : *scope;
}

enum csn_mount_scope
csn_mount_authority(const csn_mount *m, const char **what)
{
  enum csn_mount_scope scope = CSN_MOUNT_NOTHING;
  const csn_json *options = csn_json_get(m->pattern_json, "options");
  for (size_t i = 0; i < CSN_COUNT(fields); i++)
    if (is_given(csn_mount_value(m, fields[i].key)))
      raise_to(fields[i].scope, fields[i].key, &scope, what);
  for (size_t i = 0; addresses[i]; i++)
    if (has_key_in(csn_mount_text(m, addresses[i])))
      raise_to(CSN_MOUNT_KEYS, addresses[i], &scope, what);
  if (has_key_in(csn_json_str(options, "endpoint_url", CSN_STR(""))))
    raise_to(CSN_MOUNT_KEYS, "mount_strategy.pattern.options.endpoint_url", &scope, what);
  if (m->pattern == CSN_MOUNT_RCLONE && !are_plain(csn_json_get(m->pattern_json, "extra_args")))
    raise_to(CSN_MOUNT_KEYS, "mount_strategy.pattern.extra_args", &scope, what);
  if (is_given(csn_json_get(m->pattern_json, "config_file_path")))
    raise_to(CSN_MOUNT_BROAD, "mount_strategy.pattern.config_file_path", &scope, what);
  if (is_given(csn_mount_value(m, "extra_options")) ||
      is_given(csn_json_get(options, "extra_options")))
    raise_to(CSN_MOUNT_BROAD, "extra_options", &scope, what);
  if (m->pattern == CSN_MOUNT_FUSE || m->pattern == CSN_MOUNT_S3FILES) /* they look around */
    raise_to(CSN_MOUNT_BROAD, "mount_strategy.pattern", &scope, what);
  return scope;
}

/* ---- whole, and from nowhere else ---- */

static bool
is_blank(const csn_json *v)
{
  return v && v->kind == CSN_JSON_STRING && v->text.n && !csn_str_trim(v->text).n;
}

static int
check_pairs(const csn_mount *m, csn_err *err)
{
  static const struct {
    const char *a, *b;
    bool is_mutual; /* else only the first needs the second */
  } pairs[] = {{"access_key_id", "secret_access_key", true},
               {"session_token", "access_key_id", false},
               {"access_id", "secret_access_key", true}};
  for (size_t i = 0; i < CSN_COUNT(pairs); i++) {
    bool is_of_gcs = strcmp(pairs[i].a, "access_id") == 0;
    bool a = is_given(csn_mount_value(m, pairs[i].a)), b = is_given(csn_mount_value(m, pairs[i].b));
    if (is_of_gcs == (m->kind == CSN_MOUNT_GCS) && (pairs[i].is_mutual ? a != b : a && !b))
      return csn_fail(err, CSN_E_INVALID, "%s and %s come together (mount_config_invalid)",
                      pairs[i].a, pairs[i].b);
  }
  if (m->kind == CSN_MOUNT_BOX && !is_given(csn_mount_value(m, "access_token")) &&
      !is_given(csn_mount_value(m, "token")) && !is_given(csn_mount_value(m, "box_config_file")) &&
      !is_given(csn_mount_value(m, "config_credentials")))
    return csn_fail(err, CSN_E_INVALID,
                    "it needs access_token, token, box_config_file or config_credentials "
                    "(mount_config_invalid)");
  return 0;
}

/* The absolute, clean form of a path as a manifest writes it. */
static bool
place_of(const csn_manifest *of, csn_str path, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(PATH_MAX_BYTES);
  bool is_absolute = path.n && path.p[0] == '/';
  if (!path.n || memchr(path.p, '\0', path.n) || !csn_path_add(&clean, path) || clean.over ||
      !clean.n)
    return false;
  csn_buf_addf(out, "%s/%s", is_absolute || !of ? "" : csn_manifest_root(of), clean.p);
  return !out->over;
}

/* Whether a manifest's own entry makes what is at that path. */
static const csn_entry *
maker_of(const csn_manifest *of, const csn_mount *m, csn_str path)
{
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(2 * PATH_MAX_BYTES);
  size_t root = of->root.n;
  if (!place_of(of, path, &at) || at.n <= root + 1 || memcmp(at.p, of->root.p, root) != 0 ||
      at.p[root] != '/')
    return NULL;
  csn_str rel = csn_strn(at.p + root + 1, at.n - root - 1);
  for (size_t i = 0; i < of->n_sorted; i++) {
    const csn_entry *e = of->sorted[i];
    bool is_it = csn_str_eq(e->path, rel),
         is_above = csn_str_starts(rel, e->path) && e->path.n < rel.n && rel.p[e->path.n] == '/';
    if (e->mount != m && (is_it || (is_above && e->kind != CSN_ENTRY_DIR)))
      return e;
  }
  return NULL;
}

/* The name of an option whose value is secret. */
static bool
is_secret_word(csn_str name)
{
  static const char *const words_of[] = {"secret",     "token",   "pass",
                                         "credential", "sas-url", "sas_url"};
  bool is_key = csn_str_ends(name, CSN_STR("key"));
  for (size_t i = 0; i < CSN_COUNT(words_of); i++)
    is_key = is_key || csn_str_find(name, csn_cstr(words_of[i]), 0) != SIZE_MAX;
  return is_key;
}

/* Options stand in the journal and some in arguments: no secret can be one. */
static int
check_options(const csn_mount *m, csn_err *err)
{
  csn_json_each (v, csn_json_get(m->strategy_json, "driver_options"))
    if (v->kind == CSN_JSON_STRING && is_secret_word(v->key))
      return csn_fail(err, CSN_E_INVALID,
                      "driver_options.%.*s would be kept in journals; give it as a field of the "
                      "entry, which can be {from_env: NAME}",
                      (int)(v->key.n & 0x3f), v->key.p);
  csn_json_each (v, csn_json_get(m->pattern_json, "extra_args")) {
    const char *equals = memchr(v->text.p, '=', v->text.n);
    csn_str name = csn_strn(v->text.p, equals ? (size_t)(equals - v->text.p) : v->text.n);
    if (csn_str_starts(name, CSN_STR("--")) && is_secret_word(name))
      return csn_fail(err, CSN_E_INVALID,
                      "extra_args: everybody in the sandbox can read the argument %.*s; give it as "
                      "a field of the entry",
                      (int)(name.n & 0x3f), name.p);
  }
  return 0;
}

int
csn_mount_authority_check(const csn_manifest *of, const csn_mount *m, csn_err *err)
{
  for (size_t i = 0; i < CSN_COUNT(fields); i++)
    if (is_blank(csn_mount_value(m, fields[i].key)))
      return csn_fail(err, CSN_E_INVALID, "%s is blank (mount_config_invalid)", fields[i].key);
  int rc = check_pairs(m, err);
  if (rc == 0)
    rc = check_options(m, err);
  for (size_t i = 0; rc == 0 && i <= CSN_COUNT(fields); i++) {
    bool is_own = i < CSN_COUNT(fields);
    csn_str path = is_own ? csn_mount_text(m, fields[i].key)
                          : csn_json_str(m->pattern_json, "config_file_path", CSN_STR(""));
    if ((is_own && !fields[i].is_file) || !path.n)
      continue;
    const csn_entry *maker = maker_of(of, m, path);
    if (maker)
      rc = csn_fail(err, CSN_E_INVALID,
                    "%s is made by %s of the same manifest: credentials come from the image or the "
                    "template (mount_config_invalid)",
                    is_own ? fields[i].key : "config_file_path", maker->where.p);
  }
  return rc;
}

/* ---- what the operator says ---- */

int
csn_mount_allowed_read(const csn_json *allowed, csn_err *err)
{
  csn_json_each (v, allowed) {
    csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(2 * PATH_MAX_BYTES);
    bool is_exact = true;
    for (size_t i = 0; i < v->key.n; i++)
      is_exact = is_exact && v->key.p[i] && !strchr("*?[]\\", v->key.p[i]);
    is_exact = is_exact && csn_str_find(v->key, CSN_STR(".."), 0) == SIZE_MAX;
    if (!is_exact || !place_of(NULL, v->key, &at))
      return csn_fail(err, CSN_E_INVALID,
                      "\"%.*s\": expected the exact path of a mount, without patterns and \"..\"",
                      (int)(v->key.n < 100 ? v->key.n : 100), v->key.p);
    if (v->kind != CSN_JSON_STRING ||
        (!csn_str_eq(v->text, CSN_STR("mount")) && !csn_str_eq(v->text, CSN_STR("broad"))))
      return csn_fail(err, CSN_E_INVALID, "%.*s: expected mount or broad",
                      (int)(v->key.n < 100 ? v->key.n : 100), v->key.p);
  }
  return 0;
}

static const char *const words[] = {"nothing", "mount", "broad"};

static enum csn_mount_scope
scope_said(const csn_manifest *of, const csn_json *allowed, csn_str place)
{
  csn_json_each (v, allowed) {
    csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(2 * PATH_MAX_BYTES);
    if (place_of(of, v->key, &at) && csn_str_eq(csn_buf_str(&at), place))
      return csn_str_eq(v->text, CSN_STR("broad")) ? CSN_MOUNT_BROAD : CSN_MOUNT_KEYS;
  }
  return CSN_MOUNT_NOTHING;
}

/* Each path must be that of a mount which has something to allow. */
static int
check_used(const csn_manifest *of, const csn_json *allowed, csn_err *err)
{
  csn_json_each (v, allowed) {
    csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(2 * PATH_MAX_BYTES);
    const csn_mount *found = NULL, *m;
    (void)place_of(of, v->key, &at);
    for (size_t i = 0; of && (m = csn_manifest_mount(of, i, NULL)); i++)
      found = csn_str_eq(m->place, csn_buf_str(&at)) ? m : found;
    if (!found)
      return csn_fail(err, CSN_E_INVALID,
                      "sandbox.mount_credentials: the manifest has no mount at %.200s", at.p);
    if (csn_str_eq(found->strategy, CSN_STR("docker_volume")) ||
        csn_mount_authority(found, NULL) == CSN_MOUNT_NOTHING)
      return csn_fail(err, CSN_E_INVALID,
                      "sandbox.mount_credentials: the mount at %.200s brings no credentials into "
                      "the sandbox; leave it out",
                      at.p);
  }
  return 0;
}

int
csn_mount_allowed_check(const csn_manifest *of, const csn_json *allowed, bool is_inside,
                        csn_err *err)
{
  const csn_mount *m;
  const char *where, *what = "";
  int rc = check_used(of, allowed, err);
  for (size_t i = 0; rc == 0 && of && (m = csn_manifest_mount(of, i, &where)); i++) {
    enum csn_mount_scope needs = csn_mount_authority(m, &what),
                         said = scope_said(of, allowed, m->place);
    rc = csn_wrap(err, csn_mount_authority_check(of, m, err), "%s", where);
    if (rc < 0 || !is_inside || csn_str_eq(m->strategy, CSN_STR("docker_volume")) || needs == said)
      continue;
    if (said == CSN_MOUNT_NOTHING)
      rc = csn_fail(err, CSN_E_DENIED,
                    "%s: %s would enter the sandbox, where every command can read it; if that is "
                    "meant, write sandbox.mount_credentials: {\"%s\": %s}",
                    where, what, m->place.p, words[needs]);
    else
      rc = csn_fail(err, CSN_E_DENIED,
                    "%s: sandbox.mount_credentials says %s, and by its %s the mount is %s", where,
                    words[said], what, words[needs]);
  }
  return rc;
}

/* ---- out of messages ---- */

void
csn_mount_secrets(const csn_mount *m, void (*fn)(void *user, const char *field, csn_str value),
                  void *user)
{
  for (size_t i = 0; i < CSN_COUNT(fields); i++) {
    csn_str value = fields[i].is_secret ? csn_mount_text(m, fields[i].key) : CSN_STR("");
    if (value.n)
      fn(user, fields[i].key, value);
  }
  for (size_t i = 0; addresses[i]; i++)
    if (has_key_in(csn_mount_text(m, addresses[i])))
      fn(user, addresses[i], csn_mount_text(m, addresses[i]));
}

static void
redact_one(void *user, const char *field, csn_str value)
{
  csn_buf *text = user;
  size_t at;
  (void)field;
  if (value.n < SECRET_MIN || csn_str_find(csn_buf_str(text), value, 0) == SIZE_MAX)
    return;
  csn_auto(csn_buf_finip) csn_buf old = *text;
  *text = CSN_BUF(old.cap);
  csn_str rest = csn_buf_str(&old);
  while ((at = csn_str_find(rest, value, 0)) != SIZE_MAX) {
    csn_buf_add(text, csn_strn(rest.p, at));
    csn_buf_addz(text, "REDACTED");
    rest = csn_strn(rest.p + at + value.n, rest.n - at - value.n);
  }
  csn_buf_add(text, rest);
  explicit_bzero(old.p, old.n);
}

void
csn_mount_redact(const csn_mount *m, csn_buf *text)
{
  csn_mount_secrets(m, redact_one, text);
}

/* A message that was too long may end within one. */
static void
cut_one(void *user, const char *field, csn_str value)
{
  csn_buf *text = user;
  (void)field;
  for (size_t n = value.n < text->n ? value.n : text->n; n >= SECRET_MIN; n--)
    if (memcmp(text->p + text->n - n, value.p, n) == 0) {
      text->n -= n;
      text->p[text->n] = '\0';
    }
}

int
csn_mount_redact_err(const csn_mount *m, int rc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(8 * sizeof err->msg);
  if (rc >= 0 || !err)
    return rc;
  csn_buf_addz(&text, err->msg);
  if (text.n + 1 == sizeof err->msg)
    csn_mount_secrets(m, cut_one, &text);
  csn_mount_redact(m, &text);
  snprintf(err->msg, sizeof err->msg, "%s", text.p ? text.p : "");
  return rc;
}
