/* SPDX-License-Identifier: Apache-2.0
 * program.c - starts helper programs without fork; see program.h. */
#include "sandbox/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/paths.h" /* made by the build: CSN_LIBEXECDIR */

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

enum { FIRST = 3, MOST = 4, SAFE_FD = 10 };

static int
open_installed(const char *name, csn_err *err)
{
  char path[300];
  snprintf(path, sizeof path, "%s/caisson/%s", CSN_LIBEXECDIR, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "program %s", path) : fd;
}

int
csn_program_open(const char *name, csn_str image, csn_err *err)
{
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  csn_auto(csn_closep) int fd = memfd_create(name, flags | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* older than 6.3: no such flag, executable anyway */
    fd = memfd_create(name, flags);
  if (fd < 0)
    return open_installed(name, err);
  int rc = csn_fd_write_all(fd, image, err);
  if (rc < 0)
    return csn_wrap(err, rc, "program %s", name);
  fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  int out = fd;
  fd = -1;
  return out;
}

static int
spawn(pid_t *pid, const char *name, const int *fds, size_t n, size_t image)
{
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  for (int i = 0; i < FIRST; i++)
    posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
  for (size_t i = 0; i < n; i++)
    posix_spawn_file_actions_adddup2(&fa, fds[i], FIRST + (int)i);
  posix_spawn_file_actions_addclosefrom_np(&fa, FIRST + (int)n);
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&at, &all);
  posix_spawnattr_setsigmask(&at, &none);
  posix_spawnattr_setflags(&at,
                           POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", FIRST + (int)image);
  char *argv[] = {(char *)(uintptr_t)name, NULL}, *envp[] = {NULL};
  int e = posix_spawn(pid, path, &fa, &at, argv, envp);
  posix_spawnattr_destroy(&at);
  posix_spawn_file_actions_destroy(&fa);
  return e;
}

int
csn_program_start(pid_t *pid, const char *name, const int *fds, size_t n, size_t image,
                  csn_err *err)
{
  int high[MOST] = {-1, -1, -1, -1}, e = n <= MOST ? 0 : EINVAL;
  /* Above those that the program gets, so that placing one never overwrites
   * another. */
  for (size_t i = 0; i < n && !e; i++)
    if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SAFE_FD)) < 0)
      e = errno;
  if (!e)
    e = spawn(pid, name, high, n, image);
  if (e == EACCES || e == EPERM) { /* memory may not be executed here */
    int rc = open_installed(name, err);
    if (rc >= 0) {
      csn_closep(&high[image]);
      high[image] = fcntl(rc, F_DUPFD_CLOEXEC, SAFE_FD);
      close(rc);
      e = high[image] < 0 ? errno : spawn(pid, name, high, n, image);
    }
  }
  for (size_t i = 0; i < MOST; i++)
    csn_closep(&high[i]);
  if (!e)
    return 0;
  errno = e;
  return csn_fail_errno(err, "cannot start %s", name);
}

const char *
csn_program_on_path(csn_arena *a, const char *name)
{
  const char *dirs = getenv("PATH");
  dirs = dirs ? dirs : "/usr/local/bin:/usr/bin";
  while (*dirs) {
    size_t n = strcspn(dirs, ":");
    const char *path = csn_arena_printf(a, "%.*s/%s", (int)n, dirs, name).p;
    struct stat st;
    if (n > 0 && dirs[0] == '/' && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        access(path, X_OK) == 0)
      return path;
    dirs += n + (dirs[n] == ':');
  }
  return NULL;
}
