/* SPDX-License-Identifier: Apache-2.0
 *
 * lent.c - user ids that this machine lends to an ordinary user; see lent.h.
 *
 * Only a privileged program may write such a map: newuidmap and newgidmap of
 * the package uidmap, which look themselves whether the range is ours.  They
 * must be root's and nobody else's to change; they run without an environment
 * and with nothing but /dev/null, for a process that waits in a namespace of
 * its own.  What fails leaves us where we were.
 */
#include "jail/lent.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "jail/ids.h"
#include "jail/proto.h"
#include "jail/sys.h"
#include "jail/text.h"

enum { FILE_MAX = 4 << 20, MAP_MS = 5000, NAME_BYTES = 64 };

/* Where systems have them; no folder of somebody's PATH. */
static const char *const folders[] = {"/usr/bin/", "/bin/", "/run/wrappers/bin/"};

/* ---- files of lines "a:b:c" ---- */

/* A whole text file, or NULL; unmap() it. */
static const char *
map_file(const char *path, size_t *n)
{
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  const char *text = MAP_FAILED;
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
      st.st_size <= FILE_MAX)
    text = mmap(NULL, *n = (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (fd >= 0)
    close(fd);
  return text == MAP_FAILED ? NULL : text;
}

/* The next line: its first fields, each with its length. */
static bool
next_line(const char **at, const char *end, const char *field[3], size_t length[3])
{
  if (*at >= end)
    return false;
  const char *p = *at, *stop = memchr(p, '\n', (size_t)(end - p));
  stop = stop ? stop : end;
  for (int i = 0; i < 3; i++) {
    const char *colon = p < stop ? memchr(p, ':', (size_t)(stop - p)) : NULL;
    field[i] = p;
    length[i] = (size_t)((colon ? colon : stop) - p);
    p = colon ? colon + 1 : stop;
  }
  *at = stop + 1;
  return true;
}

/* A whole field as a number below 2^32 - 1. */
static bool
number(const char *p, size_t n, unsigned long *value)
{
  *value = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] < '0' || p[i] > '9' || n > 10)
      return false;
    *value = *value * 10 + (unsigned long)(p[i] - '0');
  }
  return n > 0 && *value < UINT32_MAX;
}

/* Our name in /etc/passwd, or "". */
static void
find_name(char name[NAME_BYTES])
{
  size_t n = 0, length[3];
  unsigned long uid;
  const char *field[3], *text = map_file("/etc/passwd", &n), *at = text;
  name[0] = '\0';
  while (text && next_line(&at, text + n, field, length))
    if (number(field[2], length[2], &uid) && uid == geteuid() && length[0] < NAME_BYTES) {
      memcpy(name, field[0], length[0]);
      name[length[0]] = '\0';
      break;
    }
  if (text)
    munmap((void *)(uintptr_t)text, n);
}

/* The first id of a range that is lent to us and large enough; 0: none. */
static unsigned long
find_range(const char *path, const char *name)
{
  size_t n = 0, length[3];
  unsigned long first, count, uid, found = 0;
  const char *field[3], *text = map_file(path, &n), *at = text;
  while (text && !found && next_line(&at, text + n, field, length)) {
    bool is_ours = (length[0] == strlen(name) && memcmp(field[0], name, length[0]) == 0) ||
                   (number(field[0], length[0], &uid) && uid == geteuid());
    if (is_ours && number(field[1], length[1], &first) && number(field[2], length[2], &count) &&
        first > 0 && count >= CSN_JAIL_RANGE - 1)
      found = first;
  }
  if (text)
    munmap((void *)(uintptr_t)text, n);
  return found;
}

/* ---- the two programs ---- */

/* Opens one for execution; -1 when there is none that can be trusted. */
static int
open_program(const char *name)
{
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    char path[64];
    struct stat st;
    text_add(path, sizeof path, text_add(path, sizeof path, 0, folders[i]), name);
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 &&
        !(st.st_mode & (S_IWGRP | S_IWOTH)) && st.st_mode & S_IXOTH)
      return fd;
    if (fd >= 0)
      close(fd);
  }
  return -1;
}

