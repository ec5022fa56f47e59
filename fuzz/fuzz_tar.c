/* SPDX-License-Identifier: Apache-2.0
 * Any bytes, cut where the first byte says: the same entries and the same end
 * as in one piece, and no name that is empty or too long. */
#include <assert.h>

#include "wire/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  csn_buf *out = user;
  assert(*e->name && strlen(e->name) <= CSN_TAR_NAME_MAX && strlen(e->link) <= CSN_TAR_NAME_MAX);
  assert(e->size >= 0 && e->uid >= 0 && e->gid >= 0 && e->mode <= 07777);
  assert(e->kind == CSN_TAR_FILE || e->size == 0);
  csn_buf_addf(out, "%d %s %s %lld %lld %d\n", e->kind, e->name, e->link, (long long)e->size,
               (long long)e->mtime_s, (int)e->mtime_ns);
  return e->size % 2 == 0; /* content of some is not wanted */
}

static int
data(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return 0;
}

static int
end(void *user, csn_err *err)
{
  csn_buf_addc(user, '\f');
  return 0;
}

static int
feed(csn_str in, size_t cut, csn_buf *out)
{
  csn_tar_sink sink = {entry, data, end, out};
  csn_tar *t = csn_tar_new(&sink);
  int rc = csn_tar_feed(t, csn_strn(in.p, cut), NULL);
  if (rc >= 0)
    rc = csn_tar_feed(t, csn_strn(in.p + cut, in.n - cut), NULL);
  if (rc >= 0)
    rc = csn_tar_done(t, NULL);
  csn_tar_free(t);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n < 2)
    return 0;
  csn_str in = {(const char *)p + 2, n - 2};
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), cut = CSN_BUF(64u << 20);
  int a = feed(in, 0, &whole), b = feed(in, in.n ? (p[0] | p[1] << 8) % in.n : 0, &cut);
  assert(a == b);
  assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&cut)));
  return 0;
}
