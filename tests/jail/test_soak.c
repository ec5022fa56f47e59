/* SPDX-License-Identifier: Apache-2.0
 *
 * test_soak.c - many sandboxes, and harnesses that are killed, after which
 * nothing may be left: no process, mount, descriptor, file or control group.
 *
 * A namespace lives as long as a process, a descriptor or a mount holds it, and
 * one more test counts them: it has few of each kind for very many jails.  We
 * are the reaper of all that comes from us, so who escapes is seen.
 *
 * CSN_SOAK is how many sandboxes (200). */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>

#include "core/fd.h"
#include "identity.h"
#include "sandbox/jail.h"

enum { THREADS = 8, PATIENCE_MS = 30000, SPARE_GROUPS = 3 * 24, SPARE_FDS = 48 };

static struct {
  char folder[64];
  int fd, count;
} soak;

/* ---- looking ---- */

static int
entries(const char *path)
{
  DIR *d = opendir(path);
  int n = 0;
  if (!d)
    return -1;
  for (struct dirent *e; (e = readdir(d));)
    n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static int
descriptors_of(pid_t pid)
{
  char path[40];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  return entries(path);
}

struct process {
  pid_t pid, parent;
  char name[32];
};

static bool
read_process(const char *number, struct process *p)
{
  char path[300], line[512];
  snprintf(path, sizeof path, "/proc/%s/stat", number);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
  if (n <= 0)
    return false;
  line[n] = '\0';
  const char *name = strchr(line, '('), *after = strrchr(line, ')');
  int pid, parent;
  if (!name || !after || sscanf(line, "%d", &pid) != 1 || sscanf(after, ") %*c %d", &parent) != 1)
    return false;
  snprintf(p->name, sizeof p->name, "%.*s", (int)(after - name - 1), name + 1);
  p->pid = pid;
  p->parent = parent;
  return true;
}

/* Descendants of ours; *spawner is that of a harness. */
static int
descendants(pid_t *spawner, pid_t harness)
{
  static struct process all[65536];
  size_t n = 0;
  int found = 0;
  DIR *proc = opendir("/proc");
  for (struct dirent *d; (d = readdir(proc));)
    if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && n < CSN_COUNT(all))
      n += read_process(d->d_name, &all[n]);
  closedir(proc);
  for (size_t i = 0; i < n; i++) {
    pid_t up = all[i].parent;
    for (int depth = 0; up > 1 && up != getpid() && depth < 64; depth++) {
      size_t k = 0;
      while (k < n && all[k].pid != up)
        k++;
      up = k < n ? all[k].parent : 0;
    }
    if (up != getpid())
      continue;
    found++;
    if (strstr(all[i].name, "spawner") && all[i].parent == harness)
      *spawner = all[i].pid;
  }
  return found;
}

/* Lines of our mount table that name the folder or the programs. */
static int
mounts_of_ours(void)
{
  char line[4096];
  int n = 0;
  FILE *f = fopen("/proc/self/mountinfo", "re");
  while (f && fgets(line, sizeof line, f))
    n += strstr(line, soak.folder) || strstr(line, "caisson-warden") || strstr(line, " - nsfs ");
  if (f)
    fclose(f);
  return n;
}

/* Folders of control groups, "caisson.NAMESPACE.PID.START", where jails of this
 * process have them: those of a spawner that is gone, or with `spawner` the
 * groups in its own. */
static int
groups_in(const char *path, pid_t spawner)
{
  int n = 0;
  struct stat ours;
  DIR *d = stat("/proc/self/ns/pid", &ours) < 0 ? NULL : opendir(path);
  for (struct dirent *e; d && (e = readdir(d));) {
    unsigned long space;
    int pid;
    char more[PATH_MAX];
    if (sscanf(e->d_name, "caisson.%lu.%d.", &space, &pid) != 2 || space != ours.st_ino)
      continue;
    snprintf(more, sizeof more, "%s/%s", path, e->d_name);
    DIR *groups = pid == spawner ? opendir(more) : NULL;
    for (struct dirent *g; groups && (g = readdir(groups));)
      n += g->d_type == DT_DIR && g->d_name[0] != '.';
    if (groups)
      closedir(groups);
    struct stat of; /* another user's are his to remove */
    n += !spawner && stat(more, &of) == 0 && of.st_uid == geteuid() && kill(pid, 0) < 0 &&
         errno == ESRCH;
  }
  if (d)
    closedir(d);
  return n;
}

static int
groups_of(pid_t spawner)
{
  char line[PATH_MAX], path[PATH_MAX + 100];
  int n = 0;
  FILE *f = fopen("/proc/self/cgroup", "re");
  while (f && fgets(line, sizeof line, f)) {
    char *controller = strchr(line, ':'), *at = controller ? strchr(controller + 1, ':') : NULL;
    if (!at)
      continue;
    *at++ = '\0';
    at[strcspn(at, "\n")] = '\0';
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s%s", controller + 1, at);
    n += groups_in(path, spawner);
    snprintf(path, sizeof path, "/sys/fs/cgroup/unified%s", at);
    n += controller[1] == '\0' ? groups_in(path, spawner) : 0;
  }
  if (f)
    fclose(f);
  return n;
}

