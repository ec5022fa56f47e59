/* SPDX-License-Identifier: Apache-2.0
 *
 * secret.h - secrets into the headers of requests, and out of responses.
 *
 * A secret is put where it belongs and nowhere else: into the values of header
 * fields of a request to one of its hosts.  What comes back is searched for
 * it, in the forms in which servers repeat what they got; each find is
 * overwritten by as many other bytes, so that no length changes.
 */
#ifndef CSN_EGRESS_SECRET_H
#define CSN_EGRESS_SECRET_H

#include "egress/policy.h"

/* Bit i: secret i of the configuration. */
typedef uint64_t csn_secret_set;

/* Is this field one that a secret of the host sets?  Then what the client sent
 * is dropped. */
bool csn_secret_sets(const csn_config *c, const csn_dest *d, csn_str field);
/* Appends those fields. */
csn_secret_set csn_secret_add_fields(const csn_config *c, const csn_dest *d, csn_buf *out);
/* Appends the value of a field with the host's placeholders replaced, inside
 * Basic credentials too. */
csn_secret_set csn_secret_fill(const csn_config *c, const csn_dest *d, csn_str field, csn_str value,
                               csn_buf *out);
/* Would either of the above use a secret? */
bool csn_secret_matters(const csn_config *c, const csn_dest *d);

/* ---- responses ---- */

/* The patterns of all secrets of at least 8 bytes. */
typedef struct csn_scrubber csn_scrubber;
csn_scrubber *csn_scrubber_new(const csn_config *c);
void csn_scrubber_free(csn_scrubber *s);

/* The end of what one stream gave that may be the beginning of a find. */
typedef struct csn_scrub_tail {
  csn_buf held;
} csn_scrub_tail;

/* Appends to `out` what can be passed on; `last`: nothing follows. */
void csn_scrub(const csn_scrubber *s, csn_scrub_tail *t, csn_str bytes, bool last, csn_buf *out);
void csn_scrub_tail_fini(csn_scrub_tail *t);

CSN_FREER(scrubber)

#endif
