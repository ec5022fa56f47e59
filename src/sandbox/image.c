/* SPDX-License-Identifier: Apache-2.0
 * image.c - view_image: the kind of a picture by its bytes, and a data URL. */
#include "sandbox/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/file_scope.h"

static bool
ends_no_case(csn_str s, const char *tail)
{
  size_t n = strlen(tail);
  if (s.n < n)
    return false;
  for (size_t i = 0; i < n; i++) {
    char c = s.p[s.n - n + i];
    if ((c >= 'A' && c <= 'Z' ? c | 32 : c) != tail[i])
      return false;
  }
  return true;
}

/* "<svg", or "<?xml" with "<svg" in the first 2,048 bytes. */
static bool
is_svg(csn_str bytes)
{
  char low[2049];
  size_t n = bytes.n < 2048 ? bytes.n : 2048, i = 0;
  if (n >= 3 && memcmp(bytes.p, "\xef\xbb\xbf", 3) == 0)
    i = 3;
  while (i < n && strchr(" \t\r\n\f\v", bytes.p[i]) && bytes.p[i])
    i++;
  size_t k = 0;
  for (; i < n; i++) {
    char c = bytes.p[i];
    low[k++] = c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
  }
  csn_str s = csn_strn(low, k);
  return csn_str_starts(s, CSN_STR("<svg")) ||
         (csn_str_starts(s, CSN_STR("<?xml")) && csn_str_find(s, CSN_STR("<svg"), 0) != SIZE_MAX);
}

const char *
csn_image_type(csn_str b, csn_str path)
{
  static const struct {
    csn_str magic;
    const char *type;
  } rows[] = {{CSN_STR_INIT("\x89PNG\r\n\x1a\n"), "image/png"},
              {CSN_STR_INIT("\xff\xd8\xff"), "image/jpeg"},
              {CSN_STR_INIT("GIF87a"), "image/gif"},
              {CSN_STR_INIT("GIF89a"), "image/gif"},
              {CSN_STR_INIT("BM"), "image/bmp"},
              {CSN_STR_INIT("II*\0"), "image/tiff"},
              {CSN_STR_INIT("MM\0*"), "image/tiff"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (csn_str_starts(b, rows[i].magic))
      return rows[i].type;
  if (b.n >= 12 && memcmp(b.p, "RIFF", 4) == 0 && memcmp(b.p + 8, "WEBP", 4) == 0)
    return "image/webp";
  if (is_svg(b) || ends_no_case(path, ".svg") || ends_no_case(path, ".svgz"))
    return "image/svg+xml";
  return NULL;
}

/* The path below the workspace: absolute ones lose the root. */
static csn_str
below(csn_str path, const char *root)
{
  csn_str r = csn_cstr(root);
  while (r.n && r.p[r.n - 1] == '/')
    r.n--;
  if (path.n && path.p[0] == '/' && r.n && csn_str_starts(path, r) &&
      (path.n == r.n || path.p[r.n] == '/')) {
    path = csn_strn(path.p + r.n, path.n - r.n);
    while (path.n && path.p[0] == '/')
      path = csn_strn(path.p + 1, path.n - 1);
  }
  return path;
}

bool
csn_image_path(csn_str path, const char *root, csn_buf *clean)
{
  csn_str rel = below(path, root);
  return rel.n && rel.p[0] != '/' && !memchr(rel.p, '\0', rel.n) && csn_path_add(clean, rel) &&
         clean->n && !clean->over;
}

static int CSN_PRINTF(3, 4) say(csn_buf *out, csn_str path, const char *fmt, ...)
{
  csn_buf_addz(out, "image ");
  csn_buf_addz(out, "`");
  csn_buf_add(out, path.n > 300 ? csn_strn(path.p, 300) : path);
  csn_buf_addz(out, "` ");
  va_list ap;
  va_start(ap, fmt);
  csn_buf_addv(out, fmt, ap);
  va_end(ap);
  return 0;
}

int
csn_image_view(int work_fd, const char *root, csn_str path, const csn_file_scope *files,
               csn_buf *out, csn_err *err)
{
  csn_str rel = below(path, root);
  if (rel.n == 0 || memchr(rel.p, '\0', rel.n))
    return say(out, path, "was not read: give the path of a file in the workspace");
  csn_auto(csn_freep) char *name = csn_dupz(rel);
  csn_err why = {0};
  csn_auto(csn_closep) int fd = csn_open_beneath(work_fd, name, O_RDONLY | O_NONBLOCK, 0, &why);
  struct stat st;
  if (fd == CSN_E_NOT_FOUND)
    return say(out, path, "was not found; list the folder to see its name");
  if (fd == CSN_E_DENIED)
    return say(out, path, "was not read: the path leads out of the workspace, or access is denied");
  if (fd < 0 || fstat(fd, &st) < 0)
    return say(out, path, "could not be read: %s", why.msg[0] ? why.msg : "it changed");
  csn_auto(csn_buf_finip) csn_buf real = CSN_BUF(8192); /* links may have led elsewhere */
  if (files && (csn_file_scope_name(work_fd, fd, &real, &why) < 0 ||
                !csn_file_scope_reads(files, csn_buf_str(&real))))
    return say(out, path, "was not read: it is outside of what you may see in the workspace");
  if (!S_ISREG(st.st_mode))
    return say(out, path, "is not a regular file");
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(CSN_IMAGE_MAX);
  if ((size_t)st.st_size > CSN_IMAGE_MAX)
    return say(out, path, "is larger than 10MB; make a smaller copy and view that");
  int rc = csn_fd_read_all(fd, &bytes, &why);
  if (rc == CSN_E_LIMIT)
    return say(out, path, "is larger than 10MB; make a smaller copy and view that");
  if (rc < 0)
    return say(out, path, "could not be read: %s", why.msg);
  const char *type = csn_image_type(csn_buf_str(&bytes), path);
  if (!type)
    return say(out, path,
               "is not a picture of a known kind (PNG, JPEG, GIF, WebP, BMP, TIFF, SVG)");
  csn_buf_addf(out, "data:%s;base64,", type);
  csn_base64_add(out, csn_buf_str(&bytes));
  rc = csn_buf_done(out, "the picture", err);
  return rc < 0 ? rc : 1;
}
