/* SPDX-License-Identifier: Apache-2.0
 *
 * test_cgroup.c - where control groups are found and what is written to them.
 *
 * Texts of real machines are parsed; version 2 is tried in a folder in which
 * `make` puts the files that the kernel would, and, as far as this machine has
 * a controller for it, in the real tree: cloning into a group, ending it, and
 * a part of the tree delegated to an ordinary user. */
#include "jail/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "jail/sys.h"

/* ---- finding ---- */

#define V2_MOUNT "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS                                                                                  \
  "30 22 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"                                     \
  "31 30 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n"        \
  "32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"          \
  "33 30 0:30 / /sys/fs/cgroup/memory rw shared:11 master:2 - cgroup cgroup rw,memory\n"           \
  "34 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
#define V1_GROUPS                                                                                  \
  "12:memory:/user.slice/user-1000.slice\n4:cpu,cpuacct:/user.slice\n1:name=systemd:/a\n0::/a/b\n"

static const struct {
  const char *cgroup, *mounts, *controller, *path; /* path NULL: not in view */
  size_t root;
} views[] = {
    {"0::/user.slice/a.scope\n", V2_MOUNT, NULL, "/sys/fs/cgroup/user.slice/a.scope", 14},
    {"0::/\n", V2_MOUNT, NULL, "/sys/fs/cgroup", 14},
    {"0::/user.slice/a.scope\n", V2_MOUNT, "memory", NULL, 0},
    {V1_GROUPS, V1_MOUNTS, "memory", "/sys/fs/cgroup/memory/user.slice/user-1000.slice", 21},
    {V1_GROUPS, V1_MOUNTS, "cpu", "/sys/fs/cgroup/cpu,cpuacct/user.slice", 26},
    {V1_GROUPS, V1_MOUNTS, "cpua", NULL, 0},
    {V1_GROUPS, V1_MOUNTS, "pids", NULL, 0},
    {V1_GROUPS, V1_MOUNTS, NULL, "/sys/fs/cgroup/unified/a/b", 22},
    /* a container of version 1: the mount shows only its own part */
    {"4:memory:/docker/12ab\n",
     "40 39 0:30 /docker/12ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "memory",
     "/sys/fs/cgroup/memory", 21},
    {"4:memory:/docker/12ab/x\n",
     "40 39 0:30 /docker/12ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "memory",
     "/sys/fs/cgroup/memory/x", 21},
    {"4:memory:/docker/12abc\n",
     "40 39 0:30 /docker/12ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "memory", NULL,
     0},
    /* outside of our control group namespace */
    {"0::/../other\n", V2_MOUNT, NULL, NULL, 0},
    {"0::/a\n", "29 22 0:26 / /mnt/with\\040space rw - cgroup2 none rw\n", NULL,
     "/mnt/with space/a", 15},
    {"", "", NULL, NULL, 0},
    {"0::/a", "29 22 0:26 / /sys/fs/cgroup rw - cgroup2", NULL, "/sys/fs/cgroup/a", 14},
    {"0::/a\n", "29 22\n\n- -\n29 22 0:26 /\n", NULL, NULL, 0},
    {"garbage\n:::\n0:\n", V2_MOUNT, NULL, NULL, 0},
};

TEST(our_group_is_found_in_texts_of_all_kinds_of_machines)
{
  for (size_t i = 0; i < CSN_COUNT(views); i++) {
    char path[CSN_CGROUP_PATH] = "";
    size_t root = 0;
    struct csn_cgroup_view view = {views[i].cgroup, views[i].mounts};
    bool found = csn_cgroup_path(&view, views[i].controller, path, &root);
    if (found != (views[i].path != NULL) ||
        (found && (strcmp(path, views[i].path) != 0 || root != views[i].root)))
      fail_msg("view %zu: %d '%s' (%zu), expected '%s' (%zu)", i, found, path, root,
               views[i].path ? views[i].path : "nothing", views[i].root);
  }
}

