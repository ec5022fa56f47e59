/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_apply.c - the entries of a manifest into an empty workspace.
 *
 * One pass in the order of paths: a stack holds the folders from the top to
 * the current one, so a file costs an open, a write and a mode.  Every folder
 * is entered by descriptor and never through a link, and no file replaces
 * another.  Modes of folders come last, so that one may be read-only.
 */
#include <errno.h>
#include <fcntl.h>

#include "core/fd.h"
#include "sandbox/manifest_int.h"

/* Open folders along a path; fd[0] is the top and not ours to close. */
typedef struct stack {
  int fd[CSN_MANIFEST_DEPTH + 2];
  size_t end[CSN_MANIFEST_DEPTH + 2]; /* length of the path of fd[k] */
  size_t n;
  csn_buf path;
} stack;

static void
stack_init(stack *s, int top)
{
  *s = (stack){.fd = {top}, .n = 1, .path = CSN_BUF(8192)};
}

static void
stack_fini(stack *s)
{
  while (s->n > 1)
    close(s->fd[--s->n]);
  csn_buf_fini(&s->path);
}

/* Makes (or enters) the folder `name` of the innermost one. */
static int
push(csn_copy *c, stack *s, const char *name, bool must_be_new, csn_err *err)
{
  int at = s->fd[s->n - 1];
  bool is_new = mkdirat(at, name, 0755) == 0;
  if (!is_new && (errno != EEXIST || must_be_new))
    return csn_fail_errno(err, "make the folder");
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "open the folder");
  int rc = is_new ? csn_copy_chown(c, fd, err) : 0;
  if (rc == 0 && is_new && fchmod(fd, 0755) < 0)
    rc = csn_fail_errno(err, "set the mode");
  if (rc < 0) {
    close(fd);
    return rc;
  }
  if (s->path.n)
    csn_buf_addc(&s->path, '/');
  csn_buf_addz(&s->path, name);
  s->fd[s->n] = fd;
  s->end[s->n++] = s->path.n;
  return 0;
}

/* Enters the folder that `path` is in; *name is its last component. */
static int
enter(csn_copy *c, stack *s, csn_str path, const char **name, csn_err *err)
{
  const char *slash = memrchr(path.p, '/', path.n);
  csn_str dir = csn_strn(path.p, slash ? (size_t)(slash - path.p) : 0);
  *name = slash ? slash + 1 : path.p;
  while (s->n > 1) {
    size_t end = s->end[s->n - 1];
    if (end <= dir.n && (end == dir.n || dir.p[end] == '/') && memcmp(s->path.p, dir.p, end) == 0)
      break;
    close(s->fd[--s->n]);
    s->path.n = s->end[s->n - 1];
  }
  size_t from = s->n > 1 ? s->end[s->n - 1] + 1 : 0;
  while (from < dir.n) {
    size_t end = from;
    while (end < dir.n && dir.p[end] != '/')
      end++;
    csn_auto(csn_freep) char *part = csn_dupz(csn_strn(dir.p + from, end - from));
    int rc = push(c, s, part, false, err);
    if (rc < 0)
      return rc;
    from = end + 1;
  }
  return s->fd[s->n - 1];
}

static int
make_file(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err)
{
  int rc = csn_copy_count(c, 1, (int64_t)e->content.n, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int fd =
      openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "make the file");
  rc = csn_fd_write_all(fd, e->content, err);
  if (rc == 0)
    rc = csn_copy_chown(c, fd, err);
  if (rc == 0 && fchmod(fd, csn_entry_mode(e)) < 0)
    rc = csn_fail_errno(err, "set the mode");
  return rc;
}

static int
make_local_file(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int in =
      csn_source_open(c->m, c->to->source_fd, e->src, O_RDONLY | O_NONBLOCK, err);
  if (in < 0)
    return in;
  int rc = csn_copy_open_file(c, in, at, name, err);
  if (rc == 0 && e->has_mode && fchmodat(at, name, csn_entry_mode(e), 0) < 0)
    rc = csn_fail_errno(err, "set the mode");
  return rc;
}

