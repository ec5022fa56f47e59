/* SPDX-License-Identifier: Apache-2.0
 *
 * test_snapshots_crash.c - the end of the process at any time while it saves or
 * drops: it is killed before each of its system calls in turn, and what is left
 * verifies, and has the snapshot that was there before. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "snap_place.h"

enum { CALLS_MAX = 20000 };

typedef void work_fn(struct place *p);

/* Runs fn in a process that is killed before its n-th system call, entry or
 * end; true when it had been done by then. */
static bool
killed_at(struct place *p, work_fn *fn, int n)
{
  int status = 0;
  csn_snapshots_free(csn_steal(p->s)); /* with its lock */
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
      _exit(99);
    raise(SIGSTOP);
    fn(p);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  for (int i = 0; WIFSTOPPED(status) && i < n; i++) {
    if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)
      break;
    assert_int_equal(waitpid(pid, &status, 0), pid);
  }
  if (WIFSTOPPED(status)) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  csn_err err;
  OK(csn_snapshots_open(&p->s, p->fd, NULL, &err), &err);
  if (WIFEXITED(status))
    assert_int_equal(WEXITSTATUS(status), 0);
  return WIFEXITED(status);
}

static bool
can_trace(void)
{
  int status = 0;
  pid_t pid = fork();
  if (pid == 0)
    _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
print_line(void *user, const char *line)
{
  print_message("# %s\n", line);
}

static void
is_sound_with(struct place *p, const char *name, const char *text)
{
  csn_err err;
  assert_int_equal(csn_snapshots_verify(p->s, NULL, print_line, NULL, &err), 0);
  restore_into(p, name, "to");
  csn_auto(csn_closep) int to = folder_in(p->fd, "to");
  has_file(to, "f", text);
  OK(csn_remove_tree(p->fd, "to", &err), &err);
}

static void
save_after(struct place *p)
{
  csn_err err;
  csn_snapshot r;
  csn_snapshot_saving how = {.name = "after"};
  if (csn_snapshots_open(&p->s, p->fd, NULL, &err) < 0 ||
      csn_snapshot_save(p->s, NULL, &how, p->from, &r, &err) < 0)
    _exit(1);
}

TEST(a_save_that_is_killed_anywhere_leaves_a_store_that_verifies)
{
  struct place p;
  csn_err err;
  csn_snapshot r;
  csn_snapshots_swept swept;
  char text[3000];
  if (!can_trace())
    SKIP("no ptrace(2) here");
  begin(&p);
  write_file(p.from, "f", "before");
  save(&p, "before");
  fill(text, sizeof text);
  write_file(p.from, "f", text);
  write_file(p.from, "g", "more");
  bool is_done = false;
  int with = 0, without = 0;
  for (int n = 1; !is_done && n < CALLS_MAX; n++) {
    is_done = killed_at(&p, save_after, n);
    is_sound_with(&p, "before", "before");
    if (csn_snapshot_find(p.s, "after", &r, NULL) == CSN_E_NOT_FOUND) {
      without++;
    } else {
      is_sound_with(&p, "after", text);
      OK(csn_snapshot_remove(p.s, "after", &err), &err);
      with++;
    }
    OK(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), &err);
    reopen(&p);
  }
  assert_true(is_done);
  assert_true(without > 50);
  assert_true(with > 1);
  end(&p);
}

static void
drop(struct place *p)
{
  csn_err err;
  csn_snapshots_swept swept;
  if (csn_snapshots_open(&p->s, p->fd, NULL, &err) < 0 ||
      csn_snapshots_gc(p->s, NULL, &all, &swept, &err) < 0)
    _exit(1);
}

TEST(a_gc_that_is_killed_anywhere_drops_nothing_that_is_needed)
{
  struct place p;
  csn_err err;
  char text[3000];
  if (!can_trace())
    SKIP("no ptrace(2) here");
  fill(text, sizeof text);
  bool is_done = false;
  for (int n = 1; !is_done && n < CALLS_MAX; n++) {
    begin(&p);
    write_file(p.from, "f", "kept");
    write_file(p.from, "g", text); /* most of the pack, which is rewritten without it */
    save(&p, "gone");
    OK(csn_remove_tree(p.from, "g", &err), &err);
    save(&p, "kept");
    OK(csn_snapshot_remove(p.s, "gone", &err), &err);
    is_done = killed_at(&p, drop, n);
    is_sound_with(&p, "kept", "kept");
    end(&p);
  }
  assert_true(is_done);
}

RUN_TESTS("sandbox/snapshots_crash",
          RUN(a_save_that_is_killed_anywhere_leaves_a_store_that_verifies),
          RUN(a_gc_that_is_killed_anywhere_drops_nothing_that_is_needed))
