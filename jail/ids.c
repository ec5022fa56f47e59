/* SPDX-License-Identifier: Apache-2.0
 *
 * ids.c - the user ids of jails on the host; see ids.h.
 *
 * A user namespace is made by a process that is cloned into it and ends when
 * we hold a descriptor of it.  Ranges are kept and used again when their jail
 * has ended, because making one costs as much as the rest of a jail.  Where
 * they start differs between spawners, so that jails of two harnesses hardly
 * ever share ids.
 */
#include "jail/ids.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "jail/proto.h"
#include "jail/sys.h"

/* Ranges that fit between CSN_JAIL_BASE and what an int holds. */
enum { RANGES = 17000, MAP_MAX = 250 };

/* ---- small texts ---- */

static bool
write_text(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  size_t n = strlen(text);
  bool done = write(fd, text, n) == (ssize_t)n;
  int e = errno;
  close(fd);
  errno = e;
  return done;
}

/* The next number of a map's text; stops at its end. */
static unsigned long
take_number(const char **text)
{
  unsigned long value = 0;
  while (**text == ' ' || **text == '\n')
    ++*text;
  for (; **text >= '0' && **text <= '9'; ++*text)
    value = value * 10 + (unsigned long)(**text - '0');
  return value;
}

static size_t
put_number(char *to, unsigned long value)
{
  char digits[24];
  size_t n = 0, at = 0;
  do
    digits[n++] = (char)('0' + value % 10);
  while (value /= 10);
  while (n)
    to[at++] = digits[--n];
  return at;
}

static void
map_line(char *to, unsigned long inside, unsigned long outside, unsigned long count)
{
  size_t n = put_number(to, inside);
  to[n++] = ' ';
  n += put_number(to + n, outside);
  to[n++] = ' ';
  n += put_number(to + n, count);
  to[n++] = '\n';
  to[n] = '\0';
}

static void
proc_path(char *to, pid_t pid, const char *name)
{
  memcpy(to, "/proc/", 6);
  size_t n = 6 + put_number(to + 6, (unsigned long)pid);
  memcpy(to + n, name, strlen(name) + 1);
}

/* ---- what ids there are ---- */

static bool
map_holds(const char *path, unsigned long first, unsigned long count)
{
  char text[512];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  for (const char *p = text; *p >= '0' || *p == ' ';) {
    unsigned long from = take_number(&p);
    take_number(&p); /* in the namespace above */
    unsigned long length = take_number(&p);
    if (from <= first && from + length >= first + count)
      return true;
    if (*p == '\n')
      p++;
  }
  return false;
}

bool
csn_ids_exist(void)
{
  enum { ALL = RANGES * (unsigned long)CSN_JAIL_RANGE };
  return map_holds("/proc/self/uid_map", CSN_JAIL_BASE, ALL) &&
         map_holds("/proc/self/gid_map", CSN_JAIL_BASE, ALL);
}

/* ---- namespaces ---- */

pid_t
csn_ids_hold(unsigned long flags)
{
  /* Helpers that became somebody else have taken that from our memory; without
   * it the files of /proc are not ours. */
  prctl(PR_SET_DUMPABLE, 1);
  pid_t us = getpid(), pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != us)
      _exit(1); /* the spawner was killed before that: no signal comes */
    for (;;)
      pause();
  }
  return pid;
}

void
csn_ids_release(pid_t pid)
{
  int e = errno;
  kill(pid, SIGKILL); /* and csn_jails_reap() collects it */
  errno = e;
}

