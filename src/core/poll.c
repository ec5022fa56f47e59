/* SPDX-License-Identifier: Apache-2.0
 * poll.c - poll(2) under a scope: cancelling writes to an eventfd that is
 * polled along with the caller's descriptors. */
#include "core/poll.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "caisson/mem.h"

enum { MOST = 8 };

static void
wake(void *user)
{
  int fd = *(int *)user;
  (void)!write(fd, &(uint64_t){1}, sizeof(uint64_t)); /* a full counter has woken already */
}

static int
poll_until(csn_scope *sc, struct pollfd *all, nfds_t n, csn_err *err)
{
  for (;;) {
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    int ready = poll(all, n, csn_scope_poll_ms(sc));
    if (ready < 0 && errno != EINTR)
      return csn_fail_errno(err, "poll");
    rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    if (ready > 0)
      return ready;
  }
}

int
csn_poll(csn_scope *sc, struct pollfd *fds, nfds_t n, csn_err *err)
{
  if (!sc)
    return poll_until(NULL, fds, n, err);
  if (n > MOST)
    return csn_fail(err, CSN_E_INVALID, "poll of %d descriptors, at most %d", (int)n, MOST);
  csn_auto(csn_closep) int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0)
    return csn_fail_errno(err, "eventfd");
  struct pollfd all[MOST + 1];
  if (n) /* a wait for nothing but the scope has none */
    memcpy(all, fds, n * sizeof *fds);
  all[n] = (struct pollfd){.fd = event, .events = POLLIN};
  csn_waker w;
  csn_waker_add(&w, sc, wake, &event);
  int rc = poll_until(sc, all, n + 1, err);
  csn_waker_drop(&w);
  if (n)
    memcpy(fds, all, n * sizeof *fds);
  return rc;
}
