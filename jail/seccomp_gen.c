/* SPDX-License-Identifier: Apache-2.0
 *
 * seccomp_gen.c - prints the jail's seccomp filters as C arrays.  Runs at build
 * time, because building a filter takes longer than making a jail.
 *
 * allow_filter names what may be called; all else does not exist there (ENOSYS)
 * and foreign system call tables, x32 among them, kill.  deny_filter comes
 * first and refuses single arguments of allowed calls.  end_filter refuses what
 * the workspace's graft needs and comes after it.  The strictest answer holds.
 *
 * usage: seccomp_gen x86_64|aarch64
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* files */
    "access",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "_llseek",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "open",
    "openat",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "sendfile64",
    "setxattr",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "truncate64",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    /* memory */
    "brk",
    "get_mempolicy",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_madvise",
    "remap_file_pages",
    "set_mempolicy",
    /* processes */
    "arch_prctl",
    "capget",
    "capset",
    "clone",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "get_robust_list",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "getuid32",
    "ioprio_get",
    "ioprio_set",
    "kcmp",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "restart_syscall",
    "rseq",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "set_robust_list",
    "setsid",
    "set_thread_area",
    "get_thread_area",
    "set_tid_address",
    "setuid",
    "setuid32",
    "tgkill",
    "tkill",
    "uname",
    "getcpu",
    "sysinfo",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
    /* signals, time, waiting */
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "futex",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getitimer",
    "getrandom",
    "gettimeofday",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "select",
    "setitimer",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "time",
    "timer_create",
    "timer_delete",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "times",
    /* talking */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "listen",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "pipe",
    "pipe2",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "socket",
    "socketpair",
};

/* What the first process of a jail needs until its workspace is in place, so
 * that it can load the long filters before that. */
static const char *const last[] = {"chroot", "mount", "move_mount", "setns"};

/* "Operation not permitted" tells people and programs more than ENOSYS. */
static const char *const refused[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "iopl",
    "ioperm",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "migrate_pages",
    "mount_setattr",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "vhangup",
};

enum { TIOCSTI_REQUEST = 0x5412, TIOCLINUX_REQUEST = 0x541C, TIOCSETD_REQUEST = 0x5423 };
/* CLONE_NEW* of clone(2) */
static const scmp_datum_t NAMESPACES[] = {0x00020000, 0x02000000, 0x04000000, 0x08000000,
                                          0x10000000, 0x20000000, 0x40000000};

static void
check(int rc, const char *what)
{
  if (rc < 0) {
    fprintf(stderr, "seccomp_gen: %s: %s\n", what, strerror(-rc));
    exit(1);
  }
}

