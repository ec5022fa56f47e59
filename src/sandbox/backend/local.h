/* SPDX-License-Identifier: Apache-2.0
 * local.h - what local.c (the sandbox) hands to local_proc.c (its commands). */
#ifndef CSN_SANDBOX_BACKEND_LOCAL_H
#define CSN_SANDBOX_BACKEND_LOCAL_H

#include "caisson/sandbox.h"

/* Asks the keeper behind `control` to start x in the folder cwd_fd with the
 * given environment (NAME=VALUE, NULL-terminated). */
int csn_local_proc_open(csn_proc **out, csn_scope *sc, int control, int cwd_fd, const csn_exec *x,
                        const char *const *environment, csn_err *err) CSN_MUST;

#endif
