/* SPDX-License-Identifier: Apache-2.0
 * command_tool.c - see command_tool.h.
 *
 * What it prints is JSON or plain text: a string, {"output": text or content
 * parts}, {"error": text}, or anything else as it stands.  Its failure is for
 * the model to read. */
#include "run/command_tool.h"

#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "core/proc.h"
#include "run/driver.h"

enum { OUTPUT_MAX_BYTES = 16 << 20, ERRORS_MAX_BYTES = 4 << 10 };

/* ---- running it ---- */

/* The variables of the tool and what it may want to know of the call. */
static const char **
environment_of(csn_call *c, const struct csn_command_tool *t, csn_arena *a, const char *const *more)
{
  size_t n = 0, i = 0;
  for (const char *const *e = t->environment; e && *e; e++)
    n++;
  for (const char *const *e = more; e && *e; e++)
    n++;
  const char **env = csn_arena_alloc(a, (n + 4) * sizeof *env);
  csn_str id = csn_call_id(c);
  env[i++] = csn_arena_printf(a, "CAISSON_TOOL=%s", t->name).p;
  env[i++] = csn_arena_printf(a, "CAISSON_CALL=%.*s", (int)id.n, id.p).p;
  env[i++] = csn_arena_printf(a, "CAISSON_RUN=%s", csn_run_id(csn_call_run(c))).p;
  for (const char *const *e = more; e && *e; e++)
    env[i++] = *e;
  for (const char *const *e = t->environment; e && *e; e++)
    env[i++] = *e;
  return env;
}

static int
write_input(csn_call *c, csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_value(&w, csn_call_args(c));
  csn_buf_addc(out, '\n');
  return csn_buf_done(out, "the arguments", err);
}

static int
in_sandbox(csn_call *c, const struct csn_command_tool *t, csn_str input, csn_buf *out,
           csn_buf *errors, csn_err *err)
{
  csn_sandbox *sb = NULL;
  csn_scope *sc = csn_call_scope(c);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  int rc = csn_call_choose(c, csn_cstr(t->box), err);
  if (rc == 0)
    rc = csn_call_sandbox(c, &sb, err);
  if (rc < 0)
    return rc;
  csn_exec x = {.argv = t->argv,
                .environment = environment_of(c, t, a, NULL),
                .with_stdin = true,
                .split_output = true,
                .claim_fd = -1,
                .files = csn_call_files(c)};
  rc = csn_sandbox_spawn(sb, sc, &x, &p, err);
  if (rc < 0)
    return rc;
  csn_err broken; /* a program need not read what it is given */
  rc = csn_proc_write(p, sc, input, &broken);
  if (rc < 0 && rc != CSN_E_IO) {
    *err = broken;
    return rc;
  }
  csn_proc_close_stdin(p);
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(64 << 10);
  enum csn_stream which;
  while ((rc = csn_proc_read(p, sc, &piece, piece.cap, &which, err)) > 0) {
    csn_buf_add(which == CSN_STDERR ? errors : out, csn_buf_str(&piece));
    csn_buf_clear(&piece);
  }
  csn_exit ended;
  if (rc == 0)
    rc = csn_proc_wait(p, sc, &ended, err);
  return rc < 0 ? rc : ended.code;
}

