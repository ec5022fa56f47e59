/* SPDX-License-Identifier: Apache-2.0
 *
 * egress.h - what all parts of the process share: one sandbox's way out.
 */
#ifndef CSN_EGRESS_EGRESS_H
#define CSN_EGRESS_EGRESS_H

#include "egress/names.h"
#include "egress/peer.h"
#include "egress/report.h"
#include "egress/resolve.h"

typedef struct csn_egress csn_egress;
struct csn_conn;

typedef struct csn_listener {
  csn_ready ready;
  csn_egress *egress;
  csn_listener_config config;
} csn_listener;

struct csn_egress {
  csn_config config;
  csn_reactor reactor;
  csn_report *report;
  csn_resolver *resolver;
  csn_names *names;
  csn_scrubber *scrubber;
  csn_tls_ca *ca;         /* NULL: nothing is terminated */
  csn_tls_client *client; /* NULL likewise */
  csn_listener listeners[CSN_LISTENERS_MAX];
  csn_alarm paused; /* accepting goes on then */
  struct csn_conn *conns;
  int64_t n_conns;
  uint64_t up_bytes, down_bytes;      /* of all connections, ever */
  int64_t dns_tokens, dns_at_ns;      /* what may still be asked this second */
  struct csn_dns_question *questions; /* that are asked outside */
  size_t dns_asking;
  uint64_t conns_ever;
  uint64_t reached; /* connections outside that were made */
  /* What is being moved right now: nothing of it outlives a callback. */
  char scratch[CSN_SCRATCH_BYTES], wire[CSN_SCRATCH_BYTES];
};

/* A word of the harness: 'w' nothing is written from now on, 'a' nothing goes
 * out any more, '?' nothing changes.  Each is answered when it holds, with
 * {"at":"told","reached":N}. */
void csn_egress_word(void *egress, char word);
/* Begins to accept. */
void csn_egress_listen(csn_egress *e);
/* A socket on which names are asked for. */
void csn_dns_udp_ready(void *listener, uint32_t events);
/* Forgets the questions that are still open. */
void csn_dns_stop(csn_egress *e);

#endif
