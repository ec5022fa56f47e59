/* SPDX-License-Identifier: Apache-2.0
 * One command in a jail: cc jail.c $(pkg-config --cflags --libs caisson) */
#include <caisson/caisson.h>
#include <stdio.h>

int
main(void)
{
  csn_scope scope; /* at most five seconds for all of it */
  csn_scope_init(&scope, NULL, 5000);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  csn_exec command = {.argv = (const char *[]){"sh", "-c", "id -un; ls -A /home", NULL},
                      .claim_fd = -1};
  csn_auto(csn_sandbox_closep) csn_sandbox *jail = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20); /* no more than 1 MiB */
  csn_exit end = {0};
  csn_err err;
  if (csn_sandbox_open(&jail, &scope, &spec, &err) < 0 ||
      csn_sandbox_exec(jail, &scope, &command, &out, NULL, &end, &err) < 0) {
    fprintf(stderr, "%s\n", err.msg);
    return 1;
  }
  printf("exit status %d, output:\n%s", end.code, out.p ? out.p : "");
  return end.code;
}
