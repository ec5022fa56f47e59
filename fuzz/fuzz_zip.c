/* SPDX-License-Identifier: Apache-2.0
 * fuzz_zip.c - zip archives: members are told whole and within their sizes, or
 * the archive is refused. */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct seen {
  bool is_open;
  int64_t left;
  uint64_t bytes;
};

static int
on_entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  struct seen *s = user;
  assert(!s->is_open && e->name[0] && e->size >= 0 && e->mode <= 07777);
  assert(e->kind == CSN_TAR_FILE || e->kind == CSN_TAR_DIR || e->kind == CSN_TAR_SYMLINK);
  assert(e->kind == CSN_TAR_FILE || e->size == 0);
  assert((e->kind == CSN_TAR_SYMLINK) == (e->link[0] != '\0'));
  s->is_open = e->kind == CSN_TAR_FILE;
  s->left = e->size;
  return s->is_open;
}

static int
on_data(void *user, csn_str bytes, csn_err *err)
{
  struct seen *s = user;
  assert(s->is_open && (int64_t)bytes.n <= s->left);
  s->left -= (int64_t)bytes.n;
  s->bytes += bytes.n;
  return s->bytes > 1 << 22 ? csn_fail(err, CSN_E_LIMIT, "enough") : 0;
}

static int
on_end(void *user, csn_err *err)
{
  struct seen *s = user;
  assert(s->is_open && s->left == 0);
  s->is_open = false;
  return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  struct seen s = {0};
  const csn_tar_sink sink = {on_entry, on_data, on_end, &s};
  csn_err err = {0};
  int fd = memfd_create("zip", MFD_CLOEXEC);
  if (fd < 0 || write(fd, p, n) != (ssize_t)n)
    abort();
  int rc = csn_zip_read(fd, (int64_t)n, NULL, &sink, &err);
  assert(rc <= 0 && (rc == 0 || err.msg[0]));
  close(fd);
  return 0;
}