static scmp_filter_ctx
new_filter(uint32_t otherwise, uint32_t arch)
{
  scmp_filter_ctx f = seccomp_init(otherwise);
  if (!f)
    check(-ENOMEM, "init");
  if (arch != seccomp_arch_native()) {
    check(seccomp_arch_add(f, arch), "architecture");
    check(seccomp_arch_remove(f, seccomp_arch_native()), "architecture");
  }
  check(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad architecture");
  check(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
  return f;
}

/* Adds a rule for a call that this architecture or libseccomp may lack. */
static void
add(scmp_filter_ctx f, uint32_t arch, uint32_t action, const char *name, unsigned n,
    const struct scmp_arg_cmp *args)
{
  int nr = seccomp_syscall_resolve_name(name);
  (void)arch;
  if (nr == __NR_SCMP_ERROR || nr < -1)
    return;
  check(seccomp_rule_add_array(f, action, nr, n, args), name);
}

static void
refuse_socket(scmp_filter_ctx f, uint32_t arch, struct scmp_arg_cmp cmp)
{
  add(f, arch, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &cmp);
  add(f, arch, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socketpair", 1, &cmp);
}

/* The limit stays at 1 (jail/build.c): with 0 the kernel starts a core_pattern
 * that is a program, as root of the host.  "ulimit -c 0" is in many a script,
 * so it is taken and does nothing. */
static void
keep_core_limit(scmp_filter_ctx f, uint32_t arch)
{
  struct scmp_arg_cmp old = SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, RLIMIT_CORE);
  struct scmp_arg_cmp new[] = {SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, RLIMIT_CORE),
                               SCMP_A2(SCMP_CMP_NE, 0)};
  add(f, arch, SCMP_ACT_ERRNO(0), "setrlimit", 1, &old);
  add(f, arch, SCMP_ACT_ERRNO(0), "prlimit64", 2, new);
}

/* Files of the workspace belong to the owner of its folder, who may be root:
 * with these bits others of this machine could run one as that user.  The mode
 * of openat2(2) lies in memory, so that call is not allowed at all.  Packages
 * have such files: a build goes on without the bits, which no jail honours. */
static void
refuse_set_id(scmp_filter_ctx f, uint32_t arch, bool is_build)
{
  static const struct {
    const char *name;
    unsigned mode, flags; /* which arguments; flags 0: always a mode */
  } calls[] = {{"chmod", 1, 0},   {"fchmod", 1, 0}, {"fchmodat", 2, 0}, {"fchmodat2", 2, 0},
               {"creat", 1, 0},   {"mkdir", 1, 0},  {"mkdirat", 2, 0},  {"mknod", 1, 0},
               {"mknodat", 2, 0}, {"open", 2, 1},   {"openat", 3, 2},   {"mq_open", 2, 0}};
  static const scmp_datum_t bits[] = {S_ISUID, S_ISGID}, makes[] = {O_CREAT, O_TMPFILE};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    for (size_t b = 0; b < 2; b++)
      for (size_t m = 0; m < (calls[i].flags ? 2 : 1); m++) {
        struct scmp_arg_cmp c[] = {
            SCMP_CMP(calls[i].mode, SCMP_CMP_MASKED_EQ, bits[b], bits[b]),
            SCMP_CMP(calls[i].flags, SCMP_CMP_MASKED_EQ, makes[m], makes[m])};
        bool changes = strstr(calls[i].name, "chmod") != NULL;
        add(f, arch, SCMP_ACT_ERRNO(is_build && changes ? 0 : EPERM), calls[i].name,
            calls[i].flags ? 2 : 1, c);
      }
}

static scmp_filter_ctx
deny(uint32_t arch, bool is_build)
{
  const uint32_t no = SCMP_ACT_ERRNO(EPERM);
  scmp_filter_ctx f = new_filter(SCMP_ACT_ALLOW, arch);
  /* Its arguments lie in memory where no filter can see them; libraries fall
   * back to clone. */
  add(f, arch, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
  for (size_t i = 0; i < sizeof NAMESPACES / sizeof *NAMESPACES; i++) {
    struct scmp_arg_cmp c = SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES[i], NAMESPACES[i]);
    add(f, arch, no, "clone", 1, &c);
  }
  /* The kernel looks at 32 bits of the request. */
  struct scmp_arg_cmp sti = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSTI_REQUEST);
  struct scmp_arg_cmp lin = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCLINUX_REQUEST);
  struct scmp_arg_cmp set = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSETD_REQUEST);
  add(f, arch, no, "ioctl", 1, &sti);
  add(f, arch, no, "ioctl", 1, &lin);
  add(f, arch, no, "ioctl", 1, &set); /* line disciplines: modules that nobody reviews */
  /* Another process's limits, the warden's among them. */
  struct scmp_arg_cmp other = SCMP_A0(SCMP_CMP_NE, 0);
  add(f, arch, no, "prlimit64", 1, &other);
  keep_core_limit(f, arch);
  refuse_set_id(f, arch, is_build);
  /* Families left: AF_UNIX, AF_INET, AF_INET6, and routes of AF_NETLINK. */
  static const int families[] = {0, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15};
  for (size_t i = 0; i < sizeof families / sizeof *families; i++)
    refuse_socket(f, arch, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
  refuse_socket(f, arch, SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
  struct scmp_arg_cmp netlink[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_NE, 0)};
  add(f, arch, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 2, netlink);
  /* Protocols up to ICMPv6 but DCCP: SCTP, multipath TCP and others are modules
   * that the kernel would load for whoever asks. */
  struct scmp_arg_cmp late = SCMP_A2(SCMP_CMP_GT, IPPROTO_ICMPV6);
  struct scmp_arg_cmp dccp = SCMP_A2(SCMP_CMP_EQ, IPPROTO_DCCP);
  add(f, arch, SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", 1, &late);
  add(f, arch, SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", 1, &dccp);
  return f;
}

static scmp_filter_ctx
allow(uint32_t arch)
{
  scmp_filter_ctx f = new_filter(SCMP_ACT_ERRNO(ENOSYS), arch);
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
    add(f, arch, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
  for (size_t i = 0; i < sizeof last / sizeof *last; i++)
    add(f, arch, SCMP_ACT_ALLOW, last[i], 0, NULL);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    add(f, arch, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
  /* Linux and the other personalities that differ in uname(2) alone. */
  static const scmp_datum_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff, 0x40000};
  for (size_t i = 0; i < sizeof personalities / sizeof *personalities; i++) {
    struct scmp_arg_cmp c = SCMP_A0(SCMP_CMP_EQ, personalities[i]);
    add(f, arch, SCMP_ACT_ALLOW, "personality", 1, &c);
  }
  return f;
}

static scmp_filter_ctx
end(uint32_t arch)
{
  scmp_filter_ctx f = new_filter(SCMP_ACT_ALLOW, arch);
  for (size_t i = 0; i < sizeof last / sizeof *last; i++)
    add(f, arch, SCMP_ACT_ERRNO(EPERM), last[i], 0, NULL);
  return f;
}

static void
print_filter(const char *name, scmp_filter_ctx f)
{
  struct sock_filter op;
  int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0)
    check(-errno, "memfd_create");
  check(seccomp_export_bpf(f, fd), "export");
  lseek(fd, 0, SEEK_SET);
  printf("static const struct sock_filter %s[] = {\n", name);
  while (read(fd, &op, sizeof op) == (ssize_t)sizeof op)
    printf("    {0x%04x, %u, %u, 0x%08x},\n", op.code, op.jt, op.jf, op.k);
  printf("};\n");
  close(fd);
  seccomp_release(f);
}

int
main(int argc, char **argv)
{
  uint32_t arch = argc == 2 ? seccomp_arch_resolve_name(argv[1]) : 0;
  if (arch != SCMP_ARCH_X86_64 && arch != SCMP_ARCH_AARCH64) {
    fprintf(stderr, "usage: seccomp_gen x86_64|aarch64\n");
    return 2;
  }
  print_filter("deny_filter", deny(arch, false));
  print_filter("deny_build_filter", deny(arch, true));
  print_filter("allow_filter", allow(arch));
  print_filter("end_filter", end(arch));
  return 0;
}
