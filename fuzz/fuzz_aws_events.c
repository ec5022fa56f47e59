/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an AWS event stream, cut where the first byte says: the same
 * messages as in one piece.  Checksums are put right first, else nothing but
 * noise would come through. */
#include "halves.h"
#include "wire/aws_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
keep(void *user, const csn_aws_message *m)
{
  csn_str parts[] = {m->type, m->name, m->error, m->payload};
  for (size_t i = 0; i < CSN_COUNT(parts); i++) {
    csn_buf_add(user, parts[i]);
    csn_buf_addc(user, '\f');
  }
  return 0;
}

static void
put32(char *p, uint32_t n)
{
  for (int i = 0; i < 4; i++)
    p[i] = (char)(n >> (24 - 8 * i));
}

static void
mend(char *p, size_t n)
{
  while (n >= 16) {
    size_t total = 0;
    for (int i = 0; i < 4; i++)
      total = total << 8 | (unsigned char)p[i];
    put32(p + 8, csn_crc32(0, csn_strn(p, 8)));
    if (total < 16 || total > n)
      return;
    put32(p + total - 4, csn_crc32(0, csn_strn(p, total - 4)));
    p += total;
    n -= total;
  }
}

static int
feed(csn_str first, csn_str second, csn_buf *out)
{
  csn_aws_events s;
  csn_err err;
  csn_aws_events_init(&s, 4096, keep, out);
  int rc = csn_aws_events_feed(&s, first, &err);
  if (rc >= 0)
    rc = csn_aws_events_feed(&s, second, &err);
  csn_aws_events_fini(&s);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  csn_auto(csn_freep) char *copy = csn_dupz(csn_strn((const char *)p + 1, n - 1));
  csn_str in = {copy, n - 1};
  mend(copy, in.n);
  expect_same(feed, in, p[0]);
  return 0;
}