int
csn_ids_open(pid_t pid, const char *name)
{
  char path[64];
  proc_path(path, pid, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static bool
write_maps(pid_t pid, const char *uids, const char *gids)
{
  char path[64];
  proc_path(path, pid, "/uid_map");
  if (!write_text(path, uids))
    return false;
  proc_path(path, pid, "/gid_map");
  return write_text(path, gids);
}

/* One id outside is `inside`, all others keep their places from the first
 * range on.  An overlay makes files as whoever asks for them, and a user whom
 * the map lacks is refused (EOVERFLOW): root of this machine gets an id of its
 * own on the disk. */
static void
map_owner(char to[MAP_MAX], unsigned long id, unsigned long base, unsigned long inside,
          bool with_harness)
{
  to[0] = '\0';
  if (with_harness)
    map_line(to, CSN_JAIL_HARNESS_ID, 0, 1);
  map_line(to + strlen(to), id, base + inside, 1);
  if (id >= CSN_JAIL_BASE && id < (unsigned long)CSN_JAIL_BASE + CSN_JAIL_RANGE)
    return; /* it is one of them */
  if (inside > 0)
    map_line(to + strlen(to), CSN_JAIL_BASE, base, inside);
  if (inside + 1 < CSN_JAIL_RANGE)
    map_line(to + strlen(to), CSN_JAIL_BASE + inside + 1, base + inside + 1,
             CSN_JAIL_RANGE - inside - 1);
}

/* Puts a new namespace with these maps where one for mounts was. */
static int
renew_owner(struct csn_ids *ids, const char *uids, const char *gids)
{
  if (ids->owner >= 0)
    close(ids->owner);
  ids->owner = -1;
  pid_t pid = csn_ids_hold(CLONE_NEWUSER);
  if (pid < 0)
    return -1;
  if (write_maps(pid, uids, gids))
    ids->owner = csn_ids_open(pid, "/ns/user");
  csn_ids_release(pid);
  return ids->owner;
}

int
csn_ids_owner(struct csn_ids *ids, uid_t uid, gid_t gid, const uint32_t inside[2],
              bool with_harness)
{
  char uids[MAP_MAX], gids[MAP_MAX];
  if (ids->owner >= 0 && ids->uid == uid && ids->gid == gid && ids->inside[0] == inside[0] &&
      ids->inside[1] == inside[1] && ids->knows_harness == with_harness)
    return ids->owner;
  map_owner(uids, uid, ids->base, inside[0], with_harness);
  map_owner(gids, gid, ids->base, inside[1], with_harness);
  ids->uid = uid;
  ids->gid = gid;
  memcpy(ids->inside, inside, sizeof ids->inside);
  ids->knows_harness = with_harness;
  return renew_owner(ids, uids, gids);
}

int
csn_ids_system(struct csn_ids *ids)
{
  char map[MAP_MAX];
  map_line(map, 0, ids->base, CSN_JAIL_RANGE);
  map_line(map + strlen(map), CSN_JAIL_HARNESS_ID, 0, 1);
  ids->uid = (uid_t)-1; /* no folder's: the next one makes its own */
  ids->gid = (gid_t)-1;
  return renew_owner(ids, map, map);
}

/* The commands of an ordinary user's jail are in a namespace below the one that
 * owns the jail, so that nobody inside has a capability over it. */
static const char *
make_single(struct csn_ids *ids)
{
  pid_t pid = csn_ids_hold(CLONE_NEWUSER);
  const char *failed = NULL;
  if (pid < 0)
    return "make user, process and mount namespaces";
  if (!write_maps(pid, "1000 1000 1\n", "1000 1000 1\n"))
    failed = "map the user id of the jail";
  else if ((ids->users = csn_ids_open(pid, "/ns/user")) < 0)
    failed = "hold the namespace of the user id";
  csn_ids_release(pid);
  return failed;
}

/* Of lent ids all keep their numbers but the one that we are, which changes
 * places with 1000.  No line may span what are two in the map above it: up to
 * 1000, 1000, and from there on. */
static void
map_lent(char to[200], unsigned long us)
{
  unsigned long a = us < CSN_JAIL_UID ? us : CSN_JAIL_UID;
  unsigned long b = us < CSN_JAIL_UID ? CSN_JAIL_UID : us;
  map_line(to, 0, 0, a); /* nobody is 0 */
  map_line(to + strlen(to), a, b, 1);
  if (a + 1 < b)
    map_line(to + strlen(to), a + 1, a + 1, b - a - 1);
  if (a < b)
    map_line(to + strlen(to), b, a, 1);
  if (b + 1 < CSN_JAIL_RANGE)
    map_line(to + strlen(to), b + 1, b + 1, CSN_JAIL_RANGE - b - 1);
}

static const char *
make_range(struct csn_ids *ids)
{
  char uids[200], gids[200];
  pid_t pid = csn_ids_hold(CLONE_NEWUSER);
  if (pid < 0)
    return "make user, process and mount namespaces";
  if (ids->base) {
    map_line(uids, 0, ids->base, CSN_JAIL_RANGE);
    map_line(gids, 0, ids->base, CSN_JAIL_RANGE);
  } else {
    map_lent(uids, ids->inside[0]);
    map_lent(gids, ids->inside[1]);
  }
  const char *failed = NULL;
  if (!write_maps(pid, uids, gids))
    failed = "map the user ids of the jail";
  else if ((ids->users = csn_ids_open(pid, "/ns/user")) < 0)
    failed = "hold the namespace of the user ids";
  csn_ids_release(pid);
  return failed;
}

static struct csn_ids *
make(struct csn_ids_list *list, unsigned long base, const uint32_t inside[2], const char **failed)
{
  struct csn_ids **more = realloc(list->all, (list->n + 1) * sizeof(struct csn_ids *));
  struct csn_ids *ids = malloc(sizeof *ids);
  if (more)
    list->all = more;
  if (!more || !ids) {
    free(ids);
    *failed = "remember the user ids";
    return NULL;
  }
  *ids = (struct csn_ids){.base = base,
                          .ranged = list->kind != CSN_IDS_ONE,
                          .busy = true,
                          .users = -1,
                          .blank = -1,
                          .owner = -1,
                          .inside = {inside[0], inside[1]}};
  *failed = ids->ranged ? make_range(ids) : make_single(ids);
  if (!*failed)
    return list->all[list->n++] = ids;
  if (ids->users >= 0)
    close(ids->users);
  free(ids);
  return NULL;
}

struct csn_ids *
csn_ids_take(struct csn_ids_list *list, bool first, const uint32_t inside[2], const char **failed)
{
  static const uint32_t usual[2] = {CSN_JAIL_UID, CSN_JAIL_UID};
  size_t ranges = 0;
  inside = inside && list->kind == CSN_IDS_LENT ? inside : usual;
  for (size_t i = 0; i < list->n; i++) {
    struct csn_ids *ids = list->all[i];
    bool is_first = ids->base == CSN_JAIL_BASE;
    bool is_same = list->kind != CSN_IDS_LENT || memcmp(ids->inside, inside, sizeof usual) == 0;
    if (!ids->busy && is_first == first && is_same) {
      ids->busy = true;
      return ids;
    }
    ranges += !is_first;
  }
  if (first || list->kind != CSN_IDS_OWN)
    return make(list, first ? CSN_JAIL_BASE : 0, inside, failed);
  unsigned long start = (unsigned long)getpid() * 257;
  return make(list, CSN_JAIL_BASE + CSN_JAIL_RANGE * (1 + (start + ranges) % (RANGES - 1)), inside,
              failed);
}

void
csn_ids_drop(struct csn_ids *ids)
{
  if (ids)
    ids->busy = false;
}

const char *
csn_ids_single(void)
{
  char uids[80], gids[80];
  map_line(uids, CSN_JAIL_UID, geteuid(), 1);
  map_line(gids, CSN_JAIL_UID, getegid(), 1);
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
    return "make user, process and mount namespaces";
  if (!write_text("/proc/self/setgroups", "deny"))
    return "setgroups of the user namespace";
  if (!write_text("/proc/self/uid_map", uids))
    return "uid_map of the user namespace";
  return write_text("/proc/self/gid_map", gids) ? NULL : "gid_map of the user namespace";
}
