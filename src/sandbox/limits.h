/* SPDX-License-Identifier: Apache-2.0
 *
 * limits.h - the limits of a sandbox as a table: words, units, checks, texts.
 */
#ifndef CSN_SANDBOX_LIMITS_H
#define CSN_SANDBOX_LIMITS_H

#include "caisson/sandbox.h"

/* What was asked for, 0 for nothing; l may be NULL. */
int64_t csn_limit_asked(const csn_sandbox_limits *l, enum csn_limit which);
void csn_limit_ask(csn_sandbox_limits *l, enum csn_limit which, int64_t value);
/* CSN_E_INVALID names a limit that cannot be. */
int csn_limits_check(const csn_sandbox_limits *l, csn_err *err) CSN_MUST;

/* "1GiB", "512m", "1.5" processors, "90s", "10m", "none"; a bare number is
 * bytes, seconds or a count. */
int csn_limit_parse(enum csn_limit which, csn_str text, int64_t *value, csn_err *err) CSN_MUST;
/* A text that csn_limit_parse() reads back exactly. */
void csn_limit_write(enum csn_limit which, int64_t value, csn_buf *out);
/* For people: "1 GiB", "10 minutes". */
void csn_limit_tell(enum csn_limit which, int64_t value, csn_buf *out);

/* What to do where it is not enforced. */
const char *csn_limit_remedy(enum csn_limit which);
const char *csn_limit_state_name(enum csn_limit_state state);
/* Fails for a strict sandbox on what was asked for and is not enforced. */
int csn_limits_strict(const csn_sandbox *sb, const csn_sandbox_limits *l, csn_err *err) CSN_MUST;

#endif