/* ---- making ---- */

static int
make_one(int number, int lock, csn_err *err)
{
  static const char *const scripts[] = {
      "true",
      "(setsid sleep 87654 &); exit 3",
      "echo x >/tmp/x; mkfifo /tmp/y; sleep 87654 & exit 0",
      "head -c 100000 /dev/zero",
  };
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_auto(csn_closep) int work = -1;
  char name[32];
  csn_exit end;
  snprintf(name, sizeof name, "w%d", number);
  bool has_folder = number % 2 == 0;
  if (has_folder && (mkdirat(soak.fd, name, 0700) < 0 ||
                     (work = openat(soak.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
    return csn_fail_errno(err, "workspace %s", name);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = work, .lock_fd = lock};
  int rc = csn_sandbox_open(&sb, NULL, &spec, err);
  const char *argv[] = {"sh", "-c", scripts[(size_t)number % CSN_COUNT(scripts)], NULL};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_scope sc;
  csn_scope_init(&sc, NULL, 60000);
  if (rc == 0 && number % 5) /* a few close without a command */
    rc =
        csn_sandbox_exec(sb, &sc, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, err);
  csn_scope_fini(&sc);
  if (rc == 0 && number % 7 == 0) { /* and some with one that runs */
    csn_proc *p;
    const char *stays[] = {"sleep", "87654", NULL};
    rc = csn_sandbox_spawn(sb, NULL, &(csn_exec){.argv = stays, .tty = true, .claim_fd = -1}, &p,
                           err);
    if (rc == 0)
      csn_proc_close(p);
  }
  csn_sandbox_close(sb);
  sb = NULL;
  if (has_folder && unlinkat(soak.fd, name, AT_REMOVEDIR) < 0 && rc == 0)
    rc = csn_fail_errno(err, "remove %s", name);
  return rc;
}

static struct batch {
  atomic_int next, failed;
  int count, lock;
  char why[300];
} batch;

static void *
make_many(void *none)
{
  for (int n; (n = atomic_fetch_add(&batch.next, 1)) < batch.count;) {
    csn_err err = {0};
    if (make_one(n, batch.lock, &err) < 0 && atomic_fetch_add(&batch.failed, 1) == 0)
      snprintf(batch.why, sizeof batch.why, "%.299s", err.msg);
  }
  return none;
}

static void
make_in_parallel(int count, int lock)
{
  pthread_t threads[THREADS];
  batch = (struct batch){.count = count, .lock = lock};
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, make_many, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

static void
need_jails(void)
{
  csn_sandbox *sb;
  csn_err err;
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  csn_sandbox_close(sb);
}

/* ---- tests ---- */

/* The kernel takes things apart after the last process has gone, and a spawner
 * has helpers for a moment: looks until there is no more than there should be. */
static int
settled(int (*look)(pid_t), pid_t pid, int want)
{
  int now = look(pid);
  for (int ms = 0; now > want && ms < PATIENCE_MS; ms += 20) {
    poll(NULL, 0, 20);
    now = look(pid);
  }
  return now;
}

static int
look_at_processes(pid_t unused)
{
  while (waitpid(-1, NULL, WNOHANG) > 0)
    continue;
  return descendants(&unused, 0);
}

TEST(many_sandboxes_leave_nothing_behind)
{
  pid_t spawner = 0;
  need_jails();
  make_in_parallel(THREADS * 2, -1); /* what stays for good is there from now on */
  int processes = descendants(&spawner, getpid()), mounts = mounts_of_ours();
  assert_true(spawner > 0);
  int own = descriptors_of(getpid()), theirs = descriptors_of(spawner);
  make_in_parallel(soak.count, -1);
  if (batch.failed)
    fail_msg("%d of %d failed: %s", batch.failed, soak.count, batch.why);
  assert_true(settled(look_at_processes, 0, processes) <= processes);
  theirs += SPARE_FDS; /* namespaces made ahead come and go; a leak has one a sandbox */
  assert_true(settled(descriptors_of, spawner, theirs) <= theirs);
  assert_int_equal(descriptors_of(getpid()), own);
  assert_int_equal(mounts_of_ours(), mounts);
  assert_int_equal(entries(soak.folder), 0);
  /* Some are made ahead, and with version 1 the spawner sits in one. */
  assert_true(groups_of(spawner) <= SPARE_GROUPS);
}

/* A harness in a process of its own; it ends when it is killed. */
static pid_t
start_harness(int lock)
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    for (;;)
      make_in_parallel(1000, lock);
  }
  return pid;
}

static void
forget_folders(void)
{
  csn_err err;
  DIR *d = opendir(soak.folder);
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] == 'w')
      OK(csn_remove_tree(soak.fd, e->d_name, &err), &err);
  closedir(d);
}

