/* SPDX-License-Identifier: Apache-2.0
 *
 * probe_kernel.c - calls into the kernel that need arguments of their own, and
 * looks at what it tells.  The arguments are such that outside the call does
 * its work, so that a refusal inside is the jail's. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

enum {
  NR_open_tree = 428,
  NR_move_mount = 429,
  NR_fsopen = 430,
  NR_fsconfig = 431,
  NR_fsmount = 432,
  NR_pidfd_open = 434,
  NR_mount_setattr = 442,
};

/* ---- calls ---- */

/* A tmpfs by the mount calls of Linux 5.2, attached at args[0]. */
static int
try_new_mount(char **a)
{
  int fs = (int)syscall(NR_fsopen, "tmpfs", 0);
  if (fs < 0 || syscall(NR_fsconfig, fs, 6 /* CREATE */, NULL, NULL, 0) < 0)
    return verdict(-1);
  int tree = (int)syscall(NR_fsmount, fs, 0, 0);
  if (tree < 0)
    return verdict(-1);
  return verdict(syscall(NR_move_mount, tree, "", AT_FDCWD, a[0], 4 /* the tree itself */));
}

static int
try_open_tree(char **a)
{
  return verdict(syscall(NR_open_tree, AT_FDCWD, a[0], 1 /* clone */));
}

static int
try_mount_setattr(char **a)
{
  struct {
    uint64_t set, clear, propagation, userns;
  } attributes = {.set = MS_NOEXEC};
  return verdict(syscall(NR_mount_setattr, AT_FDCWD, a[0], 0, &attributes, sizeof attributes));
}

static int
try_mount_type(char **a)
{
  return verdict(mount(a[0], a[1], a[0], 0, a[2]));
}

static int
try_bind(char **a)
{
  return verdict(mount(a[0], a[1], NULL, MS_BIND, NULL));
}

