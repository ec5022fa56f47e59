/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - the `caisson` program: the list of commands, and one way in and
 * out for all of them.
 */
#include <fcntl.h>

#include "commands.h"

static bool
wants_color(void)
{
  const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
  return isatty(STDERR_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

static int
open_log(cli *c, const cli_globals *g, csn_err *err)
{
  enum csn_level level = CSN_LOG_WARN;
  int fd = STDERR_FILENO;
  if (g->log_level) /* one of the closed list in the table */
    csn_level_parse(csn_cstr(g->log_level), &level);
  if (g->log_file)
    fd = open(g->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "cannot open the log file %s", g->log_file);
  c->log = csn_log_new(fd, level);
  return 0;
}

static int
dispatch(cli *c, int argc, char **argv, csn_err *err)
{
  cli_globals g = {0};
  const cli_cmd *cmd;
  void *opts;
  int rc = cli_parse(c, &argc, argv, &g, &cmd, &opts, err);
  if (rc < 0)
    return rc;
  if (g.version)
    return cmd_version.main(c, NULL, 0, NULL, err);
  if (g.help) {
    cli_help(c, cmd, stdout);
    return CLI_DONE;
  }
  if (!cmd || !cmd->main) {
    cli_help(c, cmd, stderr);
    return CLI_USAGE;
  }
  c->session_store = getenv("CAISSON_SESSIONS");
  rc = cli_state_choose(c, g.state, getenv("CAISSON_STATE"), err);
  if (rc == 0)
    rc = open_log(c, &g, err);
  return rc < 0 ? rc : cmd->main(c, opts, argc, argv, err);
}

int
main(int argc, char **argv)
{
  static cli c; /* not on the stack: the signal thread may look at it until the very end */
  setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* or each character shown is a system call */
  c.cmds = cli_cmds;
  pthread_mutex_init(&c.speaking, NULL);
  c.arena = csn_arena_new(0);
  c.err_tty = isatty(STDERR_FILENO);
  c.color = wants_color();
  csn_scope_init(&c.scope, NULL, -1);
  csn_err err = {0};
  int rc = dispatch(&c, argc, argv, &err);
  if (rc >= 0) {
    int flushed = cli_flush(&err);
    rc = flushed < 0 ? flushed : rc;
  }
  cli_status(&c, NULL);
  if (rc >= 0)
    return rc;
  cli_error(&c, "%s", err.msg);
  return (int)cli_exit_of(rc);
}
