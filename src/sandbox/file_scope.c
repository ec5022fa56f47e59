/* SPDX-License-Identifier: Apache-2.0
 * file_scope.c - see file_scope.h. */
#include "sandbox/file_scope.h"

#include <limits.h>
#include <stdio.h>

#include "core/fd.h"

static bool
is_listed(const char *const *list, csn_str path)
{
  for (; *list; list++) {
    csn_auto(csn_buf_finip) csn_buf top = CSN_BUF(PATH_MAX);
    if (!csn_path_add(&top, csn_cstr(*list)) || top.over)
      continue;
    csn_str s = csn_buf_str(&top);
    if (!s.n || csn_str_eq(s, path) ||
        (csn_str_starts(path, s) && path.n > s.n && path.p[s.n] == '/'))
      return true;
  }
  return false;
}

bool
csn_file_scope_writes(const csn_file_scope *s, csn_str path)
{
  return !s || !s->write || is_listed(s->write, path);
}

bool
csn_file_scope_reads(const csn_file_scope *s, csn_str path)
{
  return !s || !s->read || is_listed(s->read, path) || (s->write && is_listed(s->write, path));
}

static ssize_t
name_of(int fd, char out[PATH_MAX])
{
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, out, PATH_MAX);
  return n == PATH_MAX ? -1 : n;
}

int
csn_file_scope_name(int top, int fd, csn_buf *out, csn_err *err)
{
  char folder[PATH_MAX], path[PATH_MAX];
  ssize_t m = name_of(top, folder), n = name_of(fd, path);
  if (m <= 0 || n <= 0)
    return csn_fail_errno(err, "the place of an open file");
  if (n <= m + 1 || memcmp(folder, path, (size_t)m) != 0 || path[m] != '/')
    return csn_fail(err, CSN_E_DENIED, "it is not in the workspace");
  csn_buf_add(out, csn_strn(path + m + 1, (size_t)(n - m - 1)));
  return csn_buf_done(out, "a path", err);
}
