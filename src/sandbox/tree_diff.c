/* SPDX-License-Identifier: Apache-2.0
 * tree_diff.c - the changes of a folder as a unified diff in the style of git. */
#include "sandbox/linediff.h"
#include "sandbox/tree_int.h"

/* A name as git writes it: quoted when it holds what would confuse readers. */
static void
put_path(csn_buf *out, const char *head, csn_str path)
{
  bool is_plain = true;
  for (size_t i = 0; i < path.n && is_plain; i++)
    is_plain = (unsigned char)path.p[i] >= 0x20 && path.p[i] != 0x7f && !strchr("\"\\", path.p[i]);
  if (is_plain) {
    csn_buf_addz(out, head);
    csn_buf_add(out, path);
    return;
  }
  csn_buf_addf(out, "\"%s", head);
  for (size_t i = 0; i < path.n; i++) {
    unsigned char c = (unsigned char)path.p[i];
    if (c == '"' || c == '\\')
      csn_buf_addf(out, "\\%c", c);
    else if (c == '\n' || c == '\t')
      csn_buf_addz(out, c == '\n' ? "\\n" : "\\t");
    else if (c < 0x20 || c == 0x7f)
      csn_buf_addf(out, "\\%03o", c);
    else
      csn_buf_addc(out, (char)c);
  }
  csn_buf_addc(out, '"');
}

static const char *
mode_of(csn_tree_side s)
{
  return s.kind == CSN_TREE_LINK ? "120000" : s.is_exec ? "100755" : "100644";
}

/* "--- a/x": with a tab behind it when the name has a blank, as git does. */
static void
put_side(csn_buf *out, const char *mark, const char *head, csn_str path, bool is_there)
{
  csn_buf_addz(out, mark);
  if (!is_there) {
    csn_buf_addz(out, "/dev/null\n");
    return;
  }
  put_path(out, head, path);
  csn_buf_addz(out, memchr(path.p, ' ', path.n) ? "\t\n" : "\n");
}

static int
put_text(const csn_tree_change *c, csn_str old, csn_str now, csn_buf *out, csn_err *err)
{
  if (csn_tree_is_binary(old) || csn_tree_is_binary(now)) {
    csn_buf_addz(out, "Binary files ");
    put_side(out, "", "a/", c->path, c->old.kind != CSN_TREE_NONE);
    out->n -= out->n != 0; /* the line goes on */
    csn_buf_addz(out, " and ");
    put_side(out, "", "b/", c->path, c->now.kind != CSN_TREE_NONE);
    out->n -= out->n != 0;
    csn_buf_addz(out, " differ\n");
    return 0;
  }
  csn_auto(csn_linediff_fini) csn_linediff d = {0};
  int rc = csn_linediff_init(&d, old, now, err);
  if (rc < 0 || d.n == 0)
    return rc;
  put_side(out, "--- ", "a/", c->path, c->old.kind != CSN_TREE_NONE);
  put_side(out, "+++ ", "b/", c->path, c->now.kind != CSN_TREE_NONE);
  csn_linediff_print(&d, out);
  return 0;
}

/* One file or link; old or now may be absent. */
static int
put_change(const csn_tree_change *c, int base_fd, int work_fd, csn_buf *out, csn_err *err)
{
  bool was = c->old.kind != CSN_TREE_NONE, is = c->now.kind != CSN_TREE_NONE;
  csn_buf_addz(out, "diff --git ");
  put_path(out, "a/", c->path);
  csn_buf_addc(out, ' ');
  put_path(out, "b/", c->path);
  csn_buf_addc(out, '\n');
  if (!was)
    csn_buf_addf(out, "new file mode %s\n", mode_of(c->now));
  else if (!is)
    csn_buf_addf(out, "deleted file mode %s\n", mode_of(c->old));
  else if (c->old.is_exec != c->now.is_exec)
    csn_buf_addf(out, "old mode %s\nnew mode %s\n", mode_of(c->old), mode_of(c->now));
  csn_auto(csn_buf_finip) csn_buf old = CSN_BUF(CSN_TREE_TEXT_MAX),
                                  now = CSN_BUF(CSN_TREE_TEXT_MAX);
  int rc = 0;
  if (was && (size_t)c->old.size <= CSN_TREE_TEXT_MAX)
    rc = csn_tree_read(base_fd, c->path.p, c->old.kind, &old, err);
  if (rc == 0 && is && (size_t)c->now.size <= CSN_TREE_TEXT_MAX)
    rc = csn_tree_read(work_fd, c->path.p, c->now.kind, &now, err);
  if (rc < 0)
    return rc;
  bool is_huge = (was && (size_t)c->old.size > CSN_TREE_TEXT_MAX) ||
                 (is && (size_t)c->now.size > CSN_TREE_TEXT_MAX);
  return is_huge ? put_text(c, csn_strn("", 1), csn_strn("", 1), out, err) /* a NUL: binary */
                 : put_text(c, csn_buf_str(&old), csn_buf_str(&now), out, err);
}

int
csn_tree_diff(csn_scope *sc, int base_fd, int work_fd, csn_buf *out, csn_err *err)
{
  csn_auto(csn_tree_changes_fini) csn_tree_changes l = {0};
  int rc = csn_tree_changes_init(&l, sc, base_fd, work_fd, err);
  for (size_t i = 0; rc == 0 && i < l.n && !out->over; i++) {
    csn_tree_change c = l.p[i];
    rc = csn_scope_check(sc, err);
    /* Another kind of file under the same name is a removal and an addition. */
    if (rc == 0 && c.old.kind != c.now.kind && c.old.kind != CSN_TREE_NONE &&
        c.old.kind != CSN_TREE_DIR) {
      csn_tree_change gone = c;
      gone.now = (csn_tree_side){0};
      rc = put_change(&gone, base_fd, work_fd, out, err);
      c.old = (csn_tree_side){0};
    }
    if (rc == 0 && c.old.kind == CSN_TREE_DIR)
      c.old = (csn_tree_side){0};
    bool has_file =
        (c.old.kind && c.old.kind != CSN_TREE_DIR) || (c.now.kind && c.now.kind != CSN_TREE_DIR);
    if (c.now.kind == CSN_TREE_DIR)
      has_file = false;
    if (rc == 0 && has_file)
      rc = put_change(&c, base_fd, work_fd, out, err);
  }
  return rc < 0 ? rc : csn_buf_done(out, "the diff", err);
}
