/* SPDX-License-Identifier: Apache-2.0
 *
 * patch.c - a planned patch onto the disk, all or nothing.
 *
 * Stage writes every new file under a hidden name beside its target.  Commit
 * then needs renames only: a file that exists is exchanged with its staged
 * successor (so the hidden name holds the old contents until the end), a new
 * one is moved in, a deleted one is moved out to its hidden name.  Each step
 * can be undone by its reverse, by this process or, from the plan's JSON form,
 * by csn_patch_recover() in the next one.  Hidden names go last.
 *
 * Where the file system cannot exchange, the old file first moves to the
 * hidden name with "-old" added.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/patch_int.h"

/* A folder kept open over neighbouring slots. */
typedef struct place {
  int fd;
  csn_str dir;
} place;

static void
place_finip(place *pl)
{
  csn_closep(&pl->fd);
}

/* The folder of `path`; *base is its last component. */
static int
enter(const csn_patch *p, place *pl, csn_str path, const char **base, csn_err *err)
{
  const char *slash = memrchr(path.p, '/', path.n);
  csn_str dir = csn_strn(path.p, slash ? (size_t)(slash - path.p) : 0);
  if (pl->fd >= 0 && csn_str_eq(dir, pl->dir)) {
    *base = slash ? slash + 1 : path.p;
    return pl->fd;
  }
  csn_closep(&pl->fd);
  pl->dir = dir;
  pl->fd = csn_patch_enter(p, path, base, err);
  return pl->fd;
}

static const char *
base_of(csn_str path)
{
  const char *slash = memrchr(path.p, '/', path.n);
  return slash ? slash + 1 : path.p;
}

static int
make_dirs(csn_patch *p, csn_err *err)
{
  for (; p->dirs_made < p->n_dirs; p->dirs_made++) {
    csn_str dir = p->made_dirs[p->dirs_made];
    const char *base;
    csn_auto(csn_closep) int at = csn_patch_enter(p, dir, &base, err);
    if (at < 0)
      return at;
    if (mkdirat(at, base, 0777) < 0) {
      if (errno != EEXIST)
        return csn_fail_errno(err, "make the folder %.200s", dir.p);
      p->made_dirs[p->dirs_made].n = 0; /* somebody else's: it stays */
      continue;
    }
    if (p->uid != -1 && fchownat(at, base, (uid_t)p->uid, (gid_t)p->gid, AT_SYMLINK_NOFOLLOW) < 0)
      return csn_fail_errno(err, "set the owner of %.200s", dir.p);
  }
  return 0;
}

/* The contents of a slot into its staged file. */
static int
write_slot(const csn_patch *p, const csn_patch_slot *s, int fd, csn_err *err)
{
  if (!s->from.n)
    return csn_fd_write_all(fd, csn_buf_str(&s->now), err);
  csn_auto(csn_closep) int in =
      csn_open_beneath(p->from_dir, s->from.p, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, err);
  if (in < 0)
    return in;
  struct stat st;
  if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_CONFLICT, "it is no regular file any more");
  csn_auto(csn_freep) char *block = csn_realloc(NULL, 1, 65536);
  for (off_t left = st.st_size; left > 0;) { /* not what is appended meanwhile */
    ssize_t n = read(in, block, left < 65536 ? (size_t)left : 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read");
    if (n == 0)
      break;
    int rc = csn_fd_write_all(fd, csn_strn(block, (size_t)n), err);
    if (rc < 0)
      return rc;
    left -= n;
  }
  return 0;
}

