/* SPDX-License-Identifier: Apache-2.0
 *
 * resp.h - RESP 2, the protocol of Redis: commands written, replies read.
 *
 * The reader takes bytes as they come; a reply is handed out when it is whole.
 * Sizes and depth are bounded: a server's word is not believed.
 */
#ifndef CSN_WIRE_RESP_H
#define CSN_WIRE_RESP_H

#include "caisson/mem.h"

#define CSN_RESP_MAX ((size_t)256 << 20) /* bytes of a reply */
enum { CSN_RESP_DEPTH = 8 };

enum csn_resp_kind { CSN_RESP_NULL, CSN_RESP_INT, CSN_RESP_TEXT, CSN_RESP_LIST, CSN_RESP_ERROR };

typedef struct csn_resp {
  enum csn_resp_kind kind;
  int64_t i;          /* INT; members of a LIST */
  csn_str s;          /* TEXT, ERROR; borrowed from the parsed bytes */
  struct csn_resp *v; /* of a LIST */
} csn_resp;

/* Appends a command. */
void csn_resp_add(csn_buf *out, const csn_str *words, size_t n);
/* Reads one reply from the beginning of `bytes`.  The number of bytes it has
 * and *out (in the arena); 0 when more are needed; CSN_E_PARSE, CSN_E_LIMIT. */
int64_t csn_resp_parse(csn_arena *a, csn_str bytes, csn_resp *out, csn_err *err) CSN_MUST;

#endif
