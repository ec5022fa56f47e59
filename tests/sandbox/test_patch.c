/* SPDX-License-Identifier: Apache-2.0
 *
 * test_patch.c - apply_patch: the golden cases of tests/golden/patch, crashes
 * between any two renames, and what must never happen.
 *
 * A golden case is one text file of sections that start with "=== ":
 *   file PATH [esc]   a file before; esc: C escapes \r \n \t \\ \xNN, and no
 *                     newline but the escaped ones
 *   link PATH         a symbolic link; its text is the target
 *   mode PATH OCTAL   of a file before;  wantmode: after
 *   cwd PATH          where relative paths start
 *   emptied PATH      a folder that stays, without files
 *   patch [esc]       the input
 *   tree PATH [esc]   a file after; all of them are listed
 *   report            what the caller is told
 *   refuse            a part of the refusal; the files must be as before
 * A blank in a PATH is written |.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "caisson/patch.h"
#include "caisson/scope.h"
#include "check.h"
#include "core/fd.h"
#include "core/hash.h"
#include "place.h"
#include "sandbox/patch_int.h"

/* With a blank for each | of the path, and any bytes. */
static void
put_text(const place *pl, csn_str path, csn_str text)
{
  csn_err err;
  csn_auto(csn_freep) char *name = csn_dupz(path);
  for (char *c = name; *c; c++)
    *c = *c == '|' ? ' ' : *c;
  put(pl, name, "", 0644);
  OK(csn_file_write(pl->fd, name, text, 0644, false, &err), &err);
}

/* "path\0size\0bytes" of every file, in order: two equal trees, equal text. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void
dump(int dir, const char *prefix, csn_buf *out)
{
  struct dirent **list;
  int n = scandirat(dir, *prefix ? prefix : ".", &list, NULL, by_name);
  assert_true(n >= 0);
  for (int i = 0; i < n; i++) {
    char path[4200];
    if (strcmp(list[i]->d_name, ".") != 0 && strcmp(list[i]->d_name, "..") != 0) {
      snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "/" : "", list[i]->d_name);
      struct stat st;
      assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
      csn_buf_addf(out, "%s %o ", path, st.st_mode);
      if (S_ISDIR(st.st_mode)) {
        dump(dir, path, out);
      } else if (S_ISREG(st.st_mode)) {
        csn_buf text = CSN_BUF((size_t)64 << 20);
        assert_int_equal(csn_file_read(dir, path, &text, NULL), 0);
        csn_buf_addf(out, "%zu ", text.n);
        csn_buf_add(out, csn_buf_str(&text));
        csn_buf_fini(&text);
      }
    }
    free(list[i]);
  }
  free(list);
}

static csn_buf
dumped(const place *pl)
{
  csn_buf b = CSN_BUF((size_t)256 << 20);
  dump(pl->fd, "", &b);
  csn_buf_addz(&b, "");
  return b;
}

static bool
same(const csn_buf *a, const csn_buf *b)
{
  return csn_str_eq(csn_buf_str(a), csn_buf_str(b));
}

static int
apply(const place *pl, csn_str text, const char *cwd, csn_buf *report, csn_err *err)
{
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  int rc = csn_patch_parse(&p, text, err);
  if (rc == 0)
    rc = csn_patch_plan(p, pl->fd, "/workspace", cwd, err);
  if (rc == 0)
    rc = csn_patch_stage(p, -1, -1, err);
  if (rc == 0)
    rc = csn_patch_commit(p, NULL, NULL, err);
  if (rc == 0 && report)
    csn_patch_report(p, report);
  return rc;
}

/* ---- golden cases ---- */

static void
unescape(csn_str s, csn_buf *out)
{
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '\n')
      continue;
    if (s.p[i] != '\\' || i + 1 == s.n) {
      csn_buf_addc(out, s.p[i]);
      continue;
    }
    char c = s.p[++i];
    unsigned x = 0;
    if (c == 'x' && i + 2 < s.n + 0 && sscanf(s.p + i + 1, "%2x", &x) == 1) {
      csn_buf_addc(out, (char)x);
      i += 2;
    } else {
      csn_buf_addc(out, c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c);
    }
  }
}

typedef struct section {
  csn_str word, path, arg;
  csn_buf text;
} section;

