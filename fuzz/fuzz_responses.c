/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a provider's reply, with status and content type from the
 * first byte, cut where the second says: the same result as in one piece. */
#include <assert.h>

#include "caisson/model.h"

#ifndef CODEC
#define CODEC "responses"
#endif

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The result as text. */
static int
decode(const csn_reply_head *head, csn_str in, size_t cut, csn_buf *out)
{
  const csn_model_ops *ops = csn_model_find(CSN_STR(CODEC));
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(256u << 20);
  csn_tool_decl patch = {.name = CSN_STR("apply_patch")};
  csn_model_request rq = {.model = CSN_STR("m"), .tools = &patch, .n_tools = 1, .stream = true};
  csn_model_reply reply = {0};
  csn_err err;
  csn_decoder *d = ops->decoder(a, head, &rq, NULL, NULL);
  int rc = ops->feed(d, csn_strn(in.p, cut), &err);
  if (rc >= 0)
    rc = ops->feed(d, csn_strn(in.p + cut, in.n - cut), &err);
  if (rc >= 0)
    rc = ops->finish(d, &reply, &err);
  for (size_t i = 0; rc >= 0 && i < reply.n_items; i++)
    csn_buf_add(out, reply.items[i]);
  csn_buf_addf(out, "|%lld", (long long)reply.usage.total_tokens);
  ops->close(d);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  static const int statuses[] = {200, 200, 400, 429};
  if (n < 2)
    return 0;
  csn_reply_head head = {.status = statuses[p[0] & 3],
                         .content_type = p[0] & 8   ? CSN_STR("")
                                         : p[0] & 4 ? CSN_STR("text/event-stream; charset=utf-8")
                                                    : CSN_STR("application/json")};
  csn_str in = {(const char *)p + 2, n - 2};
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), cut = CSN_BUF(64u << 20);
  int a = decode(&head, in, 0, &whole), b = decode(&head, in, in.n ? p[1] % in.n : 0, &cut);
  assert(a == b);
  assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&cut)));
  return 0;
}
