/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as what a container engine sends of a command, cut where the first
 * byte says: the same output as in one piece.  '@' stands for the word. */
#include "halves.h"
#include "sandbox/engine_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool is_framed, is_split;

static int
feed(csn_str first, csn_str second, csn_buf *out)
{
  csn_engine_stream s;
  csn_err err;
  csn_buf streams[2] = {CSN_BUF(64u << 20), CSN_BUF(64u << 20)};
  csn_engine_stream_init(&s, is_framed, is_split);
  memcpy(s.word, "0123456789abcdef", CSN_ENGINE_WORD);
  int rc = csn_engine_stream_feed(&s, first, streams, &err);
  if (rc == 0)
    rc = csn_engine_stream_feed(&s, second, streams, &err);
  csn_engine_stream_flush(&s, streams);
  if (rc == 0)
    csn_buf_addf(out, "%s/%s/%d/", s.begun, s.ended, csn_engine_stream_is_over(&s));
  for (int i = 0; i < 2; i++) {
    if (rc == 0)
      csn_buf_add(out, csn_buf_str(&streams[i]));
    csn_buf_fini(&streams[i]);
  }
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_buf_finip) csn_buf in = CSN_BUF(64u << 20);
  if (n < 2)
    return 0;
  is_framed = p[0] & 1;
  is_split = p[0] & 2;
  for (size_t i = 2; i < n; i++) {
    if (p[i] == '@')
      csn_buf_addz(&in, "0123456789abcdef");
    else
      csn_buf_addc(&in, (char)p[i]);
  }
  expect_same(feed, csn_buf_str(&in), p[1]);
  return 0;
}
