/* SPDX-License-Identifier: Apache-2.0
 * attach.c - see attach.h. */
#include "attach.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/image.h"

/* What every provider takes; others are told to be converted. */
static bool
is_taken(const char *type)
{
  static const char *const types[] = {"image/png", "image/jpeg", "image/gif", "image/webp", NULL};
  return csn_str_is_one_of(csn_cstr(type), types);
}

static int
read_image(const char *path, csn_buf *bytes, csn_err *err)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "cannot open the image %s", path);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "image %s: expected a regular file", path);
  if ((size_t)st.st_size > CSN_IMAGE_MAX)
    return csn_fail(err, CSN_E_INVALID, "image %s: %lld bytes, at most %zu; make it smaller", path,
                    (long long)st.st_size, CSN_IMAGE_MAX);
  return csn_wrap(err, csn_fd_read_all(fd, bytes, err), "image %s", path);
}

int
cli_attach_image(csn_buf *parts, const char *path, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(CSN_IMAGE_MAX);
  int rc = read_image(path, &bytes, err);
  if (rc < 0)
    return rc;
  const char *type = csn_image_type(csn_buf_str(&bytes), CSN_STR(""));
  if (!type || !is_taken(type))
    return csn_fail(err, CSN_E_INVALID,
                    "image %s: %s; models take PNG, JPEG, GIF and WebP, so convert it first", path,
                    type ? type : "by its first bytes it is no picture");
  if (parts->n)
    parts->n--; /* the bracket */
  csn_buf_addf(parts, "%s{\"type\":\"input_image\",\"image_url\":\"data:%s;base64,",
               parts->n ? "," : "[", type);
  csn_base64_add(parts, csn_buf_str(&bytes));
  csn_buf_addz(parts, "\"}]");
  return csn_buf_done(parts, "the images", err);
}

int
cli_attach_images(csn_buf *parts, const cli_list *paths, csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; i < paths->n && rc == 0; i++)
    rc = cli_attach_image(parts, paths->v[i], err);
  return rc;
}
