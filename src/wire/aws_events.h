/* SPDX-License-Identifier: Apache-2.0
 *
 * aws_events.h - the binary framing of AWS event streams
 * (application/vnd.amazon.eventstream): feed bytes however they are cut, get
 * the same messages.
 *
 * A message is its length, the length of its headers, a CRC-32 of both, the
 * headers, the payload and a CRC-32 of all that.
 */
#ifndef CSN_WIRE_AWS_EVENTS_H
#define CSN_WIRE_AWS_EVENTS_H

#include "caisson/mem.h"

/* Slices of the message; the headers that are no text are not given. */
typedef struct csn_aws_message {
  csn_str type;  /* ":message-type": event, exception or error */
  csn_str name;  /* ":event-type", ":exception-type" or ":error-code" */
  csn_str error; /* ":error-message" */
  csn_str payload;
} csn_aws_message;

typedef struct csn_aws_events {
  csn_buf held; /* of a message that is not whole yet */
  size_t max_bytes;
  /* A negative return ends the feed with that code. */
  int (*on_message)(void *user, const csn_aws_message *m);
  void *user;
} csn_aws_events;

/* max_bytes: of one message. */
void csn_aws_events_init(csn_aws_events *s, size_t max_bytes,
                         int (*on_message)(void *user, const csn_aws_message *m), void *user);
/* CSN_E_PARSE for bytes that are no such stream, CSN_E_LIMIT past the cap, or
 * what on_message returned.  Nothing may be fed after a failure. */
int csn_aws_events_feed(csn_aws_events *s, csn_str bytes, csn_err *err) CSN_MUST;
/* Whether the stream ended between two messages. */
bool csn_aws_events_is_whole(const csn_aws_events *s);
void csn_aws_events_fini(csn_aws_events *s);

/* CRC-32 as gzip and Ethernet have it; crc: of what came before, 0 at first. */
uint32_t csn_crc32(uint32_t crc, csn_str bytes);

#endif
