/* SPDX-License-Identifier: Apache-2.0
 *
 * test_limits.c - limits that the kernel holds for a jail: bombs are stopped,
 * kills are told from crashes, strict refuses, no control group is left behind,
 * and a machine without groups is told as what it is. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <time.h>

#include "identity.h"
#include "sandbox/limits.h"

enum { PATIENCE_MS = 20000 };

struct cell {
  csn_sandbox *sb;
  csn_err err;
  csn_buf out;
};

static void
cell_open_at(struct cell *c, const csn_sandbox_limits *l, int workspace)
{
  *c = (struct cell){.out = CSN_BUF(1 << 20)};
  csn_sandbox_spec spec = {.workspace_fd = workspace, .lock_fd = -1, .limits = l};
  int rc = csn_sandbox_open(&c->sb, NULL, &spec, &c->err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", c->err.msg);
  OK(rc, &c->err);
}

static void
cell_open(struct cell *c, csn_sandbox_limits l)
{
  cell_open_at(c, &l, -1);
}

static void
cell_close(struct cell *c)
{
  csn_sandbox_close(c->sb);
  csn_buf_fini(&c->out);
}

/* Like cell_open(), for tests of what only a control group can do. */
static void
cell_with_group(struct cell *c, enum csn_limit which, csn_sandbox_limits l)
{
  cell_open(c, l);
  if (c->sb->held.state[which] != CSN_LIMIT_ENFORCED) {
    cell_close(c);
    SKIP("no control group for %s here", csn_limit_name(which));
  }
}

static csn_exit
sh(struct cell *c, const char *script)
{
  csn_exit end = {-1, -1, 0};
  const char *argv[] = {"sh", "-c", script, NULL};
  csn_buf_clear(&c->out);
  OK(csn_sandbox_exec(c->sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &c->out, NULL, &end,
                      &c->err),
     &c->err);
  return end;
}

static void
explains(const struct cell *c, const csn_exit *end, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_exit_explain(c->sb, end, &text);
  STR_EQ(csn_buf_str(&text), want);
}

static int64_t
printed(const struct cell *c)
{
  int64_t n = -1;
  if (!csn_str_int(csn_str_trim(csn_buf_str(&c->out)), &n))
    fail_msg("'%s' is not a number", c->out.p ? c->out.p : "");
  return n;
}

/* ---- memory ---- */

TEST(a_memory_bomb_is_killed_and_told_from_a_crash)
{
  struct cell c;
  cell_with_group(&c, CSN_LIMIT_MEMORY, (csn_sandbox_limits){.memory_bytes = 64 << 20});
  csn_exit end = sh(&c, "exec tail /dev/zero"); /* one endless line */
  assert_int_equal(end.signal, SIGKILL);
  explains(&c, &end, "killed: the sandbox's memory limit of 64 MiB was reached");
  end = sh(&c, "tail /dev/zero; echo on");
  assert_int_equal(end.code, 0);
  explains(&c, &end, "the sandbox's memory limit of 64 MiB was reached and a process was killed");
  assert_non_null(strstr(c.out.p, "on\n"));
  end = sh(&c, "kill -9 $$");
  explains(&c, &end, "");
  cell_close(&c);
}

TEST(many_small_processes_are_stopped_by_the_same_limit)
{
  struct cell c;
  cell_with_group(&c, CSN_LIMIT_MEMORY, (csn_sandbox_limits){.memory_bytes = 64 << 20});
  csn_exit end = sh(&c, "for i in 1 2 3 4 5 6; do head -c 30000000 /dev/zero | tail & done; wait");
  assert_true(end.reached & 1u << CSN_LIMIT_MEMORY);
  sh(&c, "echo the warden lives");
  STR_EQ(csn_buf_str(&c.out), "the warden lives\n");
  cell_close(&c);
}

