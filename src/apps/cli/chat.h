/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.h - a conversation on a terminal: what its loop and its commands share.
 *
 * Each message of the user is a run.  A session carries what was said from one
 * to the next, and the workspace moves along, so a chat is as safe against a
 * crash as its runs are.
 */
#ifndef CSN_APPS_CHAT_H
#define CSN_APPS_CHAT_H

#include <pthread.h>

#include "line.h"
#include "running.h"

enum { CHAT_ID_MAX = 64 };

struct chat {
  cli *c;
  csn_rt *rt;
  csn_agent *agent;
  cli_line *line;
  const char *session;
  char last[CHAT_ID_MAX];  /* the newest run; empty: none yet */
  char place[CHAT_ID_MAX]; /* the run that holds the workspace; empty: none yet */
  cli_show show;
  csn_buf parts; /* pictures for the next message */
  csn_buf said;  /* what of the reply stands on the screen already */
  bool no_stream, harness_tools, is_over;
  int64_t messages, turns, tool_calls, tokens;
  double cost_usd; /* -1: a price is not known */
  pthread_mutex_t lock;
  csn_run *now; /* locked: the run that Ctrl-C stops; NULL: none */
};

/* A line that starts with a slash. */
int chat_command(struct chat *h, csn_str line, csn_err *err) CSN_MUST;

#endif
