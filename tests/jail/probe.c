/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.c - tries one thing that a sandbox must not allow.  Static, so that it
 * runs in any root file system.
 *
 * Says with its exit status what came of it: 0 it worked, 1 it was refused
 * (the errno goes to stdout), 3 the probe itself could not run, which proves
 * nothing.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

extern char **environ;

/* Whether the needle is in what a descriptor still holds. */
static bool
holds(int fd, const char *needle)
{
  char text[8192];
  ssize_t n = read(fd, text, sizeof text);
  return n > 0 && memmem(text, (size_t)n, needle, strlen(needle)) != NULL;
}

/* ---- canaries: is what the harness has in reach? ---- */

static int
try_file(char **a)
{
  int fd = open(a[0], O_RDONLY);
  if (fd < 0)
    return verdict(-1);
  return holds(fd, a[1]) ? WORKED : not_found();
}

static int
try_environment(char **a)
{
  for (char **e = environ; *e; e++)
    if (strstr(*e, a[0]))
      return WORKED;
  DIR *proc = opendir("/proc");
  if (!proc)
    return BROKEN;
  for (struct dirent *d; (d = readdir(proc));) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/environ", d->d_name);
    int fd = d->d_name[0] >= '0' && d->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
    if (fd >= 0 && holds(fd, a[0]))
      return WORKED;
  }
  return not_found();
}

static int
try_unix(const char *name, bool abstract)
{
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  size_t n = strlen(name);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || n + 1 >= sizeof to.sun_path)
    return BROKEN;
  memcpy(to.sun_path + abstract, name, n);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + n);
  return verdict(connect(fd, (struct sockaddr *)&to, size));
}

static int
try_socket(char **a)
{
  return try_unix(a[0], false);
}

static int
try_abstract(char **a)
{
  return try_unix(a[0], true);
}

/* An address of either family. */
static socklen_t
address_of(const char *text, uint16_t port, struct sockaddr_storage *to)
{
  struct sockaddr_in *four = (struct sockaddr_in *)to;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
  *to = (struct sockaddr_storage){0};
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return sizeof *four;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
    return 0;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  return sizeof *six;
}

static int
try_tcp(char **a)
{
  struct sockaddr_storage to;
  socklen_t n = address_of(a[0], (uint16_t)number(a[1]), &to);
  int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (n == 0)
    return BROKEN;
  if (fd < 0)
    return verdict(-1);
  int rc = connect(fd, (struct sockaddr *)&to, n);
  if (rc == 0 || errno != EINPROGRESS)
    return verdict(rc);
  int told = 0;
  socklen_t size = sizeof told;
  if (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 2000) == 0)
    return WORKED; /* its packets go somewhere */
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &told, &size);
  errno = told;
  return verdict(told ? -1 : 0);
}

/* Sends a packet that nobody needs to answer. */
static int
try_udp(char **a)
{
  struct sockaddr_storage to;
  socklen_t n = address_of(a[0], (uint16_t)number(a[1]), &to);
  int fd = socket(to.ss_family, SOCK_DGRAM, 0);
  if (n == 0)
    return BROKEN;
  return verdict(fd < 0 ? -1 : sendto(fd, "x", 1, 0, (struct sockaddr *)&to, n));
}

/* Whether somebody has the port: a closed one is told of at once. */
static int
try_udp_heard(char **a)
{
  char byte;
  struct sockaddr_storage to;
  socklen_t n = address_of(a[0], (uint16_t)number(a[1]), &to);
  int fd = socket(to.ss_family, SOCK_DGRAM, 0);
  if (n == 0 || fd < 0 || connect(fd, (struct sockaddr *)&to, n) < 0 || send(fd, "x", 1, 0) < 0)
    return n == 0 ? BROKEN : verdict(-1);
  if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 200) == 0)
    return WORKED;
  return verdict(recv(fd, &byte, 1, MSG_DONTWAIT));
}