static int
in_harness(csn_call *c, const struct csn_command_tool *t, csn_str input, csn_buf *out,
           csn_buf *errors, csn_err *err)
{
  static const char *const kept[] = {"PATH", "HOME", "LANG"};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char *more[CSN_COUNT(kept) + 1];
  size_t n = 0;
  for (size_t i = 0; i < CSN_COUNT(kept); i++)
    if (getenv(kept[i]))
      more[n++] = csn_arena_printf(a, "%s=%s", kept[i], getenv(kept[i])).p;
  more[n] = NULL;
  csn_auto(csn_closep) int in = csn_fd_memory("caisson-tool", input, err);
  csn_auto(csn_closep) int errors_fd = csn_fd_memory("caisson-tool", CSN_STR(""), err);
  csn_auto(csn_closep) int cwd = open(t->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (in < 0 || errors_fd < 0)
    return CSN_E_IO;
  if (cwd < 0)
    return csn_fail_errno(err, "folder of the agent file %s", t->folder);
  csn_command cmd = {.argv = t->argv,
                     .environment = environment_of(c, t, a, more),
                     .cwd_fd = cwd,
                     .stdin_fd = in,
                     .stderr_fd = errors_fd};
  int rc = csn_command_run(&cmd, csn_call_scope(c), out, err);
  char tail[ERRORS_MAX_BYTES];
  off_t size = lseek(errors_fd, 0, SEEK_END);
  off_t from = size > (off_t)sizeof tail ? size - (off_t)sizeof tail : 0;
  ssize_t got = size > 0 ? pread(errors_fd, tail, sizeof tail, from) : 0;
  csn_buf_add(errors, csn_strn(tail, got > 0 ? (size_t)got : 0));
  return rc;
}

/* ---- what it said ---- */

void
csn_tool_add_text(csn_call *c, csn_str text)
{
  const csn_agent *a = csn_call_run(c)->agent;
  size_t most = (size_t)a->limits.output_tokens * 4;
  csn_buf *out = csn_call_out(c);
  if (text.n <= most) {
    csn_buf_add(out, text);
    return;
  }
  csn_str head = csn_strn(text.p, most / 2);
  csn_str tail = csn_strn(text.p + text.n - most / 2, most / 2);
  csn_buf_add(out, csn_strn(head.p, csn_utf8_valid(head)));
  csn_buf_addf(out, "\n[%zu bytes left out]\n", text.n - most);
  while (tail.n && ((unsigned char)*tail.p & 0xc0) == 0x80) /* not in the middle of a character */
    tail = csn_strn(tail.p + 1, tail.n - 1);
  csn_buf_add(out, tail);
}

static void
tell(csn_call *c, csn_str said)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(64u << 20);
  const csn_json *v = NULL;
  if (csn_json_parse(a, csn_str_trim(said), &v, NULL) < 0) {
    csn_tool_add_text(c, said);
    return;
  }
  const csn_json *output = v->kind == CSN_JSON_OBJECT ? csn_json_get(v, "output") : NULL;
  const csn_json *error = v->kind == CSN_JSON_OBJECT ? csn_json_get(v, "error") : NULL;
  if (output)
    v = output;
  if (csn_json_is(error, CSN_JSON_STRING)) {
    csn_buf_addz(csn_call_out(c), "The call failed: ");
    v = error;
  }
  if (v->kind == CSN_JSON_STRING)
    csn_tool_add_text(c, v->text);
  else if (output && v->kind == CSN_JSON_ARRAY && v->n && csn_json_get(v->child, "type"))
    csn_call_set_content(c, v->raw);
  else
    csn_tool_add_text(c, v->raw);
}

int
csn_command_tool_call(csn_call *c, void *user, csn_err *err)
{
  const struct csn_command_tool *t = user;
  csn_auto(csn_buf_finip) csn_buf input = CSN_BUF(OUTPUT_MAX_BYTES),
                                  out = CSN_BUF(OUTPUT_MAX_BYTES),
                                  errors = CSN_BUF(ERRORS_MAX_BYTES);
  int rc = write_input(c, &input, err);
  if (rc < 0)
    return rc;
  rc = t->in_harness ? in_harness(c, t, csn_buf_str(&input), &out, &errors, err)
                     : in_sandbox(c, t, csn_buf_str(&input), &out, &errors, err);
  if (rc < 0)
    return rc;
  if (rc == 0) {
    tell(c, csn_buf_str(&out));
    return 0;
  }
  csn_buf_addf(csn_call_out(c), "The call failed: %s ended with exit code %d.\n", t->argv[0], rc);
  csn_tool_add_text(c, csn_buf_str(&errors));
  csn_tool_add_text(c, csn_buf_str(&out));
  return 0;
}
