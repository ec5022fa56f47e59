/* SPDX-License-Identifier: Apache-2.0
 * local.h - keepers: what local.c (the sandbox) hands to local_proc.c (its
 * commands), and what gvisor.c uses of both. */
#ifndef CSN_SANDBOX_BACKEND_LOCAL_H
#define CSN_SANDBOX_BACKEND_LOCAL_H

#include <sys/types.h>

#include "caisson/sandbox.h"

/* Starts a keeper; the closing of *control ends it and all that it started. */
int csn_local_keeper(pid_t *pid, int *control, int lock_fd, csn_err *err) CSN_MUST;
/* The keeper's program, for one elsewhere. */
csn_str csn_local_keeper_image(void);

/* Where a command starts: a folder by its descriptor, or by its path there. */
typedef struct csn_local_place {
  int fd;
  const char *path;
} csn_local_place;

/* Asks the keeper behind `control` to start x there with the given environment
 * (NAME=VALUE, NULL-terminated). */
int csn_local_proc_open(csn_proc **out, csn_scope *sc, int control, csn_local_place cwd,
                        const csn_exec *x, const char *const *environment, csn_err *err) CSN_MUST;
/* The same for one whose stdin, stdout and stderr are given and stay the
 * caller's: of the command only its end can be told.  Root's has mounts of its
 * own, which go with it. */
int csn_local_proc_launch(csn_proc **out, csn_scope *sc, int control, csn_local_place cwd,
                          const int given[3], const csn_exec *x, const char *const *environment,
                          csn_err *err) CSN_MUST;

#endif