static size_t
sections(csn_str all, section *out, size_t max)
{
  size_t n = 0;
  csn_str line;
  while (csn_str_line(&all, &line)) {
    if (csn_str_starts(line, CSN_STR("=== "))) {
      assert_true(n < max);
      section *s = &out[n++];
      *s = (section){.text = CSN_BUF(1 << 20)};
      csn_str *parts[] = {&s->word, &s->path, &s->arg};
      csn_str rest = csn_strn(line.p + 4, line.n - 4);
      for (size_t i = 0; i < 3 && rest.n; i++) {
        size_t end = csn_str_find(rest, CSN_STR(" "), 0);
        *parts[i] = csn_strn(rest.p, end == SIZE_MAX ? rest.n : end);
        rest = end == SIZE_MAX ? (csn_str){0} : csn_strn(rest.p + end + 1, rest.n - end - 1);
      }
    } else if (n) {
      csn_buf_add(&out[n - 1].text, line);
      csn_buf_addc(&out[n - 1].text, '\n');
    }
  }
  for (size_t i = 0; i < n; i++) {
    section *s = &out[i];
    bool is_patch = csn_str_eq(s->word, CSN_STR("patch"));
    if (csn_str_eq(is_patch ? s->path : s->arg, CSN_STR("esc"))) {
      csn_buf raw = CSN_BUF(1 << 20);
      unescape(csn_buf_str(&s->text), &raw);
      csn_buf_fini(&s->text);
      s->text = raw;
    }
  }
  return n;
}

static csn_str
chomp(csn_str s)
{
  return s.n && s.p[s.n - 1] == '\n' ? csn_strn(s.p, s.n - 1) : s;
}

static bool
word(const section *s, const char *w)
{
  return csn_str_eq(s->word, csn_cstr(w));
}

static void
set_up(const place *pl, const section *s, size_t n, bool after)
{
  for (size_t i = 0; i < n; i++) {
    csn_auto(csn_freep) char *path = csn_dupz(s[i].path);
    if (word(&s[i], after ? "tree" : "file"))
      put_text(pl, s[i].path, csn_buf_str(&s[i].text));
    if (word(&s[i], "link")) {
      csn_auto(csn_freep) char *to = csn_dupz(chomp(csn_buf_str(&s[i].text)));
      assert_int_equal(symlinkat(to, pl->fd, path), 0);
    }
  }
  for (size_t i = 0; i < n; i++) {
    csn_auto(csn_freep) char *path = csn_dupz(s[i].path);
    csn_auto(csn_freep) char *mode = csn_dupz(s[i].arg);
    unsigned m;
    if (word(&s[i], after ? "wantmode" : "mode") && sscanf(mode, "%o", &m) == 1)
      assert_int_equal(fchmodat(pl->fd, path, m, 0), 0);
  }
}

static void
run_case(const char *name, csn_str all)
{
  section s[32];
  size_t n = sections(all, s, CSN_COUNT(s));
  place pl, want;
  open_place(&pl);
  open_place(&want);
  const section *patch = NULL, *refuse = NULL, *report = NULL;
  csn_auto(csn_freep) char *cwd = NULL;
  for (size_t i = 0; i < n; i++) {
    if (word(&s[i], "patch"))
      patch = &s[i];
    else if (word(&s[i], "refuse"))
      refuse = &s[i];
    else if (word(&s[i], "report"))
      report = &s[i];
    else if (word(&s[i], "cwd"))
      cwd = csn_dupz(s[i].path);
  }
  assert_non_null(patch);
  set_up(&pl, s, n, false);
  set_up(&want, s, n, !refuse);
  csn_buf told = CSN_BUF(1 << 20);
  csn_err err = {0};
  int rc = apply(&pl, csn_buf_str(&patch->text), cwd, &told, &err);
  if (refuse) {
    if (rc >= 0)
      fail_msg("%s: applied, expected a refusal", name);
    if (csn_str_find(csn_cstr(err.msg), chomp(csn_buf_str(&refuse->text)), 0) == SIZE_MAX)
      fail_msg("%s: refused with '%s', expected '%s'", name, err.msg, refuse->text.p);
  } else if (rc < 0) {
    fail_msg("%s: %s", name, err.msg);
  }
  if (!refuse) /* empty folders may stay behind a patch */
    for (size_t i = 0; i < n; i++)
      if (word(&s[i], "emptied")) {
        csn_auto(csn_freep) char *folder = csn_dupz(s[i].path);
        assert_int_equal(csn_mkdirs(want.fd, folder, 0755, NULL), 0);
      }
  csn_buf got = dumped(&pl), exp = dumped(&want);
  if (!same(&got, &exp))
    fail_msg("%s: got\n%s\nexpected\n%s", name, got.p, exp.p);
  if (report && !csn_str_eq(csn_buf_str(&told), chomp(csn_buf_str(&report->text))))
    fail_msg("%s: told '%s', expected '%s'", name, told.p, report->text.p);
  csn_buf_fini(&got);
  csn_buf_fini(&exp);
  csn_buf_fini(&told);
  for (size_t i = 0; i < n; i++)
    csn_buf_fini(&s[i].text);
  close_place(&pl);
  close_place(&want);
}

