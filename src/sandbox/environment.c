/* SPDX-License-Identifier: Apache-2.0
 *
 * environment.c - what an environment is; see environment.h.  The names of
 * packages become words of commands that run as root of a build, so each is
 * looked at: no options, nothing that a shell or a resolver would read twice. */
#include "sandbox/environment.h"

#include <errno.h>
#include <fcntl.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/network_json.h"
#include "sandbox/rootfs_word.h"
#include "sandbox/strings.h"

enum { WORDS_MAX = 1000, WORD_MAX = 4000, LOCK_MAX = 4 << 20 };

const char *const csn_environment_variables[] = {"DEBIAN_FRONTEND=noninteractive",
                                                 "PIP_BREAK_SYSTEM_PACKAGES=1",
                                                 "PIP_DISABLE_PIP_VERSION_CHECK=1",
                                                 "PIP_NO_CACHE_DIR=1",
                                                 "PIP_NO_INPUT=1",
                                                 "PIP_ROOT_USER_ACTION=ignore",
                                                 "NPM_CONFIG_UPDATE_NOTIFIER=false",
                                                 "NPM_CONFIG_FUND=false",
                                                 "NPM_CONFIG_AUDIT=false",
                                                 "USER=root",
                                                 "LOGNAME=root",
                                                 NULL};

void
csn_environment_free(csn_environment *e)
{
  if (!e)
    return;
  csn_arena *a = e->arena;
  free(e);
  csn_arena_free(a);
}

/* ---- reading ---- */

/* Which characters may begin a word and which may follow. */
struct form {
  const char *first, *more, *say;
};
#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define CAPITALS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
static const struct form apt_form = {LETTERS DIGITS, LETTERS CAPITALS DIGITS "+-.:=~",
                                     "NAME or NAME=VERSION"};
static const struct form pip_form = {LETTERS CAPITALS DIGITS,
                                     LETTERS CAPITALS DIGITS "-._[],=<>!~*+ ",
                                     "a requirement like NAME, NAME==1.2 or NAME[extra]>=2"};
static const struct form npm_form = {LETTERS CAPITALS DIGITS "@", LETTERS CAPITALS DIGITS "-._@/^~",
                                     "NAME or NAME@VERSION"};
static const struct form line_form = {NULL, NULL, "one line of text"};

static bool
fits(const struct form *f, csn_str word)
{
  if (word.n == 0 || word.n > WORD_MAX)
    return false;
  for (size_t i = 0; i < word.n; i++) {
    unsigned char c = (unsigned char)word.p[i];
    if (c < ' ' || c == 127)
      return false;
    if (f->first && !strchr(i ? f->more : f->first, c))
      return false;
  }
  return true;
}

static int
read_words(csn_environment *e, const csn_json *m, const char *key, const struct form *f,
           const char ***out, csn_err *err)
{
  const csn_json *list = csn_json_get(m, key);
  size_t n = 0;
  *out = csn_arena_alloc(e->arena, ((list ? list->n : 0) + 1) * sizeof **out);
  (*out)[0] = NULL;
  if (!list)
    return 0;
  if (list->kind != CSN_JSON_ARRAY || list->n > WORDS_MAX)
    return csn_fail(err, CSN_E_INVALID, "environment: %s: expected a list of at most %d", key,
                    WORDS_MAX);
  csn_json_each (v, list) {
    bool is_text = v->kind == CSN_JSON_STRING;
    if (!is_text || (f ? !fits(f, v->text) : v->text.n == 0 || memchr(v->text.p, 0, v->text.n)))
      return csn_fail(err, CSN_E_INVALID, "environment: %s: '%.*s': expected %s", key,
                      is_text && v->text.n < 200 ? (int)v->text.n : 0, is_text ? v->text.p : "",
                      f ? f->say : "a command");
    (*out)[n++] = csn_arena_dup(e->arena, v->text).p;
  }
  (*out)[n] = NULL;
  return 0;
}

static int
read_url(csn_environment *e, const csn_json *m, const char *key, csn_str *out, csn_err *err)
{
  csn_str url = csn_json_str(m, key, CSN_STR(""));
  bool is_web = csn_str_starts(url, CSN_STR("https://")) || csn_str_starts(url, CSN_STR("http://"));
  if (csn_json_get(m, key) &&
      (!is_web || !fits(&line_form, url) || csn_str_find(url, CSN_STR(" "), 0) < url.n ||
       csn_str_find(url, CSN_STR("@"), 0) < url.n))
    return csn_fail(err, CSN_E_INVALID,
                    "environment: packages.%s: expected a URL of http or https without a password",
                    key);
  *out = csn_arena_dup(e->arena, url);
  return 0;
}

