/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_hoard.c - takes more of something than a sandbox should have: memory
 * of several kinds, descriptors, processes, names of files, processor time.
 *
 * Each has a bound in its arguments.  WORKED means that more than the bound was
 * had at once, REFUSED that the kernel stopped it before, whether by an errno
 * or by killing the child that does the taking. */
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

enum { MIB = 1 << 20 };

/* Runs `take` in a child, which may be killed for it. */
static int
in_child(int (*take)(char **a), char **a)
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0)
    return verdict(-1);
  if (child == 0) {
    int rc = take(a);
    fflush(stdout);
    _exit(rc);
  }
  int status = 0;
  if (waitpid(child, &status, 0) < 0)
    return BROKEN;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    puts("killed");
    return REFUSED;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
}

static void
allow_most_files(void)
{
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static int
told(const char *what, long got)
{
  printf("%ld %s\n", got, what);
  return REFUSED;
}

/* A child that SIGTERM ends, unlike us. */
static pid_t
fork_mortal(void)
{
  signal(SIGTERM, SIG_DFL);
  pid_t child = fork();
  if (child != 0)
    signal(SIGTERM, SIG_IGN);
  return child;
}

/* ---- memory ---- */

static int
touch_mib(char *p, long mib)
{
  for (long i = 0; i < mib; i++)
    for (long page = 0; page < MIB; page += 4096)
      p[i * MIB + page] = 1;
  return WORKED;
}

static int
take_memory(char **a)
{
  long mib = number(a[0]);
  char *p =
      mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? verdict(-1) : touch_mib(p, mib);
}

static int
take_shared(char **a)
{
  long mib = number(a[0]);
  int id = shmget(IPC_PRIVATE, (size_t)mib * MIB, 0600 | IPC_CREAT);
  if (id < 0)
    return verdict(-1);
  char *p = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  return p == (char *)-1 ? verdict(-1) : touch_mib(p, mib);
}

static int
take_memfd(char **a)
{
  long mib = number(a[0]);
  int fd = memfd_create("hoard", 0);
  if (fd < 0 || ftruncate(fd, mib * MIB) < 0)
    return verdict(-1);
  char *p = mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return p == MAP_FAILED ? verdict(-1) : touch_mib(p, mib);
}

static int
take_locked(char **a)
{
  size_t n = (size_t)number(a[0]) * MIB;
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? verdict(-1) : verdict(mlock(p, n));
}

/* MiB in a file of args[1]. */
static int
take_file(char **a)
{
  static char block[MIB];
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/hoard", a[1]);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), rc = WORKED;
  if (fd < 0)
    return verdict(-1);
  for (long i = 0; i < number(a[0]) && rc == WORKED; i++)
    if (write(fd, block, MIB) != MIB)
      rc = verdict(-1);
  unlink(path);
  return rc;
}

/* A file of args[0] GiB that holds nothing. */
static int
take_sparse(char **a)
{
  int fd = open("sparse", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0)
    return verdict(-1);
  signal(SIGXFSZ, SIG_IGN);
  int rc = verdict(ftruncate(fd, number(a[0]) << 30));
  unlink("sparse");
  return rc;
}

/* Pipes as large as they can be, all full, in as many processes as it takes
 * for args[0] MiB. */
static long
fill_pipes(void)
{
  static char block[MIB];
  int fd[2];
  long bytes = 0;
  allow_most_files();
  for (int i = 0; i < 500 && pipe2(fd, O_NONBLOCK) == 0; i++) {
    for (int size = MIB; size >= 4096 && fcntl(fd[1], F_SETPIPE_SZ, size) < 0; size /= 2)
      continue;
    for (ssize_t n; (n = write(fd[1], block, sizeof block)) > 0;)
      bytes += n;
  }
  return bytes;
}

static int
take_pipes(char **a)
{
  int report[2];
  long total = 0, part;
  if (pipe(report) < 0)
    return BROKEN;
  for (int i = 0; i < 8; i++) {
    pid_t child = fork_mortal();
    if (child == 0) {
      part = fill_pipes();
      (void)!write(report[1], &part, sizeof part);
      pause();
    }
    if (child < 0 || read(report[0], &part, sizeof part) != sizeof part)
      break;
    total += part;
  }
  kill(0, SIGTERM);
  return total > number(a[0]) * MIB ? WORKED : told("bytes in pipes", total);
}

/* ---- descriptors ---- */

static int
take_descriptors(char **a)
{
  long got = 0, want = number(a[0]);
  allow_most_files();
  while (got < want && eventfd(0, 0) >= 0)
    got++;
  return got == want ? WORKED : told("descriptors", got);
}

/* As many again in many processes at once. */
static int
take_all_descriptors(char **a)
{
  int report[2];
  long total = 0, part = 0;
  if (pipe(report) < 0)
    return BROKEN;
  allow_most_files();
  for (long i = 0; i < number(a[0]); i++) {
    pid_t child = fork_mortal();
    if (child == 0) {
      for (part = 0; eventfd(0, 0) >= 0;)
        part++;
      (void)!write(report[1], &part, sizeof part);
      pause();
    }
    if (child < 0 || read(report[0], &part, sizeof part) != sizeof part)
      break;
    total += part;
  }
  kill(0, SIGTERM);
  return total >= number(a[1]) ? WORKED : told("descriptors", total);
}

static int
take_watchers(char **a)
{
  long got = 0, want = number(a[0]);
  allow_most_files();
  while (got < want && inotify_init1(0) >= 0)
    got++;
  return got == want ? WORKED : told("inotify instances", got);
}

/* Epoll sets that watch each other, which the kernel walks recursively. */
static int
take_epolls(char **a)
{
  int inner = epoll_create1(0);
  for (long depth = 0; depth < number(a[0]); depth++) {
    int outer = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    if (outer < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e) < 0)
      return verdict(-1);
    inner = outer;
  }
  return WORKED;
}

