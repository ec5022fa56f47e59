/* SPDX-License-Identifier: Apache-2.0
 *
 * line.h - lines that a human types.  On a terminal they are edited, with the
 * lines before at the arrow keys; from a file or a pipe they are just read.
 */
#ifndef CSN_APPS_LINE_H
#define CSN_APPS_LINE_H

#include "cli.h"

typedef struct cli_line cli_line;

/* Reads stdin and prompts on stderr. */
int cli_line_open(cli *c, cli_line **out, csn_err *err) CSN_MUST;
void cli_line_close(cli_line *l);
/* 1: `out` is the next line without its end; 0: there is none.  A line that
 * ends in a backslash goes on in the next.  Ctrl-C empties a line that is
 * being edited. */
int cli_line_read(cli_line *l, const char *prompt, csn_buf *out, csn_err *err) CSN_MUST;

static inline void
cli_line_closep(cli_line **l)
{
  if (*l)
    cli_line_close(*l);
}

#endif