static int
make_local_dir(csn_copy *c, const csn_entry *e, int at, const char *name, stack *base, csn_err *err)
{
  csn_auto(csn_closep) int from = -1;
  csn_auto(csn_closep) int to = -1;
  if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "make the folder");
  to = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (to < 0)
    return csn_fail_errno(err, "open the folder");
  int rc = csn_copy_chown(c, to, err);
  if (rc < 0 || !e->has_src)
    return rc;
  from = csn_source_open(c->m, c->to->source_fd, e->src, O_RDONLY | O_DIRECTORY, err);
  if (from < 0)
    return from;
  struct stat st;
  if (fstat(from, &st) < 0)
    return csn_fail_errno(err, "src");
  const char *base_name;
  csn_auto(csn_closep) int second = -1;
  if (c->to->base_fd >= 0) {
    int up = enter(c, base, e->path, &base_name, err);
    if (up < 0)
      return up;
    if (mkdirat(up, base_name, 0755) < 0 && errno != EEXIST)
      return csn_fail_errno(err, "make the base copy");
    second = openat(up, base_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (second < 0)
      return csn_fail_errno(err, "open the base copy");
  }
  rc = csn_copy_tree(c, from, to, second, err);
  mode_t mode = e->has_mode ? csn_entry_mode(e) : st.st_mode & 0777;
  if (rc == 0 && !e->has_mode &&
      (fchmod(to, mode) < 0 || (second >= 0 && fchmod(second, mode) < 0)))
    rc = csn_fail_errno(err, "set the mode");
  return rc;
}

/* The new folder `name`, which is the entry's. */
static int
fresh_dir(csn_copy *c, int at, const char *name, csn_err *err)
{
  if (mkdirat(at, name, 0755) < 0)
    return csn_fail_errno(err, "make the folder");
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "open the folder");
  int rc = csn_copy_count(c, 1, 0, err);
  if (rc == 0)
    rc = csn_copy_chown(c, fd, err);
  if (rc == 0 && fchmod(fd, 0755) < 0)
    rc = csn_fail_errno(err, "set the mode");
  if (rc < 0)
    close(fd);
  return rc < 0 ? rc : fd;
}

/* An archive of this machine, or what an address gave. */
static int
make_unpacked(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int in =
      e->kind == CSN_ENTRY_URL
          ? csn_fetch_file(c, e, err)
          : csn_source_open(c->m, c->to->source_fd, e->src, O_RDONLY | O_NONBLOCK, err);
  if (in < 0)
    return in;
  int rc = e->kind == CSN_ENTRY_ARCHIVE ? csn_unpack_check(c, e, in, err) : 0;
  if (rc < 0)
    return rc;
  if (!e->extracts) {
    rc = csn_copy_open_file(c, in, at, name, err);
    if (rc == 0 && fchmodat(at, name, csn_entry_mode(e), 0) < 0)
      rc = csn_fail_errno(err, "set the mode");
    return rc;
  }
  csn_auto(csn_closep) int to = fresh_dir(c, at, name, err);
  return to < 0 ? to : csn_unpack_file(c, e, in, to, err);
}

/* Who mounts it needs a place, if it is not mounted there yet. */
static int
make_place(csn_copy *c, int at, const char *name, csn_err *err)
{
  struct stat st;
  if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return S_ISDIR(st.st_mode) ? 0 : csn_fail(err, CSN_E_EXISTS, "a file is in the way");
  csn_auto(csn_closep) int fd = fresh_dir(c, at, name, err);
  return fd < 0 ? fd : 0;
}

/* A folder that goes takes what is mounted on it along, in every sandbox. */
static bool
holds_mount(const csn_manifest *m, const csn_entry *e)
{
  bool holds = e->kind == CSN_ENTRY_MOUNT;
  for (size_t i = 0; i < m->n_mounts && !holds; i++) {
    csn_str at = m->mounts[i]->mount->inside;
    holds = at.n > e->path.n && csn_str_starts(at, e->path) && at.p[e->path.n] == '/';
  }
  return holds;
}

