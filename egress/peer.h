/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.h - one end of a connection: a socket, with TLS over it or without.
 *
 * What is read is plain bytes, what is written waits in a queue when the
 * socket takes no more.  The queue has no bound of its own: who reads from one
 * end stops while csn_peer_is_full() of the other says so.
 */
#ifndef CSN_EGRESS_PEER_H
#define CSN_EGRESS_PEER_H

#include "egress/reactor.h"
#include "wire/tls.h"

enum { CSN_SCRATCH_BYTES = 64 << 10 };

typedef struct csn_peer {
  csn_ready ready;
  csn_reactor *reactor;
  csn_tls *tls;
  csn_buf in;    /* bytes that were read and put back */
  csn_buf out;   /* plain bytes that wait */
  uint64_t up;   /* plain bytes that were read */
  bool readable; /* the socket may have something: else it is not asked */
  bool ended;    /* no more comes */
  bool shut;     /* nothing more is written, once the queue is empty */
  bool was_shut;
  bool corked; /* small writes wait for csn_peer_uncork() */
} csn_peer;

void csn_peer_init(csn_peer *p, csn_reactor *r, int fd, void (*fn)(void *, uint32_t), void *user);
void csn_peer_close(csn_peer *p);
static inline bool
csn_peer_is_open(const csn_peer *p)
{
  return p->ready.fd >= 0;
}

/* Plain bytes into `out`: their number; 0 when there are none now, or, with
 * p->ended, any more.  `wire` is scratch for TLS, of CSN_SCRATCH_BYTES. */
int csn_peer_read(csn_peer *p, char *out, size_t room, char *wire, csn_err *err) CSN_MUST;
/* The next reads give these first. */
void csn_peer_unread(csn_peer *p, csn_str bytes);
/* Could csn_peer_read() give something without the socket being readable? */
bool csn_peer_has_input(const csn_peer *p);

/* Writes or queues. */
int csn_peer_write(csn_peer *p, csn_str bytes, csn_err *err) CSN_MUST;
/* Writes what was held back: a head and its body leave together. */
int csn_peer_uncork(csn_peer *p, csn_err *err) CSN_MUST;
/* Writes what waits. */
int csn_peer_flush(csn_peer *p, csn_err *err) CSN_MUST;
/* Nothing more will be written: the other end is told when all is out. */
int csn_peer_shut(csn_peer *p, csn_err *err) CSN_MUST;
size_t csn_peer_waiting(const csn_peer *p);
bool csn_peer_is_full(const csn_peer *p);

/* Watches for what is wanted. */
void csn_peer_want(csn_peer *p, bool read);

#endif