static int
only(const csn_json *m, const char *where, const char *const *keys, csn_err *err)
{
  if (m && m->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s: expected an object", where);
  csn_json_each (v, m) {
    size_t i = 0;
    while (keys[i] && !csn_str_eq(v->key, csn_cstr(keys[i])))
      i++;
    if (!keys[i])
      return csn_fail(err, CSN_E_INVALID, "%s: unknown key '%.*s'", where,
                      v->key.n < 100 ? (int)v->key.n : 100, v->key.p);
  }
  return 0;
}

static int
read_packages(csn_environment *e, const csn_json *m, csn_err *err)
{
  static const char *const keys[] = {"apt", "apt_sources",  "pip", "pip_index",
                                     "npm", "npm_registry", NULL};
  int rc = only(m, "environment.packages", keys, err);
  if (rc == 0)
    rc = read_words(e, m, "apt", &apt_form, &e->apt, err);
  if (rc == 0)
    rc = read_words(e, m, "apt_sources", &line_form, &e->apt_sources, err);
  if (rc == 0)
    rc = read_words(e, m, "pip", &pip_form, &e->pip, err);
  if (rc == 0)
    rc = read_words(e, m, "npm", &npm_form, &e->npm, err);
  if (rc == 0)
    rc = read_url(e, m, "pip_index", &e->pip_index, err);
  return rc < 0 ? rc : read_url(e, m, "npm_registry", &e->npm_registry, err);
}

static int
read_base(csn_environment *e, const csn_json *v, const char *folder, csn_err *err)
{
  csn_rootfs_word w;
  csn_str base = csn_json_str(v, "base", CSN_STR(""));
  csn_auto(csn_buf_finip) csn_buf word = CSN_BUF(WORD_MAX);
  e->base = CSN_STR("");
  if (!csn_json_get(v, "base"))
    return 0; /* whether that will do is csn_environment_check()'s */
  csn_rootfs_word_resolve(&word, base, folder);
  e->base = csn_arena_dup(e->arena, csn_buf_str(&word));
  int rc = csn_rootfs_word_parse(e->base, &w, err);
  if (rc == 0 && (w.kind == CSN_ROOTFS_HOST || w.kind == CSN_ROOTFS_FOLDER))
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "%.*s can be used but not built upon: expected image:NAME, oci:PATH or tar:FILE",
                  (int)e->base.n, e->base.p);
  return csn_wrap(err, rc, "environment: base");
}

/* ---- locks ---- */

static csn_digest
section_of(const csn_environment *e)
{
  csn_sha256 sum;
  const char **const lists[] = {e->apt, e->apt_sources, e->pip, e->npm, e->setup};
  const csn_str texts[] = {e->base, e->pip_index, e->npm_registry};
  csn_sha256_init(&sum);
  csn_sha256_add(&sum, CSN_STR("environment 1"));
  for (size_t i = 0; i < CSN_COUNT(texts); i++)
    csn_sha256_add(&sum, csn_strn(texts[i].p, texts[i].n + 1)); /* with the NUL */
  for (size_t i = 0; i < CSN_COUNT(lists); i++) {
    for (const char **p = lists[i]; *p; p++)
      csn_sha256_add(&sum, csn_strn(*p, strlen(*p) + 1));
    csn_sha256_add(&sum, csn_strn("", 1));
  }
  return csn_sha256_end(&sum);
}

static void
section_hex(const csn_environment *e, char hex[65])
{
  csn_digest d = section_of(e);
  csn_digest_hex(&d, hex);
}

static int
take_lock(csn_environment *e, const csn_json *lock, csn_err *err)
{
  char hex[65];
  static const char *const keys[] = {"format", "section", "packages", NULL};
  const csn_json *m = csn_json_get(lock, "packages");
  int rc = only(lock, "it", keys, err);
  section_hex(e, hex);
  if (rc == 0 && csn_json_int(lock, "format", 0) != 1)
    rc = csn_fail(err, CSN_E_INVALID,
                  "another version wrote it; `caisson image lock` makes it anew");
  if (rc == 0 && !csn_str_eq(csn_json_str(lock, "section", CSN_STR("")), csn_cstr(hex)))
    rc = csn_fail(err, CSN_E_CONFLICT,
                  "the environment was changed since it was made; `caisson image lock` makes it "
                  "anew");
  if (rc == 0)
    rc = read_words(e, m, "apt", &apt_form, &e->apt, err);
  if (rc == 0)
    rc = read_words(e, m, "pip", &pip_form, &e->pip, err);
  return rc < 0 ? rc : read_words(e, m, "npm", &npm_form, &e->npm, err);
}

