/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_path.c - which file does a path of a patch mean?
 *
 * First lexically: relative to the working folder, or absolute inside the
 * folder's own name; ".." is taken out of the text, and what leaves the folder
 * is refused.  Then on disk, link by link with O_NOFOLLOW descriptors, so two
 * spellings of one file are one slot and no link leads outside.  The result
 * has no links; everything later opens it beneath the folder's descriptor.
 */
#include <errno.h>
#include <fcntl.h>

#include "core/fd.h"
#include "sandbox/file_scope.h"
#include "sandbox/patch_int.h"

#define MAX_LINKS 40
#define MAX_PATH 4096

static int
refuse(csn_str path, enum csn_code code, const char *why, csn_err *err)
{
  csn_buf b = CSN_BUF(400);
  csn_patch_show(&b, path, 200);
  int rc = csn_fail(err, code, "%s: %s", b.p, why);
  csn_buf_fini(&b);
  return rc;
}

/* What an absolute path is below the folder's own name `root`: a part of `all`,
 * which keeps its text.  False: it is elsewhere. */
static bool
below_root(csn_str path, csn_str root, csn_buf *all, csn_str *rest)
{
  csn_auto(csn_buf_finip) csn_buf r = CSN_BUF(MAX_PATH);
  if (root.n == 0 || !csn_path_add(&r, root) || !csn_path_add(all, path) || r.over || all->over)
    return false;
  if (!csn_str_starts(csn_buf_str(all), csn_buf_str(&r)) ||
      (r.n && all->n > r.n && all->p[r.n] != '/'))
    return false;
  *rest = csn_strn(all->p + r.n, all->n - r.n);
  return true;
}

int
csn_patch_normalise(csn_patch *p, csn_str path, csn_str *out, csn_str *shown, csn_err *err)
{
  if (path.n == 0)
    return csn_fail(err, CSN_E_INVALID, "the path is empty");
  if (path.n >= MAX_PATH || memchr(path.p, '\0', path.n) || csn_utf8_valid(path) != path.n)
    return refuse(path, CSN_E_INVALID, "not a usable path (UTF-8 without NUL, below 4096 bytes)",
                  err);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2 * MAX_PATH), abs = CSN_BUF(MAX_PATH);
  bool is_absolute = path.p[0] == '/';
  csn_str rest = path;
  if (is_absolute) {
    if (!below_root(path, p->root, &abs, &rest))
      return refuse(path, CSN_E_DENIED,
                    p->root.n ? "outside the workspace; use a path relative to the working folder"
                              : "absolute paths are not accepted; use a relative path",
                    err);
  } else {
    (void)csn_path_add(&b, p->cwd);
  }
  size_t cwd_n = b.n;
  csn_auto(csn_freep) char *cwd = csn_dupz(csn_buf_str(&b));
  if (!csn_path_add(&b, rest))
    return refuse(path, CSN_E_DENIED, "leads out of the workspace (\"..\")", err);
  if (b.n == 0)
    return refuse(path, CSN_E_INVALID, "names the workspace itself, not a file in it", err);
  *out = csn_arena_dup(p->arena, csn_buf_str(&b));
  *shown = *out;
  if (cwd_n && out->n > cwd_n && out->p[cwd_n] == '/' && memcmp(out->p, cwd, cwd_n) == 0)
    *shown = csn_strn(out->p + cwd_n + 1, out->n - cwd_n - 1);
  return 0;
}

int
csn_patch_paths(csn_patch *p, const char *root, const char *cwd, const char *const **paths,
                csn_err *err)
{
  const char **list = csn_arena_alloc(p->arena, (2 * p->n_ops + 1) * sizeof *list);
  size_t n = 0;
  p->root = csn_arena_dup(p->arena, csn_cstr(root));
  p->cwd = csn_arena_dup(p->arena, csn_cstr(cwd));
  for (size_t i = 0; i < p->n_ops; i++) {
    const csn_str named[] = {p->ops[i].path, p->ops[i].to};
    for (size_t k = 0; k < CSN_COUNT(named); k++) {
      csn_str clean, shown;
      if (k > 0 && named[k].n == 0)
        continue;
      int rc = csn_patch_normalise(p, named[k], &clean, &shown, err);
      if (rc < 0)
        return rc;
      list[n++] = clean.p;
    }
  }
  *paths = list;
  return 0;
}

