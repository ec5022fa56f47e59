/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_recover.c - a patch that a crash interrupted, finished or taken back.
 *
 * The recorded plan says for each file its hidden name and the hashes of what
 * was and what shall be.  What is found under both names tells how far the
 * commit came.  If every new content is still there the patch is rolled
 * forward, else back; a file that is neither the old nor the new one was
 * changed by somebody else, and then nothing is touched.  Running it again
 * after another crash comes to the same end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/patch_int.h"

/* What one name holds. */
typedef struct found {
  bool is_there, is_old, is_new;
} found;

typedef struct item {
  csn_str path;
  const char *base, *stage;
  char backup[NAME_MAX + 1]; /* the hidden name where exchange was not possible */
  csn_digest old_hash, new_hash;
  bool has_old, has_old_hash, has_new;
  int64_t mode; /* -1: not recorded */
  int at;       /* the folder of all three */
  found target, staged, saved;
} item;

typedef struct items {
  item *p;
  size_t n;
} items;

static void
items_finip(items *l)
{
  for (size_t i = 0; i < l->n; i++)
    csn_closep(&l->p[i].at);
  free(l->p);
}

static int
hash_file(int at, const char *name, csn_digest *out, csn_err *err)
{
  csn_auto(csn_closep) int fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "not a regular file");
  csn_sha256 sha;
  csn_sha256_init(&sha);
  csn_auto(csn_freep) char *block = csn_realloc(NULL, 1, 65536);
  ssize_t n;
  while ((n = read(fd, block, 65536)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0)
      csn_sha256_add(&sha, csn_strn(block, (size_t)n));
  if (n < 0)
    return csn_fail_errno(err, "read");
  *out = csn_sha256_end(&sha);
  return 0;
}

/* An old file without a recorded hash (a link, or too large) is taken for
 * itself unless it is the new one. */