static int
stage_link(csn_patch *p, csn_patch_slot *s, int at, const char *base, csn_err *err)
{
  if (symlinkat(s->now.p, at, base) < 0)
    return csn_fail_errno(err, "stage %.200s", s->path.p);
  s->is_staged = true;
  if (p->uid != -1 && fchownat(at, base, (uid_t)p->uid, (gid_t)p->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "set the owner of %.200s", s->path.p);
  return 0;
}

static int
stage_one(csn_patch *p, csn_patch_slot *s, place *pl, csn_err *err)
{
  const char *base;
  int at = enter(p, pl, s->stage, &base, err);
  if (at < 0)
    return at;
  if (s->is_new_link)
    return stage_link(p, s, at, base, err);
  csn_auto(csn_closep) int fd = openat(
      at, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, s->has_mode ? 0600 : 0666);
  if (fd < 0)
    return csn_fail_errno(err, "stage %.200s", s->path.p);
  s->is_staged = true;
  int rc = csn_wrap(err, write_slot(p, s, fd, err), "stage %.200s", s->path.p);
  if (rc < 0)
    return rc;
  /* An updated file keeps its owner where this process may say so. */
  if (s->existed && !s->is_link) {
    if (s->was.st_uid != geteuid() || s->was.st_gid != getegid())
      (void)!fchown(fd, s->was.st_uid, s->was.st_gid);
  } else if (p->uid != -1 && fchown(fd, (uid_t)p->uid, (gid_t)p->gid) < 0) {
    return csn_fail_errno(err, "set the owner of %.200s", s->path.p);
  }
  if (s->has_mode && fchmod(fd, s->mode & 01777) < 0)
    return csn_fail_errno(err, "set the mode of %.200s", s->path.p);
  return 0;
}

void
csn_patch_unstage(csn_patch *p)
{
  csn_auto(place_finip) place pl = {.fd = -1};
  for (size_t i = 0; i < p->n_slots; i++) {
    csn_patch_slot *s = &p->slots[i];
    const char *base;
    if (s->is_staged && enter(p, &pl, s->stage, &base, NULL) >= 0)
      (void)!unlinkat(pl.fd, base, 0);
    s->is_staged = false;
  }
  while (p->dirs_made) {
    const char *base;
    csn_str dir = p->made_dirs[--p->dirs_made];
    csn_auto(csn_closep) int at = dir.n ? csn_patch_enter(p, dir, &base, NULL) : -1;
    if (at >= 0)
      (void)!unlinkat(at, base, AT_REMOVEDIR);
  }
}

int
csn_patch_stage(csn_patch *p, int uid, int gid, csn_err *err)
{
  if (p->dir < 0)
    return csn_fail(err, CSN_E_INVALID, "the patch is not planned yet");
  p->uid = uid;
  p->gid = gid;
  csn_auto(place_finip) place pl = {.fd = -1};
  int rc = make_dirs(p, err);
  for (size_t i = 0; rc == 0 && i < p->n_slots; i++) {
    csn_patch_slot *s = &p->slots[i];
    if (s->stage.n && s->exists)
      rc = stage_one(p, s, &pl, err);
  }
  if (rc < 0) {
    csn_err kept = err ? *err : (csn_err){0};
    csn_patch_unstage(p);
    if (err)
      *err = kept;
  }
  return rc;
}

static int
changed(const csn_patch_slot *s, csn_err *err)
{
  return csn_fail(
      err, CSN_E_CONFLICT,
      "%.200s changed while the patch was prepared; read it again. Nothing was changed.",
      s->path.p);
}

/* The target is what the plan saw. */
static int
check_same(const csn_patch_slot *s, int at, csn_err *err)
{
  struct stat st;
  if (fstatat(at, base_of(s->path), &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT && !s->existed ? 0 : changed(s, err);
  if (!s->existed || st.st_ino != s->was.st_ino || st.st_dev != s->was.st_dev ||
      st.st_size != s->was.st_size || st.st_mtim.tv_sec != s->was.st_mtim.tv_sec ||
      st.st_mtim.tv_nsec != s->was.st_mtim.tv_nsec)
    return changed(s, err);
  return 0;
}

/* rename without replacing; plain rename where the kernel cannot promise it. */
static int
move(int at, const char *from, const char *to)
{
  if (renameat2(at, from, at, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  return faccessat(at, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? (errno = EEXIST, -1)
                                                           : renameat(at, from, at, to);
}

static int
swap(csn_patch *p, int at, const char *target, const char *stage)
{
  if (!p->no_exchange) {
    if (renameat2(at, stage, at, target, RENAME_EXCHANGE) == 0)
      return 0;
    if (errno != EINVAL && errno != ENOSYS)
      return -1;
    p->no_exchange = true;
  }
  char old[NAME_MAX + 1];
  snprintf(old, sizeof old, "%s-old", stage);
  if (renameat(at, target, at, old) < 0)
    return -1;
  if (renameat(at, stage, at, target) == 0) {
    if (renameat(at, old, at, stage) == 0)
      return 0;
    (void)!renameat(at, target, at, stage);
  }
  int e = errno;
  (void)!renameat(at, old, at, target);
  errno = e;
  return -1;
}

static int
commit_one(csn_patch *p, csn_patch_slot *s, place *pl, csn_err *err)
{
  const char *base;
  int at = enter(p, pl, s->path, &base, err);
  if (at < 0)
    return at;
  int rc = check_same(s, at, err);
  if (rc < 0)
    return rc;
  const char *stage = base_of(s->stage);
  rc = !s->exists   ? move(at, base, stage)
       : s->existed ? swap(p, at, base, stage)
                    : move(at, stage, base);
  if (rc < 0)
    return csn_fail_errno(err, "put %.200s in place", s->path.p);
  s->is_done = true;
  s->is_staged = s->existed; /* the hidden name holds the old file now */
  return 0;
}

static void
undo_one(csn_patch *p, csn_patch_slot *s, place *pl)
{
  const char *base;
  int at = enter(p, pl, s->path, &base, NULL);
  if (at < 0)
    return;
  const char *stage = base_of(s->stage);
  int rc = !s->exists   ? move(at, stage, base)
           : s->existed ? swap(p, at, base, stage)
                        : move(at, base, stage);
  s->is_done = rc < 0;
  s->is_staged = rc == 0 ? s->exists : s->is_staged;
}

int
csn_patch_commit(csn_patch *p, void (*at_fault)(void *user, int rename), void *user, csn_err *err)
{
  csn_auto(place_finip) place pl = {.fd = -1};
  int rc = 0, renames = 0;
  size_t i = 0;
  for (; rc == 0 && i < p->n_slots; i++) {
    if (!p->slots[i].stage.n)
      continue;
    if (at_fault)
      at_fault(user, renames++);
    rc = commit_one(p, &p->slots[i], &pl, err);
  }
  if (rc < 0) {
    while (i--) {
      if (p->slots[i].is_done)
        undo_one(p, &p->slots[i], &pl);
      if (p->slots[i].is_done) /* its hidden name is the only copy: keep it */
        p->slots[i].is_staged = false;
    }
    csn_patch_unstage(p);
    return rc;
  }
  if (at_fault)
    at_fault(user, renames);
  p->dirs_made = 0; /* they stay */
  csn_patch_unstage(p);
  return 0;
}

void
csn_patch_report(const csn_patch *p, csn_buf *out)
{
  static const char *const words[] = {[CSN_PATCH_ADD] = "Created ",
                                      [CSN_PATCH_DELETE] = "Deleted ",
                                      [CSN_PATCH_UPDATE] = "Updated "};
  for (size_t i = 0; i < p->n_ops; i++) {
    const csn_patch_op *op = &p->ops[i];
    if (i)
      csn_buf_addc(out, '\n');
    csn_buf_addz(out, words[op->kind]);
    csn_buf_add(out, op->name);
    if (!op->to.n)
      continue;
    csn_buf_addz(out, "\nMoved ");
    csn_buf_add(out, op->name);
    csn_buf_addz(out, " to ");
    csn_buf_add(out, op->name_to);
  }
}

static void
put_hash(csn_jw *w, const char *key, const csn_digest *d)
{
  char hex[65];
  csn_digest_hex(d, hex);
  csn_jw_key(w, key);
  csn_jw_strz(w, hex);
}

static void
put_file(const csn_patch_slot *s, csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_key(w, "path");
  csn_jw_str(w, s->path);
  csn_jw_key(w, "stage");
  csn_jw_str(w, s->stage);
  if (s->existed && s->has_old_hash)
    put_hash(w, "old_sha256", &s->old_hash);
  else if (s->existed) {
    csn_jw_key(w, "old_sha256");
    csn_jw_strz(w, ""); /* there, but a link or too large to hash */
  }
  if (s->exists)
    put_hash(w, "new_sha256", &s->new_hash);
  if (s->has_mode) {
    csn_jw_key(w, "mode");
    csn_jw_int(w, s->mode & 07777);
  }
  csn_jw_end(w);
}

void
csn_patch_to_json(const csn_patch *p, csn_jw *w)
{
  static const char *const words[] = {
      [CSN_PATCH_ADD] = "create", [CSN_PATCH_DELETE] = "delete", [CSN_PATCH_UPDATE] = "update"};
  csn_jw_obj(w);
  csn_jw_key(w, "ops");
  csn_jw_arr(w);
  for (size_t i = 0; i < p->n_ops; i++) {
    csn_jw_obj(w);
    csn_jw_key(w, "op");
    csn_jw_strz(w, words[p->ops[i].kind]);
    csn_jw_key(w, "path");
    csn_jw_str(w, p->ops[i].name);
    if (p->ops[i].to.n) {
      csn_jw_key(w, "to");
      csn_jw_str(w, p->ops[i].name_to);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
  csn_jw_key(w, "files");
  csn_jw_arr(w);
  for (size_t i = 0; i < p->n_slots; i++)
    if (p->slots[i].stage.n)
      put_file(&p->slots[i], w);
  csn_jw_end(w);
  csn_jw_key(w, "dirs");
  csn_jw_arr(w);
  for (size_t i = 0; i < p->n_dirs; i++)
    csn_jw_str(w, p->made_dirs[i]);
  csn_jw_end(w);
  csn_jw_end(w);
}
