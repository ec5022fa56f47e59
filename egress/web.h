/* SPDX-License-Identifier: Apache-2.0
 *
 * web.h - a connection on which requests are seen; shared by web.c, which
 * moves them, and web_head.c, which judges and rewrites heads.
 */
#ifndef CSN_EGRESS_WEB_H
#define CSN_EGRESS_WEB_H

#include "egress/conn.h"

enum csn_web_phase {
  CSN_WEB_IDLE, /* between requests */
  CSN_WEB_DIALLING,
  CSN_WEB_ACTIVE, /* a request is under way */
  CSN_WEB_RAW,    /* switched to another protocol */
};

struct csn_web {
  enum csn_web_kind kind;
  enum csn_web_phase phase;
  csn_http1 request, response;
  csn_dest origin; /* what the connection itself is for: host empty when unknown */
  csn_dest far;    /* what the server's end is connected to */
  csn_buf head;    /* the request's, as it is sent */
  csn_buf work;
  csn_scrub_tail tail;
  bool scrub;    /* the response may hold a secret */
  bool bodyless; /* the request is nothing but its head */
  bool request_done, chunk_up;
  bool reused, begun;         /* the connection outside; the response's head is out */
  bool chunk_down, keep_near; /* the client's connection goes on */
  bool upgrades, is_head;
  bool stepping; /* csn_web_step is at work */
  bool far_deaf; /* the server takes no more of the request */
  csn_secret_set secrets;
  char method[40];
  int status;
  uint64_t up_before, down_before, down_total;
  int64_t begun_ns;
};

/* Whose request is it, and may it be?  Fills c->dest and c->verdict; 0, or -1
 * after a refusal. */
int csn_web_judge(csn_conn *c);
/* Writes the request's head into w->head; 0, or -1 after a refusal. */
int csn_web_write_request(csn_conn *c);
/* Writes the response's head into w->work. */
int csn_web_write_response(csn_conn *c, csn_err *err) CSN_MUST;
/* Refuses the request at hand: reported, answered, the end. */
void csn_web_refuse(csn_conn *c, int status, const char *fmt, ...) CSN_PRINTF(3, 4);

#endif
