/* SPDX-License-Identifier: Apache-2.0
 *
 * pack.c - content by its SHA-256 in packs: finding and reading; see pack.h.
 *
 * All tables are read when the store is opened, into one hash table in memory:
 * 96 bytes for each content. */
#include "store/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <zstd.h>

#include "core/fd.h"
#include "store/pack_int.h"

enum { ROWS_MAX = 8 << 20, WINDOW_LOG_MAX = 27 };

uint64_t
csn_pack_number(const unsigned char *p)
{
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--)
    value = value << 8 | p[i];
  return value;
}

void
csn_pack_put_number(unsigned char *p, uint64_t value)
{
  for (int i = 0; i < 8; i++, value >>= 8)
    p[i] = (unsigned char)value;
}

/* ---- the table ---- */

static size_t
place_of(const csn_packs *p, const csn_digest *d)
{
  size_t at = (size_t)csn_pack_number(d->b) & (p->room - 1);
  while (p->rows[at].stored >= 0 && memcmp(&p->rows[at].digest, d, sizeof *d) != 0)
    at = (at + 1) & (p->room - 1);
  return at;
}

const csn_pack_row *
csn_pack_find(const csn_packs *p, const csn_digest *d)
{
  if (p->room == 0)
    return NULL;
  const csn_pack_row *row = &p->rows[place_of(p, d)];
  return row->stored < 0 ? NULL : row;
}

void
csn_pack_note(csn_packs *p, const csn_pack_row *row)
{
  if (p->n_rows * 2 >= p->room) {
    csn_packs old = *p;
    p->room = p->room ? p->room * 2 : 1024;
    p->rows = csn_realloc(NULL, p->room, sizeof *p->rows);
    for (size_t i = 0; i < p->room; i++)
      p->rows[i].stored = -1;
    for (size_t i = 0; i < old.room; i++)
      if (old.rows[i].stored >= 0)
        p->rows[place_of(p, &old.rows[i].digest)] = old.rows[i];
    free(old.rows);
  }
  csn_pack_row *at = &p->rows[place_of(p, &row->digest)];
  p->n_rows += at->stored < 0;
  *at = *row;
}

bool
csn_packs_has(const csn_packs *p, const csn_digest *d)
{
  return csn_pack_find(p, d) != NULL;
}

int64_t
csn_packs_size(const csn_packs *p, const csn_digest *d)
{
  const csn_pack_row *row = csn_pack_find(p, d);
  return row ? row->size : -1;
}

/* ---- opening ---- */

