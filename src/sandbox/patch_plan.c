/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_plan.c - what will every file be once all operations are done?
 *
 * The operations run in order on a table of files ("slots") in memory: a slot
 * is read at its first use, and later operations on the same file see what
 * earlier ones made of it.  Any failure ends the plan before anything was
 * written.  At the end the slots that differ from the disk get a hidden name
 * for stage and commit, and folders that must be made are listed.
 */
#include <errno.h>
#include <fcntl.h>

#include "core/fd.h"
#include "sandbox/patch_int.h"

static int
fail_op(const csn_patch_op *op, enum csn_code code, const char *what, csn_err *err)
{
  csn_buf b = CSN_BUF(400);
  csn_patch_show(&b, op->name.n ? op->name : op->path, 200);
  int rc = csn_fail(err, code, "%s: %s", b.p, what);
  csn_buf_fini(&b);
  return rc;
}

/* Opens an existing slot's file for reading; never blocks on a FIFO. */
static int
open_slot(csn_patch *p, const csn_patch_slot *s, int flags, csn_err *err)
{
  const char *base;
  csn_auto(csn_closep) int at = csn_patch_enter(p, s->path, &base, err);
  if (at < 0)
    return at;
  int fd = openat(at, base, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "open") : fd;
}

int
csn_patch_need_dirs(csn_patch *p, const csn_patch_slot *s, csn_err *err)
{
  csn_str path = s->path;
  size_t existing = s->missing_from;
  for (size_t i = existing + 1; i < path.n; i++) {
    if (path.p[i] != '/')
      continue;
    csn_str dir = csn_strn(path.p, i);
    bool is_known = false;
    /* Neighbours share folders; one that is noted twice does no harm. */
    for (size_t k = p->n_dirs; k-- && p->n_dirs - k < 256 && !is_known;)
      is_known = csn_str_eq(p->made_dirs[k], dir);
    if (is_known)
      continue;
    if (p->n_dirs == CSN_PATCH_DIRS_MAX)
      return csn_fail(err, CSN_E_LIMIT, "more than %d folders would be made", CSN_PATCH_DIRS_MAX);
    if (p->n_dirs == p->room_dirs) {
      p->room_dirs = p->room_dirs ? p->room_dirs * 2 : 16;
      p->made_dirs = csn_realloc(p->made_dirs, p->room_dirs, sizeof *p->made_dirs);
    }
    p->made_dirs[p->n_dirs++] = csn_arena_dup(p->arena, dir);
  }
  return 0;
}

/* The slot that a path of the patch means, looked at on disk when it is new. */
static int
get_slot(csn_patch *p, csn_str rel, bool follow, csn_patch_slot **out, csn_err *err)
{
  csn_str path;
  size_t existing = 0;
  int rc = csn_patch_resolve(p, rel, follow, &path, &existing, err);
  if (rc < 0)
    return rc;
  if ((*out = csn_patch_slot_find(p, path)))
    return 0;
  csn_patch_slot *s = *out = csn_patch_slot_add(p, path);
  if (existing < path.n) {
    s->missing_from = existing;
    return 0;
  }
  csn_auto(csn_closep) int fd = open_slot(p, s, O_PATH, err);
  if (fd < 0)
    return fd;
  if (fstat(fd, &s->was) < 0)
    return csn_fail_errno(err, "fstat");
  s->existed = s->exists = true;
  s->is_link = S_ISLNK(s->was.st_mode);
  return 0;
}

