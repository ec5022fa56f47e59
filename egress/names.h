/* SPDX-License-Identifier: Apache-2.0
 *
 * names.h - names as addresses: what our DNS answers, and what a connection
 * to such an address means.
 *
 * Addresses come from 198.18.0.0/15, which no network routes.  8192 names are
 * kept; the oldest one's place is taken by a new one, under another address.
 */
#ifndef CSN_EGRESS_NAMES_H
#define CSN_EGRESS_NAMES_H

#include "caisson/mem.h"
#include "wire/address.h"

typedef struct csn_names csn_names;

csn_names *csn_names_new(void);
void csn_names_free(csn_names *n);
/* The address that stands for a name; *is_new when it was given just now. */
csn_address csn_names_need(csn_names *n, csn_str name, bool *is_new);
/* The name behind an address; empty when there is none (any more). */
csn_str csn_names_find(const csn_names *n, const csn_address *a);
/* Is it from the range, whether or not it stands for something? */
bool csn_names_is_ours(const csn_address *a);

CSN_FREER(names)

#endif
