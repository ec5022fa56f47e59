/* SPDX-License-Identifier: Apache-2.0
 *
 * http1.h - HTTP/1.1 messages (RFC 9112), for servers, clients and proxies:
 * feed bytes however they are cut, take events.
 *
 * Strict: what two readers could understand differently is refused, not
 * repaired.  That is a length and chunks together, two lengths, a line that
 * does not end in CRLF, folded lines, blanks around names, control characters,
 * a transfer coding other than chunked, a Host that is missing, doubled or not
 * the target's.  A head is copied, so its slices hold until the next head; a
 * body is given as slices of what was fed.
 */
#ifndef CSN_WIRE_HTTP1_H
#define CSN_WIRE_HTTP1_H

#include "caisson/mem.h"

enum { CSN_HTTP1_FIELDS = 128, CSN_HTTP1_HEAD_BYTES = 64 << 10, CSN_HTTP1_LINE_BYTES = 32 << 10 };

enum csn_http1_kind { CSN_HTTP1_REQUEST, CSN_HTTP1_RESPONSE };

enum csn_http1_event {
  CSN_HTTP1_MORE,   /* all was taken */
  CSN_HTTP1_HEAD,   /* h->head is filled */
  CSN_HTTP1_DATA,   /* the next piece of the body */
  CSN_HTTP1_END,    /* of the message: h->trailers; the next one may follow */
  CSN_HTTP1_TUNNEL, /* what follows the head is not HTTP (101, or CONNECT) */
};

enum csn_http1_form { CSN_HTTP1_ORIGIN, CSN_HTTP1_ABSOLUTE, CSN_HTTP1_AUTHORITY, CSN_HTTP1_STAR };

enum csn_http1_body {
  CSN_HTTP1_NO_BODY,
  CSN_HTTP1_LENGTH,
  CSN_HTTP1_CHUNKED,
  CSN_HTTP1_UNTIL_CLOSE, /* a response's only */
};

typedef struct csn_http1_field {
  csn_str name, value; /* value without blanks at both ends */
} csn_http1_field;

typedef struct csn_http1_head {
  int minor;              /* HTTP/1.minor: 0 or 1 */
  csn_str method, target; /* of a request */
  enum csn_http1_form form;
  bool https;    /* scheme of an absolute form */
  csn_str host;  /* of the target, or else the Host field: as sent, a v6 address
                    without its brackets; empty: HTTP/1.0 without Host */
  uint16_t port; /* beside it; 0: not given */
  csn_str path;  /* with the query; "*" of a STAR form; empty of an AUTHORITY */
  int status;    /* of a response, 100 to 999 */
  csn_str reason;
  csn_http1_field fields[CSN_HTTP1_FIELDS];
  size_t n_fields;
  enum csn_http1_body body;
  uint64_t length;      /* of a LENGTH body */
  bool keep_alive;      /* the connection may carry another message */
  bool expect_continue; /* the client waits for "100 Continue" */
  csn_str upgrade;      /* the protocols asked for or agreed on; else empty */
} csn_http1_head;

typedef struct csn_http1 {
  enum csn_http1_kind kind;
  csn_http1_head head;
  csn_http1_field trailers[16];
  size_t n_trailers;
  /* the rest is the codec's own */
  csn_buf text, line;
  size_t max_head, start; /* offset in text of the line that is being read */
  uint64_t left;          /* of the body or chunk */
  size_t excess;          /* bytes of chunk framing not paid for by data */
  int state;
  bool no_body, connect; /* the response answers HEAD, CONNECT */
  bool tunnel;           /* follows this head */
} csn_http1;

/* max_head bounds the head, and the trailers, in bytes; 0 is
 * CSN_HTTP1_HEAD_BYTES. */
void csn_http1_init(csn_http1 *h, enum csn_http1_kind kind, size_t max_head);
void csn_http1_fini(csn_http1 *h);

/* Before a response: the method of the request that it answers. */
void csn_http1_answers(csn_http1 *h, csn_str method);

/* Takes what it can off *bytes and says what it was: an enum csn_http1_event,
 * with the piece of the body in *data.  After an error the connection is of no
 * use: CSN_E_PARSE, CSN_E_LIMIT or CSN_E_UNSUPPORTED, and err->http_status is
 * what a server answers.  After TUNNEL, *bytes holds the tunnel's first. */
int csn_http1_next(csn_http1 *h, csn_str *bytes, csn_str *data, csn_err *err) CSN_MUST;
/* The peer closed: CSN_HTTP1_END when that ends a body, CSN_HTTP1_MORE between
 * messages, CSN_E_PARSE inside one. */
int csn_http1_eof(csn_http1 *h, csn_err *err) CSN_MUST;
/* Has a message begun that is not at its end? */
bool csn_http1_inside(const csn_http1 *h);

/* ---- fields ---- */

/* Names compare without regard to ASCII case. */
bool csn_http1_same(csn_str a, csn_str b);
/* The first field of that name, or NULL. */
const csn_http1_field *csn_http1_find(const csn_http1_head *head, const char *name);
/* Is the word in a comma-separated list? */
bool csn_http1_lists(csn_str list, const char *word);
/* Belongs to one connection and is not passed on: Connection, what it names,
 * and the fields that frame a message. */
bool csn_http1_is_hop(const csn_http1_head *head, csn_str name);
bool csn_http1_is_token(csn_str s);
/* No control characters but tabs. */
bool csn_http1_is_value(csn_str s);
/* "host", "host:port", "[v6]:port"; *port is 0 when it is not given. */
bool csn_http1_authority(csn_str text, csn_str *host, uint16_t *port);

/* ---- writing ---- */

/* "Name: value" CRLF.  Refuses (false, nothing written) what would not be one
 * field. */
bool csn_http1_add_field(csn_buf *out, csn_str name, csn_str value) CSN_MUST;
/* One chunk; no bytes write the last one, without trailers. */
void csn_http1_add_chunk(csn_buf *out, csn_str data);

#endif
