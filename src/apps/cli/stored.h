/* SPDX-License-Identifier: Apache-2.0
 *
 * stored.h - for commands that look at kept runs without running anything.
 */
#ifndef CSN_APPS_STORED_H
#define CSN_APPS_STORED_H

#include "cli.h"
#include "run/project.h"
#include "store/session.h"

typedef struct cli_stored {
  int fd; /* of the state folder */
  struct csn_project *project;
  csn_store *store;
  csn_sessions *sessions; /* by cli_stored_open_sessions() */
} cli_stored;

int cli_stored_open(cli *c, cli_stored *s, csn_err *err) CSN_MUST;
/* The same with the sessions, wherever they are. */
int cli_stored_open_sessions(cli *c, cli_stored *s, csn_err *err) CSN_MUST;
void cli_stored_close(cli_stored *s);

/* A local_dir entry of a run's manifest and the three trees of it; or all of a
 * workspace that began with a snapshot and has no such entry. */
typedef struct cli_tree {
  csn_str box;   /* name of its sandbox; empty: the run has one */
  csn_str entry; /* its path in the workspace; empty: all of it */
  csn_str src;   /* the folder it came from, absolute; empty: none */
  int base_fd, work_fd;
} cli_tree;

/* Calls fn for each local_dir of the run; the first negative result ends it. */
int cli_each_tree(cli *c, cli_stored *s, const char *run,
                  int (*fn)(void *user, const cli_tree *t, csn_err *err), void *user,
                  csn_err *err) CSN_MUST;

#endif
