/* SPDX-License-Identifier: Apache-2.0
 *
 * test_tree.c - differences of folders and of texts, three-way merges, and
 * bringing a workspace's changes back. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "core/hash.h"
#include "core/proc.h"
#include "place.h"
#include "sandbox/linediff.h"
#include "sandbox/tree.h"

static int
shell(const place *pl, const char *script, csn_buf *out)
{
  const char *argv[] = {"sh", "-c", script, NULL};
  const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "GIT_CONFIG_GLOBAL=/dev/null",
                       "GIT_CEILING_DIRECTORIES=/dev/shm:/tmp", NULL};
  csn_command c = {.argv = argv, .environment = env, .cwd_fd = pl->fd};
  return csn_command_run(&c, NULL, out, NULL);
}

static void
sh(const place *pl, const char *script)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096);
  if (shell(pl, script, &out) != 0)
    fail_msg("%s: %s", script, out.p ? out.p : "");
}

/* What a folder looks like, without .git. */
static csn_buf
listing(const place *pl)
{
  csn_buf out = CSN_BUF(1 << 20);
  if (shell(pl,
            "find . -name .git -prune -o ! -name . -printf '%p %y %m %l\\n' | sort; find . -name "
            ".git "
            "-prune -o -type f -print | sort | xargs -d '\\n' -r cat",
            &out) != 0)
    fail_msg("%s", out.p);
  csn_buf_addz(&out, "");
  return out;
}

static void
same_listing(const place *a, const place *b)
{
  csn_buf x = listing(a), y = listing(b);
  if (!csn_str_eq(csn_buf_str(&x), csn_buf_str(&y)))
    fail_msg("got\n%s\nexpected\n%s", x.p, y.p);
  csn_buf_fini(&x);
  csn_buf_fini(&y);
}

/* ---- lines ---- */

static uint32_t
next(uint32_t *seed)
{
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 16;
}

static csn_buf
random_text(uint32_t *seed, uint32_t lines, uint32_t words)
{
  csn_buf b = CSN_BUF(1 << 20);
  uint32_t n = next(seed) % (lines + 1);
  for (uint32_t i = 0; i < n; i++)
    csn_buf_addf(&b, "%u\n", next(seed) % words);
  if (n && next(seed) % 3 == 0)
    b.n--;
  return b;
}

/* Length of the longest common subsequence, the slow way. */
static size_t
lcs(const csn_linediff *d)
{
  size_t w = d->n_b + 1;
  size_t *t = csn_alloc((d->n_a + 1) * w * sizeof *t);
  for (size_t i = 1; i <= d->n_a; i++)
    for (size_t j = 1; j <= d->n_b; j++)
      t[i * w + j] = csn_str_eq(d->a_lines[i - 1], d->b_lines[j - 1]) ? t[(i - 1) * w + j - 1] + 1
                     : t[(i - 1) * w + j] > t[i * w + j - 1]          ? t[(i - 1) * w + j]
                                                                      : t[i * w + j - 1];
  size_t n = t[d->n_a * w + d->n_b];
  free(t);
  return n;
}

TEST(line_differences_are_right_and_shortest)
{
  uint32_t seed = 12345;
  for (int round = 0; round < 3000; round++) {
    uint32_t words = 1 + next(&seed) % 12;
    csn_buf a = random_text(&seed, 30, words), b = random_text(&seed, 30, words);
    csn_linediff d;
    csn_err err;
    OK(csn_linediff_init(&d, csn_buf_str(&a), csn_buf_str(&b), &err), &err);
    size_t i = 0, j = 0, kept = 0;
    for (size_t k = 0; k <= d.n; k++) {
      size_t a_to = k < d.n ? d.ranges[k].a : d.n_a, b_to = k < d.n ? d.ranges[k].b : d.n_b;
      assert_int_equal(a_to - i, b_to - j);
      for (; i < a_to; i++, j++, kept++)
        assert_true(csn_str_eq(d.a_lines[i], d.b_lines[j]));
      if (k < d.n)
        i = d.ranges[k].a_end, j = d.ranges[k].b_end;
    }
    assert_int_equal(kept, lcs(&d));
    csn_linediff_fini(&d);
    csn_buf_fini(&a);
    csn_buf_fini(&b);
  }
}

