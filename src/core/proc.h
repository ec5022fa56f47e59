/* SPDX-License-Identifier: Apache-2.0
 *
 * proc.h - runs a program of this host to its end, such as git.
 *
 * The program gets a process group of its own, /dev/null as stdin, one pipe
 * for stdout and stderr, no other descriptor and exactly the environment that
 * is given.  When the scope ends, or when the program is done, whatever is
 * left of its group is killed.
 */
#ifndef CSN_CORE_PROC_H
#define CSN_CORE_PROC_H

#include <sys/types.h>

#include "caisson/scope.h"
#include "caisson/str.h"

typedef struct csn_command {
  const char *const *argv;        /* argv[0] is sought in PATH of this process */
  const char *const *environment; /* NAME=VALUE, NULL-terminated */
  int cwd_fd;                     /* folder to run in, or -1 */
  int stdin_fd, stderr_fd;        /* in the place of /dev/null and of the pipe; 0: as that */
} csn_command;

/* Output is appended to `out`; what passes its cap is read and dropped.
 * Returns the exit code (128 + signal when one ended it); CSN_E_NOT_FOUND when
 * there is no such program, or the scope's error. */
int csn_command_run(const csn_command *c, csn_scope *sc, csn_buf *out, csn_err *err) CSN_MUST;

/* Starts it alone, with `out` as its stdout; it is the caller's to end and to
 * reap, and its number is that of its process group. */
int csn_command_start(const csn_command *c, int out, pid_t *pid, csn_err *err) CSN_MUST;

#endif
