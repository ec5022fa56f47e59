/* SPDX-License-Identifier: Apache-2.0
 *
 * zip.c - zip archives; see zip.h.
 *
 * Deflated content is handed to the module that undoes gzip, between a head and
 * an end of gzip that are made here, so that no other parser of archives is
 * needed. */
#include "wire/zip.h"

#include <errno.h>
#include <unistd.h>

#include "wire/archive.h"
#include "wire/aws_events.h"

enum {
  LOCAL = 0x04034b50,
  CENTRAL = 0x02014b50,
  END = 0x06054b50,
  END64 = 0x06064b50,
  LOCATOR64 = 0x07064b50,
  LOCAL_BYTES = 30,
  CENTRAL_BYTES = 46,
  END_BYTES = 22,
  END64_BYTES = 56,
  LOCATOR64_BYTES = 20,
  COMMENT_MAX = 65535,
  LIST_MAX = 64 << 20,
  CHUNK = 64 << 10,
  UNIX = 3,
  TYPE = 0170000,
  LINK = 0120000,
};

struct member {
  const char *name; /* in the list, not ended by NUL */
  uint16_t name_n, method, flags;
  uint32_t crc, mode;
  uint64_t packed, size, offset, data;
};

struct zip {
  int fd;
  int64_t size;
  csn_scope *sc;
  const csn_tar_sink *sink;
  char *list;
  uint64_t list_at, list_n, members, used;
  const csn_archive_module *module; /* NULL until something is deflated */
  char *chunk;
};

/* Content that is read, and the gzip around it. */
struct source {
  struct zip *z;
  const struct member *m;
  uint64_t done;
  int stage; /* head, content, end, over */
  int io_errno;
};

static uint64_t
number(const char *p, size_t bytes)
{
  uint64_t n = 0;
  for (size_t i = bytes; i--;)
    n = n << 8 | (unsigned char)p[i];
  return n;
}

static int
read_at(const struct zip *z, uint64_t at, char *to, size_t n, csn_err *err)
{
  if (at > (uint64_t)z->size || n > (uint64_t)z->size - at)
    return csn_fail(err, CSN_E_PARSE, "no zip archive: it ends too early");
  for (size_t have = 0; have < n;) {
    ssize_t got = pread(z->fd, to + have, n - have, (off_t)(at + have));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? csn_fail_errno(err, "read")
                     : csn_fail(err, CSN_E_PARSE, "the file became shorter while it was read");
    have += (size_t)got;
  }
  return 0;
}

bool
csn_zip_is(csn_str head)
{
  return csn_str_starts(head, CSN_STR("PK\3\4")) || csn_str_starts(head, CSN_STR("PK\5\6"));
}

/* ---- the list at the end ---- */

static int
bad(csn_err *err, const char *why)
{
  return csn_fail(err, CSN_E_PARSE, "a damaged zip archive: %s", why);
}

static int
find_list64(struct zip *z, uint64_t end, csn_err *err)
{
  char locator[LOCATOR64_BYTES], b[END64_BYTES];
  if (end < LOCATOR64_BYTES)
    return bad(err, "its end is missing");
  int rc = read_at(z, end - LOCATOR64_BYTES, locator, sizeof locator, err);
  if (rc < 0)
    return rc;
  if (number(locator, 4) != LOCATOR64 || number(locator + 4, 4) != 0 ||
      number(locator + 16, 4) != 1)
    return bad(err, "its end is missing");
  rc = read_at(z, number(locator + 8, 8), b, sizeof b, err);
  if (rc < 0)
    return rc;
  if (number(b, 4) != END64 || number(b + 16, 8) != 0 || number(b + 24, 8) != number(b + 32, 8))
    return bad(err, "it is in several files");
  z->members = number(b + 32, 8);
  z->list_n = number(b + 40, 8);
  z->list_at = number(b + 48, 8);
  return 0;
}