/* Of a spawner that was killed the next one takes the groups away. */
static int
sweep_groups(pid_t unused)
{
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    csn_err err;
    _exit(make_one(1, -1, &err) < 0);
  }
  waitpid(pid, NULL, 0);
  return groups_of(unused);
}

static void
kill_while_making(bool is_harness)
{
  unsigned seed = (unsigned)getpid();
  int rounds = soak.count / 10;
  char path[100];
  need_jails();
  snprintf(path, sizeof path, "%s/.lock", soak.folder);
  int before = settled(look_at_processes, 0, 1);
  for (int i = 0; i < rounds; i++) {
    csn_auto(csn_closep) int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    csn_auto(csn_closep) int again = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    pid_t harness = start_harness(lock), spawner = 0;
    close(lock);
    lock = -1;
    seed = seed * 1103515245 + 12345;
    poll(NULL, 0, (int)(seed >> 16) % 80);
    if (!is_harness) {
      for (int ms = 0; !spawner && ms < PATIENCE_MS; ms++) {
        poll(NULL, 0, 1);
        descendants(&spawner, harness);
      }
      assert_int_equal(kill(spawner, SIGKILL), 0);
      seed = seed * 1103515245 + 12345;
      poll(NULL, 0, (int)(seed >> 16) % 20);
    }
    assert_int_equal(kill(harness, SIGKILL), 0);
    assert_true(settled(look_at_processes, 0, before) <= before);
    /* All who held the lock have gone, those of the jails too. */
    assert_int_equal(flock(again, LOCK_EX | LOCK_NB), 0);
    forget_folders();
  }
  unlink(path);
  assert_int_equal(entries(soak.folder), 0);
  assert_int_equal(mounts_of_ours(), 0);
  assert_int_equal(settled(sweep_groups, 0, 0), 0);
}

TEST(a_harness_killed_while_it_makes_sandboxes_leaves_nothing_behind)
{
  kill_while_making(true);
}

TEST(a_spawner_and_its_harness_killed_leave_nothing_behind)
{
  kill_while_making(false);
}

static bool
write_to(const char *path, const char *text)
{
  csn_auto(csn_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* 0 when many jails were made with no more than 48 namespaces of each kind. */
static int
make_with_few_namespaces(void)
{
  static const char *const kinds[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};
  char map[64], path[64];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER) < 0 || !write_to("/proc/self/setgroups", "deny"))
    return 77;
  snprintf(map, sizeof map, "0 %u 1", uid);
  if (!write_to("/proc/self/uid_map", map))
    return 77;
  snprintf(map, sizeof map, "0 %u 1", gid);
  if (!write_to("/proc/self/gid_map", map))
    return 77;
  for (size_t i = 0; i < CSN_COUNT(kinds); i++) {
    snprintf(path, sizeof path, "/proc/sys/user/max_%s_namespaces", kinds[i]);
    if (!write_to(path, "48"))
      return 77;
  }
  csn_err err = {0};
  int waits = 0;
  for (int made = 0; made < soak.count; made++) {
    int rc = make_one(made * 2 + 1, -1, &err);
    for (; rc == CSN_E_UNSUPPORTED && err.sys_errno == ENOSPC && waits < PATIENCE_MS; waits += 20) {
      poll(NULL, 0, 20); /* the kernel takes them apart later */
      rc = make_one(made * 2 + 1, -1, &err);
    }
    if (rc < 0) {
      printf("# jail %d: %s\n", made, err.msg);
      return 1;
    }
  }
  return 0;
}

TEST(namespaces_are_given_back)
{
  need_jails();
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int rc = make_with_few_namespaces();
    fflush(stdout);
    _exit(rc);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("cannot make a user namespace with limits of its own");
  assert_int_equal(status, 0);
  assert_int_equal(settled(look_at_processes, 0, 1), 1); /* our own spawner */
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      RUN(many_sandboxes_leave_nothing_behind),
      RUN(a_harness_killed_while_it_makes_sandboxes_leaves_nothing_behind),
      RUN(a_spawner_and_its_harness_killed_leave_nothing_behind),
      RUN(namespaces_are_given_back),
  };
  int64_t count = 200;
  csn_err err;
  const char *given = getenv("CSN_SOAK");
  if (given && !csn_str_int(csn_cstr(given), &count))
    return 1;
  soak.count = (int)count;
  snprintf(soak.folder, sizeof soak.folder, "/tmp/caisson-soak-XXXXXX");
  if (!mkdtemp(soak.folder))
    return 1;
  soak.fd = open(soak.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  cmocka_set_message_output(CM_OUTPUT_TAP);
  int rc = cmocka_run_group_tests_name("jail/soak", all, NULL, NULL);
  csn_auto(csn_closep) int above = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (csn_remove_tree(above, soak.folder + strlen("/tmp/"), &err) < 0)
    printf("# %s\n", err.msg);
  close(soak.fd);
  return rc;
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