static int
try_remount(char **a)
{
  return verdict(mount(NULL, a[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int
try_unmount(char **a)
{
  return verdict(umount2(a[0], MNT_DETACH));
}

static int
try_chroot(char **a)
{
  return verdict(chroot(a[0]));
}

static int
try_unshare(char **a)
{
  return verdict(unshare((int)number(a[0])));
}

static int
try_add_key(char **a)
{
  (void)a;
  return verdict(syscall(SYS_add_key, "user", "caisson-probe", "x", 1, -2 /* of the process */));
}

static int
try_io_uring(char **a)
{
  static char parameters[256] __attribute__((aligned(16)));
  (void)a;
  return verdict(syscall(425, 8, parameters));
}

static int
try_bpf(char **a)
{
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4};
  attr.max_entries = 1;
  (void)a;
  return verdict(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int
try_perf(char **a)
{
  struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
                                 .size = sizeof attr,
                                 .config = PERF_COUNT_SW_TASK_CLOCK,
                                 .exclude_kernel = 1,
                                 .exclude_hv = 1};
  (void)a;
  return verdict(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

/* The host's root by its well-known handle, from a mount that we may open. */
static int
try_handle(char **a)
{
  union {
    struct file_handle head;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  } h = {.head.handle_bytes = MAX_HANDLE_SZ};
  int mount_id, at = open(a[0], O_RDONLY | O_DIRECTORY);
  if (at < 0)
    return BROKEN;
  if (name_to_handle_at(AT_FDCWD, a[0], &h.head, &mount_id, 0) < 0) {
    h.head.handle_bytes = 8; /* inode 2 of generation 0, as ext4 says it */
    h.head.handle_type = 1;
    memcpy(h.head.f_handle, (int32_t[]){2, 0}, 8);
  }
  return verdict(open_by_handle_at(at, &h.head, O_RDONLY));
}

static int
try_setns_process(char **a)
{
  int fd = (int)syscall(NR_pidfd_open, (pid_t)number(a[0]), 0);
  return verdict(fd < 0 ? -1 : setns(fd, CLONE_NEWNS));
}

/* Any family but those that are meant to be there. */
static int
try_families(char **a)
{
  static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
  (void)a;
  for (int family = 0; family < 64; family++)
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      bool meant = family == AF_UNIX || family == AF_INET || family == AF_INET6;
      if (meant || (family == AF_NETLINK)) /* of which protocol 0 is meant */
        continue;
      if (socket(family, kinds[i], 0) >= 0) {
        printf("family %d\n", family);
        return WORKED;
      }
    }
  return refused(EAFNOSUPPORT);
}

/* Any netlink protocol but routes. */
static int
try_netlinks(char **a)
{
  (void)a;
  for (int protocol = 1; protocol < 32; protocol++)
    if (socket(AF_NETLINK, SOCK_RAW, protocol) >= 0) {
      printf("netlink protocol %d\n", protocol);
      return WORKED;
    }
  return refused(EAFNOSUPPORT);
}

static int
try_line_discipline(char **a)
{
  int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY), discipline = (int)number(a[0]), off = 0;
  if (fd < 0 || ioctl(fd, TIOCSPTLCK, &off) < 0)
    return BROKEN;
  int slave = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY);
  return slave < 0 ? BROKEN : verdict(ioctl(slave, TIOCSETD, &discipline));
}

/* ---- processes ---- */

static int
try_peek(char **a)
{
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)number(a[1]), 1};
  return verdict(process_vm_readv((pid_t)number(a[0]), &here, 1, &there, 1, 0));
}

static int
try_signal(char **a)
{
  return verdict(kill((pid_t)number(a[0]), (int)number(a[1])));
}

/* Whether this program, which somebody planted with a setuid bit, got more. */
static int
try_gained(char **a)
{
  (void)a;
  if (geteuid() == 0 && getuid() != 0)
    return WORKED;
  if (prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 1 && geteuid() == 0)
    return WORKED;
  return refused(EPERM);
}

static int
try_shared_memory(char **a)
{
  return verdict(shmget((key_t)number(a[0]), 1, 0));
}

static int
try_queue(char **a)
{
  return verdict(mq_open(a[0], O_RDONLY));
}

static int
try_io_priority(char **a)
{
  (void)a;
  return verdict(syscall(SYS_ioprio_set, 1, 0, 1 << 13 /* real time */));
}

static int
try_core_limit(char **a)
{
  struct rlimit want = {RLIM_INFINITY, RLIM_INFINITY};
  (void)a;
  if (setrlimit(RLIMIT_CORE, &want) < 0)
    return verdict(-1);
  getrlimit(RLIMIT_CORE, &want);
  return want.rlim_cur == RLIM_INFINITY ? WORKED : refused(EPERM);
}

/* A crash; whether it left a core file behind in the folder at hand. */
static int
try_core_file(char **a)
{
  struct rlimit most;
  (void)a;
  getrlimit(RLIMIT_CORE, &most);
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_CORE, &most);
  pid_t child = fork();
  if (child == 0) {
    raise(SIGSEGV);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFSIGNALED(status))
    return BROKEN;
  return WCOREDUMP(status) ? WORKED : refused(EPERM);
}

/* With a limit of 0 the kernel starts a core_pattern that is a program, on the
 * host and as its root; with 1 it does not. */
static int
try_core_program(char **a)
{
  struct rlimit none = {0, 0}, now;
  (void)a;
  setrlimit(RLIMIT_CORE, &none);
  if (getrlimit(RLIMIT_CORE, &now) < 0)
    return BROKEN;
  return now.rlim_cur == 1 ? refused(EPERM) : WORKED;
}

/* ---- what can be seen ---- */

static int
try_list(char **a)
{
  DIR *folder = opendir(a[0]);
  if (!folder)
    return verdict(-1);
  errno = 0;
  for (struct dirent *d; (d = readdir(folder));)
    if (d->d_name[0] != '.')
      return WORKED;
  return errno ? verdict(-1) : not_found();
}

/* A descriptor beside the three, or a folder at hand that is not ours. */
static int
try_leaked(char **a)
{
  char path[64], target[PATH_MAX];
  for (int fd = 3; fd < 65536; fd++) {
    if (fcntl(fd, F_GETFD) < 0)
      continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    printf("%d is %.*s\n", fd, n > 0 ? (int)n : 0, target);
    return WORKED;
  }
  if (!getcwd(target, sizeof target) || strcmp(target, a[0]) != 0) {
    printf("the folder at hand is %s\n", target);
    return WORKED;
  }
  return refused(EBADF);
}

