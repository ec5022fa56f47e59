/* SPDX-License-Identifier: Apache-2.0
 *
 * shell.c - exec_command and write_stdin: arguments in, one frame of text out.
 *
 * The frame is a contract with models and with those who parse it:
 *
 *   Chunk ID: 6 hexadecimal digits
 *   Wall time: seconds with 4 decimals
 *   Process exited with code N | Process running with session ID N
 *   Original token count: N          (only when the output was cut)
 *   Output:
 *   the output
 *
 * The working folder is the spawned process's own; the command's text is never
 * rewritten. */
#include "sandbox/shell.h"

#include <errno.h>

#include "core/hash.h"
#include "sandbox/session.h"

enum { DEFAULT_TOKENS = 10000, YIELD_MIN = 250, YIELD_MAX = 30000, POLL_MIN = 5000, SETTLE = 100 };
enum { MOST_TOKENS = 1 << 24, LIMITS_TEXT = 1000 };

static const csn_shell_caller anybody;

struct csn_shell {
  csn_sandbox *sb;
  csn_session_table *sessions;
  int64_t ceiling;
  csn_output_filter filter; /* begin NULL: none */
  char *cwd;                /* or NULL */
};

csn_shell *
csn_shell_new(csn_sandbox *sb, int64_t output_tokens)
{
  csn_shell *sh = csn_alloc(sizeof *sh);
  sh->sb = sb;
  sh->sessions = csn_session_table_new();
  sh->ceiling = output_tokens > 0 ? output_tokens : DEFAULT_TOKENS;
  if (sh->ceiling > MOST_TOKENS)
    sh->ceiling = MOST_TOKENS;
  return sh;
}

void
csn_shell_set_filter(csn_shell *sh, const csn_output_filter *f)
{
  sh->filter = *f;
}

void
csn_shell_set_cwd(csn_shell *sh, const char *cwd)
{
  free(sh->cwd);
  sh->cwd = cwd ? csn_dupz(csn_cstr(cwd)) : NULL;
}

void
csn_shell_free(csn_shell *sh)
{
  if (!sh)
    return;
  csn_session_table_free(sh->sessions);
  free(sh->cwd);
  free(sh);
}

/* ---- arguments: what is wrong gathers in `bad` as text for the model ---- */

static void
complain(csn_buf *bad, const char *name, const char *expected)
{
  csn_buf_addf(bad, "%s%s: %s", bad->n ? "; " : "", name, expected);
}

static csn_str
string_arg(const csn_json *args, const char *name, bool required, csn_buf *bad)
{
  const csn_json *v = csn_json_get(args, name);
  if (!v || v->kind == CSN_JSON_NULL) {
    if (required)
      complain(bad, name, "missing");
    return CSN_STR("");
  }
  if (v->kind != CSN_JSON_STRING) {
    complain(bad, name, "expected a string");
    return CSN_STR("");
  }
  return v->text;
}

/* Models write numbers and truth values as strings, too. */
static bool
bool_arg(const csn_json *args, const char *name, bool otherwise, csn_buf *bad)
{
  const csn_json *v = csn_json_get(args, name);
  if (!v)
    return otherwise;
  if (v->kind == CSN_JSON_BOOL)
    return v->truth;
  if (v->kind == CSN_JSON_STRING && csn_str_eq(v->text, CSN_STR("true")))
    return true;
  if (!(v->kind == CSN_JSON_STRING && csn_str_eq(v->text, CSN_STR("false"))))
    complain(bad, name, "expected true or false");
  return false;
}

static int64_t
int_arg(const csn_json *args, const char *name, int64_t least, int64_t otherwise, csn_buf *bad)
{
  const csn_json *v = csn_json_get(args, name);
  int64_t n = 0;
  if (!v)
    return otherwise;
  bool ok = v->kind == CSN_JSON_STRING ? csn_str_int(v->text, &n) : csn_json_to_int(v, &n);
  if (ok && n >= least)
    return n;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  csn_buf_addz(&text, "expected an integer");
  if (least > INT64_MIN)
    csn_buf_addf(&text, " of at least %lld", (long long)least);
  complain(bad, name, text.p);
  return otherwise;
}

