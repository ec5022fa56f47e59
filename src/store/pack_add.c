/* SPDX-License-Identifier: Apache-2.0
 *
 * pack_add.c - content by its SHA-256 in packs: adding; see pack.h.
 *
 * A file is read twice: for its digest, so that what is there already costs no
 * more, and to be packed; both must see the same. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <zstd.h>

#include "core/fd.h"
#include "store/pack_int.h"

enum { LEVEL = 1 };

int
csn_pack_begin(csn_packs *p, csn_err *err)
{
  if (p->fd >= 0)
    return 0;
  p->temporary[0] = '.';
  csn_random_name(p->temporary + 1, 24);
  p->fd = openat(p->dir, p->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  p->end = 0;
  p->n_added = 0;
  return p->fd < 0 ? csn_fail_errno(err, "make a pack") : 0;
}

static int
write_at(int fd, const void *bytes, size_t n, int64_t offset, csn_err *err)
{
  for (const char *p = bytes; n;) {
    ssize_t put = pwrite(fd, p, n, offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return csn_fail_errno(err, "write a pack");
    p += put;
    offset += put;
    n -= (size_t)put;
  }
  return 0;
}

/* Where content comes from: bytes, or a file that is read from its beginning. */
struct source {
  csn_str bytes;
  int fd; /* -1: bytes */
  int64_t at;
};

static ssize_t
next(csn_packs *p, struct source *s, csn_err *err)
{
  if (s->fd < 0) {
    size_t n = s->bytes.n - (size_t)s->at;
    n = n < CSN_PACK_CHUNK ? n : CSN_PACK_CHUNK;
    if (n)
      memcpy(p->chunk, s->bytes.p + s->at, n);
    s->at += (int64_t)n;
    return (ssize_t)n;
  }
  for (;;) {
    ssize_t n = pread(s->fd, p->chunk, CSN_PACK_CHUNK, s->at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read");
    s->at += n;
    return n;
  }
}

static void
need_room(csn_packs *p)
{
  if (p->chunk)
    return;
  p->chunk = csn_alloc(CSN_PACK_CHUNK);
  p->packed_room = ZSTD_CStreamOutSize() + ZSTD_compressBound(CSN_PACK_CHUNK);
  p->packed = csn_alloc(p->packed_room);
}

static int
digest_of(csn_packs *p, csn_scope *sc, struct source s, csn_digest *d, csn_err *err)
{
  csn_sha256 sum;
  csn_sha256_init(&sum);
  for (;;) {
    ssize_t n = next(p, &s, err);
    int rc = n < 0 ? (int)n : csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    if (n == 0)
      break;
    csn_sha256_add(&sum, csn_strn(p->chunk, (size_t)n));
  }
  *d = csn_sha256_end(&sum);
  return 0;
}

/* The record that is being written. */
struct record {
  csn_packs *p;
  csn_pack_row row;
};

static int
put_stored(void *user, csn_str bytes, csn_err *err)
{
  struct record *r = user;
  int rc = write_at(r->p->fd, bytes.p, bytes.n, r->row.offset + CSN_PACK_HEAD + r->row.stored, err);
  r->row.stored += (int64_t)bytes.n;
  return rc;
}

static int
put_packed(void *user, csn_str bytes, csn_err *err)
{
  struct record *r = user;
  return r->p->vault ? csn_vault_add(&r->p->sealing, bytes, put_stored, r, err)
                     : put_stored(r, bytes, err);
}

/* A record for content that the store lacks. */
static int
record_begin(struct record *r, csn_packs *p, const csn_digest *d, csn_err *err)
{
  char with[64];
  int rc = csn_pack_begin(p, err);
  *r = (struct record){p, {.digest = *d, .pack = UINT32_MAX, .offset = p->end}};
  if (rc < 0 || !p->vault)
    return rc;
  r->row.digest = csn_vault_blind(p->vault, 0, "content", csn_strn((const char *)d->b, 32));
  return csn_vault_seal_begin(&p->sealing, p->vault, csn_pack_binding(with, &r->row.digest), NULL,
                              put_stored, r, err);
}

void
csn_pack_magic(const csn_packs *p, unsigned char head[8])
{
  memcpy(head, p->vault ? "csn2\0\0\0" : "csn1\0\0\0", 8);
  if (p->vault)
    csn_vault_tag(p->vault, 0, head + 4);
}

/* Its head, and from now on it counts. */
static int
record_end(struct record *r, csn_err *err)
{
  unsigned char head[CSN_PACK_HEAD];
  csn_packs *p = r->p;
  csn_pack_magic(p, head);
  csn_pack_put_number(head + 8, (uint64_t)r->row.size);
  csn_pack_put_number(head + 16, (uint64_t)r->row.stored);
  memcpy(head + 24, r->row.digest.b, 32);
  int rc = write_at(p->fd, head, sizeof head, r->row.offset, err);
  if (rc < 0)
    return rc;
  p->end += CSN_PACK_HEAD + r->row.stored;
  if ((p->n_added & (p->n_added + 1)) == 0) /* room doubles */
    p->added = csn_realloc(p->added, 2 * p->n_added + 2, sizeof *p->added);
  p->added[p->n_added++] = r->row;
  csn_pack_note(p, &r->row);
  return 0;
}

/* One piece through the packer; `last` ends the frame. */
static int
pack_piece(csn_packs *p, size_t n, bool last, struct record *r, csn_err *err)
{
  ZSTD_inBuffer in = {p->chunk, n, 0};
  for (size_t left = 1; left || in.pos < in.size;) {
    ZSTD_outBuffer out = {p->packed, p->packed_room, 0};
    left = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left))
      return csn_fail(err, CSN_E_IO, "zstd: %s", ZSTD_getErrorName(left));
    int rc = put_packed(r, csn_strn(p->packed, out.pos), err);
    if (rc < 0)
      return rc;
    if (!last && in.pos == in.size)
      break;
  }
  return 0;
}

