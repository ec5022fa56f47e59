/* SPDX-License-Identifier: Apache-2.0
 *
 * blob.c - content by its SHA-256.
 *
 * Compressed with zstd when that saves an eighth or more.  The digest is of
 * the content, not of what is stored, and is checked on every read.
 */
#include <zstd.h>

#include "store/backend.h"

enum {
  PACK_FROM_BYTES = 513,
  GC_AFTER_MS = 3600 * 1000 + STORE_TOUCH_MS, /* an hour at least since it was put */
};

void
csn_packed_init(csn_packed *p, csn_str raw)
{
  *p = (csn_packed){.digest = csn_sha256_of(raw), .raw = raw};
  if (raw.n < PACK_FROM_BYTES)
    return;
  size_t room = raw.n - raw.n / 8;
  p->z = csn_realloc(NULL, room, 1);
  size_t n = ZSTD_compress(p->z, room, raw.p, raw.n, 1);
  if (ZSTD_isError(n)) { /* it would be longer than `room` */
    free(p->z);
    p->z = NULL;
    return;
  }
  p->z_size = n;
}

void
csn_packed_fini(csn_packed *p)
{
  free(p->z);
}

/* Appends `size` bytes; false when that is not what is stored. */
static bool
unpack(bool is_packed, csn_str stored, size_t size, csn_buf *out)
{
  char *to = csn_buf_room(out, size);
  if (!to)
    return false;
  if (!is_packed) {
    if (stored.n != size)
      return false;
    if (size)
      memcpy(to, stored.p, size);
  } else if (ZSTD_decompress(to, size, stored.p, stored.n) != size) {
    return false;
  }
  out->n += size;
  return true;
}

int
csn_fail_blob(const csn_digest *d, csn_err *err)
{
  char hex[65];
  csn_digest_hex(d, hex);
  return csn_fail(err, CSN_E_NOT_FOUND, "blob %.16s: no such content; it was erased or never put",
                  hex);
}

int
csn_blob_unpack(const csn_digest *d, int64_t size, bool is_packed, csn_str stored, csn_buf *out,
                csn_err *err)
{
  char hex[65];
  csn_digest_hex(d, hex);
  size_t at = out->n;
  if (size < 0 || (size_t)size > CSN_BLOB_MAX)
    return csn_fail(err, CSN_E_REPLAY, "blob %.16s: its size was altered", hex);
  if ((size_t)size > out->cap - at)
    return csn_fail(err, CSN_E_LIMIT, "blob %.16s: %lld bytes, there is room for %zu", hex,
                    (long long)size, out->cap - at);
  bool ok = unpack(is_packed, stored, (size_t)size, out);
  if (ok) {
    csn_digest is = csn_sha256_of(csn_strn(out->p + at, (size_t)size));
    ok = memcmp(is.b, d->b, sizeof is.b) == 0;
  }
  if (ok)
    return 0;
  out->n = at;
  return csn_fail(err, CSN_E_REPLAY, "blob %.16s: its content was altered", hex);
}

int
csn_blob_put(csn_store *s, csn_str bytes, csn_digest *out, csn_err *err)
{
  if (bytes.n > CSN_BLOB_MAX)
    return csn_fail(err, CSN_E_LIMIT, "blob: %zu bytes, at most %zu", bytes.n, CSN_BLOB_MAX);
  csn_packed packed;
  csn_packed_init(&packed, bytes);
  int rc = s->ops->blob_put(s, &packed, err);
  *out = packed.digest;
  csn_packed_fini(&packed);
  return rc;
}

int
csn_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err)
{
  return s->ops->blob_get(s, d, out, err);
}

int
csn_blob_drop(csn_store *s, const csn_digest *d, csn_err *err)
{
  return s->ops->blob_drop(s, d, err);
}

int
csn_store_gc(csn_store *s, csn_err *err)
{
  return s->ops->gc(s, csn_unix_ms() - GC_AFTER_MS, err);
}
