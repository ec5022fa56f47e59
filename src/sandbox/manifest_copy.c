/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_copy.c - files of this host into a workspace.
 *
 * Sources are opened beneath the folder that manifests start from, or beneath
 * a grant; the walk goes by descriptors and never through a link.  Modes are
 * kept (without set-id bits), empty folders too.  A link is copied as a link
 * when it stays inside the copied folder and refused otherwise; sockets and
 * the like are left out, and so is the state folder .caisson.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/manifest_int.h"

#define COPY_DEPTH 200 /* folders in each other: three descriptors each */

int
csn_entry_wrap(const csn_entry *e, int rc, csn_err *err)
{
  if (e->line)
    return csn_wrap(err, rc, "%s (line %u)", e->where.p, e->line);
  return csn_wrap(err, rc, "%s", e->where.p);
}

int
csn_copy_count(csn_copy *c, int64_t files, int64_t bytes, csn_err *err)
{
  c->files += files;
  c->bytes += bytes;
  if (c->files > c->max_files)
    return csn_fail(err, CSN_E_LIMIT, "the workspace would get more than %lld files",
                    (long long)c->max_files);
  if (c->bytes > c->max_bytes)
    return csn_fail(err, CSN_E_LIMIT, "the workspace would get more than %lld bytes",
                    (long long)c->max_bytes);
  if (files && c->to->progress && c->files % 1000 == 0)
    c->to->progress(c->to->user, c->entry ? c->entry->path.p : "", c->files, c->bytes);
  return csn_scope_check(c->sc, err);
}

/* "a/../b" without dots; false when it leads above its start. */
static bool
normalise(csn_buf *out, csn_str path)
{
  return csn_path_add(out, path) && !out->over;
}

/* Opens `rest` beneath the open folder, or the folder itself. */
static int
open_below(int dir, csn_str rest, int flags, csn_err *err)
{
  while (rest.n && rest.p[0] == '/')
    rest = csn_strn(rest.p + 1, rest.n - 1);
  csn_auto(csn_freep) char *path = csn_dupz(rest.n ? rest : CSN_STR("."));
  return csn_open_beneath(dir, path, flags, 0, err);
}

static bool
is_below(csn_str path, csn_str folder, csn_str *rest)
{
  if (!csn_str_starts(path, folder) || (path.n > folder.n && path.p[folder.n] != '/'))
    return false;
  *rest = csn_strn(path.p + folder.n, path.n - folder.n);
  return true;
}

