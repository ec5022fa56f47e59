/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as replies of Redis: a reply is read at the same length, whatever
 * follows it, and no shorter beginning of it is one. */
#include <assert.h>

#include "wire/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t
look(const csn_resp *r, size_t bytes)
{
  size_t sum = 1;
  if (r->kind == CSN_RESP_TEXT || r->kind == CSN_RESP_ERROR)
    for (size_t i = 0; i < r->s.n; i++)
      sum += (unsigned char)r->s.p[i];
  assert(r->kind != CSN_RESP_LIST || (size_t)r->i <= bytes);
  for (int64_t i = 0; r->kind == CSN_RESP_LIST && i < r->i; i++)
    sum += look(&r->v[i], bytes);
  return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_str in = csn_strn((const char *)p, n);
  csn_resp r;
  csn_err err;
  int64_t used = csn_resp_parse(a, in, &r, &err);
  assert(used <= (int64_t)n);
  if (used <= 0)
    return 0;
  assert(look(&r, n) > 0);
  csn_resp again;
  assert(csn_resp_parse(a, csn_strn(in.p, (size_t)used), &again, &err) == used);
  assert(csn_resp_parse(a, csn_strn(in.p, (size_t)used - 1), &again, &err) == 0);
  return 0;
}
