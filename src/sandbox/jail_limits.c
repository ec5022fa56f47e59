/* SPDX-License-Identifier: Apache-2.0
 * jail_limits.c - see jail_limits.h. */
#include "sandbox/jail_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "sandbox/limits.h"

enum {
  DEFAULT_PIDS = 1024,
  DEFAULT_OPEN_FILES = 1024, /* what programs that select(2) can take */
  MOST_OPEN_FILES = 4096,
  END_WAIT_MS = 2000,
};
#define DEFAULT_FILE_BYTES (16LL << 30)

/* 0 becomes the default; -1, no limit, stays. */
static int64_t
or_default(int64_t asked, int64_t otherwise)
{
  return asked ? asked : otherwise;
}

void
csn_jail_limits_ask(const csn_sandbox_limits *l, csn_jail_limits *to)
{
  static const csn_sandbox_limits none;
  l = l ? l : &none;
  *to = (csn_jail_limits){
      .memory = l->memory_bytes,
      .swap = l->swap_bytes,
      .pids = or_default(l->pids, DEFAULT_PIDS),
      .cpu = or_default(l->cpu_milli, -1),
      .disk = or_default(l->disk_bytes, -1),
      .inodes = or_default(l->inodes, -1),
      .open_files = or_default(l->open_files, DEFAULT_OPEN_FILES),
      .most_open_files = or_default(l->open_files, MOST_OPEN_FILES),
      .file_size = or_default(l->file_bytes, DEFAULT_FILE_BYTES),
      .wall_ms = or_default(l->wall_ms, -1),
      .data = -1,
  };
}

/* Since Linux 5.14 processes are counted for each user namespace, so that a
 * jail's are its own; before that all jails of root share one count. */
static bool
counts_by_namespace(void)
{
  struct utsname u;
  int major = 0, minor = 0;
  return uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
         (major > 5 || (major == 5 && minor >= 14));
}

static bool
has_swap(void)
{
  struct sysinfo si;
  return sysinfo(&si) < 0 || si.totalswap > 0;
}

void
csn_jail_limits_held(csn_sandbox_held *held, const csn_sandbox_limits *l,
                     const csn_jail_held *groups, bool in_memory)
{
  csn_jail_limits asked;
  const uint8_t yes = CSN_LIMIT_ENFORCED;
  csn_jail_limits_ask(l, &asked);
  *held = (csn_sandbox_held){{0}, {0}};
  int64_t *value = held->value;
  uint8_t *state = held->state;
  /* Without a group each process is still limited, but not their sum. */
  state[CSN_LIMIT_MEMORY] = groups->memory ? yes : asked.memory > 0 ? CSN_LIMIT_SOFT : 0;
  value[CSN_LIMIT_MEMORY] = groups->memory ? groups->memory_bytes : asked.memory;
  bool no_swap = groups->memory && (groups->swap || !has_swap());
  state[CSN_LIMIT_SWAP] = no_swap ? yes : CSN_LIMIT_ABSENT;
  value[CSN_LIMIT_SWAP] = no_swap ? asked.swap : CSN_UNLIMITED;
  state[CSN_LIMIT_PIDS] = groups->pids || counts_by_namespace() ? yes : CSN_LIMIT_SOFT;
  value[CSN_LIMIT_PIDS] = asked.pids;
  state[CSN_LIMIT_CPU] = groups->cpu ? yes : CSN_LIMIT_ABSENT;
  value[CSN_LIMIT_CPU] = groups->cpu ? asked.cpu : CSN_UNLIMITED;
  asked.memory = value[CSN_LIMIT_MEMORY];
  for (enum csn_limit i = CSN_LIMIT_DISK; i <= CSN_LIMIT_INODES; i++) {
    state[i] = in_memory ? yes : CSN_LIMIT_SOFT; /* sandbox/disk_watch.c */
    value[i] = csn_limit_asked(l, i);
  }
  if (in_memory) {
    value[CSN_LIMIT_DISK] = csn_jail_workspace_bytes(&asked);
    value[CSN_LIMIT_INODES] = csn_jail_workspace_files(&asked);
  }
  state[CSN_LIMIT_OPEN_FILES] = state[CSN_LIMIT_FILE_SIZE] = state[CSN_LIMIT_WALL] = yes;
  value[CSN_LIMIT_OPEN_FILES] = asked.open_files;
  value[CSN_LIMIT_FILE_SIZE] = asked.file_size;
  value[CSN_LIMIT_WALL] = asked.wall_ms;
}

/* ---- counts ---- */

/* The number after `word` in a file of a control group; 0 when the group is
 * gone, whose jail then tells its end. */
static int64_t
count(int fd, const char *word)
{
  char text[512];
  int64_t n = 0;
  ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
  csn_str rest = csn_strn(text, got > 0 ? (size_t)got : 0);
  while (rest.n) {
    size_t end = csn_str_find(rest, CSN_STR("\n"), 0);
    csn_str line = csn_strn(rest.p, end == SIZE_MAX ? rest.n : end);
    if (csn_str_starts(line, csn_cstr(word)) &&
        csn_str_int(csn_strn(line.p + strlen(word), line.n - strlen(word)), &n))
      return n;
    rest = end == SIZE_MAX ? csn_strn(NULL, 0) : csn_strn(rest.p + end + 1, rest.n - end - 1);
  }
  return 0;
}

static const char *const words[2] = {"oom_kill ", "max "};

void
csn_jail_counts_init(csn_jail_counts *c)
{
  *c = (csn_jail_counts){.control = -1, .life = -1, .events = {-1, -1}};
  pthread_mutex_init(&c->lock, NULL);
}

void
csn_jail_counts_open(csn_jail_counts *c)
{
  for (int i = 0; i < 2; i++)
    c->before[i] = count(c->events[i], words[i]);
}

static void
wait_for(int fd)
{
  struct pollfd p = {.fd = fd, .events = POLLIN};
  while (poll(&p, 1, END_WAIT_MS) < 0 && errno == EINTR)
    continue;
}

/* Whether the warden has gone; then waits for the spawner's word on it, which
 * comes when the last process of the jail has ended.  A dying warden's
 * descriptors close in no order that we know. */
static void
look_for_end(csn_jail_counts *c, bool is_lost)
{
  char byte;
  csn_jail_end end;
  if (c->is_over)
    return;
  if (is_lost)
    wait_for(c->control);
  if (recv(c->control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
    return;
  c->is_over = true;
  wait_for(c->life);
  fcntl(c->life, F_SETFL, O_NONBLOCK);
  if (read(c->life, &end, sizeof end) == sizeof end)
    c->end = end;
}

void
csn_jail_counts_get(csn_jail_counts *c, bool is_lost, csn_sandbox_usage *u)
{
  static const enum csn_limit which[2] = {CSN_LIMIT_MEMORY, CSN_LIMIT_PIDS};
  pthread_mutex_lock(&c->lock);
  look_for_end(c, is_lost);
  for (int i = 0; i < 2 && !c->is_over; i++)
    u->reached[which[i]] = count(c->events[i], words[i]) - c->before[i];
  if (c->is_over) {
    u->reached[CSN_LIMIT_MEMORY] = c->end.kills;
    u->reached[CSN_LIMIT_PIDS] = c->end.refusals;
    u->reached[CSN_LIMIT_WALL] = c->end.is_late;
  }
  u->is_dead = c->is_over;
  pthread_mutex_unlock(&c->lock);
}