TEST(texts_without_a_common_line_are_compared_in_bounded_time)
{
  csn_auto(csn_buf_finip) csn_buf a = CSN_BUF((size_t)16 << 20), b = CSN_BUF((size_t)16 << 20);
  uint32_t seed = 7;
  for (int i = 0; i < 100000; i++) {
    csn_buf_addf(&a, "%u\n", next(&seed) % 500);
    csn_buf_addf(&b, "%u\n", next(&seed) % 500);
  }
  csn_linediff d;
  csn_err err;
  int64_t start = csn_now_ns();
  OK(csn_linediff_init(&d, csn_buf_str(&a), csn_buf_str(&b), &err), &err);
  assert_true(csn_now_ns() - start < 20000000000);
  csn_linediff_fini(&d);
}

TEST(hunks_are_printed_as_diff_prints_them)
{
  static const struct {
    const char *a, *b, *want;
  } rows[] = {
      {"", "", ""},
      {"a\n", "a\n", ""},
      {"", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
      {"a\n", "", "@@ -1 +0,0 @@\n-a\n"},
      {"a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"},
      {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
       "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"},
      {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\ny\n9\n",
       "@@ -1,9 +1,9 @@\n-1\n+x\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+y\n 9\n"},
      {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\n8\ny\n",
       "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+y\n"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_linediff d;
    csn_err err;
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096);
    OK(csn_linediff_init(&d, csn_cstr(rows[i].a), csn_cstr(rows[i].b), &err), &err);
    csn_linediff_print(&d, &out);
    STR_EQ(csn_buf_str(&out), rows[i].want);
    csn_linediff_fini(&d);
  }
}

TEST(merges_take_both_sides_or_name_the_line)
{
  static const struct {
    const char *base, *ours, *theirs, *want; /* NULL: a conflict at `line` */
    size_t line;
  } rows[] = {
      {"1\n2\n3\n4\n5\n", "x\n2\n3\n4\n5\n", "1\n2\n3\n4\ny\n", "x\n2\n3\n4\ny\n", 0},
      {"1\n2\n3\n", "1\n3\n", "1\n2\n3\n4\n", "1\n3\n4\n", 0},
      {"1\n2\n3\n", "1\nx\n3\n", "1\nx\n3\n", "1\nx\n3\n", 0},
      {"1\n2\n3\n", "1\nx\n3\n", "1\nx\n3\n4\n", "1\nx\n3\n4\n", 0},
      {"1\n2\n3\n", "1\nx\n3\n", "1\ny\n3\n", NULL, 2},
      {"1\n2\n3\n4\n", "1\nx\n3\n4\n", "1\n2\ny\n4\n", NULL, 2}, /* neighbours */
      {"1\n2\n3\n", "0\n1\n2\n3\n", "9\n1\n2\n3\n", NULL, 1},
      {"", "a\n", "b\n", NULL, 1},
      {"", "a\n", "a\n", "a\n", 0},
      {"1\n2\n3\n4\n5\n6\n", "", "1\n2\n3\n4\n5\n6\n7\n", NULL, 1},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096);
    size_t line = 0;
    csn_err err;
    int rc = csn_merge3(csn_cstr(rows[i].base), csn_cstr(rows[i].ours), csn_cstr(rows[i].theirs),
                        &out, &line, &err);
    OK(rc, &err);
    assert_int_equal(rc, rows[i].want != NULL);
    if (rows[i].want)
      STR_EQ(csn_buf_str(&out), rows[i].want);
    else
      assert_int_equal(line, rows[i].line);
  }
}

/* ---- folders ---- */

static const char START[] =
    "mkdir -p d/e gone; printf 'one\\ntwo\\nthree\\n' >f; printf 'x\\n' >d/e/g; "
    "printf '#!/bin/sh\\n' >run; chmod 644 run; printf 'a\\0b' >bin; ln -s f l; "
    "printf 'g\\n' >gone/g; printf 'same\\n' >same; printf 'no newline' >nl";