TEST(without_a_group_each_process_has_the_memory_limit)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){.memory_bytes = 64 << 20});
  if (c.sb->held.state[CSN_LIMIT_MEMORY] == CSN_LIMIT_ENFORCED) {
    cell_close(&c);
    SKIP("there is a group");
  }
  assert_int_equal(c.sb->held.state[CSN_LIMIT_MEMORY], CSN_LIMIT_SOFT);
  csn_exit end = sh(&c, "tail /dev/zero 2>&1; echo on");
  assert_non_null(strstr(c.out.p, "memory"));
  assert_int_equal(end.code, 0);
  cell_close(&c);
}

TEST(a_full_folder_of_memory_is_no_kill)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){.memory_bytes = 64 << 20});
  csn_exit end = sh(&c, "for d in /tmp ~ . /dev/shm; do head -c 99999999 /dev/zero >$d/x; done");
  assert_int_equal(end.reached, 0);
  assert_int_equal(end.signal, 0);
  const char *p = c.out.p;
  for (int i = 0; i < 4; i++, p++)
    assert_non_null(p = strstr(p, "No space left"));
  cell_close(&c);
}

TEST(a_workspace_in_memory_has_the_size_and_the_files_that_are_asked_for)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){.disk_bytes = 8 << 20, .inodes = 64});
  assert_int_equal(c.sb->held.state[CSN_LIMIT_DISK], CSN_LIMIT_ENFORCED);
  sh(&c, "head -c 99999999 /dev/zero >x 2>/dev/null; stat -c %s x; rm x");
  assert_int_equal(printed(&c), 8 << 20);
  sh(&c, "for i in $(seq 200); do touch $i; done 2>/dev/null; ls | wc -l");
  assert_in_range(printed(&c), 32, 64);
  cell_close(&c);
}

/* ---- processes, CPU, descriptors, files ---- */

TEST(a_fork_bomb_stops_at_the_limit)
{
  struct cell c, other;
  cell_open(&c, (csn_sandbox_limits){.pids = 40});
  cell_open(&other, (csn_sandbox_limits){.pids = 40});
  assert_int_equal(c.sb->held.value[CSN_LIMIT_PIDS], 40);
  csn_exit end = sh(&c, "(for i in $(seq 100); do sleep 3 & done) 2>/dev/null; "
                        "set -- /proc/[0-9]*; echo $#");
  bool has_group = end.reached & 1u << CSN_LIMIT_PIDS;
  if (has_group)
    explains(&c, &end, "the sandbox's limit of 40 processes was reached: new ones were refused");
  assert_in_range(printed(&c), 30, 43);
  /* Another jail has a count of its own. */
  end = sh(&other, "for i in $(seq 30); do sleep 0 & done; wait; echo fine");
  STR_EQ(csn_buf_str(&other.out), "fine\n");
  assert_int_equal(end.reached, 0);
  cell_close(&c);
  cell_close(&other);
}

TEST(a_busy_loop_gets_its_part_of_a_processor)
{
  struct cell c;
  cell_with_group(&c, CSN_LIMIT_CPU, (csn_sandbox_limits){.cpu_milli = 200});
  sh(&c, "timeout 1 sh -c 'while :; do :; done'; times");
  double used = 0; /* of the children, in "0m0.200s 0m0.010s" */
  const char *line = strchr(c.out.p, '\n');
  assert_int_equal(sscanf(line + 1, "0m%lfs", &used), 1);
  assert_true(used > 0.05 && used < 0.6);
  cell_close(&c);
}

TEST(descriptors_are_limited_and_the_limit_stays)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){.open_files = 32});
  sh(&c, "ulimit -n; ulimit -n 64 2>/dev/null && echo raised");
  STR_EQ(csn_buf_str(&c.out), "32\n");
  cell_close(&c);
}

TEST(a_file_stops_at_its_size_and_the_end_is_explained)
{
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){.file_bytes = 1 << 20});
  csn_exit end = sh(&c, "exec head -c 9999999 /dev/zero >x");
  assert_int_equal(end.signal, SIGXFSZ);
  explains(&c, &end, "killed: the limit of 1 MiB for one file was reached");
  sh(&c, "stat -c %s x");
  assert_int_equal(printed(&c), 1 << 20);
  cell_close(&c);
}

