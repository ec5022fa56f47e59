/* SPDX-License-Identifier: Apache-2.0
 * Any bytes: parsed or refused; what was parsed and written again parses to
 * the same text. */
#include <assert.h>

#include "caisson/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(64u << 20);
  const csn_json *v, *again;
  csn_err err;
  if (csn_json_parse(a, csn_strn((const char *)p, n), &v, &err) < 0) {
    assert(err.msg[0]);
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(64u << 20), two = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &one);
  csn_jw_value(&w, v);
  assert(csn_jw_done(&w, &err) >= 0);
  assert(csn_json_parse(a, csn_buf_str(&one), &again, &err) >= 0);
  csn_jw_init(&w, &two);
  csn_jw_value(&w, again);
  assert(csn_jw_done(&w, &err) >= 0);
  assert(csn_str_eq(csn_buf_str(&one), csn_buf_str(&two)));
  return 0;
}
