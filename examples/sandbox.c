/* SPDX-License-Identifier: Apache-2.0
 * Talks to a command in a jail while it runs. */
#include <caisson/caisson.h>
#include <stdio.h>

/* Sends a line and prints what comes back, up to the end of a line. */
static int
ask(csn_proc *calc, csn_scope *scope, const char *line, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf answer = CSN_BUF(4096);
  enum csn_stream which;
  int rc = csn_proc_write(calc, scope, csn_cstr(line), err);
  while (rc >= 0 && (answer.n == 0 || answer.p[answer.n - 1] != '\n')) {
    rc = csn_proc_read(calc, scope, &answer, 1024, &which, err);
    if (rc == 0)
      return csn_fail(err, CSN_E_IO, "the command ended early");
  }
  printf("%s", answer.p ? answer.p : "");
  return rc;
}

int
main(void)
{
  static const char script[] = "while read -r a b; do echo \"$a + $b = $((a + b))\"; done; exit 7";
  csn_scope scope; /* at most ten seconds for all of it */
  csn_scope_init(&scope, NULL, 10000);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  csn_exec command = {
      .argv = (const char *[]){"sh", "-c", script, NULL}, .with_stdin = true, .claim_fd = -1};
  csn_auto(csn_sandbox_closep) csn_sandbox *jail = NULL; /* closed last */
  csn_auto(csn_proc_closep) csn_proc *calc = NULL;
  csn_exit end;
  csn_err err;
  if (csn_sandbox_open(&jail, &scope, &spec, &err) < 0 ||
      csn_sandbox_spawn(jail, &scope, &command, &calc, &err) < 0 ||
      ask(calc, &scope, "20 22\n", &err) < 0 || ask(calc, &scope, "1 1\n", &err) < 0) {
    fprintf(stderr, "%s\n", err.msg);
    return 1;
  }
  csn_proc_close_stdin(calc); /* the end of its input ends it */
  if (csn_proc_wait(calc, &scope, &end, &err) < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  printf("exit status %d\n", end.code);
  return 0;
}