/* What readlink() says, put in front of what is left of the path. */
static int
follow(csn_patch *p, csn_buf *done, csn_buf *todo, int link_fd, csn_str rel, csn_err *err)
{
  char to[MAX_PATH];
  ssize_t n = readlinkat(link_fd, "", to, sizeof to);
  if (n <= 0 || (size_t)n == sizeof to)
    return refuse(rel, CSN_E_DENIED, "a symbolic link on this path cannot be read", err);
  csn_auto(csn_buf_finip) csn_buf abs = CSN_BUF(MAX_PATH);
  csn_str target = csn_strn(to, (size_t)n);
  if (to[0] == '/') {
    if (!below_root(target, p->root, &abs, &target))
      return refuse(rel, CSN_E_DENIED, "a symbolic link on this path leads out of the workspace",
                    err);
    done->n = 0;
  }
  csn_auto(csn_buf_finip) csn_buf rest = CSN_BUF(3 * MAX_PATH);
  csn_buf_add(&rest, target);
  csn_buf_addc(&rest, '/');
  csn_buf_add(&rest, csn_buf_str(todo));
  csn_buf_clear(todo);
  csn_buf_add(todo, csn_buf_str(&rest));
  return csn_buf_done(todo, "path with its links", err);
}

/* Cuts the first component off todo. */
static csn_str
next_part(csn_buf *todo, char *store)
{
  size_t i = 0;
  while (i < todo->n && todo->p[i] == '/')
    i++;
  size_t end = i;
  while (end < todo->n && todo->p[end] != '/')
    end++;
  size_t n = end - i < MAX_PATH ? end - i : MAX_PATH - 1;
  memcpy(store, todo->p + i, n);
  store[n] = '\0';
  csn_buf_drop(todo, end);
  while (todo->n && todo->p[0] == '/')
    csn_buf_drop(todo, 1);
  return csn_strn(store, n);
}

/* Opens done/part without following it; *at keeps the folder `done`. */
static int
look(csn_patch *p, int *at, const csn_buf *done, const char *part, struct stat *st)
{
  if (*at < 0) {
    *at = done->n ? csn_open_beneath(p->dir, done->p, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, NULL)
                  : fcntl(p->dir, F_DUPFD_CLOEXEC, 0);
    if (*at < 0)
      return -1;
  }
  int fd = openat(*at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, st) < 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

static void
step_into(int *at, int *fd)
{
  csn_closep(at);
  *at = *fd;
  *fd = -1;
}

int
csn_patch_resolve(csn_patch *p, csn_str rel, bool follow_last, csn_str *out, size_t *existing,
                  csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf done = CSN_BUF(2 * MAX_PATH), todo = CSN_BUF(3 * MAX_PATH);
  csn_auto(csn_closep) int at = -1;
  char store[MAX_PATH];
  bool is_missing = false;
  int links = 0;
  csn_buf_add(&todo, rel);
  while (todo.n) {
    csn_str part = next_part(&todo, store);
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR(".."))) { /* only out of a link's target */
      if (!csn_path_add(&done, part))
        return refuse(rel, CSN_E_DENIED, "a symbolic link on this path leads out of the workspace",
                      err);
      if (done.p)
        done.p[done.n] = '\0';
      csn_closep(&at);
      at = -1;
      is_missing = false;
      continue;
    }
    struct stat st = {0};
    csn_auto(csn_closep) int fd = is_missing ? -1 : look(p, &at, &done, store, &st);
    if (fd < 0 && !is_missing && errno != ENOENT)
      return refuse(rel, CSN_E_IO, "cannot be reached: a part of it is no folder, or is locked",
                    err);
    if (fd >= 0 && S_ISLNK(st.st_mode) && (todo.n || follow_last)) {
      size_t before = done.n;
      csn_auto(csn_buf_finip) csn_buf key = CSN_BUF(3 * MAX_PATH);
      csn_buf_add(&key, csn_buf_str(&done));
      if (before)
        csn_buf_addc(&key, '/');
      csn_buf_add(&key, part);
      if (!csn_patch_slot_find(p, csn_buf_str(&key))) { /* not replaced by this patch */
        if (++links > MAX_LINKS)
          return refuse(rel, CSN_E_DENIED, "too many symbolic links", err);
        int rc = follow(p, &done, &todo, fd, rel, err);
        if (rc < 0)
          return rc;
        if (done.p)
          done.p[done.n] = '\0';
        if (done.n != before) {
          csn_closep(&at);
          at = -1;
        }
        continue;
      }
    } else if (fd >= 0 && todo.n && !S_ISDIR(st.st_mode)) {
      return refuse(rel, CSN_E_INVALID, "a part of this path is a file, not a folder", err);
    }
    if (fd < 0 && !is_missing) {
      is_missing = true;
      *existing = done.n;
    }
    (void)csn_path_add(&done, part);
    if (fd >= 0)
      step_into(&at, &fd);
  }
  if (done.n == 0 || done.over)
    return refuse(rel, CSN_E_INVALID, "names no file of the workspace", err);
  if (!is_missing)
    *existing = done.n;
  if (!csn_file_scope_writes(p->files, csn_buf_str(&done)))
    return refuse(rel, CSN_E_DENIED, "outside of what you may change in the workspace", err);
  *out = csn_arena_dup(p->arena, csn_buf_str(&done));
  return 0;
}

