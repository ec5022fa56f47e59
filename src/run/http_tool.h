/* SPDX-License-Identifier: Apache-2.0
 *
 * http_tool.h - a tool that is a request to a server.
 *
 * It leaves from the harness, so it goes to public addresses only, whatever its
 * host's name leads to, and to those that the agent file lists.  Values of
 * variables are put into its headers, sent to the host that the file names and
 * to no other, and taken out of what comes back.
 */
#ifndef CSN_RUN_HTTP_TOOL_H
#define CSN_RUN_HTTP_TOOL_H

#include "caisson/tool.h"

struct csn_http_tool {
  const char *name, *method;
  csn_str url;              /* {NAME} in it stands for an argument */
  const csn_json *headers;  /* texts by name; may be NULL, as the next */
  const csn_json *env;      /* names of variables by name of the header */
  const char *const *allow; /* "ADDRESS:PORT" that need not be public; NULL at the end */
};

/* csn_tool.call; user is a csn_http_tool. */
int csn_http_tool_call(csn_call *c, void *user, csn_err *err);
/* The address for these arguments; *rest: what of them it does not hold. */
int csn_http_tool_url(const struct csn_http_tool *t, const csn_json *args, csn_buf *url,
                      csn_buf *rest, csn_err *err) CSN_MUST;

#endif
