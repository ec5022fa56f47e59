/* SPDX-License-Identifier: Apache-2.0
 *
 * unzip.c - reads a part of a file and undoes its compression; see
 * wire/unzip.h.  Every packed byte is hashed on its way in, so that the digest
 * is of what was unpacked, whoever writes to the file meanwhile. */
#include "wire/unzip.h"

#include <errno.h>
#include <zstd.h>

#include "wire/archive.h"

enum { CHUNK = 256 << 10, WINDOW_LOG_MAX = 27 }; /* 128 MiB: what zstd itself allows */

enum form { PLAIN, ZSTD, FOREIGN };

struct csn_unzip {
  enum form form;
  int fd, io_errno;
  int64_t offset, left;
  uint64_t taken;
  csn_sha256 sum;
  ZSTD_DStream *zstd;
  ZSTD_inBuffer in;
  bool frame_open; /* the last zstd frame is not complete */
  const csn_archive_module *module;
  void *foreign;
  char *chunk;
};

/* Fills z->chunk; the number of bytes, 0 at the end, -1. */
static ssize_t
fill(csn_unzip *z)
{
  size_t want = z->left < CHUNK ? (size_t)z->left : CHUNK;
  ssize_t n = want ? pread(z->fd, z->chunk, want, z->offset) : 0;
  if (n < 0) {
    z->io_errno = errno;
    return -1;
  }
  csn_sha256_add(&z->sum, csn_strn(z->chunk, (size_t)n));
  z->offset += n;
  z->left = n ? z->left - n : 0;
  z->taken += (uint64_t)n;
  return n;
}

static ssize_t
give_chunk(void *user, const void **bytes)
{
  csn_unzip *z = user;
  *bytes = z->chunk;
  return fill(z);
}

static int
damaged(const csn_unzip *z, const char *why, csn_err *err)
{
  if (z->io_errno) {
    errno = z->io_errno;
    return csn_fail_errno(err, "read");
  }
  return csn_fail(err, CSN_E_PARSE, "cannot be unpacked: %.200s", why);
}

static enum form
form_of(const unsigned char *p, size_t n)
{
  static const struct {
    const char *magic;
    size_t n;
    enum form form;
  } known[] = {{"\x28\xb5\x2f\xfd", 4, ZSTD},
               {"\x1f\x8b", 2, FOREIGN},
               {"\xfd"
                "7zXZ",
                5, FOREIGN},
               {"BZh", 3, FOREIGN}};
  for (size_t i = 0; i < CSN_COUNT(known); i++)
    if (n >= known[i].n && memcmp(p, known[i].magic, known[i].n) == 0)
      return known[i].form;
  return PLAIN;
}

int
csn_unzip_open(csn_unzip **out, int fd, int64_t offset, int64_t size, csn_err *err)
{
  unsigned char head[8];
  ssize_t n = pread(fd, head, size < 8 ? (size_t)size : sizeof head, offset);
  if (n < 0)
    return csn_fail_errno(err, "read");
  csn_auto(csn_unzip_freep) csn_unzip *z = csn_alloc(sizeof *z);
  *z = (csn_unzip){.form = form_of(head, (size_t)n), .fd = fd, .offset = offset, .left = size};
  z->chunk = csn_alloc(CHUNK);
  csn_sha256_init(&z->sum);
  if (z->form == ZSTD) {
    z->zstd = ZSTD_createDStream();
    if (!z->zstd)
      return csn_fail(err, CSN_E_LIMIT, "no memory to unpack zstd");
    ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
  } else if (z->form == FOREIGN) {
    const csn_module *m = NULL;
    int rc = csn_module_open("caisson-archive.so", "csn_archive_entry", CSN_ARCHIVE_ABI, &m, err);
    if (rc < 0)
      return rc;
    z->module = (const csn_archive_module *)m; /* it is the first member */
    z->foreign = z->module->open(give_chunk, z);
    if (!z->foreign)
      return csn_fail(err, CSN_E_LIMIT, "no memory to unpack");
  }
  *out = csn_steal(z);
  return 0;
}

void
csn_unzip_free(csn_unzip *z)
{
  if (!z)
    return;
  ZSTD_freeDStream(z->zstd);
  if (z->foreign)
    z->module->close(z->foreign);
  free(z->chunk);
  free(z);
}

static ssize_t
read_zstd(csn_unzip *z, void *to, size_t n, csn_err *err)
{
  ZSTD_outBuffer out = {to, n, 0};
  while (out.pos == 0) {
    if (z->in.pos == z->in.size) {
      ssize_t got = fill(z);
      if (got < 0 || (got == 0 && z->frame_open))
        return damaged(z, "it ends too early", err);
      if (got == 0)
        return 0;
      z->in = (ZSTD_inBuffer){z->chunk, (size_t)got, 0};
    }
    size_t rc = ZSTD_decompressStream(z->zstd, &out, &z->in);
    if (ZSTD_isError(rc))
      return damaged(z, ZSTD_getErrorName(rc), err);
    z->frame_open = rc != 0;
  }
  return (ssize_t)out.pos;
}

static ssize_t
read_plain(csn_unzip *z, void *to, size_t n, csn_err *err)
{
  if (z->in.pos == z->in.size) {
    ssize_t got = fill(z);
    if (got < 0)
      return damaged(z, "", err);
    z->in = (ZSTD_inBuffer){z->chunk, (size_t)got, 0};
  }
  size_t have = z->in.size - z->in.pos;
  n = n < have ? n : have;
  memcpy(to, z->chunk + z->in.pos, n);
  z->in.pos += n;
  return (ssize_t)n;
}

ssize_t
csn_unzip_read(csn_unzip *z, void *to, size_t n, csn_err *err)
{
  const char *why = "";
  if (z->form == ZSTD)
    return read_zstd(z, to, n, err);
  if (z->form == PLAIN)
    return read_plain(z, to, n, err);
  ssize_t got = z->module->read(z->foreign, to, n, &why);
  return got < 0 ? damaged(z, why, err) : got;
}

bool
csn_unzip_is_plain(const csn_unzip *z)
{
  return z->form == PLAIN;
}

void
csn_unzip_skip(csn_unzip *z, uint64_t n)
{
  uint64_t here = z->in.size - z->in.pos;
  uint64_t now = n < here ? n : here;
  z->in.pos += (size_t)now;
  n -= now;
  n = n < (uint64_t)z->left ? n : (uint64_t)z->left;
  z->offset += (int64_t)n;
  z->left -= (int64_t)n;
  z->taken += n;
}

uint64_t
csn_unzip_taken(const csn_unzip *z)
{
  return z->taken;
}

int
csn_unzip_digest(csn_unzip *z, csn_digest *out, csn_err *err)
{
  ssize_t n;
  while ((n = fill(z)) > 0)
    continue;
  if (n < 0)
    return damaged(z, "", err);
  csn_sha256 sum = z->sum;
  *out = csn_sha256_end(&sum);
  return 0;
}
