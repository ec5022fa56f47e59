/* SPDX-License-Identifier: Apache-2.0
 * exec_config.c - the program of the back-end "exec:PROGRAM": where it is, what
 * of our environment it gets, and what it says that it can. */
#include <errno.h>
#include <sys/stat.h>

#include "sandbox/backend/exec.h"
#include "sandbox/network.h"

enum { HELLO_MS = 30000, PASSED_MAX = 64, NAME_MAX_BYTES = 60, PATH_MAX_BYTES = 4096 };

/* Of agent files. */
const csn_sandbox_option csn_exec_options[] = {
    {"options", CSN_JSON_OBJECT}, {"pass", CSN_JSON_ARRAY}, {0}};

static const struct {
  const char *word, *what;
} skills[] = {
    [CSN_EXEC_TERMINAL] = {"terminal", "have terminals (tty)"},
    [CSN_EXEC_USER] = {"user", "run commands as another user (run_as)"},
    [CSN_EXEC_LIMITS] = {"limits", "hold limits"},
    [CSN_EXEC_KEEP] = {"keep", "find a sandbox again"},
    [CSN_EXEC_PAUSE] = {"pause", "let a sandbox rest"},
    [CSN_EXEC_GET] = {"get", "send files"},
    [CSN_EXEC_PUT] = {"put", "take files"},
    [CSN_EXEC_REMOVE] = {"remove", "remove files"},
    [CSN_EXEC_SWEEP] = {"sweep", "list what was left behind"},
};

/* ---- where it is ---- */

static bool
is_program(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int
csn_exec_find(csn_buf *out, const char *word, csn_err *err)
{
  const char *name = word + strlen(CSN_EXEC_WORD), *path = getenv("PATH");
  if (strchr(name, '/')) {
    csn_auto(csn_freep) char *real = realpath(name, NULL);
    csn_buf_addz(out, real && is_program(real) ? real : "");
  }
  csn_str rest = csn_cstr(strchr(name, '/') ? "" : path ? path : "/usr/bin:/bin");
  for (size_t at = 0; at < rest.n && !out->n;) {
    size_t end = csn_str_find(rest, CSN_STR(":"), at);
    end = end == SIZE_MAX ? rest.n : end;
    csn_buf_addf(out, "%.*s/%s", (int)(end - at), rest.p + at, name);
    if (rest.p[at] != '/' || !is_program(out->p))
      csn_buf_clear(out);
    at = end + 1;
  }
  if (out->n)
    return csn_buf_done(out, "the path of a program", err);
  /* NOT_FOUND would be a sandbox that is gone. */
  return csn_fail(err, CSN_E_UNAVAILABLE, "%.200s: no such program%s", name,
                  strchr(name, '/') ? " that can be executed" : " in PATH");
}

bool
csn_exec_is_word(csn_str word)
{
  static const csn_str head = CSN_STR_INIT(CSN_EXEC_WORD);
  return csn_str_starts(word, head) && word.n > head.n;
}

void
csn_exec_word_resolve(csn_buf *out, csn_str word, const char *folder)
{
  static const csn_str head = CSN_STR_INIT(CSN_EXEC_WORD);
  csn_str name = csn_strn(word.p + head.n, word.n - head.n);
  csn_buf_add(out, head);
  if (name.n && name.p[0] != '/' && memchr(name.p, '/', name.n))
    csn_buf_addf(out, "%s/", folder);
  csn_buf_add(out, name);
}

/* ---- its environment ---- */

static bool
is_name(csn_str s)
{
  return s.n > 0 && s.n <= 200 && !memchr(s.p, '=', s.n) && !memchr(s.p, '\0', s.n);
}

static int
check_options(const csn_json *options, csn_err *err)
{
  csn_json_each (m, options)
    if (!csn_str_eq(m->key, CSN_STR("options")) && !csn_str_eq(m->key, CSN_STR("pass")))
      return csn_fail(err, CSN_E_INVALID,
                      "option %.*s: a back-end exec:PROGRAM has `options`, an object for the "
                      "program, and `pass`, a list of variables",
                      (int)(m->key.n & 0x3f), m->key.p);
  const csn_json *own = csn_json_get(options, "options"), *pass = csn_json_get(options, "pass");
  if (own && own->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "options: expected an object for the program");
  if (pass && (pass->kind != CSN_JSON_ARRAY || pass->n > PASSED_MAX))
    return csn_fail(err, CSN_E_INVALID, "pass: expected a list of at most %d names of variables",
                    PASSED_MAX);
  csn_json_each (name, pass)
    if (name->kind != CSN_JSON_STRING || !is_name(name->text))
      return csn_fail(err, CSN_E_INVALID, "pass: expected names of variables, as in SSH_AUTH_SOCK");
  return 0;
}

static size_t
add_variable(csn_arena *a, const char **list, size_t n, const char *name)
{
  const char *value = getenv(name);
  if (value)
    list[n++] = csn_arena_printf(a, "%s=%s", name, value).p;
  return n;
}

/* What any program needs, then what the operator gives; *passed is the second part. */
static const char *const *
environment_of(csn_arena *a, const csn_json *options, const char *const **passed)
{
  static const char *const always[] = {"PATH", "HOME",   "USER", "LOGNAME",
                                       "LANG", "LC_ALL", "TZ",   "TMPDIR"};
  const csn_json *pass = csn_json_get(options, "pass");
  size_t n = 0, most = CSN_COUNT(always) + (pass ? pass->n : 0) + 1;
  const char **list = csn_arena_alloc(a, most * sizeof *list);
  for (size_t i = 0; i < CSN_COUNT(always); i++)
    n = add_variable(a, list, n, always[i]);
  *passed = &list[n];
  csn_json_each (name, pass)
    n = add_variable(a, list, n, csn_arena_dup(a, name->text).p);
  return list;
}

/* ---- what it can ---- */

static int
read_hello(struct csn_exec_box *b, const csn_json *ok, csn_err *err)
{
  int64_t protocol = csn_json_int(ok, "protocol", 0);
  csn_str name = csn_json_str(ok, "name", CSN_STR(""));
  if (protocol != CSN_EXEC_PROTOCOL)
    return csn_fail(err, CSN_E_UNSUPPORTED, "it speaks protocol %lld; this is protocol %d",
                    (long long)protocol, CSN_EXEC_PROTOCOL);
  if (!name.n || name.n > NAME_MAX_BYTES || csn_utf8_valid(name) < name.n)
    return csn_fail(err, CSN_E_PARSE, "its hello has no `name` of at most %d bytes",
                    NAME_MAX_BYTES);
  b->name = csn_arena_dup(b->arena, name);
  csn_json_each (word, csn_json_get(ok, "can"))
    for (size_t i = 0; i < CSN_COUNT(skills); i++)
      if (word->kind == CSN_JSON_STRING && csn_str_eq(word->text, csn_cstr(skills[i].word)))
        b->skills |= 1u << i;
  return 0;
}

static int
say_hello(struct csn_exec_box *b, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok = NULL;
  csn_scope own;
  csn_scope_init(&own, sc, HELLO_MS);
  csn_talk_ask_init(b->talk, &q, "hello");
  csn_jw_key(&q.w, "protocol");
  csn_jw_int(&q.w, CSN_EXEC_PROTOCOL);
  int rc = csn_talk_ask_send(b->talk, &own, &q, b->arena, &ok, err);
  csn_scope_fini(&own);
  if (rc == CSN_E_TIMEOUT && csn_scope_check(sc, NULL) == 0)
    rc = csn_fail(err, CSN_E_UNAVAILABLE, "it does not answer `hello`; see docs/exec-backend.md");
  return rc < 0 ? rc : read_hello(b, ok, err);
}

int
csn_exec_start(struct csn_exec_box *b, csn_scope *sc, const char *word, const csn_json *options,
               csn_log *log, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES);
  const char *const *passed;
  int rc = check_options(options, err);
  if (rc == 0)
    rc = csn_exec_find(&path, word, err);
  if (rc < 0)
    return rc;
  b->word = csn_arena_dup(b->arena, csn_cstr(word)).p;
  b->program = csn_arena_dup(b->arena, csn_buf_str(&path)).p;
  const char *const *environment = environment_of(b->arena, options, &passed);
  const csn_talk_start how = {.program = b->program,
                              .name = b->word,
                              .environment = environment,
                              .hidden = passed,
                              .log = log};
  rc = csn_talk_open(&b->talk, &how, err);
  if (rc == 0)
    rc = say_hello(b, sc, err);
  return rc;
}

