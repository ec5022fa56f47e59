/* SPDX-License-Identifier: Apache-2.0
 *
 * image_members.c - the pieces of an image's source by name; see
 * sandbox/image_members.h. */
#include "sandbox/image_members.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "wire/unzip.h"

/* Members of one archive; bytes of one that had to be unpacked; hops from link
 * to link (`docker save` of old has some). */
enum { MEMBERS_MAX = 16384, HOPS = 4, CHUNK = 256 << 10 };
#define UNPACKED_MAX ((uint64_t)64 << 30)

struct member {
  struct member *next;
  const char *name, *link; /* link: resolved from the archive's top, or NULL */
  int64_t offset, size;
};

struct csn_members {
  int fd, own; /* own: the unpacked copy, -1 */
  bool is_folder;
  size_t n;
  csn_arena *arena;
  struct member *first;
};

/* ---- names in an archive ---- */

/* Joins the folder of `from` (may be NULL) and `name`, without ".", ".." and
 * doubled slashes; NULL when it leads out. */
static const char *
join(csn_arena *a, const char *from, const char *name)
{
  const char *slash = from ? strrchr(from, '/') : NULL;
  size_t n = slash && name[0] != '/' ? (size_t)(slash - from) : 0;
  char *out = csn_arena_alloc(a, n + strlen(name) + 2);
  memcpy(out, from ? from : "", n);
  while (*name) {
    size_t part = strcspn(name, "/");
    if (part == 2 && memcmp(name, "..", 2) == 0) {
      if (n == 0)
        return NULL;
      while (n && out[--n] != '/')
        continue;
    } else if (part && !(part == 1 && name[0] == '.')) {
      if (n)
        out[n++] = '/';
      memcpy(out + n, name, part);
      n += part;
    }
    name += part;
    name += strspn(name, "/");
  }
  out[n] = '\0';
  return out;
}

static const struct member *
find(const csn_members *m, const char *name)
{
  for (int hop = 0; hop <= HOPS; hop++) {
    const struct member *e = m->first;
    while (e && strcmp(e->name, name) != 0)
      e = e->next;
    if (!e || !e->link)
      return e;
    name = e->link;
  }
  return NULL;
}

/* ---- reading an archive's headers ---- */

struct scan {
  csn_members *m;
  csn_tar *tar;
};

static int
note(void *user, const csn_tar_entry *e, csn_err *err)
{
  struct scan *s = user;
  csn_members *m = s->m;
  if (e->kind != CSN_TAR_FILE && e->kind != CSN_TAR_SYMLINK && e->kind != CSN_TAR_HARDLINK)
    return 0;
  if (++m->n > MEMBERS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "it has more than %d members, so it is no archive of images",
                    MEMBERS_MAX);
  struct member *x = csn_arena_alloc(m->arena, sizeof *x);
  *x = (struct member){.next = m->first, /* the last one of a name counts */
                       .name = join(m->arena, NULL, e->name),
                       .offset = (int64_t)csn_tar_offset(s->tar),
                       .size = e->size};
  if (e->kind == CSN_TAR_SYMLINK)
    x->link = join(m->arena, x->name, e->link);
  else if (e->kind == CSN_TAR_HARDLINK)
    x->link = join(m->arena, NULL, e->link);
  if (x->name && (e->kind == CSN_TAR_FILE || x->link))
    m->first = x;
  return 0;
}

static int
no_data(void *user, csn_str bytes, csn_err *err)
{
  return 0;
}

static int
no_end(void *user, csn_err *err)
{
  return 0;
}

static int
scan(csn_members *m, csn_scope *sc, csn_err *err)
{
  struct scan s = {.m = m};
  csn_tar_sink sink = {note, no_data, no_end, &s};
  csn_auto(csn_tar_freep) csn_tar *t = s.tar = csn_tar_new(&sink);
  char block[CSN_TAR_BLOCK];
  for (int64_t at = 0;;) {
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    uint64_t skip = csn_tar_skippable(t);
    if (skip) {
      csn_tar_skip(t, skip);
      at += (int64_t)skip;
      continue;
    }
    ssize_t n = pread(m->fd, block, sizeof block, at);
    if (n < 0)
      return csn_fail_errno(err, "read");
    if (n == 0 || csn_tar_ended(t))
      return csn_tar_done(t, err);
    rc = csn_tar_feed(t, csn_strn(block, (size_t)n), err);
    if (rc < 0)
      return rc;
    at += n;
  }
}

