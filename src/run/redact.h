/* SPDX-License-Identifier: Apache-2.0
 *
 * redact.h - takes the values of secrets out of what a run keeps and shows.
 *
 * Values do not enter a sandbox, so this is the second wall: a tool of the
 * program itself, or a server that says back what it was sent, in an encoding
 * that the egress process did not see through.
 */
#ifndef CSN_RUN_REDACT_H
#define CSN_RUN_REDACT_H

#include "caisson/mem.h"
#include "sandbox/output.h"

typedef struct csn_redact csn_redact;

csn_redact *csn_redact_new(void);
/* A value of at least 8 bytes becomes "[secret:NAME]", as do its base64 (both
 * alphabets, at any offset), its URL form and its form inside JSON. */
void csn_redact_add(csn_redact *r, csn_str name, csn_str value);
/* Rewrites JSON text in place; r may be NULL.  True when something was found. */
bool csn_redact_json(const csn_redact *r, csn_buf *text);
/* For a command's output, as long as r lives: what it printed is one stream, in
 * whatever pieces it came and to however many calls it is told. */
csn_output_filter csn_redact_filter(const csn_redact *r);
/* Overwrites what it holds. */
void csn_redact_free(csn_redact *r);

#endif