/* ---- time ---- */

TEST(a_jail_whose_time_is_over_ends_with_its_daemons)
{
  struct cell c;
  csn_proc *p;
  cell_open(&c, (csn_sandbox_limits){.wall_ms = 400});
  csn_exit end = sh(&c, "setsid sleep 100 & sleep 100");
  assert_int_equal(end.signal, SIGKILL);
  explains(&c, &end, "killed: the sandbox's time of 400 ms is over");
  const char *argv[] = {"true", NULL};
  assert_int_equal(
      csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err),
      CSN_E_LIMIT);
  assert_non_null(strstr(c.err.msg, "time of 400 ms is over"));
  csn_sandbox_usage u = {0};
  for (int64_t began = csn_now_ns(); !u.is_dead && csn_now_ns() - began < 10000000000;)
    c.sb->ops->usage(c.sb, false, &u);
  assert_true(u.is_dead && u.reached[CSN_LIMIT_WALL]);
  cell_close(&c);
}

/* ---- a workspace folder ---- */

TEST(a_folder_that_grows_too_large_ends_the_commands_but_can_be_cleaned)
{
  struct cell c;
  char folder[] = "/tmp/caisson-disk-XXXXXX";
  csn_sandbox_limits l = {.disk_bytes = 4 << 20};
  assert_non_null(mkdtemp(folder));
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cell_open_at(&c, &l, fd);
  assert_int_equal(c.sb->held.state[CSN_LIMIT_DISK], CSN_LIMIT_SOFT);
  csn_exit end = sh(&c, "setsid sleep 100 & head -c 6000000 /dev/zero >x; sleep 100");
  assert_int_equal(end.signal, SIGKILL);
  explains(&c, &end, "killed: the sandbox's disk limit of 4 MiB was reached");
  /* The one that had left its group is gone, too, once it is collected. */
  for (int i = 0; i < 100 && (i == 0 || printed(&c) > 4); i++)
    sh(&c, "set -- /proc/[0-9]*; echo $#");
  assert_in_range(printed(&c), 1, 4);
  end = sh(&c, "sleep 1; rm x");
  assert_int_equal(end.code, 0);
  cell_close(&c);
  close(fd);
  rmdir(folder);
}

/* ---- strict ---- */

TEST(strict_opens_only_where_all_that_is_asked_for_is_enforced)
{
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  struct cell c;
  cell_open(&c, (csn_sandbox_limits){0});
  bool has_groups = c.sb->held.state[CSN_LIMIT_MEMORY] == CSN_LIMIT_ENFORCED;
  cell_close(&c);
  csn_sandbox_limits l = {.memory_bytes = 1 << 30, .disk_bytes = 1 << 24, .strict = true};
  csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1, .limits = &l};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (has_groups) {
    OK(rc, &err);
  } else {
    assert_int_equal(rc, CSN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "memory is soft; it takes a control group"));
  }
  csn_sandbox_close(sb);
  spec.workspace_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  l = (csn_sandbox_limits){.disk_bytes = 1 << 24, .strict = true};
  char folder[] = "/tmp/caisson-strict-XXXXXX";
  assert_non_null(mkdtemp(folder));
  close(spec.workspace_fd);
  spec.workspace_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "disk is soft"));
  close(spec.workspace_fd);
  rmdir(folder);
}

/* ---- when parts die, and what is left ---- */

