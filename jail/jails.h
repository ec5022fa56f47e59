/* SPDX-License-Identifier: Apache-2.0
 * jails.h - what a spawner has: its jails, and what is ready for the next. */
#ifndef CSN_JAIL_JAILS_H
#define CSN_JAIL_JAILS_H

#include "jail/cgroup.h"
#include "jail/grants.h"
#include "jail/start.h"

struct csn_jail {
  pid_t pid;
  struct csn_ids *ids;
  int lock; /* -1: none */
  int view; /* of a workspace of layers, so that its end is not the last; -1 */
  int life; /* write end; its closing tells the warden that we are gone, and
               the harness that the jail has ended and the lock is free */
  struct csn_cgroup group;
  int64_t deadline_ms; /* when its wall time is over; INT64_MAX: never */
  bool is_late;
  struct csn_warm *warm; /* of one that nobody has yet */
};

enum { CSN_JAIL_SPARES = 8 };

struct csn_jails {
  struct csn_home home;
  struct csn_template *templates;
  struct csn_spare spares[CSN_JAIL_SPARES];
  size_t n_spares;
  struct csn_cgroups groups;
  struct csn_kind *kinds; /* most recently used first */
  uid_t uid;              /* whose the last workspace was */
  gid_t gid;
  struct csn_jail *all;
  size_t n, room;
  size_t served;
};

struct csn_request {
  csn_jail_open open;
  int fds[CSN_JAIL_GIVEN];                              /* by number; -1: not there */
  int layers[CSN_JAIL_LAYERS_MAX + CSN_JAIL_UNDER_MAX]; /* those of the workspace last */
  int extras[CSN_JAIL_EXTRAS_MAX];                      /* devices, libraries, grants */
  struct csn_granted granted;
  int view; /* comes of a workspace of layers, for the harness; -1 */
};

/* Answers a request: fds are a pidfd, the life pipe and the files that count
 * events, as far as there are; without a control stream it only fills the
 * pool.  a->error says how it went. */
void csn_jails_make(struct csn_jails *s, struct csn_request *r, csn_jail_opened *a, int fds[4]);
/* Collects those that have ended. */
void csn_jails_reap(struct csn_jails *s, int flags);
/* Ends those whose wall time is over; milliseconds to the next such, or -1. */
int csn_jails_end_late(struct csn_jails *s);
void csn_jails_end(struct csn_jails *s);

/* For the pool: replaces the workspace's descriptor by a tree whose owner is
 * user 1000 of the ids, which it may change for others; clones the first
 * process of a jail and remembers it; when a jail that starts now ends. */
const char *csn_jails_workspace(struct csn_jails *s, struct csn_request *r, struct csn_ids **ids,
                                csn_jail_opened *a);
const char *csn_jails_start(struct csn_jails *s, const struct csn_template *t,
                            struct csn_jail_plan *plan, struct csn_jail j, csn_jail_opened *a,
                            int fds[4]);
int64_t csn_jails_deadline_ms(const csn_jail_limits *l);
int64_t csn_jails_now_ms(void); /* of a clock that only runs */
int csn_jails_keep(int view);   /* what a jail remembers of a request's view */

/* ---- the pool (jail/pool.c) ---- */

/* The kind of jail that is asked for, NULL when there is no pool of it. */
struct csn_kind *csn_pool_kind(struct csn_jails *s, const csn_jail_open *open,
                               const struct csn_template *t);
/* Hands a warm one over; false when there is none, and the request is as it
 * was. */
bool csn_pool_take(struct csn_jails *s, struct csn_kind *kind, struct csn_request *r,
                   csn_jail_opened *a, int fds[4]);
/* Makes one warm jail of a kind that has too few; false when none has. */
bool csn_pool_refill(struct csn_jails *s);
/* Makes all of a kind, or ends those that are too many. */
void csn_pool_fill(struct csn_jails *s, struct csn_kind *kind);
/* A jail has ended. */
void csn_pool_forget(struct csn_jail *j);

#endif
