/* SPDX-License-Identifier: Apache-2.0
 *
 * tree_apply.c - the workspace's changes back to the folder it came from.
 *
 * Per file three states decide: as it was copied (base), as the workspace has
 * it (work), and as the folder has it now (target).  All files are decided
 * before the first is written; then they go the way of a patch: staged under
 * hidden names and put in place by renames (patch.c). */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/linediff.h"
#include "sandbox/patch_int.h"
#include "sandbox/tree_int.h"

typedef struct run {
  csn_patch *p;
  int base, work, target;
  csn_buf *report; /* gets the conflicts */
  csn_buf done;    /* what a success reports */
  csn_buf names;   /* of conflicts, for the error */
  size_t n_conflicts, n_changes;
  char tag[13];
} run;

static void
conflict(run *r, const csn_tree_change *c, const char *why)
{
  csn_buf_addf(r->report, "%sConflict ", r->report->n ? "\n" : "");
  csn_buf_add(r->report, c->path);
  csn_buf_addf(r->report, ": %s", why);
  if (r->names.n < 250) {
    csn_buf_addz(&r->names, r->n_conflicts ? ", " : "");
    csn_patch_show(&r->names, c->path, 100);
  } else if (r->names.p[r->names.n - 1] != '.') {
    csn_buf_addz(&r->names, ", ...");
  }
  r->n_conflicts++;
}

static void
tell(run *r, const char *word, const csn_tree_change *c)
{
  csn_buf_addf(&r->done, "%s%s ", r->done.n ? "\n" : "", word);
  csn_buf_add(&r->done, c->path);
  r->n_changes++;
}

/* The target's name for a path, which must not lead through links; false: it
 * does, and that is a conflict.  Negative on errors. */
static int
find_place(run *r, const csn_tree_change *c, csn_str *path, size_t *existing, csn_err *err)
{
  csn_err why;
  int rc = csn_patch_resolve(r->p, c->path, false, path, existing, &why);
  if (rc == CSN_E_INVALID || rc == CSN_E_DENIED || (rc == 0 && !csn_str_eq(*path, c->path))) {
    conflict(r, c, "its folder is a link or a file in the target");
    return 0;
  }
  return rc < 0 ? csn_fail(err, (enum csn_code)rc, "%s", why.msg) : 1;
}

static int
need_folder(run *r, const csn_tree_change *c, csn_err *err)
{
  csn_patch_slot inner = {.path = csn_arena_printf(r->p->arena, "%s/", c->path.p)};
  csn_str path;
  int rc = find_place(r, c, &path, &inner.missing_from, err);
  return rc <= 0 ? rc : csn_patch_need_dirs(r->p, &inner, err);
}