TEST(fields_and_words_are_found_whole)
{
  assert_int_equal(csn_cgroup_field("oom 3\noom_kill 12\n", "oom_kill "), 12);
  assert_int_equal(csn_cgroup_field("oom_kill_disable 1\noom_kill 2\n", "oom_kill "), 2);
  assert_int_equal(csn_cgroup_field("", "max "), 0);
  assert_true(csn_cgroup_has("cpuset cpu io\n", "cpu"));
  assert_true(csn_cgroup_has("cpuset io memory\n", "memory"));
  assert_false(csn_cgroup_has("cpuset io\n", "cpu"));
  assert_false(csn_cgroup_has("", "cpu"));
}

/* ---- version 2 in a folder ---- */

static char tree[64];

static void
put(int dir, const char *name, const char *text)
{
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

/* A folder with the files of a group that has all three controllers. */
static int
make_like_the_kernel(int dir, const char *name, mode_t mode)
{
  static const char *const files[] = {"cgroup.procs",    "cgroup.subtree_control",
                                      "cgroup.kill",     "memory.max",
                                      "memory.swap.max", "pids.max",
                                      "cpu.max",         "memory.high",
                                      "memory.oom.group"};
  if (mkdirat(dir, name, mode) < 0)
    return -1;
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (size_t i = 0; i < CSN_COUNT(files); i++)
    put(fd, files[i], "");
  put(fd, "cgroup.controllers", "cpu memory pids\n");
  put(fd, "memory.current", "4096\n");
  put(fd, "memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 5\noom_group_kill 0\n");
  put(fd, "pids.events", "max 9\n");
  close(fd);
  return 0;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
  return remove(path);
}

static bool
enters(int folder)
{
  return true;
}

static bool
refuses_scopes(int folder)
{
  char path[64], target[300] = "";
  snprintf(path, sizeof path, "/proc/self/fd/%d", folder);
  return readlink(path, target, sizeof target - 1) > 0 && !strstr(target, "a.scope");
}

static struct csn_cgroups
fake_with(const char *own, const char *unwilling, bool (*try)(int folder))
{
  struct csn_cgroups g = {
      .make = make_like_the_kernel, .try = try, .names = {"memory", "pids", "cpu"}};
  static char cgroup[200], mounts[200];
  char path[300];
  snprintf(tree, sizeof tree, "/tmp/caisson-groups-XXXXXX");
  assert_non_null(mkdtemp(tree));
  rmdir(tree);
  assert_int_equal(make_like_the_kernel(AT_FDCWD, tree, 0755), 0);
  snprintf(path, sizeof path, "%s/user.slice", tree);
  assert_int_equal(make_like_the_kernel(AT_FDCWD, path, 0755), 0);
  snprintf(path, sizeof path, "%s/user.slice/a.scope", tree);
  assert_int_equal(make_like_the_kernel(AT_FDCWD, path, 0755), 0);
  if (unwilling) { /* what a group with processes answers, here by EISDIR */
    snprintf(path, sizeof path, "%s%s/cgroup.subtree_control", tree, unwilling);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
  }
  snprintf(cgroup, sizeof cgroup, "0::%s\n", own);
  snprintf(mounts, sizeof mounts, "29 22 0:26 / %s rw - cgroup2 cgroup2 rw\n", tree);
  csn_cgroups_find(&g, &(struct csn_cgroup_view){cgroup, mounts});
  return g;
}

static struct csn_cgroups
fake(const char *own, const char *unwilling)
{
  return fake_with(own, unwilling, enters);
}

static void
unfake(void)
{
  nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The text of a file below the spawner's folder. */
static void
holds(const struct csn_cgroups *g, const char *file, const char *want)
{
  char text[200];
  assert_true(csn_cgroup_read(g->places[0].folder, file, text, sizeof text));
  if (strcmp(text, want) != 0)
    fail_msg("%s holds '%s', expected '%s'", file, text, want);
}

static bool
is_in(const char *folder, const char *name)
{
  char path[300];
  snprintf(path, sizeof path, "%s%s/%s", tree, folder, name);
  return access(path, F_OK) == 0;
}

TEST(version_2_gets_every_limit_in_its_own_file)
{
  struct csn_cgroups g = fake("/user.slice/a.scope", NULL);
  struct csn_cgroup c;
  csn_jail_held held;
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    assert_int_equal(g.places[i].version, 2);
  assert_true(is_in("/user.slice/a.scope", g.name));
  csn_cgroups_take(&g, &c);
  assert_int_equal(c.number, 0);
  csn_jail_limits l = {.memory = 1 << 30, .swap = 0, .pids = 256, .cpu = 1500};
  csn_cgroup_limit(&g, &c, &l, &held);
  csn_cgroup_limit_processes(&g, &c, &l, &held);
  assert_true(held.memory == 2 && held.swap == 2 && held.pids == 2 && held.cpu == 2);
  holds(&g, "j0/memory.max", "1073741824");
  holds(&g, "j0/memory.swap.max", "0");
  holds(&g, "j0/pids.max", "257");
  holds(&g, "j0/cpu.max", "150000 100000");
  holds(&g, "j0/memory.high", "");
  holds(&g, "j0/memory.oom.group", "");
  int target = csn_cgroup_target(&g, &c);
  assert_true(target >= 0);
  close(target);
  csn_jail_end end = {0};
  csn_cgroup_count(&g, &c, &end);
  assert_true(end.kills == 5 && end.refusals == 9);
  int fds[2];
  csn_cgroup_events(&g, &c, fds);
  assert_true(fds[0] >= 0 && fds[1] >= 0);
  close(fds[0]);
  close(fds[1]);
  csn_cgroup_drop(&g, &c); /* kept, for it is small; what it counted is not the next one's */
  holds(&g, "j0/pids.max", "max");
  csn_cgroups_take(&g, &c);
  assert_int_equal(c.number, 0);
  csn_cgroup_count(&g, &c, &end);
  assert_true(end.kills == 0 && end.refusals == 0);
  unfake();
}

TEST(what_is_not_limited_is_still_told_as_what_it_would_be)
{
  struct csn_cgroups g = fake("/user.slice/a.scope", NULL);
  struct csn_cgroup c;
  csn_jail_held held;
  csn_cgroups_take(&g, &c);
  csn_cgroup_limit(&g, &c, &(csn_jail_limits){.memory = -1, .swap = -1, .pids = -1, .cpu = -1},
                   &held);
  assert_true(held.memory == 2 && held.pids == 2 && held.cpu == 2 && held.memory_bytes == -1);
  holds(&g, "j0/pids.max", "");
  unlinkat(g.places[0].folder, "j0/memory.swap.max", 0); /* a kernel without it */
  csn_cgroup_limit(&g, &c, &(csn_jail_limits){.memory = 1 << 26, .pids = -1, .cpu = -1}, &held);
  assert_true(held.memory == 2 && held.swap == 0);
  unfake();
}

TEST(a_group_that_hands_nothing_on_is_passed_over_upward)
{
  struct csn_cgroups g = fake("/user.slice/a.scope", "/user.slice/a.scope");
  /* Its cgroup.procs is empty, so nobody else is in there; but as root it is
   * left alone unless its manager says that it was delegated. */
  if (geteuid() == 0) {
    assert_true(is_in("/user.slice", g.name));
    assert_false(is_in("/user.slice/a.scope", "caisson.leaf"));
  }
  assert_int_equal(g.places[CSN_CGROUP_PIDS].version, 2);
  unfake();
}

TEST(a_group_that_processes_cannot_be_cloned_into_is_passed_over)
{
  struct csn_cgroups g = fake_with("/user.slice/a.scope", NULL, refuses_scopes);
  assert_int_equal(g.places[CSN_CGROUP_MEMORY].version, 2);
  assert_true(is_in("/user.slice", g.name));
  unfake();
}

TEST(in_the_root_of_what_we_see_we_step_aside)
{
  struct csn_cgroups g = fake("/", "");
  assert_true(is_in("", "caisson.leaf"));
  char text[64], want[128];
  snprintf(want, sizeof want, "%s/caisson.leaf/cgroup.procs", tree);
  assert_true(csn_cgroup_read(AT_FDCWD, want, text, sizeof text));
  assert_true(strlen(text) > 0);
  assert_int_equal(g.places[CSN_CGROUP_PIDS].version, 0); /* it stayed unwilling */
  unfake();
}

TEST(an_earlier_spawner_in_the_leaf_does_not_lead_deeper)
{
  struct csn_cgroups g = fake("/user.slice/a.scope/caisson.leaf", NULL);
  assert_true(is_in("/user.slice/a.scope", g.name));
  unfake();
}

/* ---- what is left behind ---- */

TEST(only_folders_of_dead_spawners_of_our_namespace_are_removed)
{
  struct csn_cgroups g = fake("/user.slice/a.scope", NULL);
  int dir = g.places[0].parent;
  struct stat ns;
  assert_int_equal(stat("/proc/self/ns/pid", &ns), 0);
  char dead[80], other[80], again[80];
  snprintf(dead, sizeof dead, "caisson.%llu.4999999.77", (unsigned long long)ns.st_ino);
  snprintf(other, sizeof other, "caisson.%llu.4999999.77", (unsigned long long)ns.st_ino + 1);
  snprintf(again, sizeof again, "caisson.%llu.%d.1", (unsigned long long)ns.st_ino, getpid());
  static const char *const kept[] = {"caisson.leaf", "caisson.", "caisson.x.1.1", "other",
                                     "caisson.1.2"};
  const char *const gone[] = {dead, again}; /* our own number, but started at another time */
  for (size_t i = 0; i < CSN_COUNT(kept); i++)
    assert_int_equal(mkdirat(dir, kept[i], 0755), 0);
  assert_int_equal(mkdirat(dir, other, 0755), 0);
  for (size_t i = 0; i < CSN_COUNT(gone); i++) {
    char inner[100];
    assert_int_equal(mkdirat(dir, gone[i], 0755), 0);
    snprintf(inner, sizeof inner, "%s/j3", gone[i]);
    assert_int_equal(mkdirat(dir, inner, 0755), 0);
  }
  csn_cgroups_sweep(&g, dir);
  for (size_t i = 0; i < CSN_COUNT(gone); i++)
    assert_int_equal(faccessat(dir, gone[i], F_OK, 0), -1);
  for (size_t i = 0; i < CSN_COUNT(kept); i++)
    assert_int_equal(faccessat(dir, kept[i], F_OK, 0), 0);
  assert_int_equal(faccessat(dir, other, F_OK, 0), 0);
  assert_int_equal(faccessat(dir, g.name, F_OK, 0), 0);
  unfake();
}

/* ---- version 2 for real ---- */

/* The mount of version 2 when it has hugetlb, which stands in for memory here
 * where the others are on version 1. */
static bool
find_real(char path[200])
{
  static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  for (size_t i = 0; i < CSN_COUNT(mounts); i++) {
    char file[300], text[500];
    snprintf(path, 200, "%s", mounts[i]);
    snprintf(file, sizeof file, "%s/cgroup.controllers", path);
    if (csn_cgroup_read(AT_FDCWD, file, text, sizeof text) && csn_cgroup_has(text, "hugetlb"))
      return geteuid() == 0;
  }
  return false;
}

static void
open_real(struct csn_cgroups *g)
{
  csn_cgroups_open(g);
  csn_cgroups_close(g);
  *g = (struct csn_cgroups){
      .make = mkdirat, .try = csn_cgroup_try, .names = {"hugetlb", "none", "none"}};
  static char cgroup[4096], mounts[1 << 20];
  if (csn_cgroup_read(AT_FDCWD, "/proc/self/cgroup", cgroup, sizeof cgroup) &&
      csn_cgroup_read(AT_FDCWD, "/proc/self/mountinfo", mounts, sizeof mounts))
    csn_cgroups_find(g, &(struct csn_cgroup_view){cgroup, mounts});
}

static pid_t
clone_into(int target)
{
  struct clone_request q = {
      .flags = INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)target};
  pid_t pid = (pid_t)syscall(NR_clone3, &q, sizeof q);
  if (pid == 0)
    for (;;)
      pause();
  return pid;
}

/* What a group for a jail must do, in whoever's part of the tree: 0, or the
 * number of the step that went wrong. */
static int
use_real_group(void)
{
  struct csn_cgroups g;
  struct csn_cgroup c;
  char path[64], text[4096];
  open_real(&g);
  if (g.places[0].version != 2)
    return 1;
  csn_cgroups_take(&g, &c);
  int target = csn_cgroup_target(&g, &c);
  pid_t pid = clone_into(target);
  if (pid < 0)
    return 2;
  snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
  if (!csn_cgroup_read(AT_FDCWD, path, text, sizeof text) || !strstr(text, g.name) ||
      !strstr(text, "/j0\n"))
    return 3;
  if (faccessat(g.places[0].folder, "j0/cgroup.procs", F_OK, 0) < 0)
    return 4;
  csn_cgroup_remove(g.places[0].folder, "j0"); /* perhaps not yet: it ends the process */
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
    return 6; /* cgroup.kill has ended it */
  close(target);
  c.number = 0;
  csn_cgroup_drop(&g, &c);
  csn_cgroups_close(&g);
  return faccessat(AT_FDCWD, g.name, F_OK, 0) == 0 ? 7 : 0;
}

TEST(a_process_is_cloned_into_a_real_group_and_ended_with_it)
{
  char root[200], control[300];
  if (!find_real(root))
    SKIP("not root, or no version 2 controller that is free");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0)
    _exit(use_real_group());
  int status = -1;
  waitpid(pid, &status, 0);
  snprintf(control, sizeof control, "%s/cgroup.subtree_control", root);
  csn_cgroup_write(AT_FDCWD, control, "-hugetlb");
  assert_int_equal(status, 0);
}