static _Noreturn void
execute(int program, const char *const *argv)
{
  static char *const none[] = {NULL};
  sigset_t all;
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < 3; i++)
    if (null < 0 || dup2(null, i) < 0)
      _exit(127);
  int own = fcntl(program, F_DUPFD_CLOEXEC, 3);
  if (own > 3) {
    dup3(own, 3, O_CLOEXEC);
    own = 3;
  }
  sys_close_range(4, 0);
  sigemptyset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  syscall(SYS_execveat, own, "", argv, none, AT_EMPTY_PATH);
  _exit(127);
}

/* Runs it; false when it failed, or looked somebody's ids up for too long. */
static bool
run(int program, const char *const *argv)
{
  int status = -1;
  pid_t pid = fork();
  if (pid == 0)
    execute(program, argv);
  if (pid < 0)
    return false;
  struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
  if (end.fd >= 0 && poll(&end, 1, MAP_MS) <= 0)
    kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  if (end.fd >= 0)
    close(end.fd);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Has the ids of a process's namespace mapped: `own` is 1000, all others are
 * from the range. */
static bool
map_ids(const char *name, int program, pid_t pid, unsigned long own, unsigned long first)
{
  enum { BELOW = CSN_JAIL_UID, ABOVE = CSN_JAIL_RANGE - CSN_JAIL_UID - 1 };
  const unsigned long numbers[] = {(unsigned long)pid, 0,    first, BELOW, BELOW, own, 1, BELOW + 1,
                                   first + BELOW,      ABOVE};
  enum { N = sizeof numbers / sizeof *numbers };
  char words[N][24];
  const char *argv[N + 2] = {name};
  for (size_t i = 0; i < N; i++) {
    text_number(words[i], sizeof words[i], 0, numbers[i]);
    argv[i + 1] = words[i];
  }
  return run(program, argv);
}

/* ---- the namespace ---- */

static bool
say(char *why, size_t room, const char *text)
{
  text_add(why, room, 0, text);
  return false;
}

static bool
enter(const int programs[2], unsigned long uids, unsigned long gids, char *why, size_t room)
{
  pid_t pid = csn_ids_hold(CLONE_NEWUSER);
  if (pid < 0)
    return say(why, room, "user namespaces cannot be made");
  bool mapped = map_ids("newuidmap", programs[0], pid, geteuid(), uids) &&
                map_ids("newgidmap", programs[1], pid, getegid(), gids);
  int users = mapped ? csn_ids_open(pid, "/ns/user") : -1;
  bool entered = users >= 0 && setns(users, CLONE_NEWUSER) == 0;
  if (users >= 0)
    close(users);
  csn_ids_release(pid);
  if (!mapped)
    return say(why, room, "newuidmap or newgidmap refused the range of /etc/subuid or /etc/subgid");
  if (!entered)
    return say(why, room, "the namespace of the lent user ids cannot be entered");
  if (unshare(CLONE_NEWNS) < 0)
    _exit(1); /* there is no way back */
  return true;
}

bool
csn_lent_enter(char *why, size_t room)
{
  char name[NAME_BYTES];
  int programs[2] = {open_program("newuidmap"), open_program("newgidmap")};
  find_name(name);
  unsigned long uids = find_range("/etc/subuid", name), gids = find_range("/etc/subgid", name);
  bool done = false;
  if (programs[0] < 0 || programs[1] < 0)
    say(why, room, "newuidmap is not installed (package uidmap)");
  else if (!name[0])
    say(why, room, "this user has no name in /etc/passwd");
  else if (!uids || !gids)
    say(why, room,
        "/etc/subuid and /etc/subgid lend this user no 65536 ids (usermod --add-subuids)");
  else
    done = enter(programs, uids, gids, why, room);
  for (int i = 0; i < 2; i++)
    if (programs[i] >= 0)
      close(programs[i]);
  return done;
}