bool
csn_exec_can(const struct csn_exec_box *b, enum csn_exec_skill skill)
{
  return b->skills & 1u << skill;
}

int
csn_exec_need(const struct csn_exec_box *b, enum csn_exec_skill skill, csn_err *err)
{
  if (csn_exec_can(b, skill))
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED, "the program %.*s cannot %s: \"%s\" is not in its `can`",
                  (int)b->name.n, b->name.p, skills[skill].what, skills[skill].word);
}

int
csn_exec_check(const struct csn_exec_box *b, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = csn_network_refuse(spec, "exec", err);
  if (rc == 0 && spec->rootfs)
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "rootfs %.100s: what a sandbox of a program begins with is the program's; say it "
                  "in its `options`",
                  spec->rootfs);
  return rc == 0 && spec->user ? csn_exec_need(b, CSN_EXEC_USER, err) : rc;
}

void
csn_exec_write_options(csn_jw *w, const csn_json *options)
{
  const csn_json *own = csn_json_get(options, "options");
  csn_jw_key(w, "options");
  if (own)
    csn_jw_value(w, own);
  else
    csn_jw_raw(w, CSN_STR("{}"));
}

int
csn_exec_probe(csn_scope *sc, const char *word, csn_buf *note, csn_err *err)
{
  struct csn_exec_box b = {.arena = csn_arena_new(0)};
  int rc = csn_exec_start(&b, sc, word, NULL, NULL, err);
  csn_buf_addf(note, "%.*s, at %s", (int)b.name.n, b.name.n ? b.name.p : "",
               b.program ? b.program : "");
  for (size_t i = 0; i < CSN_COUNT(skills); i++)
    if (csn_exec_can(&b, (enum csn_exec_skill)i))
      csn_buf_addf(note, ", %s", skills[i].word);
  csn_talk_close(b.talk);
  csn_arena_free(b.arena);
  return rc;
}
