/* SPDX-License-Identifier: Apache-2.0
 *
 * reactor.h - what is ready, what is due, what can be freed: the one loop of
 * this process.
 *
 * Descriptors and alarms live inside the objects that use them.  A callback
 * may close any descriptor and drop any alarm, but memory that holds one is
 * given back through csn_reactor_bury(): others of the same turn may point to
 * it still.
 */
#ifndef CSN_EGRESS_REACTOR_H
#define CSN_EGRESS_REACTOR_H

#include <sys/epoll.h>

#include "caisson/mem.h"

typedef struct csn_ready {
  int fd; /* -1: closed */
  uint32_t events;
  void (*fn)(void *user, uint32_t events);
  void *user;
} csn_ready;

typedef struct csn_alarm {
  int64_t at_ns; /* CLOCK_MONOTONIC; 0: not set */
  void (*fn)(void *user);
  void *user;
  struct csn_alarm *next, **link;
} csn_alarm;

typedef struct csn_grave {
  void (*fn)(void *user);
  void *user;
  struct csn_grave *next;
} csn_grave;

typedef struct csn_reactor {
  int epoll_fd;
  int64_t now_ns; /* of this turn */
  int64_t earliest_ns;
  csn_alarm *alarms;
  csn_grave *graves;
  bool stop;
} csn_reactor;

int csn_reactor_init(csn_reactor *r, csn_err *err) CSN_MUST;
void csn_reactor_fini(csn_reactor *r);
/* Until r->stop. */
int csn_reactor_run(csn_reactor *r, csn_err *err) CSN_MUST;

/* EPOLLIN, EPOLLOUT or both; 0: not watched.  Level-triggered; errors and
 * hang-ups are told while it is watched. */
void csn_ready_set(csn_reactor *r, csn_ready *w, uint32_t events);
void csn_ready_close(csn_reactor *r, csn_ready *w);
void csn_alarm_set(csn_reactor *r, csn_alarm *a, int64_t at_ns);
void csn_alarm_drop(csn_alarm *a);
/* Calls g->fn(g->user) at the end of this turn. */
void csn_reactor_bury(csn_reactor *r, csn_grave *g);

#endif