void
csn_patch_scope(csn_patch *p, const csn_file_scope *files)
{
  p->files = files;
}

static uint64_t
path_hash(const csn_patch *p, csn_str path)
{
  uint64_t h = p->seed;
  for (size_t i = 0; i < path.n; i++) {
    unsigned __int128 m = (unsigned __int128)(h ^ (unsigned char)path.p[i]) * 0x9e3779b97f4a7c15u;
    h = (uint64_t)m ^ (uint64_t)(m >> 64);
  }
  return h;
}

csn_patch_slot *
csn_patch_slot_find(csn_patch *p, csn_str path)
{
  if (!p->table_size)
    return NULL;
  size_t mask = p->table_size - 1;
  for (size_t i = path_hash(p, path) & mask; p->table[i]; i = (i + 1) & mask)
    if (csn_str_eq(p->slots[p->table[i] - 1].path, path))
      return &p->slots[p->table[i] - 1];
  return NULL;
}

csn_patch_slot *
csn_patch_slot_add(csn_patch *p, csn_str path)
{
  if (p->n_slots == p->room_slots) {
    p->room_slots = p->room_slots ? p->room_slots * 2 : 64;
    p->slots = csn_realloc(p->slots, p->room_slots, sizeof *p->slots);
    free(p->table);
    p->table_size = p->room_slots * 2;
    p->table = csn_alloc(p->table_size * sizeof *p->table);
    for (size_t k = 0; k < p->n_slots; k++) {
      size_t i = path_hash(p, p->slots[k].path) & (p->table_size - 1);
      while (p->table[i])
        i = (i + 1) & (p->table_size - 1);
      p->table[i] = (uint32_t)k + 1;
    }
  }
  p->slots[p->n_slots] = (csn_patch_slot){.path = path, .now = CSN_BUF(CSN_PATCH_FILE_MAX)};
  size_t i = path_hash(p, path) & (p->table_size - 1);
  while (p->table[i])
    i = (i + 1) & (p->table_size - 1);
  p->table[i] = (uint32_t)p->n_slots + 1;
  return &p->slots[p->n_slots++];
}

int
csn_patch_parent(int dir, csn_str path, const char **base, csn_err *err)
{
  const char *slash = memrchr(path.p, '/', path.n);
  *base = slash ? slash + 1 : path.p;
  if (!slash) {
    int fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? csn_fail_errno(err, "open the folder") : fd;
  }
  csn_auto(csn_freep) char *parent = csn_dupz(csn_strn(path.p, (size_t)(slash - path.p)));
  return csn_open_beneath(dir, parent, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, err);
}

int
csn_patch_enter(const csn_patch *p, csn_str path, const char **base, csn_err *err)
{
  int at = csn_patch_parent(p->dir, path, base, err);
  if (at < 0 || !p->files || !p->files->write || !memchr(path.p, '/', path.n))
    return at;
  csn_auto(csn_buf_finip) csn_buf real = CSN_BUF(2 * MAX_PATH);
  int rc = csn_file_scope_name(p->dir, at, &real, err);
  csn_buf_addf(&real, "/%s", *base);
  if (rc == 0 && !csn_file_scope_writes(p->files, csn_buf_str(&real)))
    rc = refuse(path, CSN_E_DENIED, "outside of what you may change in the workspace", err);
  if (rc < 0)
    close(at);
  return rc < 0 ? rc : at;
}