TEST(an_ordinary_user_uses_the_part_that_was_delegated)
{
  char root[200], path[300], control[400];
  static const char *const given[] = {"", "/cgroup.procs", "/cgroup.subtree_control",
                                      "/cgroup.threads"};
  if (!find_real(root))
    SKIP("not root, or no version 2 controller that is free");
  snprintf(control, sizeof control, "%s/cgroup.subtree_control", root);
  assert_true(csn_cgroup_write(AT_FDCWD, control, "+hugetlb"));
  snprintf(path, sizeof path, "%s/caisson-test.%d", root, getpid());
  assert_int_equal(mkdir(path, 0755), 0);
  for (size_t i = 0; i < CSN_COUNT(given); i++) {
    char file[400];
    snprintf(file, sizeof file, "%s%s", path, given[i]);
    assert_int_equal(chown(file, 65534, 65534), 0);
  }
  fflush(stdout);
  pid_t pid = fork(); /* the harness, which is in its own group with its spawner */
  if (pid == 0) {
    snprintf(control, sizeof control, "%s/cgroup.procs", path);
    if (!csn_cgroup_write(AT_FDCWD, control, "0") || setgroups(0, NULL) < 0 ||
        setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
      _exit(90);
    pid_t spawner = fork();
    if (spawner == 0)
      _exit(use_real_group());
    int status = -1;
    waitpid(spawner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 91);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  snprintf(control, sizeof control, "%s/caisson.leaf", path);
  bool stepped_aside = rmdir(control) == 0;
  bool left_nothing = rmdir(path) == 0;
  snprintf(control, sizeof control, "%s/cgroup.subtree_control", root);
  csn_cgroup_write(AT_FDCWD, control, "-hugetlb");
  assert_int_equal(WEXITSTATUS(status), 0);
  assert_true(stepped_aside && left_nothing);
}

RUN_TESTS("jail/cgroup", RUN(our_group_is_found_in_texts_of_all_kinds_of_machines),
          RUN(fields_and_words_are_found_whole), RUN(version_2_gets_every_limit_in_its_own_file),
          RUN(what_is_not_limited_is_still_told_as_what_it_would_be),
          RUN(a_group_that_hands_nothing_on_is_passed_over_upward),
          RUN(a_group_that_processes_cannot_be_cloned_into_is_passed_over),
          RUN(in_the_root_of_what_we_see_we_step_aside),
          RUN(an_earlier_spawner_in_the_leaf_does_not_lead_deeper),
          RUN(only_folders_of_dead_spawners_of_our_namespace_are_removed),
          RUN(a_process_is_cloned_into_a_real_group_and_ended_with_it),
          RUN(an_ordinary_user_uses_the_part_that_was_delegated))