static int
pack(csn_packs *p, csn_scope *sc, struct source s, const csn_digest *d, struct record *r,
     csn_err *err)
{
  csn_sha256 sum;
  csn_sha256_init(&sum);
  if (!p->zstd && !(p->zstd = ZSTD_createCCtx()))
    return csn_fail(err, CSN_E_LIMIT, "no memory to pack");
  ZSTD_CCtx_reset(p->zstd, ZSTD_reset_session_only);
  ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL);
  for (ssize_t n = 1; n;) {
    n = next(p, &s, err);
    int rc = n < 0 ? (int)n : csn_scope_check(sc, err);
    if (rc == 0 && n)
      csn_sha256_add(&sum, csn_strn(p->chunk, (size_t)n));
    if (rc == 0)
      rc = pack_piece(p, (size_t)n, n == 0, r, err);
    if (rc < 0)
      return rc;
    r->row.size += n;
  }
  csn_digest again = csn_sha256_end(&sum);
  if (memcmp(&again, d, sizeof again) != 0)
    return csn_fail(err, CSN_E_CONFLICT, "it changed while it was read");
  return p->vault ? csn_vault_end(&p->sealing, put_stored, r, err) : 0;
}

static int
add(csn_packs *p, csn_scope *sc, struct source s, csn_digest *d, int64_t *size, csn_err *err)
{
  struct record r;
  need_room(p);
  int rc = digest_of(p, sc, s, d, err);
  if (rc < 0)
    return rc;
  if (csn_packs_has(p, d)) {
    *size = csn_packs_size(p, d);
    return 0;
  }
  rc = record_begin(&r, p, d, err);
  if (rc == 0)
    rc = pack(p, sc, s, d, &r, err);
  if (rc == 0) /* else what was written is written over */
    rc = record_end(&r, err);
  *size = r.row.size;
  return rc;
}

static int
drop_bytes(void *user, csn_str bytes, csn_err *err)
{
  return 0;
}

