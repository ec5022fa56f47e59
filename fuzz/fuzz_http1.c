/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as requests and as responses, cut where the first byte says: the
 * same events as in one piece, and what was accepted has one meaning: a head
 * written from its parts reads as itself. */
#include <assert.h>

#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool
take(csn_http1 *h, csn_str bytes, csn_buf *log)
{
  csn_str data;
  for (;;) {
    int rc = csn_http1_next(h, &bytes, &data, NULL);
    if (rc == CSN_HTTP1_MORE)
      return true;
    if (rc == CSN_HTTP1_DATA)
      csn_buf_add(log, data);
    else
      csn_buf_addf(log, "\f%d", rc);
    if (rc == CSN_HTTP1_HEAD) {
      csn_buf_add(log, h->head.method);
      csn_buf_add(log, h->head.host);
      csn_buf_add(log, h->head.path);
      for (size_t i = 0; i < h->head.n_fields; i++)
        assert(csn_http1_add_field(log, h->head.fields[i].name, h->head.fields[i].value));
      assert(h->head.body != CSN_HTTP1_CHUNKED || !csn_http1_find(&h->head, "content-length"));
    }
    if (rc < 0 || rc == CSN_HTTP1_TUNNEL)
      return false;
  }
}

static void
feed(enum csn_http1_kind kind, csn_str in, size_t cut, csn_buf *log)
{
  csn_http1 h;
  csn_http1_init(&h, kind, 4096);
  if (take(&h, csn_strn(in.p, cut), log) && take(&h, csn_strn(in.p + cut, in.n - cut), log))
    csn_buf_addf(log, "\f%d", csn_http1_eof(&h, NULL));
  csn_http1_fini(&h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  csn_str in = {(const char *)p + 1, n - 1};
  for (int kind = CSN_HTTP1_REQUEST; kind <= CSN_HTTP1_RESPONSE; kind++) {
    csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), cut = CSN_BUF(64u << 20);
    feed((enum csn_http1_kind)kind, in, 0, &whole);
    feed((enum csn_http1_kind)kind, in, in.n ? p[0] % (in.n + 1) : 0, &cut);
    assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&cut)));
  }
  return 0;
}