static int
take_queue(char **a)
{
  struct mq_attr size = {.mq_maxmsg = 8, .mq_msgsize = 4096};
  (void)a;
  int rc = verdict(mq_open("/hoard", O_RDWR | O_CREAT, 0600, &size));
  mq_unlink("/hoard");
  return rc;
}

/* ---- processes and time ---- */

static int
take_processes(char **a)
{
  long got = 0, want = number(a[0]);
  int e = 0;
  while (got < want) {
    pid_t child = fork_mortal();
    if (child == 0) {
      pause();
      _exit(0);
    }
    if (child < 0) {
      e = errno;
      break;
    }
    got++;
  }
  kill(0, SIGTERM);
  return e ? told("processes", got) : WORKED;
}

static void *
wait_for_ever(void *none)
{
  for (;;)
    pause();
  return none;
}

static int
take_threads(char **a)
{
  pthread_attr_t at;
  pthread_attr_init(&at);
  pthread_attr_setstacksize(&at, 64 << 10);
  for (long got = 0; got < number(a[0]); got++) {
    pthread_t t;
    if (pthread_create(&t, &at, wait_for_ever, NULL))
      return told("threads", got);
  }
  return WORKED;
}

static double
seconds(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* More than args[1] hundredths of a processor by two busy processes, for
 * args[0] milliseconds. */
static int
take_time(char **a)
{
  struct rusage used;
  double end = seconds(CLOCK_MONOTONIC) + (double)number(a[0]) / 1000;
  for (int i = 0; i < 2; i++)
    if (fork() == 0) {
      while (seconds(CLOCK_MONOTONIC) < end)
        continue;
      _exit(0);
    }
  while (wait(NULL) > 0)
    continue;
  getrusage(RUSAGE_CHILDREN, &used);
  double took = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  long share = (long)(took * 100000 / (double)number(a[0]));
  return share > number(a[1]) ? WORKED : told("hundredths of a processor", share);
}

/* ---- names ---- */

static int
take_names(char **a)
{
  char path[PATH_MAX];
  long made = 0, want = number(a[1]);
  int e = 0;
  for (; made < want && !e; made++) {
    snprintf(path, sizeof path, "%s/hoard-%ld", a[0], made);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0)
      e = errno;
    else
      close(fd);
  }
  for (long i = 0; i < made; i++) {
    snprintf(path, sizeof path, "%s/hoard-%ld", a[0], i);
    unlink(path);
  }
  return e ? refused(e) : WORKED;
}

/* ---- the table ---- */

#define HOARD(name)                                                                                \
  static int hoard_##name(char **a)                                                                \
  {                                                                                                \
    return in_child(take_##name, a);                                                               \
  }
HOARD(memory)
HOARD(shared)
HOARD(memfd)
HOARD(locked)
HOARD(file)
HOARD(sparse)
HOARD(descriptors)
HOARD(watchers)
HOARD(epolls)
HOARD(queue)
HOARD(threads)
HOARD(names)

/* Those that kill their own group do it from a session of their own. */
static int
in_session(int (*take)(char **a), char **a)
{
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    setsid();
    signal(SIGTERM, SIG_IGN);
    _exit(in_child(take, a));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0)
    return BROKEN;
  if (WIFSIGNALED(status)) {
    puts("killed");
    return WTERMSIG(status) == SIGKILL ? REFUSED : BROKEN;
  }
  return WEXITSTATUS(status);
}

static int
hoard_pipes(char **a)
{
  return in_session(take_pipes, a);
}

static int
hoard_all_descriptors(char **a)
{
  return in_session(take_all_descriptors, a);
}

static int
hoard_processes(char **a)
{
  return in_session(take_processes, a);
}

const struct probe hoard_probes[] = {
    {"hoard-memory", hoard_memory},
    {"hoard-shared", hoard_shared},
    {"hoard-memfd", hoard_memfd},
    {"hoard-locked", hoard_locked},
    {"hoard-file", hoard_file},
    {"hoard-sparse", hoard_sparse},
    {"hoard-pipes", hoard_pipes},
    {"hoard-descriptors", hoard_descriptors},
    {"hoard-all-descriptors", hoard_all_descriptors},
    {"hoard-watchers", hoard_watchers},
    {"hoard-epolls", hoard_epolls},
    {"hoard-queue", hoard_queue},
    {"hoard-processes", hoard_processes},
    {"hoard-threads", hoard_threads},
    {"hoard-time", take_time},
    {"hoard-names", hoard_names},
    {NULL, NULL},
};
