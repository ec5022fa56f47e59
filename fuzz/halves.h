/* SPDX-License-Identifier: Apache-2.0
 * halves.h - a decoder that is fed in two halves, cut anywhere, must give what
 * it gives of the whole. */
#ifndef CSN_FUZZ_HALVES_H
#define CSN_FUZZ_HALVES_H

#include <assert.h>

#include "caisson/mem.h"
#include "caisson/str.h"

/* Feeds a fresh decoder with both and writes what comes out. */
typedef int feed_halves(csn_str first, csn_str second, csn_buf *out);

static inline void
expect_same(feed_halves *feed, csn_str in, uint8_t where)
{
  size_t cut = in.n ? where % in.n : 0;
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), halves = CSN_BUF(64u << 20);
  int a = feed(CSN_STR(""), in, &whole);
  int b = feed(csn_strn(in.p, cut), csn_strn(in.p + cut, in.n - cut), &halves);
  assert(a == b);
  assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&halves)));
}

#endif
