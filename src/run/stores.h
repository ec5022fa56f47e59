/* SPDX-License-Identifier: Apache-2.0
 *
 * stores.h - `stores` of caisson.yaml: other places for snapshots, by name.
 *
 * What lets us in comes from variables of the environment, from a file of its
 * owner or from a command, and only into the headers of requests: never into
 * arguments, messages or the journal.
 */
#ifndef CSN_RUN_STORES_H
#define CSN_RUN_STORES_H

#include "run/project.h"
#include "sandbox/depot.h"

/* An entry, checked; file: for the complaint. */
int csn_stores_check(const csn_json *v, const char *file, csn_err *err) CSN_MUST;
/* A line for who is to trust it: where it leads, and what it starts. */
void csn_stores_describe(const csn_json *v, csn_buf *out);
/* Whether it leads to this machine and starts no command. */
bool csn_stores_is_local(const csn_json *v);
/* `keys` of anything that is encrypted, checked: file: PATH or command: [...].
 * where: "stores.NAME.keys". */
int csn_keys_check(const csn_json *v, const char *file, const char *where, csn_err *err) CSN_MUST;
/* The vault that such keys make; NULL for v NULL. */
int csn_keys_open(const struct csn_project *p, const csn_json *v, csn_vault **out,
                  csn_err *err) CSN_MUST;

/* The snapshots of this machine, opened with the keys that caisson.yaml names. */
int csn_snapshots_here(struct csn_project *p, int state_fd, csn_snapshots **out,
                       csn_err *err) CSN_MUST;

/* Opens the store of that name; NULL: the only one that there is.  s is borrowed. */
int csn_stores_open(const struct csn_project *p, csn_http *http, const char *name, csn_snapshots *s,
                    csn_depot **out, csn_err *err) CSN_MUST;

/* "STORE/NAME": a snapshot in another place. */
bool csn_snapshot_is_elsewhere(const char *name);
/* Gets the snapshot STORE/NAME into this machine's store, where it has no name:
 * for who begins with it right away, while the lock of the store is held.  What
 * is here already is not fetched again. */
int csn_stores_pull(const struct csn_project *p, csn_http *http, csn_scope *sc, csn_snapshots *s,
                    const char *name, csn_snapshot *out, csn_err *err) CSN_MUST;

#endif
