/* SPDX-License-Identifier: Apache-2.0
 *
 * seal.h - what this process gives up before the first byte of a sandbox.
 */
#ifndef CSN_EGRESS_SEAL_H
#define CSN_EGRESS_SEAL_H

#include "caisson/err.h"

#include <stdint.h>

/* Limits, capabilities, files, system calls; there is no way back.  What this
 * kernel lacks (Landlock) is left out; all else is required. */
int csn_egress_seal(int64_t max_connections, csn_err *err) CSN_MUST;

#endif
