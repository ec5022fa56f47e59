/* SPDX-License-Identifier: Apache-2.0
 *
 * program.h - the library's own helper programs (keeper, spawner, warden): a
 * part of its bytes, started from a sealed memfd, or from libexecdir where
 * memory may not be executed.
 */
#ifndef CSN_SANDBOX_PROGRAM_H
#define CSN_SANDBOX_PROGRAM_H

#include <sys/types.h>

#include "caisson/mem.h"

/* A descriptor of the program, the caller's to close.  `name` is that of the
 * file in libexecdir. */
int csn_program_open(const char *name, csn_str image, csn_err *err) CSN_MUST;

/* Starts fds[image] with fds[0..n) as its descriptors 3 and up, /dev/null
 * below, and nothing else of ours: no environment, no signal mask, a session
 * of its own. */
int csn_program_start(pid_t *pid, const char *name, const int *fds, size_t n, size_t image,
                      csn_err *err) CSN_MUST;

/* The absolute path of a program of this machine on the PATH, or NULL. */
const char *csn_program_on_path(csn_arena *a, const char *name);

#endif
