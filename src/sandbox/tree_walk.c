/* SPDX-License-Identifier: Apache-2.0
 *
 * tree_walk.c - two folders side by side.
 *
 * Both are listed in the order of names and merged; files are compared by
 * their bytes, since times tell nothing about copies.  The workspace may be
 * changing or hostile: everything is opened by descriptor without following
 * links, nothing blocks, and counts and depth are bounded. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <strings.h>

#include "core/fd.h"
#include "sandbox/tree_int.h"

#define NAMES_MAX 2000000
#define DEPTH_MAX 200

typedef struct walk {
  csn_tree_changes *out;
  csn_scope *sc;
  csn_buf path;
  size_t names;
  int depth;
} walk;

static bool
is_left_out(const char *name)
{
  static const char *const out[] = {".git", ".caisson"};
  for (size_t i = 0; i < CSN_COUNT(out); i++)
    if (strcasecmp(name, out[i]) == 0)
      return true;
  return false;
}

static int
list(walk *w, int dir, csn_names *l, csn_err *err)
{
  if (dir < 0)
    return 0;
  int rc = csn_wrap(err, csn_names_read(l, dir, NAMES_MAX - w->names, err), "%.300s",
                    w->path.n ? w->path.p : ".");
  w->names += l->n;
  return rc;
}

static csn_tree_side
look_at(int dir, const char *name)
{
  struct stat st;
  if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return (csn_tree_side){0};
  return (csn_tree_side){.kind = S_ISREG(st.st_mode)   ? CSN_TREE_FILE
                                 : S_ISLNK(st.st_mode) ? CSN_TREE_LINK
                                 : S_ISDIR(st.st_mode) ? CSN_TREE_DIR
                                                       : CSN_TREE_NONE,
                         .is_exec = S_ISREG(st.st_mode) && (st.st_mode & 0111),
                         .size = st.st_size};
}

/* The folder of a path beneath `dir`; *base is its last component. */
static int
parent_of(int dir, const char *path, const char **base, csn_err *err)
{
  const char *slash = strrchr(path, '/');
  *base = slash ? slash + 1 : path;
  if (!slash)
    return csn_open_beneath(dir, ".", O_PATH | O_DIRECTORY, 0, err);
  csn_auto(csn_freep) char *up = csn_dupz(csn_strn(path, (size_t)(slash - path)));
  return csn_open_beneath(dir, up, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, err);
}

csn_tree_side
csn_tree_look(int dir, const char *path)
{
  const char *base;
  csn_auto(csn_closep) int at = parent_of(dir, path, &base, NULL);
  return look_at(at, base);
}