static int
try_memory(char **a)
{
  char path[64], text[64] = "";
  size_t n = strlen(a[2]);
  uintptr_t at = (uintptr_t)number(a[1]);
  struct iovec here = {text, n}, there = {(void *)at, n};
  if (n >= sizeof text)
    return BROKEN;
  if (process_vm_readv((pid_t)number(a[0]), &here, 1, &there, 1, 0) == (ssize_t)n &&
      !strcmp(text, a[2]))
    return WORKED;
  snprintf(path, sizeof path, "/proc/%s/mem", a[0]);
  int fd = open(path, O_RDONLY);
  if (fd < 0)
    return verdict(-1);
  return pread(fd, text, n, (off_t)at) == (ssize_t)n && !strcmp(text, a[2]) ? WORKED : not_found();
}

static int
try_descriptors(char **a)
{
  for (int fd = 0; fd < 1024; fd++) {
    char text[64];
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n > 0 && memmem(text, (size_t)n, a[0], strlen(a[0])))
      return WORKED;
  }
  return not_found();
}

static int
try_stdin(char **a)
{
  return holds(0, a[0]) ? WORKED : not_found();
}

/* ---- what commands may not do ---- */

static int
try_syscall(char **a)
{
  static char page[4096] __attribute__((aligned(4096)));
  long v[6] = {0};
  for (int i = 0; i < 6 && a[i]; i++)
    v[i] = strcmp(a[i], "page") == 0 ? (long)(uintptr_t)page : number(a[i]);
  return verdict(syscall(v[0], v[1], v[2], v[3], v[4], v[5]));
}

static int
try_socket_family(char **a)
{
  return verdict(socket((int)number(a[0]), (int)number(a[1]), (int)number(a[2])));
}

static int
try_mount(char **a)
{
  (void)a;
  return verdict(mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
}

static int
try_node(char **a)
{
  bool is_char = a[1] && strcmp(a[1], "char") == 0;
  return verdict(mknod(a[0], is_char ? S_IFCHR | 0600 : S_IFBLK | 0600, is_char ? 0x101 : 0xfe00));
}

static int
try_write(char **a)
{
  int fd = open(a[0], O_WRONLY);
  return verdict(fd < 0 ? -1 : write(fd, a[1], strlen(a[1])));
}

static int
try_create(char **a)
{
  return verdict(open(a[0], O_WRONLY | O_CREAT, 0600));
}

static int
try_open(char **a)
{
  return verdict(open(a[0], O_RDONLY));
}

static int
try_link(char **a)
{
  return verdict(link(a[0], a[1]));
}

static int
try_namespace_clone(char **a)
{
  long pid = syscall(SYS_clone, (unsigned long)number(a[0]) | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0)
    _exit(0);
  return verdict(pid);
}

static int
try_clone3(char **a)
{
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, size, tls;
  } args = {.flags = (uint64_t)number(a[0]), .exit_signal = SIGCHLD};
  long pid = syscall(435, &args, sizeof args);
  if (pid == 0)
    _exit(0);
  return verdict(pid);
}

static int
try_setns(char **a)
{
  int fd = open("/proc/self/ns/net", O_RDONLY);
  (void)a;
  return fd < 0 ? BROKEN : verdict(setns(fd, 0));
}

static int
try_trace(char **a)
{
  return verdict(ptrace(PTRACE_ATTACH, (pid_t)number(a[0]), 0, 0));
}

/* Killing the first process: it must still be there afterwards. */
static int
try_kill_first(char **a)
{
  (void)a;
  if (getpid() == 1)
    return BROKEN;
  int rc = kill(1, SIGKILL);
  int e = errno;
  nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  if (access("/proc/1/stat", F_OK) < 0)
    return WORKED;
  errno = rc < 0 ? e : EPERM; /* taken and ignored */
  return verdict(-1);
}

static int
try_terminal_input(char **a)
{
  unsigned long request = (unsigned long)number(a[0]);
  char c = 'x';
  int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY), off = 0;
  if (fd < 0 || ioctl(fd, TIOCSPTLCK, &off) < 0)
    return BROKEN;
  if (setsid() < 0 && getsid(0) != getpid())
    return BROKEN;
  int slave = ioctl(fd, TIOCGPTPEER, O_RDWR);
  if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
    return BROKEN;
  return verdict(syscall(SYS_ioctl, slave, request, &c));
}