static int
see_socket(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
  (void)kind;
  (void)ftw;
  if (!S_ISSOCK(st->st_mode))
    return 0;
  printf("%s\n", path);
  return 1;
}

static int
try_find_sockets(char **a)
{
  int rc = nftw(a[0], see_socket, 64, FTW_PHYS);
  return rc == 1 ? WORKED : rc == 0 ? not_found() : BROKEN;
}

static int
see_setuid(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
  (void)kind;
  (void)ftw;
  if (!S_ISREG(st->st_mode) || !(st->st_mode & (S_ISUID | S_ISGID)) || access(path, X_OK) < 0)
    return 0;
  return 1;
}

/* A program with the bit that would be honoured: its mount is not nosuid. */
static int
try_find_setuid(char **a)
{
  int rc = nftw(a[0], see_setuid, 64, FTW_PHYS);
  return rc == 1 ? WORKED : rc == 0 ? not_found() : BROKEN;
}

/* A kernel symbol with its address. */
static int
try_symbols(char **a)
{
  char line[256];
  FILE *f = fopen("/proc/kallsyms", "r");
  (void)a;
  if (!f)
    return verdict(-1);
  for (int i = 0; i < 1000 && fgets(line, sizeof line, f); i++)
    if (strncmp(line, "0000000000000000", 16) != 0)
      return WORKED;
  return refused(EACCES);
}

/* Whether a file's text, to its end or 1 MiB, has the words. */
static int
try_mentions(char **a)
{
  static char text[1 << 20];
  size_t n = 0;
  int fd = open(a[0], O_RDONLY | O_NONBLOCK);
  if (fd < 0)
    return verdict(-1);
  for (ssize_t got; n < sizeof text && (got = read(fd, text + n, sizeof text - n)) > 0;)
    n += (size_t)got;
  for (char **word = a + 1; n && *word; word++)
    if (memmem(text, n, *word, strlen(*word)))
      return WORKED;
  return not_found();
}

/* What sysinfo(2) says of the whole machine. */
static int
try_sysinfo(char **a)
{
  struct sysinfo s;
  if (sysinfo(&s) < 0)
    return verdict(-1);
  uint64_t value = strcmp(a[0], "memory") == 0   ? (uint64_t)s.totalram * s.mem_unit
                   : strcmp(a[0], "uptime") == 0 ? (uint64_t)s.uptime
                                                 : (uint64_t)s.procs;
  uint64_t told = (uint64_t)number(a[1]), off = value > told ? value - told : told - value;
  return off <= (uint64_t)number(a[2]) ? WORKED : not_found();
}

const struct probe kernel_probes[] = {
    {"new-mount", try_new_mount},
    {"open-tree", try_open_tree},
    {"mount-setattr", try_mount_setattr},
    {"mount-type", try_mount_type},
    {"bind", try_bind},
    {"remount", try_remount},
    {"unmount", try_unmount},
    {"chroot", try_chroot},
    {"unshare", try_unshare},
    {"add-key", try_add_key},
    {"io-uring", try_io_uring},
    {"bpf", try_bpf},
    {"perf", try_perf},
    {"handle", try_handle},
    {"setns-process", try_setns_process},
    {"families", try_families},
    {"netlinks", try_netlinks},
    {"line-discipline", try_line_discipline},
    {"peek", try_peek},
    {"signal", try_signal},
    {"gained", try_gained},
    {"shared-memory", try_shared_memory},
    {"queue", try_queue},
    {"io-priority", try_io_priority},
    {"core-limit", try_core_limit},
    {"core-file", try_core_file},
    {"core-program", try_core_program},
    {"list", try_list},
    {"leaked", try_leaked},
    {"find-sockets", try_find_sockets},
    {"find-setuid", try_find_setuid},
    {"symbols", try_symbols},
    {"mentions", try_mentions},
    {"sysinfo", try_sysinfo},
    {NULL, NULL},
};
