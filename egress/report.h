/* SPDX-License-Identifier: Apache-2.0
 *
 * report.h - each decision as one JSON line to the harness.
 *
 * Lines wait in a bounded queue when the harness is slow; while it is full,
 * nothing new is accepted, so that nothing happens unseen.  The same refusal
 * again and again becomes one line with a count each ten seconds.
 */
#ifndef CSN_EGRESS_REPORT_H
#define CSN_EGRESS_REPORT_H

#include "egress/policy.h"
#include "egress/reactor.h"
#include "egress/secret.h"

typedef struct csn_note {
  const char *how; /* "transparent", "proxy", "connect", "dns" */
  const char *host;
  uint16_t port;
  const char *address; /* that was connected to, or NULL */
  bool allowed;
  const char *reason; /* NULL: none */
  csn_str method;     /* of a request */
  int status;         /* of its response; 0: none */
  uint64_t up, down;  /* bytes */
  int64_t ms;
  csn_secret_set secrets; /* that were put into the request */
} csn_note;

typedef struct csn_report csn_report;

csn_report *csn_report_new(csn_reactor *r, const csn_config *c, int fd);
void csn_report_free(csn_report *r);
void csn_report_ready(csn_report *r, csn_str ca_pem);
void csn_report_note(csn_report *r, const csn_note *n);
/* From now on words of the harness, a byte each, go to fn. */
void csn_report_listen(csn_report *r, void (*fn)(void *user, char word), void *user);
void csn_report_told(csn_report *r, uint64_t reached);
/* Has it taken all it can hold for now? */
bool csn_report_is_full(const csn_report *r);
/* Writes what waits, however long that takes; for the end. */
void csn_report_flush(csn_report *r);

#endif