static int
find_list(struct zip *z, csn_err *err)
{
  size_t n = z->size < COMMENT_MAX + END_BYTES ? (size_t)z->size : COMMENT_MAX + END_BYTES;
  csn_auto(csn_freep) char *tail = csn_alloc(n + 1);
  uint64_t from = (uint64_t)z->size - n;
  int rc = read_at(z, from, tail, n, err);
  if (rc < 0)
    return rc;
  size_t i = n < END_BYTES ? 0 : n - END_BYTES + 1;
  while (i &&
         !(number(tail + i - 1, 4) == END && i - 1 + END_BYTES + number(tail + i - 1 + 20, 2) == n))
    i--;
  if (!i)
    return bad(err, "its end is missing");
  const char *e = tail + i - 1;
  if (number(e + 4, 4) != 0 || number(e + 8, 2) != number(e + 10, 2))
    return bad(err, "it is in several files");
  z->members = number(e + 10, 2);
  z->list_n = number(e + 12, 4);
  z->list_at = number(e + 16, 4);
  if (z->members == 0xffff || z->list_n == 0xffffffff || z->list_at == 0xffffffff)
    rc = find_list64(z, from + i - 1, err);
  if (rc < 0)
    return rc;
  if (z->list_n > LIST_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the list of its members is longer than %d bytes", LIST_MAX);
  z->list = csn_alloc((size_t)z->list_n + 1);
  return read_at(z, z->list_at, z->list, (size_t)z->list_n, err);
}

/* The long forms of what does not fit into 32 bits. */
static int
read_extra(struct member *m, const char *p, size_t n, csn_err *err)
{
  uint64_t *const to[] = {&m->size, &m->packed, &m->offset};
  while (n >= 4) {
    size_t id = number(p, 2), len = number(p + 2, 2);
    if (len > n - 4)
      return bad(err, "an extra field is longer than its room");
    const char *v = p + 4;
    size_t left = len;
    for (size_t i = 0; id == 1 && i < CSN_COUNT(to); i++) {
      if (*to[i] != 0xffffffff)
        continue;
      if (left < 8)
        return bad(err, "a long size is missing");
      *to[i] = number(v, 8);
      v += 8;
      left -= 8;
    }
    p += 4 + len;
    n -= 4 + len;
  }
  return 0;
}

/* One of the list, from *at on. */
static int
read_member(const struct zip *z, uint64_t *at, struct member *m, csn_err *err)
{
  const char *p = z->list + *at;
  uint64_t left = z->list_n - *at;
  if (left < CENTRAL_BYTES || number(p, 4) != CENTRAL)
    return bad(err, "the list of its members is cut");
  uint64_t extra = number(p + 30, 2),
           all = CENTRAL_BYTES + number(p + 28, 2) + extra + number(p + 32, 2);
  if (left < all || number(p + 34, 2) != 0)
    return bad(err, "the list of its members is cut");
  uint32_t attributes = (uint32_t)number(p + 38, 4);
  *m = (struct member){.name = p + CENTRAL_BYTES,
                       .flags = (uint16_t)number(p + 8, 2),
                       .method = (uint16_t)number(p + 10, 2),
                       .crc = (uint32_t)number(p + 16, 4),
                       .packed = number(p + 20, 4),
                       .size = number(p + 24, 4),
                       .name_n = (uint16_t)number(p + 28, 2),
                       .offset = number(p + 42, 4),
                       .mode = (unsigned char)p[5] == UNIX ? attributes >> 16 : 0};
  *at += all;
  return read_extra(m, m->name + m->name_n, extra, err);
}

/* What stands before its content must tell the same. */
static int
check_local(struct zip *z, struct member *m, csn_err *err)
{
  char head[LOCAL_BYTES];
  int rc = read_at(z, m->offset, head, sizeof head, err);
  if (rc < 0)
    return rc;
  if (number(head, 4) != LOCAL || number(head + 8, 2) != m->method ||
      number(head + 26, 2) != m->name_n || (number(head + 6, 2) & 1) != (m->flags & 1u))
    return bad(err, "a member and the list do not agree");
  csn_auto(csn_freep) char *name = csn_alloc(m->name_n + 1u);
  rc = read_at(z, m->offset + LOCAL_BYTES, name, m->name_n, err);
  if (rc == 0 && memcmp(name, m->name, m->name_n) != 0)
    rc = bad(err, "a member and the list do not agree on a name");
  m->data = m->offset + LOCAL_BYTES + m->name_n + number(head + 28, 2);
  if (rc == 0 && (m->data > z->list_at || m->packed > z->list_at - m->data))
    rc = bad(err, "a member is longer than the archive");
  z->used += m->packed + LOCAL_BYTES + m->name_n;
  if (rc == 0 && z->used > z->list_at) /* the same bytes for two would be a bomb */
    rc = bad(err, "members overlap");
  return rc;
}

/* ---- content ---- */

static ssize_t
give(void *user, const void **bytes)
{
  static const char head[] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, (char)0xff};
  struct source *s = user;
  *bytes = s->z->chunk;
  if (s->stage == 0) {
    s->stage = s->m->packed ? 1 : 2;
    *bytes = head;
    return sizeof head;
  }
  if (s->stage == 2) { /* the check sum and the size, little-endian */
    s->stage = 3;
    for (size_t i = 0; i < 4; i++) {
      s->z->chunk[i] = (char)(s->m->crc >> 8 * i);
      s->z->chunk[4 + i] = (char)(s->m->size >> 8 * i);
    }
    return 8;
  }
  if (s->stage == 3)
    return 0;
  uint64_t left = s->m->packed - s->done;
  size_t want = left < CHUNK ? (size_t)left : CHUNK;
  ssize_t n = pread(s->z->fd, s->z->chunk, want, (off_t)(s->m->data + s->done));
  if (n <= 0) {
    s->io_errno = n < 0 ? errno : EIO;
    return -1;
  }
  s->done += (uint64_t)n;
  if (s->done == s->m->packed)
    s->stage = 2;
  return n;
}