TEST(the_diff_is_in_the_style_of_git)
{
  place base, work;
  open_place(&base), open_place(&work);
  sh(&base, START);
  sh(&work, START);
  sh(&work,
     "printf 'one\\n2\\nthree\\n' >f; rm -r gone; chmod 755 run; printf 'a\\0c' >bin; ln -sf same "
     "l; printf 'new\\n' >'d/with blank'; : >empty; mkdir .git .caisson; echo x >.git/config; echo "
     "x >.caisson/y; mkfifo pipe; printf 'no newline\\n' >nl; touch same");
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  csn_err err;
  OK(csn_tree_diff(NULL, base.fd, work.fd, &out, &err), &err);
  STR_EQ(
      csn_buf_str(&out),
      "diff --git a/bin b/bin\nBinary files a/bin and b/bin differ\n"
      "diff --git a/d/with blank b/d/with blank\nnew file mode 100644\n--- /dev/null\n+++ b/d/with "
      "blank\t\n@@ -0,0 +1 @@\n+new\n"
      "diff --git a/empty b/empty\nnew file mode 100644\n"
      "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
      "diff --git a/gone/g b/gone/g\ndeleted file mode 100644\n--- a/gone/g\n+++ /dev/null\n@@ -1 "
      "+0,0 @@\n-g\n"
      "diff --git a/l b/l\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-f\n\\ No newline at end of "
      "file\n+same\n\\ No newline at end of file\n"
      "diff --git a/nl b/nl\n--- a/nl\n+++ b/nl\n@@ -1 +1 @@\n-no newline\n\\ No newline at end of "
      "file\n+no newline\n"
      "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n");
  csn_auto(csn_buf_finip) csn_buf tiny = CSN_BUF(100);
  assert_int_equal(csn_tree_diff(NULL, base.fd, work.fd, &tiny, &err), CSN_E_LIMIT);
  close_place(&base), close_place(&work);
}

TEST(git_applies_our_diff)
{
  place base, work;
  open_place(&base), open_place(&work);
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(4096), diff = CSN_BUF(65536);
  if (shell(&base, "git --version", &told) != 0) {
    close_place(&base), close_place(&work);
    SKIP("git is not installed");
  }
  static const char change[] =
      "seq 1 200 | sed 's/^50$/fifty/; /^120$/d; s/^199$/x\\ny/' >n; rm -r d; mkdir -p z/y; printf "
      "'q' "
      ">z/y/new; chmod +x same; ln -sf same l; printf 'tab\\tname\\n' >\"$(printf 'a\\tb')\"; rm "
      "gone/g; "
      "mv f f2; rm run; mkdir run; echo 1 >run/f; printf 'q\"uote\\n' >'q\"uote'";
  sh(&base, START);
  sh(&work, START);
  sh(&base, "seq 1 200 >n; rm bin");
  sh(&work, "seq 1 200 >n; rm bin");
  sh(&work, change);
  csn_err err;
  OK(csn_tree_diff(NULL, base.fd, work.fd, &diff, &err), &err);
  OK(csn_file_write(base.fd, ".patch", csn_buf_str(&diff), 0644, false, &err), &err);
  sh(&base, "git apply .patch && rm .patch && rmdir gone 2>/dev/null || true");
  sh(&work, "rmdir gone 2>/dev/null || true");
  same_listing(&base, &work);
  close_place(&base), close_place(&work);
}

static int
apply(const char *in_work, const char *in_target, const char *expected, csn_buf *report,
      csn_err *err)
{
  place base, work, target, want;
  open_place(&base), open_place(&work), open_place(&target), open_place(&want);
  sh(&base, START), sh(&work, START), sh(&target, START), sh(&want, START);
  sh(&work, in_work), sh(&target, in_target), sh(&want, expected ? expected : in_target);
  int rc = csn_tree_apply(NULL, base.fd, work.fd, target.fd, report, err);
  if (rc < 0 && expected)
    fail_msg("%s: %s", in_work, err->msg);
  if (rc >= 0 && !expected)
    fail_msg("%s: applied, expected a conflict", in_work);
  same_listing(&target, &want);
  close_place(&base), close_place(&work), close_place(&target), close_place(&want);
  return rc;
}

TEST(changes_come_back_to_the_folder)
{
  static const struct {
    const char *work, *target, *want, *report;
  } rows[] = {
      {":", "echo mine >f", "echo mine >f", ""},
      {"echo new >f", ":", "echo new >f", "Updated f"},
      {"echo n >d/new; mkdir -p x/y; echo m >x/y/z; mkdir -p v/w", ":",
       "echo n >d/new; mkdir -p x/y; echo m >x/y/z; mkdir -p v/w", "Created d/new\nCreated x/y/z"},
      {"rm -r gone f", ":", "rm -r gone f", "Deleted f\nDeleted gone/g"},
      {"rm -r gone", "echo other >gone/mine", "rm gone/g; echo other >gone/mine", "Deleted gone/g"},
      {"chmod 755 run", "chmod 600 run", "chmod 700 run", "Updated run"},
      {"chmod 755 run", ":", "chmod 755 run", "Updated run"},
      {"printf '1\\ntwo\\nthree\\n' >f", "printf 'one\\ntwo\\n3\\n' >f",
       "printf '1\\ntwo\\n3\\n' >f", "Merged f"},
      {"echo same-edit >f", "echo same-edit >f", "echo same-edit >f", ""},
      {"rm f", "rm f", "rm f", ""},
      {"ln -sf same l; ln -s ../same d/up", ":", "ln -sf same l; ln -s ../same d/up",
       "Created d/up\nUpdated l"},
      {"rm l; echo file >l", ":", "rm l; echo file >l", "Updated l"},
      {"printf 'z\\0' >bin", ":", "printf 'z\\0' >bin", "Updated bin"},
      {"mkdir .git; echo evil >.git/hook; mkdir -p d/.GIT .caisson; echo e >d/.GIT/x; echo e "
       ">.caisson/x",
       ":", ":", ""},
      {"mkfifo pipe", ":", ":", ""},
      {"chmod 755 d/e/g; echo x2 >d/e/g", ":", "chmod 755 d/e/g; echo x2 >d/e/g", "Updated d/e/g"},
      {"echo n >exec; chmod 755 exec", ":", "echo n >exec; chmod 755 exec", "Created exec"},
  };
  umask(022);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf report = CSN_BUF(4096);
    csn_err err;
    apply(rows[i].work, rows[i].target, rows[i].want, &report, &err);
    STR_EQ(csn_buf_str(&report), rows[i].report);
  }
}