/* A nullable budget, never over the agent's ceiling. */
static int64_t
tokens_arg(const csn_shell *sh, const csn_json *args, csn_buf *bad)
{
  const csn_json *v = csn_json_get(args, "max_output_tokens");
  if (!v || v->kind == CSN_JSON_NULL)
    return sh->ceiling;
  int64_t n = int_arg(args, "max_output_tokens", 1, sh->ceiling, bad);
  return n < sh->ceiling ? n : sh->ceiling;
}

static int64_t
clamp(int64_t n, int64_t low, int64_t high)
{
  return n < low ? low : n > high ? high : n;
}

/* ---- frames ---- */

struct frame {
  int64_t began_ns;
  bool ended;
  int64_t number; /* exit code when it has ended, else the session */
  int64_t tokens; /* -1: the output is whole */
};

static int
add_frame(csn_buf *out, const struct frame *f, csn_str text, csn_err *err)
{
  unsigned char id[3];
  csn_random_bytes(id, sizeof id);
  csn_buf_addf(out, "Chunk ID: %02x%02x%02x\n", id[0], id[1], id[2]);
  csn_buf_addf(out, "Wall time: %.4f seconds\n", (double)(csn_now_ns() - f->began_ns) / 1e9);
  csn_buf_addf(out, "Process %s %lld\n", f->ended ? "exited with code" : "running with session ID",
               (long long)f->number);
  if (f->tokens >= 0)
    csn_buf_addf(out, "Original token count: %lld\n", (long long)f->tokens);
  csn_buf_addz(out, "Output:\n");
  csn_buf_add(out, text);
  return csn_buf_done(out, "the tool's result", err);
}

static int
add_failure(csn_buf *out, int64_t began_ns, csn_str text, csn_err *err)
{
  struct frame f = {.began_ns = began_ns, .ended = true, .number = 1, .tokens = -1};
  return add_frame(out, &f, text, err);
}

static int
refuse_args(csn_buf *out, const char *tool, const csn_buf *bad, csn_err *err)
{
  csn_buf_addf(out, "%s: invalid arguments: %s.", tool, bad->p);
  return csn_buf_done(out, "the tool's result", err);
}

/* A last line that says which limits were reached, and so tells a kill from a
 * crash. */
static void
add_limits(csn_buf *text, const csn_sandbox *sb, const csn_exit *exit)
{
  csn_auto(csn_buf_finip) csn_buf why = CSN_BUF(LIMITS_TEXT);
  csn_exit_explain(sb, exit, &why);
  if (!why.n)
    return;
  csn_buf_addf(text, "%s[%s]\n", text->n && text->p[text->n - 1] != '\n' ? "\n" : "", why.p);
}

/* What is collected so far, framed; the session leaves the table once its end
 * is told. */
static int
report(csn_shell *sh, csn_session *s, int id, int64_t tokens, struct frame *f, csn_buf *out,
       csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)sh->ceiling * 4 + 64 + LIMITS_TEXT);
  csn_session_state state;
  int rc = csn_session_take(s, tokens, &text, &state, err);
  if (id && (rc < 0 || state.ended))
    csn_session_table_drop(sh->sessions, s);
  if (rc < 0)
    return rc;
  if (state.gone) {
    csn_buf_addf(&text, "write_stdin failed: PTY session not found: %d", id);
    return add_failure(out, f->began_ns, csn_buf_str(&text), err);
  }
  if (state.ended)
    add_limits(&text, sh->sb, &state.exit);
  f->ended = state.ended;
  f->tokens = state.tokens;
  f->number = !state.ended ? id : state.exit.signal ? -state.exit.signal : state.exit.code;
  return add_frame(out, f, csn_buf_str(&text), err);
}

/* ---- exec_command ---- */

struct command {
  csn_str cmd, workdir, shell;
  bool login, tty;
  int64_t yield_ms, tokens;
};

