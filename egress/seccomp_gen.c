/* SPDX-License-Identifier: Apache-2.0
 *
 * seccomp_gen.c - prints the egress process's filter as a C array; runs at
 * build time, like that of the jail.
 *
 * Allowed is what moving bytes between sockets needs, no more: nothing that
 * opens a file or makes memory executable, and sockets of the internet only.
 * What would start or steer a process kills it; the rest does not exist
 * (ENOSYS).
 *
 * usage: seccomp_gen x86_64|aarch64
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct sock_filter_op {
  unsigned short code;
  unsigned char jt, jf;
  unsigned int k;
};

static const char *const allowed[] = {
    "accept4",        "brk",
    "clock_gettime",  "close",
    "connect",        "epoll_ctl",
    "epoll_wait",     "epoll_pwait",
    "exit",           "exit_group",
    "futex",          "getpeername",
    "getpid",         "getrandom",
    "getsockname",    "getsockopt",
    "gettimeofday",   "madvise",
    "mremap",         "munmap",
    "poll",           "ppoll",
    "read",           "recvfrom",
    "recvmsg",        "restart_syscall",
    "rt_sigprocmask", "rt_sigreturn",
    "sendmsg",        "sendto",
    "setsockopt",     "shutdown",
    "time",           "write",
    "writev",
};

static const char *const killed[] = {
    "bpf",
    "clone",
    "clone3",
    "execve",
    "execveat",
    "fork",
    "init_module",
    "io_uring_setup",
    "kexec_load",
    "mount",
    "pidfd_open",
    "prctl",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "setns",
    "socketpair",
    "unshare",
    "userfaultfd",
    "vfork",
};

static void
check(int rc, const char *what)
{
  if (rc < 0) {
    fprintf(stderr, "seccomp_gen: %s: %s\n", what, strerror(-rc));
    exit(1);
  }
}

static void
add(scmp_filter_ctx f, uint32_t action, const char *name, unsigned n,
    const struct scmp_arg_cmp *args)
{
  int nr = seccomp_syscall_resolve_name(name);
  if (nr >= 0)
    check(seccomp_rule_add_array(f, action, nr, n, args), name);
}

int
main(int argc, char **argv)
{
  uint32_t arch = argc == 2 ? seccomp_arch_resolve_name(argv[1]) : 0;
  if (arch != SCMP_ARCH_X86_64 && arch != SCMP_ARCH_AARCH64) {
    fprintf(stderr, "usage: seccomp_gen x86_64|aarch64\n");
    return 2;
  }
  scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
  if (!f)
    check(-ENOMEM, "init");
  if (arch != seccomp_arch_native()) {
    check(seccomp_arch_add(f, arch), "architecture");
    check(seccomp_arch_remove(f, seccomp_arch_native()), "architecture");
  }
  check(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad architecture");
  check(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
  for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
    add(f, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
  for (size_t i = 0; i < sizeof killed / sizeof *killed; i++)
    add(f, SCMP_ACT_KILL_PROCESS, killed[i], 0, NULL);
  struct scmp_arg_cmp not_executable = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
  add(f, SCMP_ACT_ALLOW, "mmap", 1, &not_executable);
  add(f, SCMP_ACT_ALLOW, "mprotect", 1, &not_executable);
  struct scmp_arg_cmp v4 = SCMP_A0(SCMP_CMP_EQ, AF_INET), v6 = SCMP_A0(SCMP_CMP_EQ, AF_INET6);
  add(f, SCMP_ACT_ALLOW, "socket", 1, &v4);
  add(f, SCMP_ACT_ALLOW, "socket", 1, &v6);

  struct sock_filter_op op;
  int fd = memfd_create("filter", MFD_CLOEXEC);
  if (fd < 0)
    check(-errno, "memfd_create");
  check(seccomp_export_bpf(f, fd), "export");
  lseek(fd, 0, SEEK_SET);
  printf("static const struct sock_filter egress_filter[] = {\n");
  while (read(fd, &op, sizeof op) == (ssize_t)sizeof op)
    printf("    {0x%04x, %u, %u, 0x%08x},\n", op.code, op.jt, op.jf, op.k);
  printf("};\n");
  close(fd);
  seccomp_release(f);
  return 0;
}