/* A child of `parent` whose name starts so; 0: none. */
static pid_t
find_child(pid_t parent, const char *name)
{
  DIR *proc = opendir("/proc");
  pid_t found = 0;
  for (struct dirent *d; (d = readdir(proc));) {
    char path[300], line[512];
    snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
    int fd = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
      close(fd);
    if (n <= 0)
      continue;
    line[n] = '\0';
    int pid, up;
    char state;
    const char *begin = strchr(line, '('), *after = strrchr(line, ')');
    if (after && strncmp(begin + 1, name, strlen(name)) == 0 && sscanf(line, "%d", &pid) == 1 &&
        sscanf(after + 1, " %c %d", &state, &up) == 2 && up == parent && state != 'Z')
      found = pid;
  }
  closedir(proc);
  return found;
}

static const char *wanted_folder;
static int folders_found;

static int
look_at_folder(const char *path, const struct stat *st, int kind, struct FTW *at)
{
  folders_found += kind == FTW_D && strstr(path, wanted_folder) != NULL;
  return 0;
}

/* Folders of a spawner in all hierarchies, with those below them. */
static int
folders_of(pid_t spawner)
{
  char part[64];
  snprintf(part, sizeof part, ".%d.", spawner);
  wanted_folder = part;
  folders_found = 0;
  nftw("/sys/fs/cgroup", look_at_folder, 32, FTW_PHYS);
  return folders_found;
}

/* Polls, because groups go right after the last process and not before. */
static void
await_no_folders(pid_t spawner, int most)
{
  int n = -1;
  for (int64_t began = csn_now_ns(); csn_now_ns() - began < PATIENCE_MS * 1000000LL;) {
    n = folders_of(spawner);
    if (n <= most)
      return;
    struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
  }
  fail_msg("%d folders of the spawner %d are left, at most %d expected", n, spawner, most);
}

TEST(groups_do_not_pile_up_while_jails_come_and_go)
{
  struct cell c[40];
  cell_open(&c[0], (csn_sandbox_limits){0});
  pid_t spawner = find_child(getpid(), "caisson-spawner");
  cell_close(&c[0]);
  int before = folders_of(spawner);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < CSN_COUNT(c); i++)
      cell_open(&c[i], (csn_sandbox_limits){.memory_bytes = 256 << 20});
    for (size_t i = 0; i < CSN_COUNT(c); i++)
      cell_close(&c[i]);
  }
  if (before == 0)
    SKIP("no control groups here");
  await_no_folders(spawner, 3 * 20); /* three hierarchies of spares */
}

TEST(a_killed_spawner_leaves_groups_that_the_next_one_removes)
{
  struct cell c, d;
  cell_open(&c, (csn_sandbox_limits){0});
  pid_t spawner = find_child(getpid(), "caisson-spawner");
  bool had_any = folders_of(spawner) > 0;
  assert_int_equal(kill(spawner, SIGKILL), 0);
  cell_open(&d, (csn_sandbox_limits){0});
  await_no_folders(spawner, 0);
  cell_close(&c);
  cell_close(&d);
  if (!had_any)
    SKIP("no control groups here");
}

TEST(a_killed_harness_leaves_nothing)
{
  int told[2];
  pid_t spawner = 0;
  assert_int_equal(pipe(told), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    csn_sandbox *sb;
    csn_err err;
    csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1};
    if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
      _exit(1);
    spawner = find_child(getpid(), "caisson-spawner");
    (void)!write(told[1], &spawner, sizeof spawner);
    pause();
    _exit(0);
  }
  close(told[1]);
  ssize_t n = read(told[0], &spawner, sizeof spawner);
  bool had_any = spawner && folders_of(spawner) > 0;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close(told[0]);
  if (n != sizeof spawner)
    SKIP("no jail here");
  await_no_folders(spawner, 0);
  if (!had_any)
    SKIP("no control groups here");
}