static int
hash_fd(int fd, csn_digest *out, csn_err *err)
{
  csn_sha256 sha;
  csn_sha256_init(&sha);
  csn_auto(csn_freep) char *block = csn_realloc(NULL, 1, 65536);
  for (;;) {
    ssize_t n = read(fd, block, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read");
    if (n == 0)
      break;
    csn_sha256_add(&sha, csn_strn(block, (size_t)n));
  }
  *out = csn_sha256_end(&sha);
  return 0;
}

/* Reads a slot's contents for an update. */
static int
load(csn_patch *p, const csn_patch_op *op, csn_patch_slot *s, csn_err *err)
{
  if (!s->exists)
    return fail_op(
        op, CSN_E_NOT_FOUND,
        "no such file to update; \"*** Add File:\" makes a new one. Nothing was changed.", err);
  if (s->is_loaded)
    return 0;
  if (!S_ISREG(s->was.st_mode))
    return fail_op(op, CSN_E_INVALID, "not a regular file. Nothing was changed.", err);
  if ((size_t)s->was.st_size > CSN_PATCH_FILE_MAX)
    return fail_op(op, CSN_E_LIMIT, "larger than 64 MiB, too large to patch. Nothing was changed.",
                   err);
  csn_auto(csn_closep) int fd = open_slot(p, s, O_RDONLY, err);
  int rc = fd < 0 ? fd : csn_fd_read_all(fd, &s->now, err);
  if (rc < 0)
    return csn_wrap(err, rc, "%.*s", (int)(op->name.n < 200 ? op->name.n : 200), op->name.p);
  s->is_loaded = true;
  s->has_old_hash = true;
  s->old_hash = csn_sha256_of(csn_buf_str(&s->now));
  return 0;
}

/* Puts `text` (moved, not copied) into a slot. */
static int
put(csn_patch *p, const csn_patch_op *op, csn_patch_slot *s, csn_buf *text, csn_err *err)
{
  if (s->existed && S_ISDIR(s->was.st_mode))
    return fail_op(op, CSN_E_INVALID, "the target is a folder. Nothing was changed.", err);
  if (s->existed && !S_ISREG(s->was.st_mode) && !s->is_link)
    return fail_op(op, CSN_E_INVALID, "the target is not a regular file. Nothing was changed.",
                   err);
  if (s->is_new_content)
    p->planned_bytes -= s->now.n;
  p->planned_bytes += text->n;
  if (p->planned_bytes > CSN_PATCH_PLAN_MAX)
    return csn_fail(err, CSN_E_LIMIT,
                    "the patch writes more than 512 MiB in all; split it. Nothing was changed.");
  csn_buf_fini(&s->now);
  s->now = *text;
  *text = CSN_BUF(0);
  s->exists = s->is_loaded = s->is_new_content = true;
  return 0;
}

static int
drop(csn_patch *p, const csn_patch_op *op, csn_patch_slot *s, csn_err *err)
{
  if (!s->exists)
    return fail_op(op, CSN_E_NOT_FOUND, "no such file to delete. Nothing was changed.", err);
  if (s->existed && S_ISDIR(s->was.st_mode))
    return fail_op(op, CSN_E_INVALID,
                   "a folder; only files can be deleted by a patch. Nothing was changed.", err);
  if (s->existed && !S_ISREG(s->was.st_mode) && !s->is_link)
    return fail_op(op, CSN_E_INVALID, "not a regular file. Nothing was changed.", err);
  if (s->is_new_content)
    p->planned_bytes -= s->now.n;
  csn_buf_fini(&s->now);
  s->exists = s->is_new_content = false;
  s->is_loaded = true;
  return 0;
}

static int
plan_add(csn_patch *p, csn_patch_op *op, csn_str rel, csn_err *err)
{
  csn_patch_slot *s;
  int rc = get_slot(p, rel, true, &s, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_PATCH_FILE_MAX);
  csn_buf_add(&text, op->content);
  return put(p, op, s, &text, err);
}

static int
plan_update(csn_patch *p, csn_patch_op *op, csn_str rel, csn_str rel_to, csn_err *err)
{
  csn_patch_slot *s, *to;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_PATCH_FILE_MAX);
  int rc = get_slot(p, rel, true, &s, err);
  if (rc < 0 || (rc = load(p, op, s, err)) < 0)
    return rc;
  rc = csn_patch_match(p, op, csn_buf_str(&s->now), &text, &p->work, err);
  if (rc < 0)
    return rc;
  if (rel_to.n == 0)
    return put(p, op, s, &text, err);
  struct stat from = s->was;
  bool has_mode = s->existed;
  csn_str source = s->path;
  rc = get_slot(p, rel_to, true, &to, err);
  if (rc < 0)
    return csn_wrap(err, rc, "move");
  if (csn_str_eq(to->path, source)) /* a move onto itself is an update */
    return put(p, op, to, &text, err);
  rc = put(p, op, to, &text, err);
  if (rc < 0)
    return csn_wrap(err, rc, "move to %.*s", (int)(op->name_to.n < 200 ? op->name_to.n : 200),
                    op->name_to.p);
  to->has_mode = has_mode;
  to->mode = from.st_mode;
  rc = get_slot(p, rel, false, &s, err);
  return rc < 0 ? rc : drop(p, op, s, err);
}