static int
open_file(int dir, const char *path, csn_err *err)
{
  const char *base;
  csn_auto(csn_closep) int at = parent_of(dir, path, &base, err);
  if (at < 0)
    return at;
  csn_auto(csn_closep) int fd = openat(at, base, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%.300s", path);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_CONFLICT, "%.300s changed while it was read", path);
  int out = fd;
  fd = -1;
  return out;
}

int
csn_tree_read(int dir, const char *path, enum csn_tree_kind kind, csn_buf *out, csn_err *err)
{
  if (kind == CSN_TREE_LINK) {
    const char *base;
    char to[PATH_MAX];
    csn_auto(csn_closep) int at = parent_of(dir, path, &base, err);
    if (at < 0)
      return at;
    ssize_t n = readlinkat(at, base, to, sizeof to);
    if (n < 0)
      return csn_fail_errno(err, "%.300s", path);
    csn_buf_add(out, csn_strn(to, (size_t)n));
    return csn_buf_done(out, path, err);
  }
  csn_auto(csn_closep) int fd = open_file(dir, path, err);
  return fd < 0 ? fd : csn_wrap(err, csn_fd_read_all(fd, out, err), "%.300s", path);
}

/* Fills the block as far as the file goes. */
static ssize_t
read_block(int fd, char *block, size_t n)
{
  size_t have = 0;
  while (have < n) {
    ssize_t k = read(fd, block + have, n - have);
    if (k < 0 && errno == EINTR)
      continue;
    if (k < 0)
      return -1;
    if (k == 0)
      break;
    have += (size_t)k;
  }
  return (ssize_t)have;
}

static int
same_bytes(int a, int b, csn_err *err)
{
  char x[16384], y[16384];
  for (;;) {
    ssize_t n = read_block(a, x, sizeof x), m = read_block(b, y, sizeof y);
    if (n < 0 || m < 0)
      return csn_fail_errno(err, "compare");
    if (n != m || memcmp(x, y, (size_t)n) != 0)
      return 0;
    if ((size_t)n < sizeof x)
      return 1;
  }
}

int
csn_tree_same(int a_dir, int b_dir, const char *path, csn_err *err)
{
  csn_auto(csn_closep) int a = open_file(a_dir, path, err);
  if (a < 0)
    return a;
  csn_auto(csn_closep) int b = open_file(b_dir, path, err);
  return b < 0 ? b : same_bytes(a, b, err);
}

bool
csn_tree_is_binary(csn_str text)
{
  return memchr(text.p ? text.p : "", '\0', text.n < 8000 ? text.n : 8000) != NULL;
}

static void
note(walk *w, csn_tree_side old, csn_tree_side now)
{
  csn_tree_changes *l = w->out;
  if (l->n == l->room) {
    l->room = l->room ? l->room * 2 : 64;
    l->p = csn_realloc(l->p, l->room, sizeof *l->p);
  }
  l->p[l->n++] = (csn_tree_change){
      .path = csn_arena_dup(l->arena, csn_buf_str(&w->path)), .old = old, .now = now};
}

/* Whether two files or two links of the same name differ. */
static int
differ(int base, int work, const char *name, csn_tree_side old, csn_tree_side now, csn_err *err)
{
  if (old.kind != now.kind || old.is_exec != now.is_exec || old.size != now.size)
    return 1;
  if (old.kind == CSN_TREE_LINK) {
    char x[PATH_MAX], y[PATH_MAX];
    ssize_t n = readlinkat(base, name, x, sizeof x), m = readlinkat(work, name, y, sizeof y);
    return n < 0 || n != m || memcmp(x, y, (size_t)n) != 0;
  }
  int rc = csn_tree_same(base, work, name, err);
  return rc < 0 ? rc : !rc;
}

static int walk_dirs(walk *w, int base, int work, csn_err *err);

static int
open_dir(int at, const char *name, csn_tree_side side, int *out, csn_err *err)
{
  *out = -1;
  if (side.kind != CSN_TREE_DIR)
    return 0;
  *out = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return *out < 0 ? csn_fail_errno(err, "open the folder %.200s", name) : 0;
}

static int
walk_name(walk *w, int base, int work, const char *name, csn_err *err)
{
  csn_tree_side old = look_at(base, name), now = look_at(work, name);
  bool has_dir = old.kind == CSN_TREE_DIR || now.kind == CSN_TREE_DIR;
  if (!has_dir) {
    if (old.kind == CSN_TREE_NONE && now.kind == CSN_TREE_NONE)
      return 0;
    int rc = differ(base, work, name, old, now, err);
    if (rc > 0)
      note(w, old, now);
    return rc < 0 ? rc : 0;
  }
  if (++w->depth > DEPTH_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d folders in each other", DEPTH_MAX);
  csn_auto(csn_closep) int a = -1;
  csn_auto(csn_closep) int b = -1;
  int rc = open_dir(base, name, old, &a, err);
  if (rc == 0)
    rc = open_dir(work, name, now, &b, err);
  if (rc < 0)
    return rc;
  bool is_same_kind = old.kind == now.kind;
  if (!is_same_kind && now.kind != CSN_TREE_NONE)
    note(w, old, now);
  rc = walk_dirs(w, a, b, err);
  if (rc == 0 && !is_same_kind && now.kind == CSN_TREE_NONE)
    note(w, old, now);
  w->depth--;
  return rc;
}

static int
walk_dirs(walk *w, int base, int work, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names a = {0}, b = {0};
  int rc = list(w, base, &a, err);
  if (rc == 0)
    rc = list(w, work, &b, err);
  size_t n = w->path.n;
  for (size_t i = 0, j = 0; rc == 0 && (i < a.n || j < b.n);) {
    int order = i == a.n ? 1 : j == b.n ? -1 : strcmp(a.p[i], b.p[j]);
    const char *name = order <= 0 ? a.p[i] : b.p[j];
    i += order <= 0;
    j += order >= 0;
    if (is_left_out(name))
      continue;
    if (n)
      csn_buf_addc(&w->path, '/');
    csn_buf_addz(&w->path, name);
    rc = csn_scope_check(w->sc, err);
    if (rc == 0)
      rc = csn_buf_done(&w->path, "a path", err);
    if (rc == 0)
      rc = walk_name(w, base, work, name, err);
    w->path.n = n;
    w->path.p[n] = '\0';
  }
  return rc;
}

int
csn_tree_changes_init(csn_tree_changes *l, csn_scope *sc, int base_fd, int work_fd, csn_err *err)
{
  *l = (csn_tree_changes){.arena = csn_arena_new(0)};
  walk w = {.out = l, .sc = sc, .path = CSN_BUF(2 * PATH_MAX)};
  csn_buf_room(&w.path, 1)[0] = '\0';
  int rc = walk_dirs(&w, base_fd, work_fd, err);
  csn_buf_fini(&w.path);
  if (rc < 0)
    csn_tree_changes_fini(l);
  return rc;
}

void
csn_tree_changes_fini(csn_tree_changes *l)
{
  csn_arena_free(l->arena);
  free(l->p);
  *l = (csn_tree_changes){0};
}