TEST(a_killed_warden_is_a_dead_sandbox_and_not_a_limit)
{
  struct cell c;
  csn_proc *p;
  csn_exit end = {0};
  cell_open(&c, (csn_sandbox_limits){0});
  pid_t spawner = find_child(getpid(), "caisson-spawner");
  const char *argv[] = {"sleep", "100", NULL};
  OK(csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err), &c.err);
  pid_t warden = find_child(spawner, "caisson-warden");
  if (kill(warden, SIGKILL) < 0) {
    csn_proc_close(p);
    cell_close(&c);
    SKIP("the warden is not ours to kill");
  }
  assert_int_equal(csn_proc_wait(p, NULL, &end, &c.err), CSN_E_SANDBOX);
  assert_non_null(strstr(c.err.msg, "the sandbox died: its first process was killed"));
  csn_proc_close(p);
  cell_close(&c);
}

/* ---- machines with less ---- */

/* What the child found: 0 fine, 77 not possible here. */
static int
without(const char *const *hidden, bool has_cpu)
{
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  csn_exit end = {0};
  csn_sandbox_limits l = {.memory_bytes = 64 << 20, .pids = 50, .cpu_milli = 500};
  csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1, .limits = &l};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  const char *argv[] = {"sh", "-c", "tail /dev/zero 2>&1; echo on", NULL};
  if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
    return 77;
  for (; *hidden; hidden++)
    if (umount2(*hidden, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
      return 77;
  if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
    return 1;
  const uint8_t *state = sb->held.state;
  if (state[CSN_LIMIT_MEMORY] != CSN_LIMIT_SOFT || state[CSN_LIMIT_SWAP] != CSN_LIMIT_ABSENT)
    return 2;
  if (state[CSN_LIMIT_CPU] != (has_cpu ? CSN_LIMIT_ENFORCED : CSN_LIMIT_ABSENT))
    return 3;
  if (csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                       &err) < 0 ||
      end.code != 0 || !strstr(out.p, "on\n"))
    return 4;
  csn_sandbox_close(sb);
  l.strict = true;
  if (csn_sandbox_open(&sb, NULL, &spec, &err) != CSN_E_UNSUPPORTED ||
      !strstr(err.msg, "memory is soft"))
    return 5;
  return 0;
}

static void
in_child(const char *const *hidden, bool has_cpu)
{
  fflush(stdout);
  int status = -1;
  pid_t pid = fork();
  if (pid == 0)
    _exit(without(hidden, has_cpu));
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("cannot hide mounts as this user");
  assert_int_equal(status, 0);
}

TEST(without_control_groups_limits_are_soft_or_absent_and_said_so)
{
  in_child((const char *[]){"/sys/fs/cgroup", NULL}, false);
}

TEST(a_version_1_machine_without_memory_and_processes_keeps_the_others)
{
  if (access("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", F_OK) < 0)
    SKIP("no version 1 here");
  in_child((const char *[]){"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", NULL}, true);
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      RUN(a_memory_bomb_is_killed_and_told_from_a_crash),
      RUN(many_small_processes_are_stopped_by_the_same_limit),
      RUN(without_a_group_each_process_has_the_memory_limit),
      RUN(a_full_folder_of_memory_is_no_kill),
      RUN(a_workspace_in_memory_has_the_size_and_the_files_that_are_asked_for),
      RUN(a_fork_bomb_stops_at_the_limit),
      RUN(a_busy_loop_gets_its_part_of_a_processor),
      RUN(descriptors_are_limited_and_the_limit_stays),
      RUN(a_file_stops_at_its_size_and_the_end_is_explained),
      RUN(a_jail_whose_time_is_over_ends_with_its_daemons),
      RUN(a_folder_that_grows_too_large_ends_the_commands_but_can_be_cleaned),
      RUN(strict_opens_only_where_all_that_is_asked_for_is_enforced),
      RUN(groups_do_not_pile_up_while_jails_come_and_go),
      RUN(a_killed_spawner_leaves_groups_that_the_next_one_removes),
      RUN(a_killed_harness_leaves_nothing),
      RUN(a_killed_warden_is_a_dead_sandbox_and_not_a_limit),
      RUN(without_control_groups_limits_are_soft_or_absent_and_said_so),
      RUN(a_version_1_machine_without_memory_and_processes_keeps_the_others),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("limits", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