static bool
read_at(int fd, void *to, size_t n, int64_t offset)
{
  for (char *p = to; n;) {
    ssize_t got = pread(fd, p, n, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return false;
    p += got;
    offset += got;
    n -= (size_t)got;
  }
  return true;
}

static bool
fits(const csn_pack_row *row, int64_t end)
{
  return row->offset >= 0 && row->size >= 0 && row->stored >= 0 && row->offset <= end &&
         row->stored <= end - row->offset - CSN_PACK_HEAD;
}

/* The table at the end; false when it is not sound. */
static bool
read_table(csn_packs *p, uint32_t which, int fd, int64_t bytes)
{
  unsigned char tail[CSN_PACK_TAIL];
  if (bytes < CSN_PACK_TAIL || !read_at(fd, tail, sizeof tail, bytes - CSN_PACK_TAIL) ||
      memcmp(tail + 40, "csnpack1", 8) != 0)
    return false;
  uint64_t rows = csn_pack_number(tail);
  if (rows > ROWS_MAX || (int64_t)rows * CSN_PACK_ROW > bytes - CSN_PACK_TAIL)
    return false;
  size_t n = (size_t)rows * CSN_PACK_ROW;
  int64_t end = bytes - CSN_PACK_TAIL - (int64_t)n;
  csn_auto(csn_freep) unsigned char *table = csn_alloc(n + 1);
  if (!read_at(fd, table, n, end))
    return false;
  csn_digest sum = csn_sha256_of(csn_strn((const char *)table, n));
  if (memcmp(sum.b, tail + 8, sizeof sum.b) != 0)
    return false;
  for (uint64_t i = 0; i < rows; i++) {
    const unsigned char *at = table + i * CSN_PACK_ROW;
    csn_pack_row row = {.pack = which,
                        .offset = (int64_t)csn_pack_number(at + 32),
                        .size = (int64_t)csn_pack_number(at + 40),
                        .stored = (int64_t)csn_pack_number(at + 48)};
    memcpy(row.digest.b, at, 32);
    if (!fits(&row, end))
      return false;
    csn_pack_note(p, &row);
  }
  return true;
}

/* What there is of a pack without one: as far as headers follow each other. */
static void
read_records(csn_packs *p, uint32_t which, int fd, int64_t bytes)
{
  unsigned char head[CSN_PACK_HEAD];
  csn_pack_row row = {.pack = which};
  while (bytes - row.offset >= CSN_PACK_HEAD && read_at(fd, head, sizeof head, row.offset) &&
         memcmp(head, "csn1\0\0\0", 8) == 0 && p->n_rows < ROWS_MAX) {
    row.size = (int64_t)csn_pack_number(head + 8);
    row.stored = (int64_t)csn_pack_number(head + 16);
    memcpy(row.digest.b, head + 24, 32);
    if (!fits(&row, bytes))
      break;
    if (!csn_packs_has(p, &row.digest))
      csn_pack_note(p, &row);
    row.offset += CSN_PACK_HEAD + row.stored;
  }
}

static int
open_pack(csn_packs *p, const char *name, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd =
      openat(p->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%s", name);
  if (!S_ISREG(st.st_mode))
    return 0;
  uint32_t which = (uint32_t)p->n;
  p->all = csn_realloc(p->all, p->n + 1, sizeof *p->all);
  csn_pack *pack = &p->all[p->n++];
  *pack = (csn_pack){.fd = -1, .bytes = st.st_size};
  memcpy(pack->name, name, CSN_PACK_NAME + 1);
  pack->is_damaged = !read_table(p, which, fd, st.st_size);
  if (pack->is_damaged)
    read_records(p, which, fd, st.st_size);
  return 0;
}

static bool
is_pack(const char *name)
{
  return strlen(name) == CSN_PACK_NAME && strcmp(name + 24, ".pack") == 0 && name[0] != '.';
}

int
csn_packs_open(csn_packs **out, int dir, csn_err *err)
{
  csn_auto(csn_packs_freep) csn_packs *p = csn_alloc(sizeof *p);
  *p = (csn_packs){.dir = dir, .fd = -1};
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return csn_fail_errno(err, "the folder of packs");
  for (struct dirent *e; rc == 0 && (e = readdir(d));)
    if (is_pack(e->d_name))
      rc = open_pack(p, e->d_name, err);
  closedir(d);
  if (rc == 0)
    *out = csn_steal(p);
  return rc;
}

void
csn_packs_free(csn_packs *p)
{
  if (!p)
    return;
  for (size_t i = 0; i < p->n; i++)
    csn_closep(&p->all[i].fd);
  if (p->fd >= 0)
    unlinkat(p->dir, p->temporary, 0);
  csn_closep(&p->fd);
  ZSTD_freeCCtx(p->zstd);
  free(p->all);
  free(p->rows);
  free(p->added);
  free(p->chunk);
  free(p->packed);
  free(p);
}

const char *
csn_packs_damaged(const csn_packs *p, size_t i)
{
  for (size_t k = 0; k < p->n; k++)
    if (p->all[k].is_damaged && i-- == 0)
      return p->all[k].name;
  return NULL;
}

int64_t
csn_packs_bytes(const csn_packs *p)
{
  int64_t bytes = 0;
  for (size_t i = 0; i < p->n; i++)
    bytes += p->all[i].bytes;
  return bytes;
}

/* ---- reading ---- */

struct reading {
  ZSTD_DCtx *zstd;
  char *in, *out;
  csn_sha256 sum;
  int64_t left; /* of the content */
};

static void
reading_fini(struct reading *r)
{
  ZSTD_freeDCtx(r->zstd);
  free(r->in);
  free(r->out);
}

static int
unsound(csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "content in the store is damaged");
}

/* Hands on what a piece of stored bytes unpacks to. */
static int
feed(struct reading *r, size_t n, csn_pack_fn *fn, void *user, csn_err *err)
{
  ZSTD_inBuffer in = {r->in, n, 0};
  for (bool more = true; more;) {
    ZSTD_outBuffer out = {r->out, CSN_PACK_CHUNK, 0};
    if (ZSTD_isError(ZSTD_decompressStream(r->zstd, &out, &in)) || (int64_t)out.pos > r->left)
      return unsound(err);
    csn_str piece = csn_strn(r->out, out.pos);
    csn_sha256_add(&r->sum, piece);
    r->left -= (int64_t)out.pos;
    int rc = out.pos ? fn(user, piece, err) : 0;
    if (rc < 0)
      return rc;
    more = in.pos < in.size || out.pos == out.size;
    if (out.pos == 0 && in.pos == in.size)
      more = false;
  }
  return 0;
}

int
csn_pack_unpack(csn_scope *sc, int fd, const csn_pack_row *row, csn_pack_fn *fn, void *user,
                csn_err *err)
{
  csn_auto(reading_fini) struct reading r = {.zstd = ZSTD_createDCtx(), .left = row->size};
  r.in = csn_alloc(CSN_PACK_CHUNK);
  r.out = csn_alloc(CSN_PACK_CHUNK);
  csn_sha256_init(&r.sum);
  if (!r.zstd)
    return csn_fail(err, CSN_E_LIMIT, "no memory to unpack");
  ZSTD_DCtx_setParameter(r.zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
  int rc = 0;
  for (int64_t at = 0; rc == 0 && at < row->stored;) {
    int64_t left = row->stored - at;
    size_t n = left < CSN_PACK_CHUNK ? (size_t)left : CSN_PACK_CHUNK;
    rc = csn_scope_check(sc, err);
    if (rc == 0 && !read_at(fd, r.in, n, row->offset + CSN_PACK_HEAD + at))
      rc = unsound(err);
    if (rc == 0)
      rc = feed(&r, n, fn, user, err);
    at += (int64_t)n;
  }
  if (rc < 0)
    return rc;
  csn_digest sum = csn_sha256_end(&r.sum);
  return r.left || memcmp(&sum, &row->digest, sizeof sum) != 0 ? unsound(err) : 0;
}

int
csn_packs_read(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_pack_fn *fn, void *user,
               csn_err *err)
{
  char hex[65];
  const csn_pack_row *row = csn_pack_find(p, d);
  csn_digest_hex(d, hex);
  if (!row || row->pack >= p->n)
    return csn_fail(err, CSN_E_NOT_FOUND, "the store lacks the content %.16s", hex);
  csn_pack *pack = &p->all[row->pack];
  if (pack->fd < 0)
    pack->fd = openat(p->dir, pack->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (pack->fd < 0)
    return csn_fail_errno(err, "%s", pack->name);
  return csn_wrap(err, csn_pack_unpack(sc, pack->fd, row, fn, user, err), "%s, content %.16s",
                  pack->name, hex);
}

static int
take_bytes(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return csn_buf_done(user, "content of the store", err);
}

int
csn_packs_get(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_buf *out, csn_err *err)
{
  size_t before = out->n;
  int rc = csn_packs_read(p, sc, d, take_bytes, out, err);
  if (rc < 0 && out->p) {
    out->n = before;
    out->p[before] = '\0';
  }
  return rc;
}