typedef int take_fn(void *user, csn_str bytes, csn_err *err);

/* The next piece of a member's content; 0 at its end. */
static ssize_t
next_piece(struct source *s, void *inflater, char *to, csn_err *err)
{
  if (inflater) {
    const char *why = "it is damaged";
    ssize_t n = s->z->module->read(inflater, to, CHUNK, &why);
    return n < 0 ? csn_fail(err, CSN_E_PARSE, "cannot be unpacked: %.200s", why) : n;
  }
  uint64_t left = s->m->packed - s->done;
  size_t want = left < CHUNK ? (size_t)left : CHUNK;
  int rc = want ? read_at(s->z, s->m->data + s->done, to, want, err) : 0;
  s->done += want;
  return rc < 0 ? rc : (ssize_t)want;
}

static int
read_pieces(struct source *s, void *inflater, take_fn *take, void *user, csn_err *err)
{
  csn_auto(csn_freep) char *piece = csn_alloc(CHUNK);
  uint64_t size = 0;
  uint32_t crc = 0;
  for (;;) {
    ssize_t n = next_piece(s, inflater, piece, err);
    if (n < 0)
      return (int)n;
    if (n == 0)
      break;
    size += (uint64_t)n;
    crc = csn_crc32(crc, csn_strn(piece, (size_t)n));
    if (size > s->m->size)
      return bad(err, "a member is longer than it says");
    int rc = csn_scope_check(s->z->sc, err);
    if (rc == 0)
      rc = take(user, csn_strn(piece, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
  if (size != s->m->size || crc != s->m->crc)
    return bad(err, "a member's size or check sum is wrong");
  return 0;
}

static int
read_content(struct zip *z, const struct member *m, take_fn *take, void *user, csn_err *err)
{
  struct source s = {.z = z, .m = m};
  if (m->method == 0)
    return m->packed == m->size ? read_pieces(&s, NULL, take, user, err)
                                : bad(err, "a member's sizes differ");
  if (m->size == 0 && m->crc == 0)
    return 0;
  const csn_module *module = NULL;
  int rc = z->module ? 0
                     : csn_module_open("caisson-archive.so", "csn_archive_entry", CSN_ARCHIVE_ABI,
                                       &module, err);
  if (rc < 0)
    return rc;
  if (!z->module)
    z->module = (const csn_archive_module *)module; /* it is the first member */
  void *inflater = z->module->open(give, &s);
  if (!inflater)
    return csn_fail(err, CSN_E_LIMIT, "no memory to unpack");
  rc = read_pieces(&s, inflater, take, user, err);
  z->module->close(inflater);
  return rc;
}

static int
add(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return csn_buf_done(user, "the target of a link", err);
}

/* ---- members ---- */

static int
give_member(struct zip *z, const struct member *m, csn_err *err)
{
  csn_auto(csn_freep) char *name = csn_dupz(csn_strn(m->name, m->name_n));
  csn_auto(csn_buf_finip) csn_buf link = CSN_BUF(CSN_TAR_NAME_MAX + 1);
  bool is_dir = m->name_n && m->name[m->name_n - 1] == '/';
  bool is_link = (m->mode & TYPE) == LINK;
  csn_tar_entry e = {.kind = is_dir    ? CSN_TAR_DIR
                             : is_link ? CSN_TAR_SYMLINK
                                       : CSN_TAR_FILE,
                     .name = name,
                     .link = "",
                     .mode = m->mode & 07777 ? m->mode & 07777
                             : is_dir        ? 0755
                                             : 0644,
                     .size = is_dir || is_link ? 0 : (int64_t)m->size};
  if (!m->name_n || m->name_n > CSN_TAR_NAME_MAX || memchr(m->name, '\0', m->name_n))
    return bad(err, "a name is empty, too long, or holds NUL");
  if (m->size > INT64_MAX || (is_dir && m->size))
    return bad(err, "a member's size cannot be");
  int rc = 0;
  if (is_link) {
    rc = read_content(z, m, add, &link, err);
    if (rc == 0 && (!link.n || memchr(link.p, '\0', link.n)))
      rc = bad(err, "a link without a target");
    e.link = link.p;
  }
  if (rc == 0)
    rc = z->sink->entry(z->sink->user, &e, err);
  if (rc <= 0 || e.kind != CSN_TAR_FILE)
    return rc < 0 ? rc : 0;
  rc = read_content(z, m, z->sink->data, z->sink->user, err);
  return rc < 0 ? rc : z->sink->end(z->sink->user, err);
}

static int
read_members(struct zip *z, csn_err *err)
{
  uint64_t at = 0;
  int rc = 0;
  for (uint64_t i = 0; rc == 0 && i < z->members; i++) {
    struct member m = {0};
    rc = csn_scope_check(z->sc, err);
    if (rc == 0)
      rc = read_member(z, &at, &m, err);
    if (rc == 0)
      rc = check_local(z, &m, err);
    if (rc < 0)
      return rc;
    int n = m.name_n < 200 ? m.name_n : 200;
    if (m.flags & 0x41)
      return csn_fail(err, CSN_E_UNSUPPORTED, "%.*s is encrypted", n, m.name);
    if (m.method != 0 && m.method != 8)
      return csn_fail(err, CSN_E_UNSUPPORTED,
                      "%.*s is packed by method %u; deflate and none are read", n, m.name,
                      (unsigned)m.method);
    rc = csn_wrap(err, give_member(z, &m, err), "%.*s", n, m.name);
  }
  return rc == 0 && at != z->list_n ? bad(err, "its list has more than its end says") : rc;
}

int
csn_zip_read(int fd, int64_t size, csn_scope *sc, const csn_tar_sink *sink, csn_err *err)
{
  struct zip z = {.fd = fd, .size = size, .sc = sc, .sink = sink, .chunk = csn_alloc(CHUNK)};
  int rc = find_list(&z, err);
  if (rc == 0)
    rc = read_members(&z, err);
  free(z.list);
  free(z.chunk);
  return rc;
}
