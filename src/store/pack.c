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

/* Under whichever key it was sealed. */
static const csn_pack_row *
look_up(const csn_packs *p, const csn_digest *d)
{
  const csn_pack_row *row = p->vault ? NULL : csn_pack_find(p, d);
  for (size_t key = 0; p->vault && !row && key < csn_vault_keys(p->vault); key++) {
    csn_digest blind = csn_vault_blind(p->vault, key, "content", csn_strn((const char *)d->b, 32));
    row = csn_pack_find(p, &blind);
  }
  return row;
}

csn_digest
csn_packs_known_as(const csn_packs *p, const csn_digest *d)
{
  const csn_pack_row *row = look_up(p, d);
  return row ? row->digest : *d;
}

bool
csn_packs_has(const csn_packs *p, const csn_digest *d)
{
  return look_up(p, d) != NULL;
}

int64_t
csn_packs_size(const csn_packs *p, const csn_digest *d)
{
  const csn_pack_row *row = look_up(p, d);
  return row ? row->size : -1;
}

int64_t
csn_packs_packed_bytes(const csn_packs *p, const csn_digest *d)
{
  const csn_pack_row *row = look_up(p, d);
  return !row ? -1 : p->vault ? csn_vault_plain_bytes(row->stored) : row->stored;
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

/* Only what is sealed counts with a vault, and only what is not without one. */
static void
note_if_ours(csn_packs *p, const csn_pack_row *row, bool is_sealed)
{
  if (is_sealed == (p->vault != NULL))
    csn_pack_note(p, row);
  else
    p->all[row->pack].is_foreign = true;
}

/* The table at the end; false when it is not sound. */
static bool
read_table(csn_packs *p, uint32_t which, int fd, int64_t bytes)
{
  unsigned char tail[CSN_PACK_TAIL];
  if (bytes < CSN_PACK_TAIL || !read_at(fd, tail, sizeof tail, bytes - CSN_PACK_TAIL) ||
      memcmp(tail + 40, "csnpack", 7) != 0 || (tail[47] != '1' && tail[47] != '2'))
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
    note_if_ours(p, &row, tail[47] == '2');
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
         (memcmp(head, "csn1\0\0\0", 8) == 0 || memcmp(head, "csn2", 4) == 0) &&
         p->n_rows < ROWS_MAX) {
    row.size = (int64_t)csn_pack_number(head + 8);
    row.stored = (int64_t)csn_pack_number(head + 16);
    memcpy(row.digest.b, head + 24, 32);
    if (!fits(&row, bytes))
      break;
    if (!csn_pack_find(p, &row.digest))
      note_if_ours(p, &row, head[3] == '2');
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
csn_packs_open(csn_packs **out, int dir, const csn_vault *vault, csn_err *err)
{
  csn_auto(csn_packs_freep) csn_packs *p = csn_alloc(sizeof *p);
  *p = (csn_packs){.dir = dir, .fd = -1, .vault = vault};
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

static void
reading_free(csn_packs *p)
{
  ZSTD_freeDCtx(p->unzstd);
  free(p->in);
  free(p->out);
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
  csn_vault_stream_fini(&p->sealing);
  csn_vault_stream_fini(&p->opening);
  reading_free(p);
  free(p->all);
  if (!p->is_shared)
    free(p->rows);
  free(p->added);
  free(p->chunk);
  free(p->packed);
  free(p);
}

csn_packs *
csn_packs_share(const csn_packs *p)
{
  csn_packs *own = csn_alloc(sizeof *own);
  *own = (csn_packs){.dir = p->dir,
                     .vault = p->vault,
                     .n = p->n,
                     .rows = p->rows,
                     .n_rows = p->n_rows,
                     .room = p->room,
                     .fd = -1,
                     .is_shared = true};
  own->all = csn_alloc((p->n + 1) * sizeof *own->all);
  for (size_t i = 0; i < p->n; i++) {
    own->all[i] = p->all[i];
    own->all[i].fd = -1;
  }
  return own;
}

const char *
csn_packs_damaged(const csn_packs *p, size_t i)
{
  for (size_t k = 0; k < p->n; k++)
    if (p->all[k].is_damaged && i-- == 0)
      return p->all[k].name;
  return NULL;
}

const char *
csn_packs_foreign(const csn_packs *p, size_t i)
{
  for (size_t k = 0; k < p->n; k++)
    if (p->all[k].is_foreign && i-- == 0)
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
  csn_packs *p;
  csn_sha256 sum;
  int64_t left; /* of the content */
  csn_pack_fn *fn;
  void *user;
};

/* Kept for the next content: making them costs more than a small one. */
static int
reading_init(csn_packs *p, csn_err *err)
{
  if (!p->unzstd) {
    p->unzstd = ZSTD_createDCtx();
    p->in = csn_alloc(CSN_PACK_CHUNK);
    p->out = csn_alloc(CSN_PACK_CHUNK);
  }
  if (!p->unzstd)
    return csn_fail(err, CSN_E_LIMIT, "no memory to unpack");
  ZSTD_DCtx_reset(p->unzstd, ZSTD_reset_session_only);
  ZSTD_DCtx_setParameter(p->unzstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
  return 0;
}

static int
unsound(csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "content in the store is damaged");
}

/* Hands on what a piece of packed bytes unpacks to. */
static int
feed(void *user, csn_str piece, csn_err *err)
{
  struct reading *r = user;
  ZSTD_inBuffer in = {piece.p, piece.n, 0};
  for (bool more = true; more;) {
    ZSTD_outBuffer out = {r->p->out, CSN_PACK_CHUNK, 0};
    if (ZSTD_isError(ZSTD_decompressStream(r->p->unzstd, &out, &in)) || (int64_t)out.pos > r->left)
      return unsound(err);
    csn_str plain = csn_strn(r->p->out, out.pos);
    csn_sha256_add(&r->sum, plain);
    r->left -= (int64_t)out.pos;
    int rc = out.pos ? r->fn(r->user, plain, err) : 0;
    if (rc < 0)
      return rc;
    more = in.pos < in.size || out.pos == out.size;
    if (out.pos == 0 && in.pos == in.size)
      more = false;
  }
  return 0;
}

csn_str
csn_pack_binding(char text[64], const csn_digest *blind)
{
  memcpy(text, "caisson record 1\n", 17);
  memcpy(text + 17, blind->b, sizeof blind->b);
  return csn_strn(text, 17 + sizeof blind->b);
}

/* The key that a record names; CSN_E_PARSE for one that we have not. */
static int
key_of(const csn_packs *p, int fd, const csn_pack_row *row, csn_err *err)
{
  unsigned char head[8];
  if (!read_at(fd, head, sizeof head, row->offset) || memcmp(head, "csn2", 4) != 0)
    return unsound(err);
  int key = csn_vault_find(p->vault, head + 4);
  return key < 0 ? csn_fail(err, CSN_E_PARSE, "it is sealed with a key that is not among the keys")
                 : key;
}

/* What is stored, packed: fn gets pieces.  The number of the key, or 0. */
static int
read_stored(csn_packs *p, csn_scope *sc, int fd, const csn_pack_row *row, char *chunk,
            csn_pack_fn *fn, void *user, csn_err *err)
{
  char with[64];
  int key = p->vault ? key_of(p, fd, row, err) : 0, rc = key;
  if (rc >= 0 && p->vault)
    csn_vault_open_begin(&p->opening, p->vault, (size_t)key, csn_pack_binding(with, &row->digest));
  for (int64_t at = 0; rc >= 0 && at < row->stored;) {
    int64_t left = row->stored - at;
    size_t n = left < CSN_PACK_CHUNK ? (size_t)left : CSN_PACK_CHUNK;
    rc = csn_scope_check(sc, err);
    if (rc >= 0 && !read_at(fd, chunk, n, row->offset + CSN_PACK_HEAD + at))
      rc = unsound(err);
    if (rc >= 0)
      rc = p->vault ? csn_vault_add(&p->opening, csn_strn(chunk, n), fn, user, err)
                    : fn(user, csn_strn(chunk, n), err);
    at += (int64_t)n;
  }
  if (rc >= 0 && p->vault)
    rc = csn_vault_end(&p->opening, fn, user, err);
  if (rc == CSN_E_DENIED && p->vault)
    rc = unsound(err);
  return rc < 0 ? rc : key;
}

int
csn_pack_unpack(csn_packs *p, csn_scope *sc, int fd, const csn_pack_row *row, csn_pack_fn *fn,
                void *user, csn_err *err)
{
  struct reading r = {.p = p, .left = row->size, .fn = fn, .user = user};
  csn_sha256_init(&r.sum);
  int key = reading_init(p, err);
  if (key == 0)
    key = read_stored(p, sc, fd, row, p->in, feed, &r, err);
  if (key < 0)
    return key;
  csn_digest sum = csn_sha256_end(&r.sum);
  if (p->vault)
    sum = csn_vault_blind(p->vault, (size_t)key, "content", csn_strn((const char *)sum.b, 32));
  return r.left || memcmp(&sum, &row->digest, sizeof sum) != 0 ? unsound(err) : 0;
}

static int
open_for_reading(csn_packs *p, const csn_pack_row *row, csn_err *err)
{
  csn_pack *pack = &p->all[row->pack];
  if (pack->fd < 0)
    pack->fd = openat(p->dir, pack->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  return pack->fd < 0 ? csn_fail_errno(err, "%s", pack->name) : 0;
}

int
csn_pack_read_row(csn_packs *p, csn_scope *sc, const csn_pack_row *row, csn_pack_fn *fn, void *user,
                  csn_err *err)
{
  char hex[65];
  csn_digest_hex(&row->digest, hex);
  int rc = open_for_reading(p, row, err);
  return rc < 0 ? rc
                : csn_wrap(err, csn_pack_unpack(p, sc, p->all[row->pack].fd, row, fn, user, err),
                           "%s, content %.16s", p->all[row->pack].name, hex);
}

static const csn_pack_row *
need_row(const csn_packs *p, const csn_digest *d, csn_err *err)
{
  char hex[65];
  const csn_pack_row *row = look_up(p, d);
  if (row && row->pack < p->n)
    return row;
  csn_digest_hex(d, hex);
  csn_fail(err, CSN_E_NOT_FOUND, "the store lacks the content %.16s", hex);
  return NULL;
}

int
csn_packs_read(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_pack_fn *fn, void *user,
               csn_err *err)
{
  const csn_pack_row *row = need_row(p, d, err);
  return row ? csn_pack_read_row(p, sc, row, fn, user, err) : CSN_E_NOT_FOUND;
}

int
csn_packs_read_packed(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_pack_fn *fn, void *user,
                      csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CSN_PACK_CHUNK);
  const csn_pack_row *row = need_row(p, d, err);
  int rc = row ? open_for_reading(p, row, err) : CSN_E_NOT_FOUND;
  if (row && rc == 0)
    rc = read_stored(p, sc, p->all[row->pack].fd, row, chunk, fn, user, err);
  return rc < 0 ? rc : 0;
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

/* ---- what no pack of ours holds ---- */

static int
drop_bytes(void *user, csn_str bytes, csn_err *err)
{
  return 0;
}

/* As if it were a record, whose head nobody looks at. */
static int
read_packed(csn_scope *sc, int fd, int64_t at, int64_t n, const csn_digest *d, int64_t size,
            csn_pack_fn *fn, void *user, csn_err *err)
{
  csn_packs none = {.fd = -1};
  const csn_pack_row row = {.digest = *d, .offset = at - CSN_PACK_HEAD, .size = size, .stored = n};
  int rc = csn_pack_unpack(&none, sc, fd, &row, fn, user, err);
  reading_free(&none);
  return rc;
}

int
csn_packed_check(csn_scope *sc, int fd, int64_t at, int64_t n, const csn_digest *d, int64_t size,
                 csn_err *err)
{
  return read_packed(sc, fd, at, n, d, size, drop_bytes, NULL, err);
}

int
csn_packed_get(csn_scope *sc, int fd, int64_t at, int64_t n, const csn_digest *d, int64_t size,
               csn_buf *out, csn_err *err)
{
  return read_packed(sc, fd, at, n, d, size, take_bytes, out, err);
}