/* No file: nothing is locked yet. */
static int
read_lock(csn_environment *e, csn_err *err)
{
  csn_err why;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LOCK_MAX);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *lock;
  csn_auto(csn_closep) int fd = open(e->lock.p, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return 0;
  int rc = fd < 0 ? csn_fail_errno(&why, "cannot open it") : csn_fd_read_all(fd, &text, &why);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&text), &lock, &why);
  if (rc == 0)
    rc = take_lock(e, lock, &why);
  if (rc < 0)
    return csn_fail(err, why.code, "the lock %.300s: %s", e->lock.p, why.msg);
  e->is_locked = true;
  return 0;
}

static int
read_lock_name(csn_environment *e, const csn_json *v, const char *folder, csn_err *err)
{
  csn_str name = csn_json_str(v, "lock", CSN_STR(""));
  e->lock = CSN_STR("");
  if (!csn_json_get(v, "lock"))
    return 0;
  if (!fits(&line_form, name))
    return csn_fail(err, CSN_E_INVALID, "environment: lock: expected the path of a file");
  e->lock = name.p[0] == '/' ? csn_arena_dup(e->arena, name)
                             : csn_arena_printf(e->arena, "%s/%.*s", folder, (int)name.n, name.p);
  return 0;
}

int
csn_environment_lock(const csn_environment *e, const csn_environment_built *built, csn_buf *out,
                     csn_err *err)
{
  char hex[65];
  csn_jw w;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *packages;
  int rc = csn_json_parse(a, csn_buf_str(&built->resolved), &packages, err);
  if (rc < 0)
    return rc;
  section_hex(e, hex);
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "format");
  csn_jw_int(&w, 1);
  csn_jw_key(&w, "section");
  csn_jw_strz(&w, hex);
  csn_jw_key(&w, "packages");
  csn_jw_value(&w, packages);
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  csn_buf_addc(out, '\n');
  return rc;
}

/* A value may have been YAML, which has no text as JSON. */
static int
keep_json(csn_environment *e, const csn_json *v, csn_str *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LOCK_MAX);
  csn_jw w;
  *out = CSN_STR("");
  if (!v)
    return 0;
  csn_jw_init(&w, &text);
  csn_jw_value(&w, v);
  int rc = csn_jw_done(&w, err);
  *out = csn_arena_dup(e->arena, csn_buf_str(&text));
  return rc;
}

int
csn_environment_read(csn_environment **out, const csn_json *v, const char *folder, bool with_lock,
                     csn_err *err)
{
  static const char *const keys[] = {"base", "packages", "setup", "build_network", "lock", NULL};
  csn_auto(csn_environment_freep) csn_environment *e = csn_alloc(sizeof *e);
  const csn_json *at = NULL, *network = csn_json_get(v, "build_network");
  *e = (csn_environment){.arena = csn_arena_new((size_t)64 << 20)};
  int rc = only(v, "environment", keys, err);
  if (rc == 0)
    rc = keep_json(e, network, &e->network_json, err);
  if (rc == 0)
    rc = read_base(e, v, folder, err);
  if (rc == 0)
    rc = read_packages(e, csn_json_get(v, "packages"), err);
  if (rc == 0)
    rc = read_words(e, v, "setup", NULL, &e->setup, err);
  if (rc == 0)
    rc = csn_wrap(err,
                  csn_network_from_json(e->arena, network, NULL, folder, CSN_SECRETS_READ,
                                        &e->network, &at, err),
                  "environment: build_network");
  if (rc == 0)
    rc = read_lock_name(e, v, folder, err);
  if (rc == 0 && with_lock && e->lock.n)
    rc = read_lock(e, err);
  if (rc == 0)
    *out = csn_steal(e);
  return rc;
}

static void
write_text(csn_jw *w, const char *key, csn_str text)
{
  if (!text.n)
    return;
  csn_jw_key(w, key);
  csn_jw_str(w, text);
}

void
csn_environment_to_json(const csn_environment *e, csn_jw *w)
{
  csn_jw_obj(w);
  write_text(w, "base", e->base);
  csn_jw_key(w, "packages");
  csn_jw_obj(w);
  csn_strings_to_json(w, "apt", e->apt[0] ? e->apt : NULL);
  csn_strings_to_json(w, "apt_sources", e->apt_sources[0] ? e->apt_sources : NULL);
  csn_strings_to_json(w, "pip", e->pip[0] ? e->pip : NULL);
  write_text(w, "pip_index", e->pip_index);
  csn_strings_to_json(w, "npm", e->npm[0] ? e->npm : NULL);
  write_text(w, "npm_registry", e->npm_registry);
  csn_jw_end(w);
  csn_strings_to_json(w, "setup", e->setup[0] ? e->setup : NULL);
  if (e->network_json.n) {
    csn_jw_key(w, "build_network");
    csn_jw_raw(w, e->network_json);
  }
  csn_jw_end(w);
}

