/* SPDX-License-Identifier: Apache-2.0
 *
 * kept.h - sandboxes that have a name and stay until they are removed, in the
 * folder kept/NAME of the state folder:
 *   sandbox.json   what it was made from, and where it is if it is elsewhere
 *   workspace/     its files, where they are on this machine
 *   lock           flock: shared by who uses it, exclusive for who removes it
 * Of one on this machine the files are kept: each use opens it again over them.
 */
#ifndef CSN_APPS_KEPT_H
#define CSN_APPS_KEPT_H

#include "boxing.h"
#include "core/fd.h"

enum { CLI_KEPT_NAME_MAX = 60 };

typedef struct cli_kept {
  cli *c;
  int state;                                /* the state folder, */
  csn_buf path;                             /* and where it is */
  char name[CLI_KEPT_NAME_MAX + 1], id[25]; /* id: as others know it, see cli_kept_wants() */
  int dir, lock, workspace;                 /* -1: not there */
  cli_box_opts opts;
  cli_box box;
  int64_t created_ms;
  const csn_json *told; /* of one elsewhere, by which it is found again; else NULL */
  csn_sandbox *sb;      /* while it is open */
} cli_kept;

/* Before each of the others; `k` is to be closed whatever they return. */
int cli_kept_init(cli *c, cli_kept *k, csn_err *err) CSN_MUST;
/* Lets go of it. */
void cli_kept_close(cli_kept *k);
static inline void
cli_kept_closep(cli_kept **k)
{
  cli_kept_close(*k);
}

/* A new one, open.  CSN_E_EXISTS; CSN_E_INVALID for what cannot be a name. */
int cli_kept_make(cli_kept *k, const char *name, const cli_box_opts *o, csn_err *err) CSN_MUST;
/* Finds what has the name, with the shared lock or the exclusive one; that is
 * CSN_E_CONFLICT while somebody uses it. */
int cli_kept_find(cli_kept *k, const char *name, bool alone, csn_err *err) CSN_MUST;
int cli_kept_open(cli_kept *k, csn_err *err) CSN_MUST;
/* cli_kept_init() and cli_kept_find(). */
int cli_kept_use(cli *c, cli_kept *k, const char *name, bool alone, csn_err *err) CSN_MUST;
/* The descriptor of a folder with its files; of one elsewhere they are brought
 * into a folder that goes with k. */
int cli_kept_files(cli_kept *k, csn_err *err) CSN_MUST;
/* Gives it the name of another, which is removed; both were found alone. */
int cli_kept_replace(cli_kept *k, cli_kept *old, csn_err *err) CSN_MUST;
/* Ends it, with all its files; it was found alone. */
int cli_kept_remove(cli_kept *k, csn_err *err) CSN_MUST;

/* What is known of it, without a lock; for several, one after the other. */
int cli_kept_read(cli_kept *k, const char *name, csn_err *err) CSN_MUST;
/* All names, in their order. */
int cli_kept_names(const cli_kept *k, csn_names *names, csn_err *err) CSN_MUST;
/* Whether one of a state folder has that label (caisson/remote.h). */
bool cli_kept_wants(cli *c, int state, const char *label);

#endif
