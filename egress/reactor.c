/* SPDX-License-Identifier: Apache-2.0
 *
 * reactor.c - the loop; see reactor.h.
 *
 * Alarms are an unsorted list with a lower bound of its minimum: deadlines
 * move later with each byte that passes, and that must cost nothing.  The list
 * is walked only when the bound has passed.
 */
#include "egress/reactor.h"

#include <errno.h>

#include "caisson/scope.h"

enum { EVENTS = 64 };

int
csn_reactor_init(csn_reactor *r, csn_err *err)
{
  *r = (csn_reactor){.earliest_ns = INT64_MAX, .now_ns = csn_now_ns()};
  r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  return r->epoll_fd < 0 ? csn_fail_errno(err, "epoll_create1") : 0;
}

void
csn_reactor_fini(csn_reactor *r)
{
  if (r->epoll_fd >= 0)
    close(r->epoll_fd);
}

void
csn_ready_set(csn_reactor *r, csn_ready *w, uint32_t events)
{
  if (w->fd < 0 || w->events == events)
    return;
  struct epoll_event e = {.events = events, .data.ptr = w};
  int what = w->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  w->events = events;
  (void)epoll_ctl(r->epoll_fd, what, w->fd, &e);
}

void
csn_ready_close(csn_reactor *r, csn_ready *w)
{
  if (w->fd < 0)
    return;
  csn_ready_set(r, w, 0);
  close(w->fd);
  w->fd = -1;
}

void
csn_alarm_set(csn_reactor *r, csn_alarm *a, int64_t at_ns)
{
  a->at_ns = at_ns;
  if (!a->link) {
    a->next = r->alarms;
    a->link = &r->alarms;
    if (a->next)
      a->next->link = &a->next;
    r->alarms = a;
  }
  if (at_ns < r->earliest_ns)
    r->earliest_ns = at_ns;
}

void
csn_alarm_drop(csn_alarm *a)
{
  if (!a->link)
    return;
  *a->link = a->next;
  if (a->next)
    a->next->link = a->link;
  a->link = NULL;
  a->next = NULL;
  a->at_ns = 0;
}

void
csn_reactor_bury(csn_reactor *r, csn_grave *g)
{
  g->next = r->graves;
  r->graves = g;
}

static void
run_graves(csn_reactor *r)
{
  for (csn_grave *g; (g = r->graves);) {
    r->graves = g->next;
    g->fn(g->user);
  }
}

/* One that is due, or NULL after the bound was made exact. */
static csn_alarm *
find_due(csn_reactor *r)
{
  r->earliest_ns = INT64_MAX;
  for (csn_alarm *a = r->alarms; a; a = a->next) {
    if (a->at_ns <= r->now_ns)
      return a;
    if (a->at_ns < r->earliest_ns)
      r->earliest_ns = a->at_ns;
  }
  return NULL;
}

static void
run_alarms(csn_reactor *r)
{
  if (r->now_ns < r->earliest_ns)
    return;
  for (csn_alarm *a; (a = find_due(r));) {
    csn_alarm_drop(a);
    a->fn(a->user);
  }
}

static int
wait_ms(const csn_reactor *r)
{
  if (r->earliest_ns == INT64_MAX)
    return -1;
  int64_t left = r->earliest_ns - csn_now_ns();
  if (left <= 0)
    return 0;
  return left > INT64_C(3600000000000) ? 3600000 : (int)(left / 1000000) + 1;
}

int
csn_reactor_run(csn_reactor *r, csn_err *err)
{
  while (!r->stop) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->epoll_fd, events, EVENTS, wait_ms(r));
    if (n < 0 && errno != EINTR)
      return csn_fail_errno(err, "epoll_wait");
    r->now_ns = csn_now_ns();
    for (int i = 0; i < n; i++) {
      csn_ready *w = events[i].data.ptr;
      if (w->fd >= 0 && w->events)
        w->fn(w->user, events[i].events);
    }
    run_alarms(r);
    run_graves(r);
  }
  return 0;
}
