/* SPDX-License-Identifier: Apache-2.0
 * identity.h - the same tests as whoever runs them and, from root, as an
 * ordinary user: `PROGRAM nobody` drops to uid 65534 in a child first, `PROGRAM
 * user` to uid 1000, and `PROGRAM lent` too, after it has made believe that
 * this machine lends that user ids. */
#ifndef CSN_TESTS_JAIL_IDENTITY_H
#define CSN_TESTS_JAIL_IDENTITY_H

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "caisson/sandbox.h"
#include "check.h"

/* Copies the static helper, opened before privileges went, into a folder. */
static inline void
place_probe(int probe_fd, int folder)
{
  char piece[65536];
  int fd = openat(folder, "probe", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
  if (fd < 0)
    abort();
  off_t at = 0;
  for (ssize_t n; (n = pread(probe_fd, piece, sizeof piece, at)) > 0; at += n)
    if (write(fd, piece, (size_t)n) != n)
      abort();
  fchmod(fd, 0755);
  close(fd);
}

/* Asks the kernel and not the jail, so that a jail which is broken is not
 * taken for a machine that cannot have one. */
static inline bool
machine_has_namespaces(void)
{
  pid_t pid = fork();
  if (pid == 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC) < 0)
      _exit(1);
    pid_t first = fork();
    if (first == 0)
      _exit(mount("proc", "/proc", "proc", 0, NULL) < 0);
    int status = -1;
    waitpid(first, &status, 0);
    _exit(status != 0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status == 0;
}

/* Whether this checkout is in a folder that the user we are now may not enter,
 * as root's home: what the tests would start or read there cannot be. */
static inline bool
tree_is_closed(void)
{
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  path[n > 0 ? n : 0] = '\0';
  return access(path, X_OK) < 0;
}

/* Puts a file of our own over one of /etc. */
static inline bool
cover_etc(const char *path, const char *text)
{
  char name[] = "/tmp/csn-etc-XXXXXX";
  int fd = mkstemp(name), made = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (made >= 0)
    close(made);
  bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) &&
              fchmod(fd, 0644) == 0 && mount(name, path, NULL, MS_BIND, NULL) == 0;
  close(fd);
  unlink(name);
  return done;
}

static const char lent_range[] = "other:100000:65536\nlender:700000000:65536\n";

/* In a mount namespace of this process. */
static inline bool
lend_ids(const char *range)
{
  return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
         cover_etc("/etc/passwd",
                   "root:x:0:0::/root:/bin/sh\nlender:x:1000:1000::/tmp:/bin/sh\n") &&
         cover_etc("/etc/group", "root:x:0:\nlender:x:1000:\n") &&
         cover_etc("/etc/subuid", range) && cover_etc("/etc/subgid", "lender:800000000:65536\n");
}

/* Whether ids are lent to us, by that. */
static inline bool
has_lent_ids(void)
{
  return geteuid() != 0 && getenv("CSN_LENT");
}

/* The tests' exit status. */
static inline int
run_as(int argc, char **argv, int (*tests)(void))
{
  bool is_nobody = argc > 1 && strcmp(argv[1], "nobody") == 0;
  bool is_lent = argc > 1 && strcmp(argv[1], "lent") == 0;
  uid_t id = is_nobody ? 65534 : 1000;
  if (!is_nobody && !is_lent && (argc < 2 || strcmp(argv[1], "user") != 0)) {
    tap_stdout();
    return tests();
  }
  if (geteuid() != 0) {
    printf("1..0 # SKIP not root: the run without \"%s\" is that of an ordinary user\n", argv[1]);
    return 0;
  }
  if (is_lent && access("/usr/bin/newuidmap", X_OK) < 0) {
    printf("1..0 # SKIP newuidmap is not installed (package uidmap)\n");
    return 0;
  }
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    if (is_lent && (!lend_ids(lent_range) || setenv("CSN_LENT", "1", 1) < 0))
      _exit(98);
    if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0 ||
        prctl(PR_SET_DUMPABLE, 1) < 0)
      _exit(99);
    setenv("HOME", "/tmp", 1);
    tap_stdout();
    exit(tests());
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
