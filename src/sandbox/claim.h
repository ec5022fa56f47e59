/* SPDX-License-Identifier: Apache-2.0
 * claim.h - the proof that a command began (csn_exec.claim_fd), for back-ends
 * that cannot write it in the moment in which it does: it is there before they
 * ask, and is taken back when the command surely did not begin. */
#ifndef CSN_SANDBOX_CLAIM_H
#define CSN_SANDBOX_CLAIM_H

#include <sys/types.h>

#include "caisson/err.h"

/* *was: what csn_claim_back() needs.  A descriptor of -1 is fine. */
int csn_claim(int fd, off_t *was, csn_err *err) CSN_MUST;
void csn_claim_back(int fd, off_t was);

#endif