TEST(golden_cases_come_out_as_written)
{
  const char *src = getenv("CSN_SOURCE_ROOT");
  char path[4096];
  snprintf(path, sizeof path, "%s/tests/golden/patch", src ? src : ".");
  struct dirent **list;
  int n = scandir(path, &list, NULL, by_name), cases = 0;
  assert_true(n > 0);
  csn_auto(csn_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  umask(022);
  for (int i = 0; i < n; i++) {
    if (csn_str_ends(csn_cstr(list[i]->d_name), CSN_STR(".txt"))) {
      csn_buf text = CSN_BUF(1 << 20);
      assert_int_equal(csn_file_read(dir, list[i]->d_name, &text, NULL), 0);
      run_case(list[i]->d_name, csn_buf_str(&text));
      csn_buf_fini(&text);
      cases++;
    }
    free(list[i]);
  }
  free(list);
  assert_true(cases >= 60);
}

/* ---- crashes ---- */

static const char CRASH_PATCH[] = "*** Begin Patch\n"
                                  "*** Update File: a\n-1\n+one\n"
                                  "*** Add File: new/deep/file\n+n\n"
                                  "*** Delete File: gone\n"
                                  "*** Update File: from\n*** Move to: sub/to\n-x\n+y\n"
                                  "*** Add File: over\n+written\n"
                                  "*** Delete File: link\n"
                                  "*** Update File: run.sh\n 1\n+2\n"
                                  "*** End Patch\n";

static void
crash_files(const place *pl)
{
  put_text(pl, CSN_STR("a"), CSN_STR("1\n"));
  put_text(pl, CSN_STR("gone"), CSN_STR("g\n"));
  put_text(pl, CSN_STR("from"), CSN_STR("x\n"));
  put_text(pl, CSN_STR("sub/to"), CSN_STR("old\n"));
  put_text(pl, CSN_STR("over"), CSN_STR("older\n"));
  put_text(pl, CSN_STR("run.sh"), CSN_STR("1\n"));
  assert_int_equal(fchmodat(pl->fd, "run.sh", 0755, 0), 0);
  assert_int_equal(symlinkat("a", pl->fd, "link"), 0);
}

static void
die_at(void *user, int nr)
{
  if (nr == *(int *)user)
    _exit(77);
}

/* In a child: records the plan, then dies.  at < 0: after the stage of -at - 1
 * slots (the others are unstaged by hand), at >= 0: before rename `at`. */
static int
die_in_child(const place *pl, int at, bool no_exchange)
{
  pid_t pid = fork();
  if (pid == 0) {
    csn_patch *p;
    if (csn_patch_parse(&p, csn_cstr(CRASH_PATCH), NULL) < 0 ||
        csn_patch_plan(p, pl->fd, NULL, NULL, NULL) < 0)
      _exit(1);
    p->no_exchange = no_exchange;
    csn_buf plan = CSN_BUF(1 << 20);
    csn_jw w;
    csn_jw_init(&w, &plan);
    csn_patch_to_json(p, &w);
    char name[96];
    snprintf(name, sizeof name, "%s.plan", pl->path);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (csn_jw_done(&w, NULL) < 0 || csn_fd_write_all(fd, csn_buf_str(&plan), NULL) < 0 ||
        csn_patch_stage(p, -1, -1, NULL) < 0)
      _exit(2);
    if (at < 0) { /* as if it had died inside stage: later files missing, one cut */
      for (size_t i = 0, k = 0; i < p->n_slots; i++) {
        if (!p->slots[i].is_staged || (int)k++ < -at - 1)
          continue;
        int rc = (int)k == -at ? openat(pl->fd, p->slots[i].stage.p, O_WRONLY | O_TRUNC)
                               : unlinkat(pl->fd, p->slots[i].stage.p, 0);
        if (rc < 0)
          _exit(3);
      }
      _exit(77);
    }
    (void)!csn_patch_commit(p, die_at, &at, NULL);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static bool
recover(const place *pl, csn_buf *report)
{
  char name[96];
  snprintf(name, sizeof name, "%s.plan", pl->path);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_auto(csn_closep) int fd = open(name, O_RDONLY | O_CLOEXEC);
  csn_err err;
  const csn_json *plan;
  OK(csn_fd_read_all(fd, &text, &err), &err);
  OK(csn_json_parse(a, csn_buf_str(&text), &plan, &err), &err);
  bool forward = false, again = false;
  OK(csn_patch_recover(pl->fd, plan, &forward, report, &err), &err);
  OK(csn_patch_recover(pl->fd, plan, &again, NULL, &err), &err); /* harmless when repeated */
  assert_int_equal(forward, again);
  unlink(name);
  return forward;
}

static void
crash_everywhere(bool no_exchange)
{
  place before, after;
  open_place(&before);
  open_place(&after);
  crash_files(&before);
  crash_files(&after);
  csn_err err = {0};
  OK(apply(&after, csn_cstr(CRASH_PATCH), NULL, NULL, &err), &err);
  csn_buf b = dumped(&before), a = dumped(&after);
  assert_false(same(&a, &b));
  int forwards = 0, backs = 0;
  for (int at = -5; at < 12; at++) {
    place pl;
    open_place(&pl);
    crash_files(&pl);
    int rc = die_in_child(&pl, at, no_exchange);
    assert_true(rc == 77 || (rc == 0 && at > 7));
    csn_buf report = CSN_BUF(4096);
    bool forward = recover(&pl, &report);
    csn_buf got = dumped(&pl);
    if (!same(&got, forward ? &a : &b))
      fail_msg("crash at %d, rolled %s: got\n%s\nexpected\n%s", at, forward ? "forward" : "back",
               got.p, forward ? a.p : b.p);
    assert_int_equal(forward, at >= 0); /* nothing is lost once all is staged */
    STR_EQ(csn_buf_str(&report),
           forward ? "Updated a\nCreated new/deep/file\nDeleted gone\nUpdated from\nMoved from to "
                     "sub/to\nCreated over\nDeleted link\nUpdated run.sh"
                   : "The patch was interrupted and taken back; nothing was changed.");
    forwards += forward, backs += !forward;
    csn_buf_fini(&got);
    csn_buf_fini(&report);
    close_place(&pl);
  }
  assert_true(forwards >= 8 && backs == 5);
  csn_buf_fini(&a);
  csn_buf_fini(&b);
  close_place(&before);
  close_place(&after);
}

TEST(a_crash_at_any_rename_is_rolled_forward_or_back)
{
  crash_everywhere(false);
}

TEST(a_crash_is_repaired_where_files_cannot_be_exchanged)
{
  crash_everywhere(true);
}

/* Half the renames are done and a staged file is lost: the others go back. */
static void
lose_and_die(void *user, int nr)
{
  csn_patch *p = user;
  if (nr != 3)
    return;
  for (size_t i = p->n_slots; i--;)
    if (p->slots[i].is_staged && !p->slots[i].is_done) {
      unlinkat(p->dir, p->slots[i].stage.p, 0);
      break;
    }
  _exit(77);
}

TEST(renames_are_taken_back_when_a_staged_file_is_lost)
{
  for (int no_exchange = 0; no_exchange < 2; no_exchange++) {
    place pl;
    open_place(&pl);
    crash_files(&pl);
    csn_buf before = dumped(&pl);
    csn_patch *p;
    csn_err err;
    OK(csn_patch_parse(&p, csn_cstr(CRASH_PATCH), &err), &err);
    OK(csn_patch_plan(p, pl.fd, NULL, NULL, &err), &err);
    p->no_exchange = no_exchange;
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
    csn_jw w;
    csn_jw_init(&w, &text);
    csn_patch_to_json(p, &w);
    OK(csn_jw_done(&w, &err), &err);
    pid_t pid = fork();
    if (pid == 0) {
      if (csn_patch_stage(p, -1, -1, NULL) == 0)
        (void)!csn_patch_commit(p, lose_and_die, p, NULL);
      _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 77);
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *plan;
    bool forward = true;
    OK(csn_json_parse(a, csn_buf_str(&text), &plan, &err), &err);
    OK(csn_patch_recover(pl.fd, plan, &forward, NULL, &err), &err);
    assert_false(forward);
    csn_buf got = dumped(&pl);
    if (!same(&got, &before))
      fail_msg("got\n%s\nexpected\n%s", got.p, before.p);
    csn_patch_free(p);
    csn_buf_fini(&got);
    csn_buf_fini(&before);
    close_place(&pl);
  }
}

TEST(recovery_leaves_what_somebody_else_changed)
{
  place pl;
  open_place(&pl);
  crash_files(&pl);
  assert_int_equal(die_in_child(&pl, 2, false), 77);
  put_text(&pl, CSN_STR("a"), CSN_STR("edited by hand\n"));
  csn_buf before = dumped(&pl);
  char name[96];
  snprintf(name, sizeof name, "%s.plan", pl.path);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_auto(csn_closep) int fd = open(name, O_RDONLY | O_CLOEXEC);
  csn_err err;
  const csn_json *plan;
  bool forward;
  OK(csn_fd_read_all(fd, &text, &err), &err);
  OK(csn_json_parse(a, csn_buf_str(&text), &plan, &err), &err);
  assert_int_equal(csn_patch_recover(pl.fd, plan, &forward, NULL, &err), CSN_E_CONFLICT);
  assert_non_null(strstr(err.msg, ": a was changed since"));
  csn_buf got = dumped(&pl);
  assert_true(same(&got, &before));
  unlink(name);
  csn_buf_fini(&got);
  csn_buf_fini(&before);
  close_place(&pl);
}

/* ---- what must never happen ---- */

static void
edit_behind(void *user, int nr)
{
  if (nr == 1)
    put_text(user, CSN_STR("over"), CSN_STR("somebody was faster\n"));
}

TEST(a_file_changed_after_the_plan_stops_the_commit_and_all_goes_back)
{
  place pl;
  open_place(&pl);
  crash_files(&pl);
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  csn_err err;
  OK(csn_patch_parse(&p, csn_cstr(CRASH_PATCH), &err), &err);
  OK(csn_patch_plan(p, pl.fd, NULL, NULL, &err), &err);
  OK(csn_patch_stage(p, -1, -1, &err), &err);
  assert_int_equal(csn_patch_commit(p, edit_behind, &pl, &err), CSN_E_CONFLICT);
  csn_buf got = dumped(&pl);
  place want;
  open_place(&want);
  crash_files(&want);
  put_text(&want, CSN_STR("over"), CSN_STR("somebody was faster\n"));
  csn_buf exp = dumped(&want);
  if (!same(&got, &exp))
    fail_msg("got\n%s\nexpected\n%s", got.p, exp.p);
  csn_buf_fini(&got);
  csn_buf_fini(&exp);
  close_place(&want);
  close_place(&pl);
}

TEST(a_staged_patch_that_is_dropped_leaves_nothing)
{
  place pl;
  open_place(&pl);
  crash_files(&pl);
  csn_buf before = dumped(&pl);
  csn_patch *p;
  csn_err err;
  OK(csn_patch_parse(&p, csn_cstr(CRASH_PATCH), &err), &err);
  OK(csn_patch_plan(p, pl.fd, NULL, NULL, &err), &err);
  OK(csn_patch_stage(p, -1, -1, &err), &err);
  csn_patch_free(p);
  csn_buf got = dumped(&pl);
  assert_true(same(&got, &before));
  csn_buf_fini(&got);
  csn_buf_fini(&before);
  close_place(&pl);
}

TEST(special_files_neither_block_nor_change)
{
  place pl;
  open_place(&pl);
  assert_int_equal(mkfifoat(pl.fd, "fifo", 0644), 0);
  static const char *const patches[] = {"*** Update File: fifo\n-a\n+b", "*** Delete File: fifo",
                                        "*** Add File: fifo\n+b", "*** Add File: fifo/x\n+b"};
  for (size_t i = 0; i < CSN_COUNT(patches); i++) {
    char text[200];
    snprintf(text, sizeof text, "*** Begin Patch\n%s\n*** End Patch\n", patches[i]);
    assert_true(apply(&pl, csn_cstr(text), NULL, NULL, NULL) < 0);
  }
  close_place(&pl);
}

TEST(two_thousand_files_take_less_than_half_a_second)
{
  place pl;
  open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)4 << 20);
  csn_buf_addz(&text, "*** Begin Patch\n");
  for (int i = 0; i < 2000; i++) {
    char name[64], body[64];
    snprintf(name, sizeof name, "d%d/f%d", i % 40, i);
    snprintf(body, sizeof body, "one\nline %d\nthree\n", i);
    put_text(&pl, csn_cstr(name), csn_cstr(body));
    csn_buf_addf(&text, "*** Update File: %s\n@@\n one\n-line %d\n+LINE %d\n", name, i, i);
  }
  csn_buf_addz(&text, "*** End Patch\n");
  csn_err err;
  int64_t start = csn_now_ns();
  OK(apply(&pl, csn_buf_str(&text), NULL, NULL, &err), &err);
  int64_t ms = (csn_now_ns() - start) / 1000000;
  print_message("# 2,000 files in %d ms\n", (int)ms);
  assert_true(ms < 5000); /* the bench has the real limit; this one survives a loaded machine */
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(100);
  assert_int_equal(csn_file_read(pl.fd, "d7/f1007", &got, NULL), 0);
  STR_EQ(csn_buf_str(&got), "one\nLINE 1007\nthree\n");
  close_place(&pl);
}

/* Every line of file and pattern alike, with a difference at the end. */
TEST(repetitive_files_are_searched_in_linear_time)
{
  place pl;
  open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf file = CSN_BUF((size_t)8 << 20), text = CSN_BUF((size_t)8 << 20);
  csn_buf_addz(&text, "*** Begin Patch\n*** Update File: f\n@@\n");
  for (int i = 0; i < 200000; i++) {
    csn_buf_addz(&file, "same\n");
    if (i < 100000)
      csn_buf_addz(&text, " same\n");
  }
  csn_buf_addz(&text, "-other\n*** End Patch\n");
  put_text(&pl, CSN_STR("f"), csn_buf_str(&file));
  int64_t start = csn_now_ns();
  assert_true(apply(&pl, csn_buf_str(&text), NULL, NULL, NULL) < 0);
  assert_true(csn_now_ns() - start < 20000000000);
  close_place(&pl);
}

TEST(sizes_are_bounded)
{
  csn_err err;
  csn_patch *p;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)32 << 20);
  char *room = csn_buf_room(&text, (size_t)17 << 20);
  memset(room, '\n', (size_t)17 << 20);
  text.n = (size_t)17 << 20;
  assert_int_equal(csn_patch_parse(&p, csn_buf_str(&text), &err), CSN_E_LIMIT);
  csn_buf_clear(&text);
  csn_buf_addz(&text, "*** Begin Patch\n");
  for (int i = 0; i < 10001; i++)
    csn_buf_addf(&text, "*** Add File: %d\n", i);
  csn_buf_addz(&text, "*** End Patch\n");
  assert_int_equal(csn_patch_parse(&p, csn_buf_str(&text), &err), CSN_E_LIMIT);
}

TEST(the_tool_texts_describe_the_format)
{
  assert_non_null(strstr(csn_patch_grammar(), "\"*** Begin Patch\" LF"));
  assert_non_null(strstr(csn_patch_grammar(), "*** Move to: "));
  assert_non_null(strstr(csn_patch_description(), "*** Update File: "));
}

RUN_TESTS("sandbox/patch", RUN(golden_cases_come_out_as_written),
          RUN(a_crash_at_any_rename_is_rolled_forward_or_back),
          RUN(a_crash_is_repaired_where_files_cannot_be_exchanged),
          RUN(renames_are_taken_back_when_a_staged_file_is_lost),
          RUN(recovery_leaves_what_somebody_else_changed),
          RUN(a_file_changed_after_the_plan_stops_the_commit_and_all_goes_back),
          RUN(a_staged_patch_that_is_dropped_leaves_nothing),
          RUN(special_files_neither_block_nor_change),
          RUN(two_thousand_files_take_less_than_half_a_second),
          RUN(repetitive_files_are_searched_in_linear_time), RUN(sizes_are_bounded),
          RUN(the_tool_texts_describe_the_format))