TEST(conflicts_change_nothing_and_are_all_named)
{
  static const struct {
    const char *work, *target, *report;
  } rows[] = {
      {"echo a >f; echo new >n", "echo b >f",
       "Conflict f: both sides changed the lines around line 1"},
      {"rm f", "echo b >f", "Conflict f: deleted in the workspace, changed in the target"},
      {"echo a >f", "rm f", "Conflict f: changed in the workspace, deleted in the target"},
      {"echo a >n", "echo b >n", "Conflict n: new on both sides, with different contents"},
      {"printf 'z\\0' >bin", "printf 'y\\0' >bin",
       "Conflict bin: both sides changed it, and it is not a text"},
      {"ln -sf same l", "ln -sf run l", "Conflict l: changed on both sides"},
      {"ln -sf /etc/passwd l", ":",
       "Conflict l: a symbolic link that leads out of the folder is not brought back"},
      {"ln -s ../../x d/up", ":",
       "Conflict d/up: a symbolic link that leads out of the folder is not brought back"},
      {"rm run; mkdir run; echo 1 >run/x", ":",
       "Conflict run: a file became a folder, or a folder a file\nConflict run/x: its folder is a "
       "link or a "
       "file in the target"},
      {"echo n >d/new", "rm -r d; mkdir other; ln -s other d",
       "Conflict d/new: its folder is a link or a file in the target"},
      {"mkdir v", "echo 1 >v", "Conflict v: a new folder, but a file in the target"},
      {"echo a >f; rm same; echo c >n", "echo b >f; echo s >same",
       "Conflict f: both sides changed the lines around line 1\nConflict same: deleted in the "
       "workspace, "
       "changed in the target"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf report = CSN_BUF(4096);
    csn_err err;
    assert_int_equal(apply(rows[i].work, rows[i].target, NULL, &report, &err), CSN_E_CONFLICT);
    STR_EQ(csn_buf_str(&report), rows[i].report);
    assert_non_null(strstr(err.msg, "Nothing was changed."));
  }
}

TEST(a_change_of_ten_thousand_files_is_found)
{
  place base, work;
  open_place(&base), open_place(&work);
  static const char make[] =
      "for d in $(seq 100); do mkdir d$d; (cd d$d; seq 100 | while read n; do echo $n "
      ">f$n; done); done";
  sh(&base, make), sh(&work, make);
  sh(&work, "echo x >>d50/f7");
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  csn_err err;
  int64_t start = csn_now_ns();
  OK(csn_tree_diff(NULL, base.fd, work.fd, &out, &err), &err);
  print_message("# 10,000 files compared in %d ms\n", (int)((csn_now_ns() - start) / 1000000));
  STR_EQ(csn_buf_str(&out),
         "diff --git a/d50/f7 b/d50/f7\n--- a/d50/f7\n+++ b/d50/f7\n@@ -1 +1,2 @@\n "
         "7\n+x\n");
  close_place(&base), close_place(&work);
}

RUN_TESTS("sandbox/tree", RUN(line_differences_are_right_and_shortest),
          RUN(texts_without_a_common_line_are_compared_in_bounded_time),
          RUN(hunks_are_printed_as_diff_prints_them), RUN(merges_take_both_sides_or_name_the_line),
          RUN(the_diff_is_in_the_style_of_git), RUN(git_applies_our_diff),
          RUN(changes_come_back_to_the_folder), RUN(conflicts_change_nothing_and_are_all_named),
          RUN(a_change_of_ten_thousand_files_is_found))
