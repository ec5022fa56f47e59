/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an answer to a question that they may well repeat. */
#include "wire/dns_ask.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_dns_reply r;
  csn_str packet = {(const char *)p, n};
  for (int i = 0; i < 2; i++)
    (void)!csn_dns_reply_parse(&r, packet, 0x1234, CSN_STR("a.b"), i ? CSN_DNS_AAAA : CSN_DNS_A,
                               NULL);
  return 0;
}