static int
try_raise_limit(char **a)
{
  struct rlimit r = {(rlim_t)number(a[0]), (rlim_t)number(a[0])};
  return verdict(setrlimit(RLIMIT_NOFILE, &r));
}

static int
try_limit_of_first(char **a)
{
  struct rlimit r = {3, 3};
  (void)a;
  return verdict(prlimit(1, RLIMIT_NOFILE, &r, NULL));
}

static int
try_priority(char **a)
{
  return verdict(setpriority(PRIO_PROCESS, 0, (int)number(a[0])));
}

static int
try_realtime(char **a)
{
  struct sched_param p = {.sched_priority = 10};
  (void)a;
  return verdict(sched_setscheduler(0, SCHED_FIFO, &p));
}

static int
try_settime(char **a)
{
  struct timeval now;
  (void)a;
  gettimeofday(&now, NULL);
  return verdict(settimeofday(&now, NULL));
}

/* A foreign system call table.  The process must be killed for it. */
static int
try_foreign(char **a)
{
#ifdef __x86_64__
  pid_t child = fork();
  if (child < 0)
    return BROKEN;
  if (child == 0) {
    long rc;
    if (strcmp(a[0], "x32") == 0)
      rc = syscall(0x40000000 + SYS_getpid);
    else
      __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory"); /* getpid of i386 */
    _exit(rc > 0 ? 0 : 4);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
    errno = EPERM;
    return verdict(-1);
  }
  /* Else this kernel has no such table. */
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? WORKED : refused(ENOSYS);
#else
  (void)a;
  return refused(ENOSYS);
#endif
}

static int
try_become_root(char **a)
{
  (void)a;
  return verdict(setresuid(0, 0, 0));
}

/* Leaves this many dead children to whoever collects orphans, 200 at a time. */
static int
try_orphans(char **a)
{
  for (long left = number(a[0]); left > 0; left -= 200) {
    pid_t parent = fork();
    if (parent == 0) {
      for (int i = 0; i < 200; i++)
        if (fork() == 0)
          _exit(0);
      _exit(0);
    }
    if (parent < 0 && errno != EAGAIN) /* the limit: those before are not collected yet */
      return BROKEN;
    if (parent < 0)
      left += 200;
    else
      waitpid(parent, NULL, 0);
  }
  return WORKED;
}

static const struct probe probes[] = {
    {"file", try_file},
    {"environment", try_environment},
    {"socket", try_socket},
    {"abstract", try_abstract},
    {"tcp", try_tcp},
    {"udp", try_udp},
    {"udp-heard", try_udp_heard},
    {"memory", try_memory},
    {"descriptors", try_descriptors},
    {"stdin", try_stdin},
    {"syscall", try_syscall},
    {"family", try_socket_family},
    {"mount", try_mount},
    {"node", try_node},
    {"write", try_write},
    {"create", try_create},
    {"open", try_open},
    {"link", try_link},
    {"clone", try_namespace_clone},
    {"clone3", try_clone3},
    {"setns", try_setns},
    {"trace", try_trace},
    {"kill-first", try_kill_first},
    {"terminal", try_terminal_input},
    {"raise-limit", try_raise_limit},
    {"limit-of-first", try_limit_of_first},
    {"priority", try_priority},
    {"realtime", try_realtime},
    {"settime", try_settime},
    {"foreign", try_foreign},
    {"become-root", try_become_root},
    {"orphans", try_orphans},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
  const struct probe *lists[] = {probes, kernel_probes, hoard_probes};
  for (size_t i = 0; argc > 1 && i < sizeof lists / sizeof *lists; i++)
    for (const struct probe *p = lists[i]; p->name; p++)
      if (strcmp(p->name, argv[1]) == 0)
        return p->run(argv + 2);
  return BROKEN;
}
