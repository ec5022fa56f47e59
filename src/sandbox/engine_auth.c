/* SPDX-License-Identifier: Apache-2.0
 * engine_auth.c - see engine_auth.h. */
#include "sandbox/engine_auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "core/hash.h"
#include "core/proc.h"

enum { FILE_MAX = 1 << 20, SAID_MAX = 64 << 10, HELPER_MS = 20000 };
/* Docker Hub has a name of its own in these files. */
#define HUB "docker.io"
#define HUB_KEY "https://index.docker.io/v1/"

extern char **environ;

csn_str
csn_engine_registry(csn_str image)
{
  size_t slash = csn_str_find(image, CSN_STR("/"), 0);
  csn_str first = slash == SIZE_MAX ? (csn_str){0} : csn_strn(image.p, slash);
  bool is_host = csn_str_eq(first, CSN_STR("localhost")) ||
                 (first.n && memchr(first.p, '.', first.n)) ||
                 (first.n && memchr(first.p, ':', first.n));
  return is_host ? first : CSN_STR(HUB);
}

/* HOST[:PORT] of a key, which may be a URL. */
static csn_str
host_of(csn_str key)
{
  size_t scheme = csn_str_find(key, CSN_STR("://"), 0);
  if (scheme != SIZE_MAX)
    key = csn_strn(key.p + scheme + 3, key.n - scheme - 3);
  size_t slash = csn_str_find(key, CSN_STR("/"), 0);
  return slash == SIZE_MAX ? key : csn_strn(key.p, slash);
}

static const csn_json *
find(const csn_json *map, csn_str registry)
{
  bool is_hub = csn_str_eq(registry, CSN_STR(HUB));
  csn_json_each (v, map)
    if (csn_str_eq(v->key, is_hub ? CSN_STR(HUB_KEY) : registry) ||
        (!is_hub && csn_str_eq(host_of(v->key), registry)))
      return v;
  return NULL;
}

/* ---- what is sent ---- */

static int
add_field(csn_buf *field, csn_str registry, csn_str user, csn_str secret, csn_str token,
          csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(SAID_MAX);
  bool is_hub = csn_str_eq(registry, CSN_STR(HUB));
  csn_jw w;
  csn_jw_init(&w, &json);
  csn_jw_obj(&w);
  csn_jw_key(&w, token.n ? "identitytoken" : "username");
  csn_jw_str(&w, token.n ? token : user);
  if (!token.n) {
    csn_jw_key(&w, "password");
    csn_jw_str(&w, secret);
  }
  csn_jw_key(&w, "serveraddress");
  csn_jw_str(&w, is_hub ? CSN_STR(HUB_KEY) : registry);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  csn_buf_addz(field, "X-Registry-Auth: ");
  size_t from = field->n;
  csn_base64_add(field, csn_buf_str(&json));
  for (size_t i = from; i < field->n; i++) /* its alphabet for URLs */
    field->p[i] = field->p[i] == '+' ? '-' : field->p[i] == '/' ? '_' : field->p[i];
  csn_buf_addz(field, "\r\n");
  if (json.p)
    explicit_bzero(json.p, json.n);
  if (rc == 0)
    rc = csn_buf_done(field, "the credentials", err);
  return rc < 0 ? rc : 1;
}

/* ---- a program that keeps them ---- */

static bool
is_plain(csn_str name)
{
  for (size_t i = 0; i < name.n; i++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", name.p[i]) ||
        !name.p[i])
      return false;
  return name.n > 0 && name.n < 100;
}

static int
ask_program(csn_scope *sc, const char *program, csn_str registry, csn_buf *said, csn_err *err)
{
  csn_scope own;
  const char *const argv[] = {program, "get", NULL};
  csn_str about = csn_str_eq(registry, CSN_STR(HUB)) ? CSN_STR(HUB_KEY) : registry;
  csn_auto(csn_closep) int in = csn_fd_memory("registry", about, err);
  csn_auto(csn_closep) int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (in < 0 || quiet < 0)
    return in < 0 ? in : csn_fail_errno(err, "/dev/null");
  csn_scope_init(&own, sc, HELPER_MS);
  int rc = csn_command_run(&(csn_command){.argv = argv,
                                          .environment = (const char *const *)environ,
                                          .cwd_fd = -1,
                                          .stdin_fd = in,
                                          .stderr_fd = quiet},
                           &own, said, err);
  csn_scope_fini(&own);
  return rc;
}

