/* SPDX-License-Identifier: Apache-2.0
 *
 * thread.h - a thread of the library's own: with a small stack, and no signal
 * is delivered to it, because a program's handlers run in its own threads.
 */
#ifndef CSN_CORE_THREAD_H
#define CSN_CORE_THREAD_H

#include <pthread.h>

#include "caisson/err.h"

enum { CSN_THREAD_STACK = 256 << 10 }; /* bytes */

/* what: for the message.  Who starts it joins it. */
int csn_thread_start(pthread_t *out, void *(*fn)(void *), void *user, const char *what,
                     csn_err *err) CSN_MUST;

#endif