int
csn_source_open(const csn_manifest *m, int source_fd, csn_str src, int flags, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf abs = CSN_BUF(2 * PATH_MAX);
  csn_str rest;
  if (src.n == 0)
    return csn_fail(err, CSN_E_INVALID, "src is empty");
  if (src.p[0] != '/') {
    csn_auto(csn_buf_finip) csn_buf rel = CSN_BUF(PATH_MAX);
    if (normalise(&rel, src))
      return csn_wrap(err, open_below(source_fd, csn_buf_str(&rel), flags, err), "src");
  }
  char link[64], base[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", source_fd);
  ssize_t n = readlink(link, base, sizeof base);
  if (n <= 0 || n == sizeof base)
    return csn_fail_errno(err, "the folder of the manifest");
  base[n] = '\0';
  csn_str home = csn_strn(base, (size_t)n);
  csn_auto(csn_buf_finip) csn_buf full = CSN_BUF(2 * PATH_MAX);
  if (src.p[0] != '/') {
    csn_buf_add(&full, home);
    csn_buf_addc(&full, '/');
  }
  csn_buf_add(&full, src);
  csn_buf_addc(&abs, '/');
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(2 * PATH_MAX);
  if (!normalise(&clean, csn_buf_str(&full)))
    return csn_fail(err, CSN_E_INVALID, "src %.200s: leads above /", src.p);
  csn_buf_add(&abs, csn_buf_str(&clean));
  if (is_below(csn_buf_str(&abs), home, &rest))
    return csn_wrap(err, open_below(source_fd, rest, flags, err), "src");
  for (size_t i = 0; i < m->n_grants; i++) {
    const csn_grant *g = &m->grants[i];
    csn_str at = g->has_host_path ? g->host_path : g->path;
    if (!is_below(csn_buf_str(&abs), at, &rest))
      continue;
    csn_auto(csn_closep) int dir = open(at.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
      return csn_fail_errno(err, "the granted folder %.200s", at.p);
    return csn_wrap(err, open_below(dir, rest, flags, err), "src");
  }
  return csn_fail(
      err, CSN_E_DENIED,
      "src %.150s is outside of the manifest's folder %.150s; list a folder that holds it "
      "in extra_path_grants",
      src.p, base);
}

int
csn_manifest_open_source(const csn_manifest *m, int source_fd, const char *src, csn_err *err)
{
  return csn_source_open(m, source_fd, csn_cstr(src), O_RDONLY | O_DIRECTORY, err);
}

/* All of `in` to `out`, inside the kernel where it can. */
static int
copy_bytes(csn_copy *c, int in, int out, csn_err *err)
{
  for (;;) {
    ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)16 << 20, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
      break;
    if (n < 0)
      return csn_fail_errno(err, "copy");
    if (n == 0)
      break; /* the end; or a file of a kind that says 0: read() knows */
    int rc = csn_copy_count(c, 0, n, err);
    if (rc < 0)
      return rc;
  }
  csn_auto(csn_freep) char *block = NULL;
  for (;;) {
    if (!block)
      block = csn_realloc(NULL, 1, 65536);
    ssize_t n = read(in, block, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? csn_fail_errno(err, "read") : 0;
    int rc = csn_copy_count(c, 0, n, err);
    if (rc == 0)
      rc = csn_fd_write_all(out, csn_strn(block, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
}

int
csn_copy_chown(const csn_copy *c, int fd, csn_err *err)
{
  if (c->to->uid != -1 && fchown(fd, (uid_t)c->to->uid, (gid_t)c->to->gid) < 0)
    return csn_fail_errno(err, "set the owner");
  return 0;
}

/* A new file with the bytes of `in` and its mode. */
static int
copy_to(csn_copy *c, int in, mode_t mode, int to_dir, const char *to, csn_err *err)
{
  csn_auto(csn_closep) int out =
      openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0)
    return csn_fail_errno(err, "make the file");
  int rc = copy_bytes(c, in, out, err);
  if (rc == 0)
    rc = csn_copy_chown(c, out, err);
  if (rc == 0 && fchmod(out, mode & 0777) < 0)
    rc = csn_fail_errno(err, "set the mode");
  return rc;
}

int
csn_copy_open_file(csn_copy *c, int in, int to_dir, const char *to, csn_err *err)
{
  struct stat st;
  if (fstat(in, &st) < 0)
    return csn_fail_errno(err, "%s", to);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "not a regular file");
  int rc = csn_copy_count(c, 1, 0, err);
  return rc == 0 ? copy_to(c, in, st.st_mode, to_dir, to, err) : rc;
}

static int
copy_file(csn_copy *c, int from_dir, int to_dir, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int in =
      openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  return in < 0 ? csn_fail_errno(err, "open") : csn_copy_open_file(c, in, to_dir, name, err);
}

/* One folder of the walk; `path` is where we are, from the entry's top. */
typedef struct walk {
  csn_copy *c;
  int top; /* the source, for the check of links */
  csn_buf path;
  struct stat workspace, base; /* never walked into */
  int depth;
} walk;

static int walk_dir(walk *w, int from, int to, int base, csn_err *err);

static int
walk_link(walk *w, int from, int to, int base, const char *name, csn_err *err)
{
  char target[PATH_MAX];
  ssize_t n = readlinkat(from, name, target, sizeof target - 1);
  if (n <= 0 || n == sizeof target - 1)
    return csn_fail(err, CSN_E_INVALID, "%s: a symbolic link that cannot be read", w->path.p);
  target[n] = '\0';
  csn_auto(csn_buf_finip) csn_buf lexical = CSN_BUF(3 * PATH_MAX), at = CSN_BUF(2 * PATH_MAX);
  const char *slash = strrchr(w->path.p, '/');
  csn_buf_add(&at, csn_strn(w->path.p, slash ? (size_t)(slash - w->path.p) : 0));
  csn_buf_addc(&at, '/');
  csn_buf_add(&at, csn_strn(target, (size_t)n));
  bool is_inside = target[0] != '/' && normalise(&lexical, csn_buf_str(&at));
  if (is_inside) { /* and by the kernel's reading too, through other links */
    csn_err why;
    csn_auto(csn_closep) int fd = csn_open_beneath(w->top, w->path.p, O_PATH, 0, &why);
    is_inside = fd >= 0 || why.code == CSN_E_NOT_FOUND;
  }
  if (!is_inside)
    return csn_fail(
        err, CSN_E_DENIED,
        "%.150s: a symbolic link to %.100s, which is outside of the copied folder; remove "
        "the link or copy a folder that holds both",
        w->path.p, target);
  int rc = csn_copy_count(w->c, 1, 0, err);
  for (int i = 0; rc == 0 && i < 2; i++) {
    int dir = i ? base : to;
    if (dir < 0)
      continue;
    if (symlinkat(target, dir, name) < 0)
      return csn_fail_errno(err, "%s", w->path.p);
    if (w->c->to->uid != -1 &&
        fchownat(dir, name, (uid_t)w->c->to->uid, (gid_t)w->c->to->gid, AT_SYMLINK_NOFOLLOW) < 0)
      return csn_fail_errno(err, "set the owner of %s", w->path.p);
  }
  return rc;
}

static int
make_dir(const csn_copy *c, int at, const char *name, csn_err *err)
{
  if (mkdirat(at, name, 0700) < 0)
    return csn_fail_errno(err, "make the folder %s", name);
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "open the folder %s", name);
  int rc = csn_copy_chown(c, fd, err);
  if (rc < 0)
    close(fd);
  return rc < 0 ? rc : fd;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static int
walk_folder(walk *w, int from, int to, int base, const char *name, csn_err *err)
{
  if (strcmp(name, ".caisson") == 0)
    return 0;
  csn_auto(csn_closep) int sub =
      openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (sub < 0 || fstat(sub, &st) < 0)
    return csn_fail_errno(err, "%s", w->path.p);
  if (is_same(&st, &w->workspace) || is_same(&st, &w->base))
    return 0;
  if (++w->depth > COPY_DEPTH)
    return csn_fail(err, CSN_E_LIMIT, "%.200s...: more than %d folders in each other", w->path.p,
                    COPY_DEPTH);
  int rc = csn_copy_count(w->c, 1, 0, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int a = make_dir(w->c, to, name, err);
  if (a < 0)
    return a;
  csn_auto(csn_closep) int b = base < 0 ? -1 : make_dir(w->c, base, name, err);
  if (base >= 0 && b < 0)
    return b;
  rc = walk_dir(w, sub, a, b, err);
  if (rc == 0 && (fchmod(a, st.st_mode & 0777) < 0 || (b >= 0 && fchmod(b, st.st_mode & 0777) < 0)))
    rc = csn_fail_errno(err, "set the mode of %s", w->path.p);
  w->depth--;
  return rc;
}

static int
walk_file(walk *w, int from, int to, int base, const char *name, csn_err *err)
{
  int rc = copy_file(w->c, from, to, name, err);
  if (rc < 0 || base < 0)
    return rc;
  /* From the copy just made, so that both are the same whatever the source
   * does meanwhile; not counted again. */
  int64_t files = w->c->files, bytes = w->c->bytes;
  rc = copy_file(w->c, to, base, name, err);
  w->c->files = files, w->c->bytes = bytes;
  return rc;
}

static bool
is_omitted(const csn_materialize *to, const struct stat *st)
{
  return to->omit_ino && st->st_ino == to->omit_ino && st->st_dev == to->omit_dev;
}

static int
walk_dir(walk *w, int from, int to, int base, csn_err *err)
{
  int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = again < 0 ? NULL : fdopendir(again);
  if (!d) {
    int rc = csn_fail_errno(err, "list %s", w->path.n ? w->path.p : ".");
    csn_closep(&again);
    return rc;
  }
  int rc = 0;
  size_t n = w->path.n;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    if (n)
      csn_buf_addc(&w->path, '/');
    csn_buf_addz(&w->path, e->d_name);
    struct stat st;
    if (w->path.over)
      rc = csn_fail(err, CSN_E_LIMIT, "a path of the copied folder is too long");
    else if (w->c->entry && csn_entry_excludes(w->c->entry, w->path.p))
      rc = 0;
    else if (fstatat(from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
      rc = csn_fail_errno(err, "%s", w->path.p);
    else if (S_ISLNK(st.st_mode))
      rc = walk_link(w, from, to, base, e->d_name, err);
    else if (S_ISDIR(st.st_mode))
      rc = walk_folder(w, from, to, base, e->d_name, err);
    else if (S_ISREG(st.st_mode) && !is_omitted(w->c->to, &st))
      rc = csn_wrap(err, walk_file(w, from, to, base, e->d_name, err), "%s", w->path.p);
    w->path.n = n;
    w->path.p[n] = '\0';
  }
  closedir(d);
  return rc;
}

int
csn_copy_tree(csn_copy *c, int from, int to, int base, csn_err *err)
{
  walk w = {.c = c, .top = from, .path = CSN_BUF(2 * PATH_MAX)};
  if (fstat(c->to->workspace_fd, &w.workspace) < 0)
    return csn_fail_errno(err, "the workspace");
  w.base = w.workspace;
  if (c->to->base_fd >= 0 && fstat(c->to->base_fd, &w.base) < 0)
    return csn_fail_errno(err, "the base copy");
  csn_buf_room(&w.path, 1)[0] = '\0';
  int rc = walk_dir(&w, from, to, base, err);
  csn_buf_fini(&w.path);
  return rc;
}

static int
own_dir(csn_copy *c, int dir, int depth, csn_err *err)
{
  int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = again < 0 ? NULL : fdopendir(again);
  if (!d || depth > COPY_DEPTH) {
    int rc = d ? csn_fail(err, CSN_E_LIMIT, "more than %d folders in each other", COPY_DEPTH)
               : csn_fail_errno(err, "list a folder");
    if (d)
      closedir(d);
    else
      csn_closep(&again);
    return rc;
  }
  int rc = 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    struct stat st;
    if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
      rc = csn_fail_errno(err, "%s", e->d_name);
    else
      rc = csn_copy_count(c, 1, st.st_size, err);
    if (rc == 0 && c->to->uid != -1 &&
        fchownat(dir, e->d_name, (uid_t)c->to->uid, (gid_t)c->to->gid, AT_SYMLINK_NOFOLLOW) < 0)
      rc = csn_fail_errno(err, "set the owner of %s", e->d_name);
    if (rc < 0 || !S_ISDIR(st.st_mode))
      continue;
    csn_auto(csn_closep) int sub =
        openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = sub < 0 ? csn_fail_errno(err, "%s", e->d_name) : own_dir(c, sub, depth + 1, err);
  }
  closedir(d);
  return rc;
}

int
csn_copy_own(csn_copy *c, int dir, csn_err *err)
{
  return own_dir(c, dir, 0, err);
}