static int
get_slot(run *r, const csn_tree_change *c, csn_patch_slot **out, csn_err *err)
{
  csn_str path;
  size_t existing;
  *out = NULL;
  int rc = find_place(r, c, &path, &existing, err);
  if (rc <= 0)
    return rc;
  csn_patch_slot *s = csn_patch_slot_add(r->p, path);
  *out = s;
  if (existing < path.n) {
    s->missing_from = existing;
    return 0;
  }
  const char *base;
  csn_auto(csn_closep) int at = csn_patch_parent(r->target, path, &base, err);
  if (at < 0)
    return at;
  if (fstatat(at, base, &s->was, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%.200s", path.p);
  s->existed = true;
  s->is_link = S_ISLNK(s->was.st_mode);
  return 0;
}

/* A link may only point to what lies inside; others come from a sandbox that
 * would have the host read or write elsewhere. */
static bool
is_inner_link(csn_str path, csn_str to)
{
  if (to.n == 0 || to.p[0] == '/')
    return false;
  int64_t depth = 0;
  for (size_t i = 0; i < path.n; i++)
    depth += path.p[i] == '/';
  for (size_t i = 0; i <= to.n;) {
    size_t end = i;
    while (end < to.n && to.p[end] != '/')
      end++;
    csn_str part = csn_strn(to.p + i, end - i);
    if (csn_str_eq(part, CSN_STR("..")))
      depth--;
    else if (part.n && !csn_str_eq(part, CSN_STR(".")))
      depth++;
    if (depth < 0)
      return false;
    i = end + 1;
  }
  return true;
}

static void
set_mode(csn_patch_slot *s, const csn_tree_change *c, csn_tree_side there)
{
  mode_t from = s->existed && there.kind == CSN_TREE_FILE ? s->was.st_mode & 0777 : 0;
  if (!from && !c->now.is_exec)
    return; /* a new file: as the umask says */
  if (!from)
    from = 0755;
  else if (c->now.is_exec != c->old.is_exec)
    from = c->now.is_exec ? from | ((from & 0444) >> 2) : from & ~(mode_t)0111;
  s->has_mode = true;
  s->mode = from;
}

/* The new state of a file into its slot: the workspace's, or the merge. */
static int
take_file(run *r, const csn_tree_change *c, csn_tree_side there, csn_patch_slot *s, bool merge,
          csn_err *err)
{
  s->exists = true;
  set_mode(s, c, there);
  if (!merge) {
    s->from = c->path;
    tell(r, there.kind ? "Updated" : "Created", c);
    return csn_patch_settle(r->p, s, r->p->n_slots, r->tag, err);
  }
  csn_auto(csn_buf_finip) csn_buf base = CSN_BUF(CSN_TREE_TEXT_MAX),
                                  ours = CSN_BUF(CSN_TREE_TEXT_MAX),
                                  theirs = CSN_BUF(CSN_TREE_TEXT_MAX);
  int rc = csn_tree_read(r->base, c->path.p, CSN_TREE_FILE, &base, err);
  if (rc == 0)
    rc = csn_tree_read(r->target, c->path.p, CSN_TREE_FILE, &ours, err);
  if (rc == 0)
    rc = csn_tree_read(r->work, c->path.p, CSN_TREE_FILE, &theirs, err);
  if (rc < 0)
    return rc;
  csn_str b = csn_buf_str(&base), o = csn_buf_str(&ours), t = csn_buf_str(&theirs);
  if (csn_tree_is_binary(b) || csn_tree_is_binary(o) || csn_tree_is_binary(t)) {
    conflict(r, c, "both sides changed it, and it is not a text");
    return 0;
  }
  size_t line = 0;
  s->now.cap = 2 * CSN_TREE_TEXT_MAX;
  rc = csn_merge3(b, o, t, &s->now, &line, err);
  if (rc < 0)
    return rc;
  if (rc == 0) {
    char why[80];
    snprintf(why, sizeof why, "both sides changed the lines around line %zu", line);
    conflict(r, c, why);
    return 0;
  }
  r->p->planned_bytes += s->now.n;
  if (r->p->planned_bytes > CSN_PATCH_PLAN_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than 512 MiB of merged files");
  tell(r, "Merged", c);
  return csn_patch_settle(r->p, s, r->p->n_slots, r->tag, err);
}

static int
take_link(run *r, const csn_tree_change *c, csn_tree_side there, csn_patch_slot *s, csn_err *err)
{
  int rc = csn_tree_read(r->work, c->path.p, CSN_TREE_LINK, &s->now, err);
  if (rc < 0)
    return rc;
  if (!is_inner_link(c->path, csn_buf_str(&s->now))) {
    conflict(r, c, "a symbolic link that leads out of the folder is not brought back");
    return 0;
  }
  s->exists = s->is_new_link = true;
  tell(r, there.kind ? "Updated" : "Created", c);
  return csn_patch_settle(r->p, s, r->p->n_slots, r->tag, err);
}

/* 1: the same kind, bytes and x-bit in both folders. */
static int
is_equal(int a_dir, csn_tree_side a, int b_dir, csn_tree_side b, const char *path, csn_err *err)
{
  if (a.kind != b.kind || a.is_exec != b.is_exec)
    return 0;
  if (a.kind == CSN_TREE_NONE || a.kind == CSN_TREE_DIR)
    return 1;
  if (a.size != b.size)
    return 0;
  if (a.kind == CSN_TREE_FILE)
    return csn_tree_same(a_dir, b_dir, path, err);
  csn_auto(csn_buf_finip) csn_buf x = CSN_BUF(PATH_MAX), y = CSN_BUF(PATH_MAX);
  int rc = csn_tree_read(a_dir, path, CSN_TREE_LINK, &x, err);
  if (rc == 0)
    rc = csn_tree_read(b_dir, path, CSN_TREE_LINK, &y, err);
  return rc < 0 ? rc : csn_str_eq(csn_buf_str(&x), csn_buf_str(&y));
}

static int
decide(run *r, const csn_tree_change *c, csn_err *err)
{
  csn_tree_side there = csn_tree_look(r->target, c->path.p);
  if (c->old.kind == CSN_TREE_DIR || c->now.kind == CSN_TREE_DIR) {
    if (c->old.kind && c->now.kind)
      conflict(r, c, "a file became a folder, or a folder a file");
    else if (c->now.kind && there.kind && there.kind != CSN_TREE_DIR)
      conflict(r, c, "a new folder, but a file in the target");
    else if (c->now.kind && !there.kind)
      return need_folder(r, c, err);
    return 0; /* emptied folders go after the commit */
  }
  int same = is_equal(r->work, c->now, r->target, there, c->path.p, err);
  if (same)
    return same < 0 ? same : 0; /* it is there already */
  int fresh = is_equal(r->base, c->old, r->target, there, c->path.p, err);
  if (fresh < 0)
    return fresh;
  bool can_merge = c->old.kind == CSN_TREE_FILE && c->now.kind == CSN_TREE_FILE &&
                   there.kind == CSN_TREE_FILE && (size_t)c->old.size <= CSN_TREE_TEXT_MAX &&
                   (size_t)c->now.size <= CSN_TREE_TEXT_MAX &&
                   (size_t)there.size <= CSN_TREE_TEXT_MAX;
  if (!fresh && !can_merge) {
    conflict(r, c,
             !c->now.kind   ? "deleted in the workspace, changed in the target"
             : !there.kind  ? "changed in the workspace, deleted in the target"
             : !c->old.kind ? "new on both sides, with different contents"
                            : "changed on both sides");
    return 0;
  }
  csn_patch_slot *s;
  int rc = get_slot(r, c, &s, err);
  if (rc < 0 || !s)
    return rc;
  if (c->now.kind == CSN_TREE_LINK)
    return take_link(r, c, there, s, err);
  if (c->now.kind == CSN_TREE_FILE)
    return take_file(r, c, there, s, !fresh, err);
  tell(r, "Deleted", c);
  return csn_patch_settle(r->p, s, r->p->n_slots, r->tag, err);
}

/* Folders that the workspace removed, when nothing is left in them. */
static void
remove_emptied(const run *r, const csn_tree_changes *l)
{
  for (size_t i = 0; i < l->n; i++) {
    const csn_tree_change *c = &l->p[i];
    const char *base;
    if (c->old.kind != CSN_TREE_DIR || c->now.kind)
      continue;
    csn_auto(csn_closep) int at = csn_patch_parent(r->target, c->path, &base, NULL);
    if (at >= 0)
      (void)!unlinkat(at, base, AT_REMOVEDIR);
  }
}

int
csn_tree_apply(csn_scope *sc, int base_fd, int work_fd, int target_fd, csn_buf *report,
               csn_err *err)
{
  csn_auto(csn_tree_changes_fini) csn_tree_changes l = {0};
  csn_auto(csn_patch_freep) csn_patch *p = csn_patch_new();
  csn_auto(csn_buf_finip) csn_buf own = CSN_BUF((size_t)64 << 20);
  run r = {.p = p,
           .base = base_fd,
           .work = work_fd,
           .target = target_fd,
           .report = report ? report : &own,
           .done = CSN_BUF((size_t)64 << 20),
           .names = CSN_BUF(400)};
  csn_random_name(r.tag, sizeof r.tag - 1);
  p->dir = fcntl(target_fd, F_DUPFD_CLOEXEC, 0);
  p->from_dir = work_fd;
  struct stat st;
  if (p->dir < 0 || fstat(target_fd, &st) < 0)
    return csn_fail_errno(err, "the folder to bring the changes to");
  int rc = csn_tree_changes_init(&l, sc, base_fd, work_fd, err);
  for (size_t i = 0; rc == 0 && i < l.n; i++) {
    rc = csn_scope_check(sc, err);
    if (rc == 0)
      rc = decide(&r, &l.p[i], err);
  }
  if (rc == 0 && r.n_conflicts)
    rc = csn_fail(
        err, CSN_E_CONFLICT,
        "%zu file%s changed here and in the workspace in ways that do not go together: %s. "
        "Nothing was changed.",
        r.n_conflicts, r.n_conflicts == 1 ? "" : "s", r.names.p);
  csn_buf_fini(&r.names);
  bool is_root = geteuid() == 0; /* new files belong to whom the folder belongs */
  if (rc == 0)
    rc = csn_patch_stage(p, is_root ? (int)st.st_uid : -1, is_root ? (int)st.st_gid : -1, err);
  if (rc == 0)
    rc = csn_patch_commit(p, NULL, NULL, err);
  if (rc == 0) {
    csn_buf_add(r.report, csn_buf_str(&r.done));
    remove_emptied(&r, &l);
  }
  csn_buf_fini(&r.done);
  return rc < 0 ? rc : (int)r.n_changes;
}