static int
by_program(csn_scope *sc, csn_str name, csn_str registry, csn_buf *field, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX);
  const csn_json *v = NULL;
  if (!is_plain(name))
    return csn_fail(err, CSN_E_INVALID, "the name of a credential helper is strange");
  const char *program = csn_arena_printf(a, "docker-credential-%.*s", (int)name.n, name.p).p;
  int rc = ask_program(sc, program, registry, &said, err);
  if (rc > 0 && csn_str_find(csn_buf_str(&said), CSN_STR("credentials not found"), 0) != SIZE_MAX)
    return 0;
  if (rc > 0)
    return csn_fail(err, CSN_E_DENIED, "%s get ended with status %d", program, rc);
  if (rc == 0 && csn_json_parse(a, csn_buf_str(&said), &v, NULL) < 0)
    rc = csn_fail(err, CSN_E_PARSE, "%s get printed no JSON", program);
  if (rc < 0)
    return csn_wrap(err, rc, "credential helper");
  csn_str user = csn_json_str(v, "Username", (csn_str){0}),
          secret = csn_json_str(v, "Secret", (csn_str){0});
  bool is_token = csn_str_eq(user, CSN_STR("<token>"));
  rc = !secret.n ? 0
                 : add_field(field, registry, user, secret, is_token ? secret : (csn_str){0}, err);
  explicit_bzero(said.p, said.n);
  return rc;
}

/* ---- the file ---- */

static int
by_entry(const csn_json *entry, csn_str registry, csn_buf *field, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(SAID_MAX);
  csn_str auth = csn_json_str(entry, "auth", (csn_str){0}),
          token = csn_json_str(entry, "identitytoken", (csn_str){0});
  if (!auth.n && !token.n)
    return 0;
  bool is_fine = csn_base64_decode(&plain, auth);
  size_t colon = is_fine ? csn_str_find(csn_buf_str(&plain), CSN_STR(":"), 0) : SIZE_MAX;
  if (auth.n && colon == SIZE_MAX)
    return csn_fail(err, CSN_E_PARSE, "its `auth` is not base64 of USER:PASSWORD");
  csn_str user = auth.n ? csn_strn(plain.p, colon) : (csn_str){0},
          secret = auth.n ? csn_strn(plain.p + colon + 1, plain.n - colon - 1) : (csn_str){0};
  int rc = add_field(field, registry, user, secret, token, err);
  if (plain.p)
    explicit_bzero(plain.p, plain.n);
  return rc;
}

static int
choose(csn_scope *sc, const csn_json *config, csn_str registry, csn_buf *field, csn_err *err)
{
  const csn_json *helper = find(csn_json_get(config, "credHelpers"), registry),
                 *entry = find(csn_json_get(config, "auths"), registry);
  csn_str store = csn_json_str(config, "credsStore", (csn_str){0});
  if (helper && helper->kind == CSN_JSON_STRING)
    return by_program(sc, helper->text, registry, field, err);
  if (store.n)
    return by_program(sc, store, registry, field, err);
  return entry ? by_entry(entry, registry, field, err) : 0;
}

int
csn_engine_auth(csn_scope *sc, csn_str registry, csn_buf *field, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new((size_t)8 << 20);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(FILE_MAX), path = CSN_BUF(4000);
  const char *folder = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
  const csn_json *config = NULL;
  if (folder && *folder)
    csn_buf_addf(&path, "%s/config.json", folder);
  else if (home && *home)
    csn_buf_addf(&path, "%s/.docker/config.json", home);
  else
    return 0;
  csn_auto(csn_closep) int fd = open(path.p, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return 0;
  int rc = fd < 0 ? csn_fail_errno(err, "cannot open it") : csn_fd_read_all(fd, &text, err);
  if (rc == 0 && csn_json_parse(a, csn_buf_str(&text), &config, NULL) < 0)
    rc = csn_fail(err, CSN_E_PARSE, "it is no JSON");
  if (rc == 0)
    rc = choose(sc, config, registry, field, err);
  if (text.p)
    explicit_bzero(text.p, text.n);
  return csn_wrap(err, rc, "credentials for %.*s from %s", (int)(registry.n & 0xff), registry.p,
                  path.p);
}
