/* SPDX-License-Identifier: Apache-2.0
 *
 * running.h - what `run` and `resume` share: showing a run while it goes and
 * saying how it ended.
 */
#ifndef CSN_APPS_RUNNING_H
#define CSN_APPS_RUNNING_H

#include "caisson/run.h"
#include "cli.h"
#include "live.h"

typedef struct cli_show {
  cli *c;
  bool json, is_unread; /* is_unread: nobody takes what is printed */
  cli_live live;
} cli_show;

void cli_show_init(cli_show *s, cli *c, bool json);
void cli_show_fini(cli_show *s);

int cli_rt_open(cli *c, csn_rt **out, csn_err *err) CSN_MUST;
/* A csn_listener; user is a cli_show. */
void cli_show_event(void *user, const char *run, const char *type, int64_t seq, csn_str data);
/* "exec_command: git push": what a call is about, fit for one line. */
void cli_call_brief(csn_buf *out, csn_str tool, csn_str input, bool is_custom);
/* The calls that wait for a decision, one a line on stderr. */
void cli_list_asks(cli *c, csn_run *r);
int cli_exit_of_result(const csn_result *r);
/* Of an agent with a memory: notes what the run taught, and with `rt` makes the
 * memory anew; r NULL: of what was noted.  What fails is told. */
void cli_remember(cli *c, csn_rt *rt, const csn_agent *a, csn_run *r);
/* Before a run in a session, which may be NULL: sums it up where the agent says so.
 * What fails is told. */
void cli_tidy(cli_show *s, csn_rt *rt, const csn_agent *a, const char *session);
/* Waits (Ctrl-C stops the run so that it can be resumed), prints the final
 * answer and the last line; returns the exit status. */
int cli_await(cli_show *s, csn_run *r, csn_err *err) CSN_MUST;

#endif