static int
make_entry(csn_copy *c, const csn_entry *e, stack *work, stack *base, bool replaces, csn_err *err)
{
  const char *name;
  int at = enter(c, work, e->path, &name, err);
  int rc = at >= 0 && replaces && !holds_mount(c->m, e) ? csn_remove_tree(at, name, err) : at;
  if (rc < 0)
    return rc;
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    return make_file(c, e, at, name, err);
  case CSN_ENTRY_LOCAL_FILE:
    return make_local_file(c, e, at, name, err);
  case CSN_ENTRY_LOCAL_DIR:
    return make_local_dir(c, e, at, name, base, err);
  case CSN_ENTRY_GIT_REPO:
    if (faccessat(at, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      return csn_fail(err, CSN_E_EXISTS, "something of that name is there already");
    return csn_git_fill(c, e, at, name, err);
  case CSN_ENTRY_ARCHIVE:
  case CSN_ENTRY_URL:
    return make_unpacked(c, e, at, name, err);
  case CSN_ENTRY_MOUNT:
    return e->mount->has_mount_path ? 0 : make_place(c, at, name, err);
  case CSN_ENTRY_DIR:
  default:
    return push(c, work, name, false, err);
  }
}

/* What was declared of an entry that is there: its group, a folder's mode. */
static int
set_attributes(csn_copy *c, const csn_entry *e, csn_err *err)
{
  bool has_mode = csn_entry_is_dir(e) && e->has_mode;
  if (e->kind == CSN_ENTRY_MOUNT || (!has_mode && !e->has_group))
    return 0;
  csn_auto(csn_closep) int fd =
      csn_open_beneath(c->to->workspace_fd, e->path.p,
                       (has_mode ? O_RDONLY | O_DIRECTORY : O_PATH) | O_NOFOLLOW, 0, err);
  if (fd < 0)
    return fd;
  gid_t gid = 0;
  if (e->has_group && !c->to->group)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "group %.64s: the files of this sandbox have no groups of their own; take "
                    "`group` out, or use a jail",
                    e->group.name.p);
  int rc = e->has_group ? c->to->group(c->to->user, e->group.name.p, &gid, err) : 0;
  if (rc < 0)
    return csn_wrap(err, rc, "group %.64s", e->group.name.p);
  if (e->has_group && fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) < 0)
    return csn_fail_errno(err, "give it to the group %.64s", e->group.name.p);
  return has_mode && fchmod(fd, csn_entry_mode(e)) < 0 ? csn_fail_errno(err, "set the mode") : 0;
}

/* For each entry whether it is to be made; of the ephemeral ones alone, a folder
 * stands for all beneath it: 2 marks those at the top. */
static unsigned char *
choose(const csn_manifest *m, bool only_ephemeral)
{
  unsigned char *chosen = csn_alloc(m->n_sorted + 1);
  csn_str top = {0};
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = m->sorted[i];
    bool is_within = top.n && e->path.n > top.n && e->path.p[top.n] == '/' &&
                     memcmp(e->path.p, top.p, top.n) == 0;
    chosen[i] = !only_ephemeral || is_within ? 1 : e->is_ephemeral ? 2 : 0;
    if (chosen[i] == 2)
      top = e->path;
  }
  return chosen;
}

static int
apply(const csn_manifest *m, csn_scope *sc, const csn_materialize *to, bool only_ephemeral,
      csn_err *err)
{
  csn_copy c = {.m = m,
                .to = to,
                .sc = sc,
                .max_files = to->max_files > 0 ? to->max_files : CSN_MANIFEST_FILES_MAX,
                .max_bytes = to->max_bytes > 0 ? to->max_bytes : CSN_MANIFEST_BYTES_MAX};
  stack work, base;
  stack_init(&work, to->workspace_fd);
  stack_init(&base, to->base_fd);
  csn_auto(csn_freep) unsigned char *chosen = choose(m, only_ephemeral);
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < m->n_sorted; i++) {
    c.entry = m->sorted[i];
    if (chosen[i])
      rc = csn_entry_wrap(c.entry, make_entry(&c, c.entry, &work, &base, chosen[i] == 2, err), err);
  }
  stack_fini(&work);
  stack_fini(&base);
  csn_fetch_end(&c);
  for (size_t i = m->n_sorted; rc == 0 && i--;) /* the innermost first */
    if (chosen[i])
      rc = csn_entry_wrap(m->sorted[i], set_attributes(&c, m->sorted[i], err), err);
  if (rc == 0 && to->progress)
    to->progress(to->user, "", c.files, c.bytes);
  return rc;
}

int
csn_manifest_apply(const csn_manifest *m, csn_scope *sc, const csn_materialize *to, csn_err *err)
{
  return apply(m, sc, to, false, err);
}

int
csn_manifest_apply_ephemeral(const csn_manifest *m, csn_scope *sc, const csn_materialize *to,
                             csn_err *err)
{
  return apply(m, sc, to, true, err);
}
