/* SPDX-License-Identifier: Apache-2.0
 *
 * archive.c - what libarchive does for us: caisson-archive.so.
 *
 * Only its decompression is used, one filter at most and no archive format, so
 * that none of its parsers of formats, and no program it would start, meets a
 * stranger's bytes.  Tar is read by wire/tar.c, zstd by libzstd itself. */
#include "wire/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>

struct unpacker {
  struct archive *a;
  csn_archive_source *source;
  void *user;
  bool began;
};

static ssize_t
more(struct archive *a, void *user, const void **bytes)
{
  const struct unpacker *u = user;
  ssize_t n = u->source(u->user, bytes);
  if (n < 0)
    archive_set_error(a, EIO, "it could not be read");
  return n;
}

static void
unpacker_close(void *z)
{
  struct unpacker *u = z;
  archive_read_free(u->a);
  free(u);
}

static void *
unpacker_open(csn_archive_source *source, void *user)
{
  struct unpacker *u = csn_alloc(sizeof *u);
  *u = (struct unpacker){.a = archive_read_new(), .source = source, .user = user};
  if (u->a && archive_read_support_filter_gzip(u->a) == ARCHIVE_OK &&
      archive_read_support_filter_xz(u->a) == ARCHIVE_OK &&
      archive_read_support_filter_bzip2(u->a) == ARCHIVE_OK &&
      archive_read_support_format_raw(u->a) == ARCHIVE_OK)
    return u;
  unpacker_close(u);
  return NULL;
}

static ssize_t
unpacker_read(void *z, void *to, size_t n, const char **why)
{
  struct unpacker *u = z;
  struct archive_entry *entry;
  *why = "it holds something else than its first bytes say";
  if (!u->began) {
    u->began = true;
    int rc = archive_read_open(u->a, u, NULL, more, NULL);
    if (rc == ARCHIVE_OK)
      rc = archive_read_next_header(u->a, &entry);
    if (rc == ARCHIVE_EOF)
      return 0;
    if (rc == ARCHIVE_OK && archive_filter_count(u->a) != 2) /* one and the file itself */
      return -1;
    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
      n = 0;
  }
  ssize_t got = n ? archive_read_data(u->a, to, n) : -1;
  if (got >= 0)
    return got;
  *why = archive_error_string(u->a) ? archive_error_string(u->a) : "it is damaged";
  return -1;
}

const csn_archive_module csn_archive_entry = {
    .base = {.abi = CSN_ARCHIVE_ABI, .version = CSN_VERSION},
    .open = unpacker_open,
    .read = unpacker_read,
    .close = unpacker_close,
};
