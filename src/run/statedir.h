/* SPDX-License-Identifier: Apache-2.0
 *
 * statedir.h - the state folder: the nearest .caisson upward from the current
 * folder, else ./.caisson; or the one that is named.
 *
 * A folder that was found and not named must be ours: what stands in it is
 * trusted, and anybody can make a /tmp/.caisson.
 */
#ifndef CSN_RUN_STATEDIR_H
#define CSN_RUN_STATEDIR_H

#include <pthread.h>

#include "run/project.h"
#include "store/session.h"

/* Its path on the heap and a descriptor.  It is made 0700 when `make` is true;
 * otherwise a missing one is CSN_E_NOT_FOUND.  CSN_E_DENIED: somebody else's. */
int csn_statedir_open(const char *dir, bool make, char **path, int *fd, csn_err *err) CSN_MUST;
/* Opens what keeps the runs: the database at `url`; without it and without
 * `dir` the one that caisson.yaml names; else the one in the folder `fd`. */
int csn_state_store_open(const struct csn_project *p, const char *dir, const char *url, int fd,
                         enum csn_durability d, csn_store **out, csn_err *err) CSN_MUST;
/* Opens the store of sessions: at `place`, else where caisson.yaml says, else
 * beside the runs; encrypted with the keys of a file, or with those that
 * caisson.yaml names. */
int csn_state_sessions_open(const struct csn_project *p, const char *place, const char *keys,
                            csn_store *store, csn_sessions **out, csn_err *err) CSN_MUST;
/* The sessions of a process, opened at first use. */
struct csn_state_sessions {
  char *place, *keys;   /* owned; as csn_state_sessions_open() takes them */
  pthread_mutex_t lock; /* guards what is below */
  csn_sessions *open;
};
void csn_state_sessions_init(struct csn_state_sessions *s, const char *place, const char *keys);
void csn_state_sessions_fini(struct csn_state_sessions *s);
int csn_state_sessions_need(struct csn_state_sessions *s, const struct csn_project *p,
                            csn_store *store, csn_sessions **out, csn_err *err) CSN_MUST;
/* The path of the nearest file or folder `name` upward from the current
 * folder, on the heap, or NULL. */
char *csn_find_upward(const char *name);

#endif