int
csn_packs_add_packed(csn_packs *p, csn_scope *sc, const csn_digest *d, int64_t size, int fd,
                     int64_t at, int64_t n, csn_err *err)
{
  struct record r;
  if (csn_packs_has(p, d))
    return 0;
  need_room(p);
  int rc = record_begin(&r, p, d, err);
  r.row.size = size;
  while (rc == 0 && n) {
    ssize_t got = pread(fd, p->chunk, n < CSN_PACK_CHUNK ? (size_t)n : CSN_PACK_CHUNK, at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? csn_fail_errno(err, "read what was packed")
                     : csn_fail(err, CSN_E_PARSE, "what was packed is cut");
    rc = csn_scope_check(sc, err);
    if (rc == 0)
      rc = put_packed(&r, csn_strn(p->chunk, (size_t)got), err);
    at += got;
    n -= got;
  }
  if (rc == 0 && p->vault)
    rc = csn_vault_end(&p->sealing, put_stored, &r, err);
  if (rc < 0)
    return rc;
  unsigned char head[8]; /* which the reader looks at */
  csn_pack_magic(p, head);
  rc = write_at(p->fd, head, sizeof head, r.row.offset, err);
  if (rc == 0)
    rc = csn_pack_unpack(p, sc, p->fd, &r.row, drop_bytes, NULL, err);
  return rc < 0 ? rc : record_end(&r, err);
}

int
csn_packs_add(csn_packs *p, csn_str bytes, csn_digest *d, csn_err *err)
{
  int64_t size;
  return add(p, NULL, (struct source){.bytes = bytes, .fd = -1}, d, &size, err);
}

int
csn_packs_add_file(csn_packs *p, csn_scope *sc, int fd, csn_digest *d, int64_t *size, csn_err *err)
{
  return add(p, sc, (struct source){.fd = fd}, d, size, err);
}

static int
write_table(csn_packs *p, csn_err *err)
{
  size_t n = p->n_added * CSN_PACK_ROW;
  csn_auto(csn_freep) unsigned char *table = csn_alloc(n + CSN_PACK_TAIL);
  for (size_t i = 0; i < p->n_added; i++) {
    unsigned char *at = table + i * CSN_PACK_ROW;
    const csn_pack_row *row = &p->added[i];
    memcpy(at, row->digest.b, 32);
    csn_pack_put_number(at + 32, (uint64_t)row->offset);
    csn_pack_put_number(at + 40, (uint64_t)row->size);
    csn_pack_put_number(at + 48, (uint64_t)row->stored);
  }
  csn_digest sum = csn_sha256_of(csn_strn((const char *)table, n));
  csn_pack_put_number(table + n, p->n_added);
  memcpy(table + n + 8, sum.b, 32);
  memcpy(table + n + 40, p->vault ? "csnpack2" : "csnpack1", 8);
  int rc = write_at(p->fd, table, n + CSN_PACK_TAIL, p->end, err);
  p->end += (int64_t)n + CSN_PACK_TAIL;
  /* Of content that was given up there may be more behind the end. */
  if (rc == 0 && ftruncate(p->fd, p->end) < 0)
    rc = csn_fail_errno(err, "write a pack");
  return rc;
}

int
csn_packs_commit(csn_packs *p, csn_err *err)
{
  csn_pack pack = {.fd = -1};
  if (p->fd < 0 || p->n_added == 0)
    return 0;
  int rc = write_table(p, err);
  if (rc < 0)
    return rc;
  snprintf(pack.name, sizeof pack.name, "%.24s.pack", p->temporary + 1);
  if (fsync(p->fd) < 0 || renameat(p->dir, p->temporary, p->dir, pack.name) < 0 ||
      fsync(p->dir) < 0)
    return csn_fail_errno(err, "write a pack to the disk");
  pack.bytes = p->end;
  pack.fd = p->fd;
  p->fd = -1;
  uint32_t which = (uint32_t)p->n;
  p->all = csn_realloc(p->all, p->n + 1, sizeof *p->all);
  p->all[p->n++] = pack;
  for (size_t i = 0; i < p->n_added; i++) {
    p->added[i].pack = which;
    csn_pack_note(p, &p->added[i]);
  }
  p->n_added = 0;
  return 0;
}