static bool
parse_command(const csn_shell *sh, const csn_json *args, struct command *c, csn_buf *bad)
{
  if (!csn_json_is(args, CSN_JSON_OBJECT)) {
    csn_buf_addz(bad, "expected a JSON object");
    return false;
  }
  *c = (struct command){
      .cmd = string_arg(args, "cmd", true, bad),
      .workdir = csn_str_trim(string_arg(args, "workdir", false, bad)),
      .shell = csn_str_trim(string_arg(args, "shell", false, bad)),
      .login = bool_arg(args, "login", true, bad),
      .tty = bool_arg(args, "tty", false, bad),
      .yield_ms = clamp(int_arg(args, "yield_time_ms", 0, 10000, bad), YIELD_MIN, YIELD_MAX),
      .tokens = tokens_arg(sh, args, bad),
  };
  if (!bad->n && c->cmd.n == 0)
    complain(bad, "cmd", "must not be empty");
  const struct {
    const char *name;
    csn_str text;
  } texts[] = {{"cmd", c->cmd}, {"workdir", c->workdir}, {"shell", c->shell}};
  for (size_t i = 0; i < CSN_COUNT(texts); i++)
    if (texts[i].text.n && memchr(texts[i].text.p, '\0', texts[i].text.n))
      complain(bad, texts[i].name, "must not hold a NUL character");
  return bad->n == 0;
}

/* Errors that are not the model's to mend. */
static bool
is_ours(int rc)
{
  return rc == CSN_E_SANDBOX || rc == CSN_E_UNAVAILABLE || rc == CSN_E_CANCELLED ||
         rc == CSN_E_TIMEOUT || rc == CSN_E_UNSUPPORTED;
}

/* On the heap; NULL: the workspace. */
static char *
folder_of(const csn_shell *sh, csn_str workdir)
{
  if (!workdir.n)
    return sh->cwd ? csn_dupz(csn_cstr(sh->cwd)) : NULL;
  if (workdir.p[0] == '/' || !sh->cwd)
    return csn_dupz(workdir);
  csn_buf path = CSN_BUF(1 << 20);
  csn_buf_addf(&path, "%s/", sh->cwd);
  csn_buf_add(&path, workdir);
  return path.p;
}

static int
spawn(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who, const struct command *c,
      int claim_fd, csn_proc **out, csn_err *err)
{
  csn_auto(csn_freep) char *cmd = csn_dupz(c->cmd);
  csn_auto(csn_freep) char *cwd = folder_of(sh, c->workdir);
  csn_auto(csn_freep) char *shell = csn_dupz(c->shell.n ? c->shell : CSN_STR("sh"));
  const char *argv[] = {shell, c->login ? "-lc" : "-c", cmd, NULL};
  csn_exec x = {.argv = argv, .cwd = cwd, .tty = c->tty, .claim_fd = claim_fd, .files = who->files};
  return csn_sandbox_spawn(sh->sb, sc, &x, out, err);
}

int
csn_shell_exec(csn_shell *sh, csn_scope *sc, const csn_json *args, int claim_fd, csn_buf *out,
               csn_err *err)
{
  return csn_shell_exec_as(sh, sc, &anybody, args, claim_fd, out, err);
}

int
csn_shell_exec_as(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who, const csn_json *args,
                  int claim_fd, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf bad = CSN_BUF(1000);
  struct frame f = {.began_ns = csn_now_ns()};
  struct command c;
  if (!parse_command(sh, args, &c, &bad))
    return refuse_args(out, "exec_command", &bad, err);

  csn_err why;
  csn_proc *p = NULL;
  int rc = spawn(sh, sc, who, &c, claim_fd, &p, &why);
  if (rc < 0 && is_ours(rc)) {
    if (err)
      *err = why;
    return rc;
  }
  if (rc < 0) {
    csn_buf_addf(out, "exec_command failed: %s.", why.msg);
    return csn_buf_done(out, "the tool's result", err);
  }

  csn_auto(csn_session_freep) csn_session *s =
      csn_session_new(p, sh->ceiling, sh->filter.begin ? &sh->filter : NULL);
  csn_session_own(s, who->owner);
  csn_scope yield;
  csn_scope_init(&yield, sc, c.yield_ms);
  rc = csn_session_run(s, &yield, err);
  csn_scope_fini(&yield);
  if (rc == 0)
    return report(sh, s, 0, c.tokens, &f, out, err);
  if (rc != CSN_E_TIMEOUT)
    return rc;
  rc = csn_scope_check(sc, err); /* the caller's own time is up */
  if (rc < 0)
    return rc;
  int id = csn_session_table_add(sh->sessions, csn_steal(s), err);
  if (id < 0)
    return id;
  s = csn_session_table_find(sh->sessions, id);
  return s ? report(sh, s, id, c.tokens, &f, out, err)
           : csn_fail(err, CSN_E_LIMIT, "session %d was pushed out by newer ones", id);
}

