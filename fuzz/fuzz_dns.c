/* SPDX-License-Identifier: Apache-2.0
 * Any packet: what is answered stays within its size, repeats the question,
 * and is itself no query. */
#include <assert.h>

#include "caisson/mem.h"
#include "wire/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_dns_query q, again;
  csn_err err;
  csn_str in = {(const char *)p, n}, packet;
  if (csn_dns_parse(&q, in, &err) == 0) {
    assert(strlen(q.name) < sizeof q.name);
    assert(q.udp_bytes >= 512 && q.udp_bytes <= 1232);
    csn_address a[2] = {csn_address_v4(198, 18, 0, 1), {.v6 = 1, .b = {1}}};
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
    assert(csn_dns_answer(&out, &q, (enum csn_dns_code)q.code, 1, a, 2, q.udp_bytes, &err) == 0);
    assert(out.n <= q.udp_bytes);
    assert(csn_dns_parse(&again, csn_buf_str(&out), &err) == CSN_E_PARSE);
    assert(out.n >= 12 + q.question_n);
    assert(memcmp(out.p + 12, q.question, q.question_n) == 0);
  }
  while (csn_dns_frame(&in, &packet))
    assert(packet.n + 2 <= n);
  return 0;
}
