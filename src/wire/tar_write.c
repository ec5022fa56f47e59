/* SPDX-License-Identifier: Apache-2.0
 * tar_write.c - writes tar archives; see wire/tar_write.h. */
#include "wire/tar_write.h"

#include <stdio.h>

enum { NAME_LEN = 100, OCTAL_MAX_BITS = 33 };

static void
put_octal(char *to, size_t n, uint64_t value)
{
  to[n - 1] = '\0';
  for (size_t i = n - 1; i > 0; i--, value >>= 3)
    to[i - 1] = (char)('0' + (value & 7));
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void
add_record(csn_buf *b, const char *key, csn_str value)
{
  size_t rest = strlen(key) + value.n + 3, n = rest + 1;
  char digits[24];
  for (size_t again = 0; again != n;) {
    again = n;
    n = rest + (size_t)snprintf(digits, sizeof digits, "%zu", n);
  }
  csn_buf_addf(b, "%zu %s=", n, key);
  csn_buf_add(b, value);
  csn_buf_addc(b, '\n');
}

static int
put_header(csn_tar_writer *w, char type, const char *name, const char *link, uint64_t size,
           const csn_tar_entry *e, csn_err *err)
{
  char h[CSN_TAR_BLOCK + 1] = {0}; /* one more for snprintf's NUL */
  size_t n = strlen(name), k = strlen(link);
  memcpy(h, name, n < NAME_LEN ? n : NAME_LEN);
  put_octal(h + 100, 8, e->mode & 07777);
  put_octal(h + 108, 8, (uint64_t)e->uid & 07777777);
  put_octal(h + 116, 8, (uint64_t)e->gid & 07777777);
  put_octal(h + 124, 12, size >> OCTAL_MAX_BITS ? 0 : size);
  put_octal(h + 136, 12, e->mtime_s < 0 || e->mtime_s >> OCTAL_MAX_BITS ? 0 : (uint64_t)e->mtime_s);
  memset(h + 148, ' ', 8);
  h[156] = type;
  memcpy(h + 157, link, k < NAME_LEN ? k : NAME_LEN);
  memcpy(h + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (size_t i = 0; i < CSN_TAR_BLOCK; i++)
    sum += (unsigned char)h[i];
  snprintf(h + 148, 8, "%06o", sum);
  return w->out(w->user, csn_strn(h, CSN_TAR_BLOCK), err);
}

static int
put_zeros(csn_tar_writer *w, uint64_t n, csn_err *err)
{
  static const char zeros[2 * CSN_TAR_BLOCK];
  return n ? w->out(w->user, csn_strn(zeros, (size_t)n), err) : 0;
}

/* What ustar's fields cannot hold. */
static int
put_extended(csn_tar_writer *w, const csn_tar_entry *e, const char *name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_TAR_HEADER_MAX);
  char number[40];
  if (strlen(name) > NAME_LEN)
    add_record(&text, "path", csn_cstr(name));
  if (e->kind == CSN_TAR_SYMLINK && strlen(e->link) > NAME_LEN)
    add_record(&text, "linkpath", csn_cstr(e->link));
  snprintf(number, sizeof number, "%lld", (long long)e->size);
  if (e->size >> OCTAL_MAX_BITS)
    add_record(&text, "size", csn_cstr(number));
  int n = snprintf(number, sizeof number, "%lld", (long long)e->mtime_s);
  bool has_part = e->mtime_ns > 0 && e->mtime_s >= 0;
  if (has_part)
    snprintf(number + n, sizeof number - (size_t)n, ".%09d", e->mtime_ns);
  if (has_part || e->mtime_s < 0 || e->mtime_s >> OCTAL_MAX_BITS)
    add_record(&text, "mtime", csn_cstr(number));
  int rc = csn_buf_done(&text, "the header of an entry", err);
  if (rc < 0 || text.n == 0)
    return rc;
  const csn_tar_entry plain = {.mode = 0644};
  rc = put_header(w, 'x', "pax", "", text.n, &plain, err);
  if (rc == 0)
    rc = w->out(w->user, csn_buf_str(&text), err);
  return rc < 0 ? rc : put_zeros(w, (CSN_TAR_BLOCK - text.n % CSN_TAR_BLOCK) % CSN_TAR_BLOCK, err);
}

int
csn_tar_put(csn_tar_writer *w, const csn_tar_entry *e, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(CSN_TAR_NAME_MAX + 2);
  char type = e->kind == CSN_TAR_DIR ? '5' : e->kind == CSN_TAR_SYMLINK ? '2' : '0';
  csn_buf_addz(&name, e->name);
  if (e->kind == CSN_TAR_DIR)
    csn_buf_addc(&name, '/');
  int rc = csn_buf_done(&name, "the name of an entry", err);
  if (rc == 0)
    rc = put_extended(w, e, name.p, err);
  if (rc == 0)
    rc = put_header(w, type, name.p, e->kind == CSN_TAR_SYMLINK ? e->link : "",
                    e->kind == CSN_TAR_FILE ? (uint64_t)e->size : 0, e, err);
  w->left = e->kind == CSN_TAR_FILE ? (uint64_t)e->size : 0;
  w->padding = (CSN_TAR_BLOCK - w->left % CSN_TAR_BLOCK) % CSN_TAR_BLOCK;
  return rc;
}

int
csn_tar_put_data(csn_tar_writer *w, csn_str bytes, csn_err *err)
{
  if (bytes.n > w->left)
    return csn_fail(err, CSN_E_INVALID, "more content than the entry of the archive says");
  int rc = w->out(w->user, bytes, err);
  w->left -= bytes.n;
  return rc < 0 || w->left ? rc : put_zeros(w, w->padding, err);
}

int
csn_tar_put_end(csn_tar_writer *w, csn_err *err)
{
  return put_zeros(w, (uint64_t)2 * CSN_TAR_BLOCK, err);
}
