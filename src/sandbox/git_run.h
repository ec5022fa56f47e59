/* SPDX-License-Identifier: Apache-2.0
 *
 * git_run.h - the git of this host, for repositories that nobody trusts.
 *
 * It gets no configuration but ours: no hooks, templates, credential helpers,
 * prompts, filters; one protocol.  What a private host wants to see is a header
 * that only git's own memory and a file without a name of this process hold:
 * no argument, no variable, no file of the repository.
 */
#ifndef CSN_SANDBOX_GIT_RUN_H
#define CSN_SANDBOX_GIT_RUN_H

#include "caisson/mem.h"
#include "caisson/scope.h"

enum { CSN_GIT_ENV_MAX = 24 };

typedef struct csn_git {
  csn_scope *sc;
  const char *env[CSN_GIT_ENV_MAX + 1];
  csn_buf store; /* of those that are passed on */
  int auth_fd;
  char auth[80];
} csn_git;

/* is_local: it may read repositories of this machine, else https ones.  origin
 * ("https://host") gets `header` ("Name: value") in each request; empty: none. */
int csn_git_open(csn_git *g, csn_scope *sc, bool is_local, csn_str origin, csn_str header,
                 csn_err *err) CSN_MUST;
void csn_git_close(csn_git *g);
/* Runs git with these arguments, NULL-terminated, in the folder.  out: what it
 * prints; may be NULL.  CSN_E_IO with what it said when it fails. */
int csn_git_run(csn_git *g, int dir, const char *const *args, csn_buf *out, csn_err *err) CSN_MUST;

#endif
