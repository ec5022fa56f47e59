/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.h - one connection of the sandbox, and the one that it becomes outside.
 *
 * It goes through phases: what it wants is found out (proxy.c, sniff.c), that
 * is judged, dialled (dial.c), and then bytes pass (tunnel.c) or requests do
 * (web.c).  Each phase is a step function: it does what can be done and says
 * what it waits for.  A function that may end the connection is the last thing
 * that its caller does.
 */
#ifndef CSN_EGRESS_CONN_H
#define CSN_EGRESS_CONN_H

#include "egress/egress.h"
#include "wire/hello.h"
#include "wire/http1.h"

typedef struct csn_conn csn_conn;
typedef struct csn_web csn_web;
typedef void csn_step_fn(csn_conn *c);

enum { CSN_REASON_TEXT = 480 };

struct csn_conn {
  csn_egress *egress;
  csn_conn *next, **link;
  uint64_t number; /* no other one has had it */
  csn_grave grave;
  const char *how;
  csn_step_fn *step;
  csn_peer client, server;
  csn_alarm alarm; /* the next deadline of all */
  int64_t begun_ns, moved_ns;
  int64_t head_by_ns; /* until then what it wants must be known; 0: no matter */
  csn_step_fn *late;  /* what is done then, instead of an end */
  uint64_t counted_up, counted_down;
  /* where it goes */
  csn_dest dest;
  csn_verdict verdict;
  bool by_name;                   /* dest was told by our DNS or by CONNECT, not by an address */
  char address[CSN_ADDRESS_TEXT]; /* that was connected to */
  bool told;                      /* reported already */
  /* finding out */
  csn_hello *hello;
  csn_buf sniffed;
  bool inspect; /* the tunnel's first bytes are still to be looked at */
  /* dialling */
  csn_lookup lookup;
  size_t next_address;
  csn_alarm dial_alarm;
  void (*dialled)(csn_conn *c, int status); /* 0, or what an HTTP client is told */
  char reason[CSN_REASON_TEXT];
  csn_web *web;
};

/* ---- conn.c ---- */

/* Takes fd over. */
csn_conn *csn_conn_new(csn_egress *e, int fd, const char *how, csn_step_fn *step);
/* Ends at once.  reason: NULL when all is well.  Reports, unless told. */
void csn_conn_end(csn_conn *c, const char *reason);
/* Writes what waits to the client, then ends. */
void csn_conn_linger(csn_conn *c);
/* A refusal of the connection as it is: reported, and told to the client in
 * HTTP when it speaks that (status > 0), else by closing. */
void csn_conn_refuse(csn_conn *c, int status, const char *fmt, ...) CSN_PRINTF(3, 4);
/* Writes one HTTP response that says why, and ends. */
void csn_conn_answer(csn_conn *c, int status, const char *reason, bool body);
/* Reads from one end, counting and checking the caps: bytes, 0, or a negative
 * code. */
int csn_conn_take(csn_conn *c, csn_peer *from, csn_err *err) CSN_MUST;
/* The same, which ends the connection on failure: -1. */
int csn_conn_read(csn_conn *c, csn_peer *from) CSN_MUST;
/* Writes to one end: 0, or -1 after it has ended the connection. */
int csn_conn_write(csn_conn *c, csn_peer *to, csn_str bytes) CSN_MUST;
void csn_conn_touch(csn_conn *c);
/* Starts the clock within which a head must be complete. */
void csn_conn_expect_head(csn_conn *c, int64_t ms);
void csn_conn_head_done(csn_conn *c);
void csn_conn_report(csn_conn *c, bool allowed, const char *reason);
/* Judges c->dest; false after a refusal. */
bool csn_conn_judge(csn_conn *c, int status);

/* ---- restrict.c ---- */

/* Why nothing may be sent that cannot be seen to be a read; NULL: it may. */
const char *csn_restriction_reason(const csn_egress *e);
/* The same of a request with this method; more: it has a body, or asks for
 * another protocol. */
const char *csn_restriction_of(const csn_egress *e, csn_str method, bool more);

/* ---- dial.c ---- */

/* Resolves and connects c->dest; then c->dialled, perhaps at once. */
void csn_conn_dial(csn_conn *c, void (*dialled)(csn_conn *c, int status));
void csn_conn_dial_stop(csn_conn *c);

/* ---- phases ---- */

/* `destination` is where the sandbox connected to. */
void csn_transparent_begin(csn_conn *c, const csn_address *destination, uint16_t port);
/* CONNECT to c->dest was asked for. */
void csn_connect_begin(csn_conn *c);
/* Looks at the first bytes of a connection to c->dest. */
void csn_sniff_begin(csn_conn *c);
/* The same inside a tunnel that is open already; the bytes are collected in
 * c->sniffed.  0: more are needed, 1: they may pass, -1: refused. */
int csn_sniff_inside(csn_conn *c, csn_str bytes);
/* Bytes pass between two connected ends. */
void csn_tunnel_begin(csn_conn *c);
bool csn_tunnel_is(const csn_conn *c);
/* Dials c->dest first. */
void csn_tunnel_dial(csn_conn *c);
/* Questions for names, each behind its length. */
void csn_dns_tcp_step(csn_conn *c);

enum csn_web_kind {
  CSN_WEB_PROXY, /* requests say where to, CONNECT among them */
  CSN_WEB_OPEN,  /* their Host does */
  CSN_WEB_BOUND, /* all of them are for c->dest */
};
void csn_web_begin(csn_conn *c, enum csn_web_kind kind);
void csn_web_step(csn_conn *c);
void csn_web_free(csn_web *w);
/* Something is under way that may write. */
bool csn_web_writes(const csn_web *w);
/* Adds what is known of the request to a note on it. */
void csn_web_describe(const csn_conn *c, csn_note *n);

#endif