static int
plan_op(csn_patch *p, csn_patch_op *op, csn_err *err)
{
  csn_str rel, rel_to = {0};
  int rc = csn_patch_normalise(p, op->path, &rel, &op->name, err);
  if (rc == 0 && op->to.n)
    rc = csn_patch_normalise(p, op->to, &rel_to, &op->name_to, err);
  if (rc < 0)
    return rc;
  csn_patch_slot *s;
  switch (op->kind) {
  case CSN_PATCH_ADD:
    return plan_add(p, op, rel, err);
  case CSN_PATCH_UPDATE:
    return plan_update(p, op, rel, rel_to, err);
  case CSN_PATCH_DELETE:
  default:
    rc = get_slot(p, rel, false, &s, err);
    return rc < 0 ? rc : drop(p, op, s, err);
  }
}

/* A file cannot stand where another one needs a folder. */
static int
check_parents(csn_patch *p, const csn_patch_slot *s, csn_err *err)
{
  for (size_t i = 1; i < s->path.n; i++) {
    if (s->path.p[i] != '/')
      continue;
    const csn_patch_slot *up = csn_patch_slot_find(p, csn_strn(s->path.p, i));
    if (up && up->exists && !(up->existed && S_ISDIR(up->was.st_mode)))
      return csn_fail(err, CSN_E_INVALID,
                      "the patch makes a file of %.*s and needs it as a folder too. Nothing was "
                      "changed.",
                      (int)(up->path.n < 200 ? up->path.n : 200), up->path.p);
  }
  return 0;
}

/* Decides whether a slot changes the disk, and under which name it is staged. */
static int
settle(csn_patch *p, csn_patch_slot *s, size_t i, const char *tag, csn_err *err)
{
  if (!s->existed && !s->exists)
    return 0;
  if (s->exists && !s->is_new_content)
    return 0;
  int rc = s->exists ? check_parents(p, s, err) : 0;
  if (rc < 0)
    return rc;
  if (s->exists)
    s->new_hash = csn_sha256_of(csn_buf_str(&s->now));
  if (s->existed && !s->has_old_hash && S_ISREG(s->was.st_mode) &&
      (size_t)s->was.st_size <= CSN_PATCH_FILE_MAX) {
    csn_auto(csn_closep) int fd = open_slot(p, s, O_RDONLY, err);
    if (fd < 0 || (rc = hash_fd(fd, &s->old_hash, err)) < 0)
      return fd < 0 ? fd : rc;
    s->has_old_hash = true;
  }
  if (!s->has_mode && s->existed && S_ISREG(s->was.st_mode)) {
    s->has_mode = true;
    s->mode = s->was.st_mode;
  }
  if (s->existed && s->exists && s->has_old_hash && s->mode == s->was.st_mode &&
      memcmp(&s->old_hash, &s->new_hash, sizeof s->new_hash) == 0)
    return 0;
  return csn_patch_settle(p, s, i, tag, err);
}

int
csn_patch_settle(csn_patch *p, csn_patch_slot *s, size_t i, const char *tag, csn_err *err)
{
  const char *slash = memrchr(s->path.p, '/', s->path.n);
  size_t dir = slash ? (size_t)(slash - s->path.p) + 1 : 0;
  s->stage =
      csn_arena_printf(p->arena, "%.*s" CSN_PATCH_STAGE "%s-%zu", (int)dir, s->path.p, tag, i);
  return s->exists && !s->existed ? csn_patch_need_dirs(p, s, err) : 0;
}

int
csn_patch_plan(csn_patch *p, int dir, const char *root, const char *cwd, csn_err *err)
{
  if (p->dir >= 0)
    return csn_fail(err, CSN_E_INVALID, "the patch was planned already; parse it again");
  p->dir = fcntl(dir, F_DUPFD_CLOEXEC, 0);
  if (p->dir < 0)
    return csn_fail_errno(err, "the folder to patch");
  p->root = csn_arena_dup(p->arena, csn_cstr(root));
  p->cwd = csn_arena_dup(p->arena, csn_cstr(cwd));
  for (size_t i = 0; i < p->n_ops; i++) {
    int rc = plan_op(p, &p->ops[i], err);
    if (rc < 0)
      return rc;
  }
  char tag[13];
  csn_random_name(tag, sizeof tag - 1);
  for (size_t i = 0; i < p->n_slots; i++) {
    int rc = settle(p, &p->slots[i], i, tag, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}
