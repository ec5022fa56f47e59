/* SPDX-License-Identifier: Apache-2.0
 * thread.c - see thread.h. */
#include "core/thread.h"

#include <signal.h>

int
csn_thread_start(pthread_t *out, void *(*fn)(void *), void *user, const char *what, csn_err *err)
{
  pthread_attr_t at;
  sigset_t all, old;
  pthread_attr_init(&at);
  pthread_attr_setstacksize(&at, CSN_THREAD_STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int e = pthread_create(out, &at, fn, user);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&at);
  return e ? csn_fail(err, CSN_E_UNAVAILABLE, "cannot start a thread for %s: error %d", what, e)
           : 0;
}