/* A compressed archive is unpacked first, into a file without a name. */
static int
unpack(csn_members *m, csn_layer_store *s, csn_scope *sc, int64_t size, csn_err *err)
{
  csn_auto(csn_unzip_freep) csn_unzip *z = NULL;
  int rc = csn_unzip_open(&z, m->fd, 0, size, err);
  if (rc < 0 || csn_unzip_is_plain(z))
    return rc;
  m->own = openat(s->dir, "tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (m->own < 0)
    return csn_fail_errno(err, "%s/tmp", s->path);
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  ssize_t n;
  for (uint64_t total = 0; (n = csn_unzip_read(z, chunk, CHUNK, err)) > 0;) {
    total += (uint64_t)n;
    if (total > UNPACKED_MAX)
      return csn_fail(err, CSN_E_LIMIT, "it unpacks to more than %llu bytes",
                      (unsigned long long)UNPACKED_MAX);
    rc = csn_fd_write_all(m->own, csn_strn(chunk, (size_t)n), err);
    if (rc == 0)
      rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
  }
  m->fd = m->own;
  return (int)n;
}

int
csn_members_open(csn_members **out, csn_layer_store *s, csn_scope *sc, int fd, csn_err *err)
{
  struct stat st;
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "stat");
  csn_auto(csn_members_freep) csn_members *m = csn_alloc(sizeof *m);
  *m = (csn_members){.fd = fd, .own = -1, .is_folder = S_ISDIR(st.st_mode)};
  m->arena = csn_arena_new(0);
  int rc = 0;
  if (!m->is_folder)
    rc = unpack(m, s, sc, st.st_size, err);
  if (rc == 0 && !m->is_folder)
    rc = scan(m, sc, err);
  if (rc == 0)
    *out = csn_steal(m);
  return rc;
}

void
csn_members_free(csn_members *m)
{
  if (!m)
    return;
  csn_closep(&m->own);
  csn_arena_free(m->arena);
  free(m);
}

/* ---- pieces ---- */

bool
csn_members_has(const csn_members *m, const char *name)
{
  csn_piece p;
  if (csn_piece_open(m, name, &p, NULL) < 0)
    return false;
  csn_piece_close(&p);
  return true;
}

int
csn_piece_open(const csn_members *m, const char *name, csn_piece *out, csn_err *err)
{
  if (!m->is_folder) {
    const struct member *e = find(m, name);
    if (!e)
      return csn_fail(err, CSN_E_NOT_FOUND, "the archive has no member %.200s", name);
    *out = (csn_piece){.fd = m->fd, .offset = e->offset, .size = e->size};
    return 0;
  }
  struct stat st;
  int fd = csn_open_beneath(m->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
  if (fd < 0)
    return fd;
  *out = (csn_piece){.fd = fd, .own = true};
  int rc = fstat(fd, &st) < 0     ? csn_fail_errno(err, "%.200s", name)
           : !S_ISREG(st.st_mode) ? csn_fail(err, CSN_E_INVALID, "%.200s is no file", name)
                                  : 0;
  if (rc < 0)
    close(fd);
  else
    out->size = st.st_size;
  return rc;
}

void
csn_piece_close(csn_piece *p)
{
  if (p->own)
    close(p->fd);
  p->own = false;
}

int
csn_piece_read(const csn_members *m, const char *name, size_t max, const csn_digest *digest,
               csn_buf *out, csn_err *err)
{
  csn_auto(csn_piece_close) csn_piece p = {0};
  int rc = csn_piece_open(m, name, &p, err);
  if (rc < 0)
    return rc;
  if (p.size < 0 || (uint64_t)p.size > max)
    return csn_fail(err, CSN_E_LIMIT, "%.200s has %lld bytes, more than %zu", name,
                    (long long)p.size, max);
  for (int64_t at = 0; at < p.size;) {
    char *room = csn_buf_room(out, (size_t)(p.size - at));
    ssize_t n = room ? pread(p.fd, room, (size_t)(p.size - at), p.offset + at) : 0;
    if (n < 0)
      return csn_fail_errno(err, "%.200s", name);
    if (n == 0)
      return csn_fail(err, CSN_E_PARSE, "%.200s ends too early", name);
    out->n += (size_t)n;
    at += n;
  }
  csn_digest got = csn_sha256_of(csn_buf_str(out));
  if (digest && memcmp(digest, &got, sizeof got) != 0)
    return csn_fail(err, CSN_E_PARSE,
                    "%.200s does not have the SHA-256 that names it: it is "
                    "damaged or was changed",
                    name);
  return 0;
}
