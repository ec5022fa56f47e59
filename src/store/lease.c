/* SPDX-License-Identifier: Apache-2.0
 *
 * lease.c - who owns a run, and is it still alive?
 *
 * An owner is named "<boot id>:<pid namespace>:<pid>:<start time>".  A process
 * of this boot and this pid namespace can be looked up, so its death is known
 * at once and a process id that was used again is no proof of life.  Of any
 * other owner only the lease's end can be waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "store/db.h"

int64_t
csn_unix_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads a small file of /proc; the number of bytes, 0 when it cannot. */
static size_t
read_small(const char *path, char *buf, size_t room)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, buf, room - 1);
  buf[n > 0 ? n : 0] = '\0';
  return n > 0 ? (size_t)n : 0;
}

/* The blank-separated field of /proc/PID/stat, counted from 1 as proc(5)
 * does; the name (field 2) may hold anything, so counting starts after it. */
static csn_str
stat_field(csn_str stat, int field)
{
  size_t at = stat.n;
  while (at > 0 && stat.p[at - 1] != ')')
    at--;
  csn_str rest = csn_str_trim(csn_strn(stat.p + at, stat.n - at));
  for (int i = 3; i < field; i++) {
    size_t blank = csn_str_find(rest, CSN_STR(" "), 0);
    if (blank == SIZE_MAX)
      return csn_strn(NULL, 0);
    rest = csn_strn(rest.p + blank + 1, rest.n - blank - 1);
  }
  size_t end = csn_str_find(rest, CSN_STR(" "), 0);
  return csn_strn(rest.p, end == SIZE_MAX ? rest.n : end);
}

void
csn_owner_self(char out[STORE_OWNER_MAX])
{
  char boot[64], ns[64] = "", stat[1024];
  size_t n = read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
  csn_str id = csn_str_trim(csn_strn(boot, n));
  ssize_t got = readlink("/proc/self/ns/pid", ns, sizeof ns - 1);
  csn_str space = csn_strn(ns, got > 0 ? (size_t)got : 0); /* "pid:[4026531836]" */
  if (csn_str_starts(space, CSN_STR("pid:[")) && csn_str_ends(space, CSN_STR("]")))
    space = csn_strn(space.p + 5, space.n - 6);
  csn_str all = csn_strn(stat, read_small("/proc/self/stat", stat, sizeof stat));
  csn_str start = stat_field(all, 22);
  snprintf(out, STORE_OWNER_MAX, "%.*s:%.*s:%ld:%.*s", (int)id.n, id.p, (int)space.n, space.p,
           (long)getpid(), (int)start.n, start.p);
}

/* Cuts what stands before the last ':' of *s off and returns what is after. */
static csn_str
cut_last(csn_str *s)
{
  size_t at = s->n;
  while (at > 0 && s->p[at - 1] != ':')
    at--;
  csn_str tail = csn_strn(s->p + at, s->n - at);
  s->n = at > 0 ? at - 1 : 0;
  return tail;
}

bool
csn_owner_is_live(const char *owner, int64_t lease_until_ms, int64_t now_ms)
{
  if (!*owner)
    return false;
  char self_text[STORE_OWNER_MAX];
  csn_owner_self(self_text);
  csn_str self = csn_cstr(self_text), place = csn_cstr(owner);
  if (csn_str_eq(self, place))
    return true;
  csn_str start = cut_last(&place), pid_text = cut_last(&place);
  cut_last(&self);
  cut_last(&self);
  int64_t pid;
  if (!csn_str_eq(self, place) || !csn_str_int(pid_text, &pid) || pid <= 0 || pid > INT32_MAX)
    return lease_until_ms > now_ms;
  if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
    return false;
  char path[64], stat[1024];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  csn_str all = csn_strn(stat, read_small(path, stat, sizeof stat));
  if (!all.n) /* it ended just now, or it is hidden from us */
    return kill((pid_t)pid, 0) == 0 || errno != ESRCH;
  csn_str state = stat_field(all, 3);
  bool ended = csn_str_eq(state, CSN_STR("Z")) || csn_str_eq(state, CSN_STR("X"));
  if (ended && csn_str_eq(stat_field(all, 20), CSN_STR("1")))
    return false; /* killed, its parent has not noticed yet */
  return csn_str_eq(start, stat_field(all, 22));
}