static found
look_at(const item *it, const char *name)
{
  found f = {.is_there = faccessat(it->at, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0};
  csn_digest d;
  if (!f.is_there)
    return f;
  if (it->has_new || it->has_old_hash) {
    bool is_file = hash_file(it->at, name, &d, NULL) == 0;
    f.is_new = is_file && it->has_new && memcmp(&d, &it->new_hash, sizeof d) == 0;
    f.is_old = is_file && it->has_old_hash && memcmp(&d, &it->old_hash, sizeof d) == 0;
  }
  if (it->has_old && !it->has_old_hash && !f.is_new)
    f.is_old = true;
  return f;
}

static bool
is_name(const char *base)
{
  return *base && strcmp(base, ".") != 0 && strcmp(base, "..") != 0;
}

static int
read_item(int dir, const csn_json *v, csn_arena *a, item *it, csn_err *err)
{
  csn_str stage = {0}, old = csn_json_str(v, "old_sha256", (csn_str){0}),
          now = csn_json_str(v, "new_sha256", (csn_str){0});
  int rc = csn_json_need_str(v, "path", &it->path, err);
  if (rc == 0)
    rc = csn_json_need_str(v, "stage", &stage, err);
  if (rc < 0)
    return rc;
  it->path = csn_arena_dup(a, it->path);
  stage = csn_arena_dup(a, stage);
  const char *slash = memrchr(stage.p, '/', stage.n);
  it->stage = slash ? slash + 1 : stage.p;
  snprintf(it->backup, sizeof it->backup, "%.200s-old", it->stage);
  it->has_old = csn_json_get(v, "old_sha256") != NULL;
  it->has_old_hash = old.n != 0;
  it->has_new = now.n != 0;
  it->mode = csn_json_int(v, "mode", -1);
  if (!csn_str_starts(csn_cstr(it->stage), CSN_STR(CSN_PATCH_STAGE)) ||
      (old.n && !csn_digest_from_hex(old, &it->old_hash)) ||
      (now.n && !csn_digest_from_hex(now, &it->new_hash)))
    return csn_fail(err, CSN_E_PARSE, "not a recorded patch plan");
  it->at = csn_patch_parent(dir, it->path, &it->base, err);
  if (it->at == CSN_E_NOT_FOUND) { /* its folder was not made yet: nothing is there */
    it->at = -1;
    return is_name(it->base) ? 0 : csn_fail(err, CSN_E_PARSE, "not a recorded patch plan");
  }
  if (it->at < 0)
    return it->at;
  if (!is_name(it->base))
    return csn_fail(err, CSN_E_PARSE, "not a recorded patch plan");
  it->target = look_at(it, it->base);
  it->staged = look_at(it, it->stage);
  it->saved = look_at(it, it->backup);
  return 0;
}

static bool
is_foreign(const item *it)
{
  return it->target.is_there && !it->target.is_old && !it->target.is_new;
}

static bool
can_forward(const item *it)
{
  if (is_foreign(it))
    return false;
  return it->has_new ? it->target.is_new || it->staged.is_new
                     : !it->target.is_there || it->target.is_old;
}

static bool
can_back(const item *it)
{
  if (is_foreign(it))
    return false;
  return !it->has_old || it->target.is_old || it->staged.is_old || it->saved.is_old;
}

static int
sys(int rc, const item *it, const char *what, csn_err *err)
{
  return rc < 0 && errno != ENOENT ? csn_fail_errno(err, "%s %.200s", what, it->path.p) : 0;
}

static int
forward_one(const item *it, csn_err *err)
{
  int rc = 0;
  if (it->has_new && !it->target.is_new)
    rc = sys(renameat(it->at, it->stage, it->at, it->base), it, "put in place", err);
  else if (!it->has_new && it->target.is_there)
    rc = sys(unlinkat(it->at, it->base, 0), it, "delete", err);
  if (rc == 0 && it->has_new && it->mode >= 0)
    rc = sys(fchmodat(it->at, it->base, (mode_t)it->mode & 01777, 0), it, "set the mode of", err);
  return rc;
}

static int
back_one(const item *it, csn_err *err)
{
  if (it->has_old && !it->target.is_old)
    return sys(renameat(it->at, it->staged.is_old ? it->stage : it->backup, it->at, it->base), it,
               "put back", err);
  if (!it->has_old && it->target.is_new)
    return sys(unlinkat(it->at, it->base, 0), it, "take back", err);
  return 0;
}

static void
remove_dirs(int dir, const csn_json *dirs)
{
  size_t n = dirs ? dirs->n : 0;
  while (n--) {
    csn_auto(csn_freep) char *path = csn_dupz(csn_json_at(dirs, n)->text);
    const char *base;
    csn_auto(csn_closep) int at = csn_patch_parent(dir, csn_cstr(path), &base, NULL);
    if (at >= 0 && is_name(base))
      (void)!unlinkat(at, base, AT_REMOVEDIR);
  }
}

void
csn_patch_report_ops(const csn_json *ops, csn_buf *out)
{
  csn_json_each (op, ops) {
    csn_str kind = csn_json_str(op, "op", (csn_str){0}),
            path = csn_json_str(op, "path", (csn_str){0}),
            to = csn_json_str(op, "to", (csn_str){0});
    if (op != ops->child)
      csn_buf_addc(out, '\n');
    csn_buf_addz(out, csn_str_eq(kind, CSN_STR("create"))   ? "Created "
                      : csn_str_eq(kind, CSN_STR("delete")) ? "Deleted "
                                                            : "Updated ");
    csn_buf_add(out, path);
    if (!to.n)
      continue;
    csn_buf_addz(out, "\nMoved ");
    csn_buf_add(out, path);
    csn_buf_addz(out, " to ");
    csn_buf_add(out, to);
  }
}

int
csn_patch_recover(int dir, const csn_json *plan, bool *forward, csn_buf *report, csn_err *err)
{
  const csn_json *files;
  int rc = csn_json_need(plan, "files", CSN_JSON_ARRAY, &files, err);
  if (rc < 0)
    return rc;
  if (files->n > 3 * CSN_PATCH_OPS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the recorded patch plan names too many files");
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(items_finip) items l = {.p = csn_alloc((files->n + 1) * sizeof(item))};
  bool can_go_on = true, can_go_back = true;
  csn_json_each (v, files) {
    item *it = &l.p[l.n++];
    it->at = -1;
    rc = read_item(dir, v, a, it, err);
    if (rc < 0)
      return rc;
    if (is_foreign(it))
      return csn_fail(err, CSN_E_CONFLICT,
                      "an interrupted patch cannot be finished or taken back: %.200s was changed "
                      "since; files named " CSN_PATCH_STAGE "* hold its other contents",
                      it->path.p);
    can_go_on = can_go_on && can_forward(it);
    can_go_back = can_go_back && can_back(it);
  }
  if (!can_go_on && !can_go_back)
    return csn_fail(
        err, CSN_E_CONFLICT,
        "an interrupted patch can neither be finished nor taken back: files are missing");
  *forward = can_go_on;
  for (size_t i = 0; rc == 0 && i < l.n; i++)
    if (l.p[i].at >= 0)
      rc = can_go_on ? forward_one(&l.p[i], err) : back_one(&l.p[i], err);
  for (size_t i = 0; rc == 0 && i < l.n; i++) {
    if (l.p[i].at < 0)
      continue;
    rc = sys(unlinkat(l.p[i].at, l.p[i].stage, 0), &l.p[i], "tidy up", err);
    if (rc == 0)
      rc = sys(unlinkat(l.p[i].at, l.p[i].backup, 0), &l.p[i], "tidy up", err);
  }
  if (rc < 0)
    return rc;
  if (!can_go_on)
    remove_dirs(dir, csn_json_get(plan, "dirs"));
  if (report && can_go_on)
    csn_patch_report_ops(csn_json_get(plan, "ops"), report);
  else if (report)
    csn_buf_addz(report, "The patch was interrupted and taken back; nothing was changed.");
  return 0;
}