/* ---- write_stdin ---- */

/* 0 also when the command takes no more: its end is told by the report. */
static int
type_in(csn_session *s, csn_scope *sc, csn_str chars, int64_t yield_ms, int claim_fd, csn_err *err)
{
  if (claim_fd >= 0 && write(claim_fd, "1", 1) != 1)
    return csn_fail_errno(err, "cannot write to claim_fd");
  csn_scope limit;
  csn_scope_init(&limit, sc, yield_ms);
  csn_err why;
  int rc = csn_proc_write(csn_session_proc(s), &limit, chars, &why);
  csn_scope_fini(&limit);
  int own = csn_scope_check(sc, err);
  if (own < 0)
    return own;
  if (rc < 0 && rc != CSN_E_TIMEOUT && is_ours(rc)) {
    if (err)
      *err = why;
    return rc;
  }
  csn_scope_init(&limit, sc, SETTLE);
  (void)!csn_session_wait(s, &limit, NULL);
  csn_scope_fini(&limit);
  return rc == CSN_E_TIMEOUT ? 1 : 0;
}

int
csn_shell_write_stdin(csn_shell *sh, csn_scope *sc, const csn_json *args, int claim_fd,
                      csn_buf *out, csn_err *err)
{
  return csn_shell_write_stdin_as(sh, sc, &anybody, args, claim_fd, out, err);
}

/* What is typed into a command does what the command may. */
static csn_session *
find_session(csn_shell *sh, const csn_shell_caller *who, int64_t id)
{
  csn_session *s = csn_session_table_find(sh->sessions, id);
  if (!s || !who->files || csn_session_owner(s) == who->owner)
    return s;
  csn_session_free(s);
  return NULL;
}

int
csn_shell_write_stdin_as(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who,
                         const csn_json *args, int claim_fd, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf bad = CSN_BUF(1000);
  struct frame f = {.began_ns = csn_now_ns()};
  if (!csn_json_is(args, CSN_JSON_OBJECT)) {
    csn_buf_addz(&bad, "expected a JSON object");
    return refuse_args(out, "write_stdin", &bad, err);
  }
  if (!csn_json_get(args, "session_id"))
    complain(&bad, "session_id", "missing");
  int64_t id = int_arg(args, "session_id", INT64_MIN, -1, &bad);
  csn_str chars = string_arg(args, "chars", false, &bad);
  int64_t yield_ms = int_arg(args, "yield_time_ms", 0, YIELD_MIN, &bad);
  int64_t tokens = tokens_arg(sh, args, &bad);
  if (bad.n)
    return refuse_args(out, "write_stdin", &bad, err);
  yield_ms = clamp(yield_ms, chars.n ? YIELD_MIN : POLL_MIN, YIELD_MAX);

  csn_auto(csn_session_freep) csn_session *s = find_session(sh, who, id);
  if (!s) {
    csn_buf_addf(&bad, "write_stdin failed: PTY session not found: %lld", (long long)id);
    return add_failure(out, f.began_ns, csn_buf_str(&bad), err);
  }
  if (chars.n && !csn_session_proc(s)->tty)
    return add_failure(out, f.began_ns,
                       CSN_STR("stdin is not available for this process. Start the command with "
                               "`tty=true` to write to it."),
                       err);
  int rc = chars.n ? type_in(s, sc, chars, yield_ms, claim_fd, err) : 0;
  if (rc > 0)
    return add_failure(out, f.began_ns,
                       CSN_STR("write_stdin failed: the process does not read its input."), err);
  if (rc < 0)
    return rc;
  csn_scope yield;
  csn_scope_init(&yield, sc, yield_ms);
  rc = csn_session_wait(s, &yield, err);
  csn_scope_fini(&yield);
  if (rc < 0 && rc != CSN_E_TIMEOUT)
    return rc;
  rc = csn_scope_check(sc, err);
  return rc < 0 ? rc : report(sh, s, (int)id, tokens, &f, out, err);
}