/* ---- steps ---- */

struct steps {
  csn_environment *e;
  csn_environment_step *p;
  size_t n;
};

/* The words of head and list: one command.  label: what a human calls it, which
 * the list follows. */
static void
add(struct steps *s, const char *label, const char *const *head, const char *const *list)
{
  size_t n = 0;
  for (size_t i = 0; head[i]; i++)
    n++;
  for (size_t i = 0; list && list[i]; i++)
    n++;
  const char **argv = csn_arena_alloc(s->e->arena, (n + 1) * sizeof *argv);
  csn_auto(csn_buf_finip) csn_buf what = CSN_BUF(1000);
  csn_buf_addf(&what, "%.300s", label);
  n = 0;
  for (size_t i = 0; head[i]; i++)
    argv[n++] = head[i];
  for (size_t i = 0; list && list[i]; i++) {
    argv[n++] = list[i];
    if (what.n < 300)
      csn_buf_addf(&what, " %.100s", list[i]);
  }
  argv[n] = NULL;
  s->p[s->n++] = (csn_environment_step){csn_arena_dup(s->e->arena, csn_buf_str(&what)).p, argv};
}

static void
add_apt(struct steps *s)
{
  static const char *const sources[] = {
      "sh", "-c", "printf '%s\\n' \"$@\" > /etc/apt/sources.list.d/environment.list", "sources",
      NULL};
  /* The jail is the sandbox: in it apt has no other user to become. */
  static const char *const update[] = {
      "apt-get", "-qq", "-oAPT::Sandbox::User=root", "-oAcquire::Retries=2", "update", NULL};
  static const char *const install[] = {"apt-get",
                                        "-y",
                                        "-qq",
                                        "-oAPT::Sandbox::User=root",
                                        "-oAcquire::Retries=2",
                                        "-oDpkg::Use-Pty=0",
                                        "-oDpkg::Options::=--force-confold",
                                        "--no-install-recommends",
                                        "install",
                                        "--",
                                        NULL};
  static const char *const clean[] = {"sh", "-c",
                                      "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin "
                                      "/var/cache/apt/archives/*.deb",
                                      "clean", NULL};
  if (!s->e->apt[0])
    return;
  if (s->e->apt_sources[0])
    add(s, "apt sources:", sources, s->e->apt_sources);
  add(s, "apt-get update", update, NULL);
  add(s, "apt-get install", install, s->e->apt);
  add(s, "remove what apt fetched", clean, NULL);
}

static const char *
option(csn_environment *e, const char *name, csn_str value)
{
  return csn_arena_printf(e->arena, "%s=%.*s", name, (int)value.n, value.p).p;
}

/* HOST[:PORT] of a URL. */
static csn_str
host_of(csn_str url)
{
  size_t from = csn_str_find(url, CSN_STR("://"), 0) + 3, to = from;
  while (to < url.n && url.p[to] != '/')
    to++;
  return csn_strn(url.p + from, to - from);
}

size_t
csn_environment_steps(csn_environment *e, const csn_environment_step **steps)
{
  size_t n = 8;
  while (e->setup[n - 8])
    n++;
  struct steps s = {e, csn_arena_alloc(e->arena, n * sizeof *s.p), 0};
  const char *pip[] = {"python3", "-m", "pip", "install", "-q", NULL, NULL, NULL};
  const char *npm[] = {"npm", "install", "-g", "--loglevel=error", NULL, NULL};
  if (e->pip_index.n)
    pip[5] = option(e, "--index-url", e->pip_index);
  if (csn_str_starts(e->pip_index, CSN_STR("http://"))) /* who writes that means it */
    pip[6] = option(e, "--trusted-host", host_of(e->pip_index));
  if (e->npm_registry.n)
    npm[4] = option(e, "--registry", e->npm_registry);
  add_apt(&s);
  if (e->pip[0])
    add(&s, "pip install", pip, e->pip);
  if (e->npm[0])
    add(&s, "npm install -g", npm, e->npm);
  for (const char **p = e->setup; *p; p++)
    add(&s, *p, (const char *const[]){"sh", "-c", *p, NULL}, NULL);
  *steps = s.p;
  return s.n;
}
