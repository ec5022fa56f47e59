/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as what an object store sends: elements lie inside what they were
 * found in, and texts end. */
#include <assert.h>
#include <stdint.h>

#include "caisson/mem.h"
#include "wire/xml_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_str all = csn_strn((const char *)p, n), rest = all, inside;
  while (csn_xml_next(&rest, "Contents", &inside)) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
    assert(inside.p >= all.p && inside.p + inside.n <= all.p + all.n);
    assert(rest.p >= all.p && rest.p + rest.n == all.p + all.n);
    (void)csn_xml_text(inside, "Key", &text);
    (void)csn_xml_text(inside, "Size", &text);
  }
  return 0;
}
