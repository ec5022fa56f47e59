/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup.c - one group for each jail: made ahead, limited when the jail is
 * asked for, counted and removed when it has ended.
 *
 * There is one group and not a second one for the warden: commands are the
 * warden's children and moving each of them at its start would wait for all
 * processors.  The warden is kept by its rank with the out-of-memory killer,
 * which takes commands first; so memory.oom.group stays off.  memory.high
 * stays off as well: it slows a process that will never give memory back for
 * minutes before the limit ends it.
 */
#include "jail/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jail/text.h"

enum { PERIOD_US = 100000, SMALL = 16 << 20 };

/* "j7/file" */
static void
file_path(char to[64], int number, const char *file)
{
  size_t n = text_add(to, 64, 0, "j");
  n = text_number(to, 64, n, (uint64_t)number);
  if (*file) {
    n = text_add(to, 64, n, "/");
    text_add(to, 64, n, file);
  }
}

static bool
set_text(const struct csn_cgroup_place *p, int number, const char *file, const char *text)
{
  char path[64];
  file_path(path, number, file);
  return csn_cgroup_write(p->folder, path, text);
}

/* -1 is no limit, by the word or number that the version has for it. */
static bool
set(const struct csn_cgroup_place *p, int number, const char *file, int64_t value)
{
  char text[32];
  if (value < 0)
    text_add(text, sizeof text, 0, p->version == 1 && strncmp(file, "pids", 4) != 0 ? "-1" : "max");
  else
    text_number(text, sizeof text, 0, (uint64_t)value);
  return set_text(p, number, file, text);
}

static bool
get(const struct csn_cgroup_place *p, int number, const char *file, char *to, size_t room)
{
  char path[64];
  file_path(path, number, file);
  return csn_cgroup_read(p->folder, path, to, room);
}

static const struct csn_cgroup_place *
place_of(const struct csn_cgroups *g, enum csn_cgroup_kind kind, const struct csn_cgroup *c)
{
  const struct csn_cgroup_place *p = &g->places[kind];
  return p->version && c->number >= 0 ? p : NULL;
}

/* ---- making and removing ---- */

static bool
has_version(const struct csn_cgroups *g, int version)
{
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (g->places[i].version == version)
      return true;
  return false;
}

/* A controller that fails once is not used again; what it held is told as
 * absent from then on. */
static void
give_up(struct csn_cgroups *g, int kind)
{
  int folder = g->places[kind].folder;
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (g->places[i].folder == folder)
      g->places[i].version = 0;
}

static void
make_group(struct csn_cgroups *g, struct csn_cgroup *c)
{
  char path[64];
  *c = (struct csn_cgroup){.number = -1};
  if (!has_version(g, 1) && !has_version(g, 2))
    return;
  c->number = g->made++;
  file_path(path, c->number, "");
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (g->places[i].version && g->make(g->places[i].folder, path, 0755) < 0 && errno != EEXIST)
      give_up(g, i);
}

/* False when the kernel still has something of a process in there. */
static bool
remove_group(const struct csn_cgroups *g, int number)
{
  char path[64];
  bool gone = true;
  file_path(path, number, "");
  for (int i = 0; i < CSN_CGROUP_KINDS; i++)
    if (g->places[i].folder >= 0 && g->places[i].is_private)
      gone &= unlinkat(g->places[i].folder, path, AT_REMOVEDIR) == 0 || errno == ENOENT;
  return gone;
}

static void
find_group(struct csn_cgroups *g, struct csn_cgroup *c)
{
  if (g->n_spares)
    *c = g->spares[--g->n_spares];
  else
    make_group(g, c);
}

/* Moves this process; with a NULL group to where it came from.  By `tasks` and
 * not by `cgroup.procs`: for a thread that moves itself, kernels since 6.0 take
 * no lock that waits for all processors. */
static void
sit(struct csn_cgroups *g, const struct csn_cgroup *c)
{
  char path[64];
  for (int i = 0; i < CSN_CGROUP_KINDS; i++) {
    const struct csn_cgroup_place *p = &g->places[i];
    if (p->folder < 0 || (c && p->version != 1))
      continue;
    if (c)
      file_path(path, c->number, "tasks");
    if (c && csn_cgroup_write(p->folder, path, "0"))
      continue;
    csn_cgroup_write(p->parent, "tasks", "0");
    if (c)
      give_up(g, i);
  }
}

static void
take_seat(struct csn_cgroups *g)
{
  if (g->seat.number >= 0 || !has_version(g, 1))
    return;
  find_group(g, &g->seat);
  if (g->seat.number >= 0)
    sit(g, &g->seat);
}

/* ---- a jail's life ---- */

void
csn_cgroups_take(struct csn_cgroups *g, struct csn_cgroup *c)
{
  take_seat(g);
  if (g->seat.number < 0) {
    find_group(g, c);
    return;
  }
  *c = g->seat;
  g->seat.number = -1;
}

int
csn_cgroup_target(const struct csn_cgroups *g, const struct csn_cgroup *c)
{
  char path[64];
  for (int i = 0; i < CSN_CGROUP_KINDS && c->number >= 0; i++)
    if (g->places[i].version == 2) {
      file_path(path, c->number, "");
      return openat(g->places[i].folder, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
  return -1;
}

static void
limit_memory(const struct csn_cgroup_place *p, int number, const csn_jail_limits *l,
             csn_jail_held *held)
{
  bool one = p->version == 1;
  int64_t swap = l->swap < 0 || l->memory < 0 ? -1 : one ? l->memory + l->swap : l->swap;
  if (l->memory >= 0 && !set(p, number, one ? "memory.limit_in_bytes" : "memory.max", l->memory))
    return;
  held->memory = (uint8_t)p->version;
  held->memory_bytes = l->memory;
  if (swap < 0 || set(p, number, one ? "memory.memsw.limit_in_bytes" : "memory.swap.max", swap))
    held->swap = (uint8_t)p->version;
}

static bool
limit_cpu(const struct csn_cgroup_place *p, int number, int64_t thousandths)
{
  if (p->version == 1)
    return set(p, number, "cpu.cfs_quota_us",
               thousandths < 0 ? -1 : thousandths * (PERIOD_US / 1000));
  char text[48];
  size_t n = thousandths < 0
                 ? text_add(text, sizeof text, 0, "max")
                 : text_number(text, sizeof text, 0, (uint64_t)thousandths * (PERIOD_US / 1000));
  n = text_add(text, sizeof text, n, " ");
  text_number(text, sizeof text, n, PERIOD_US);
  return set_text(p, number, "cpu.max", text);
}

void
csn_cgroup_limit(const struct csn_cgroups *g, const struct csn_cgroup *c,
                 const csn_jail_limits *limits, csn_jail_held *held)
{
  const struct csn_cgroup_place *p = place_of(g, CSN_CGROUP_MEMORY, c);
  *held = (csn_jail_held){.memory_bytes = -1};
  if (p)
    limit_memory(p, c->number, limits, held);
  p = place_of(g, CSN_CGROUP_PIDS, c);
  if (p)
    held->pids = (uint8_t)p->version;
  p = place_of(g, CSN_CGROUP_CPU, c);
  if (p && (limits->cpu < 0 || limit_cpu(p, c->number, limits->cpu)))
    held->cpu = (uint8_t)p->version;
}

void
csn_cgroup_limit_processes(const struct csn_cgroups *g, const struct csn_cgroup *c,
                           const csn_jail_limits *limits, csn_jail_held *held)
{
  const struct csn_cgroup_place *p = place_of(g, CSN_CGROUP_PIDS, c);
  /* The warden is one more; so is the spawner while it sits there. */
  if (p && limits->pids >= 0 && !set(p, c->number, "pids.max", limits->pids + 1))
    held->pids = 0;
}

static const char *
events_file(const struct csn_cgroup_place *p, enum csn_cgroup_kind kind)
{
  return kind == CSN_CGROUP_PIDS ? "pids.events"
         : p->version == 1       ? "memory.oom_control"
                                 : "memory.events";
}

void
csn_cgroup_events(const struct csn_cgroups *g, const struct csn_cgroup *c, int fds[2])
{
  static const enum csn_cgroup_kind kinds[2] = {CSN_CGROUP_MEMORY, CSN_CGROUP_PIDS};
  for (int i = 0; i < 2; i++) {
    char path[64];
    const struct csn_cgroup_place *p = place_of(g, kinds[i], c);
    fds[i] = -1;
    if (!p)
      continue;
    file_path(path, c->number, events_file(p, kinds[i]));
    fds[i] = openat(p->folder, path, O_RDONLY | O_CLOEXEC);
  }
}

static uint64_t
events(const struct csn_cgroups *g, const struct csn_cgroup *c, enum csn_cgroup_kind kind)
{
  char text[512];
  const struct csn_cgroup_place *p = place_of(g, kind, c);
  if (!p || !get(p, c->number, events_file(p, kind), text, sizeof text))
    return 0;
  return csn_cgroup_field(text, kind == CSN_CGROUP_PIDS ? "max " : "oom_kill ");
}

void
csn_cgroup_count(const struct csn_cgroups *g, const struct csn_cgroup *c, csn_jail_end *end)
{
  end->kills = (uint32_t)(events(g, c, CSN_CGROUP_MEMORY) - c->kills);
  end->refusals = (uint32_t)(events(g, c, CSN_CGROUP_PIDS) - c->refusals);
}

/* Makes the group as good as new; false when it is not worth it, because the
 * files that its jail had read would count as the next one's memory. */
static bool
reset(const struct csn_cgroups *g, const struct csn_cgroup *c)
{
  char text[32];
  bool good = true;
  const struct csn_cgroup_place *p = place_of(g, CSN_CGROUP_MEMORY, c);
  if (p) {
    const char *at = text;
    good = get(p, c->number, p->version == 1 ? "memory.usage_in_bytes" : "memory.current", text,
               sizeof text) &&
           text_take(&at) < SMALL;
    set(p, c->number, p->version == 1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", -1);
    good &= set(p, c->number, p->version == 1 ? "memory.limit_in_bytes" : "memory.max", -1);
  }
  p = place_of(g, CSN_CGROUP_PIDS, c);
  if (p)
    good &= set(p, c->number, "pids.max", -1);
  p = place_of(g, CSN_CGROUP_CPU, c);
  return good && (!p || limit_cpu(p, c->number, -1));
}

void
csn_cgroup_drop(struct csn_cgroups *g, struct csn_cgroup *c)
{
  if (c->number < 0)
    return;
  if (g->n_spares < CSN_CGROUP_SPARES && reset(g, c)) {
    c->kills = events(g, c, CSN_CGROUP_MEMORY);
    c->refusals = events(g, c, CSN_CGROUP_PIDS);
    g->spares[g->n_spares++] = *c;
  } else if (!remove_group(g, c->number) && g->n_doomed < CSN_CGROUP_DOOMED) {
    g->doomed[g->n_doomed++] = c->number;
  }
  c->number = -1;
}

/* ---- the spawner's life ---- */

void
csn_cgroups_prepare(struct csn_cgroups *g)
{
  for (size_t i = 0; i < g->n_doomed;)
    if (remove_group(g, g->doomed[i]))
      g->doomed[i] = g->doomed[--g->n_doomed];
    else
      i++;
  take_seat(g);
  if (!g->n_spares) {
    make_group(g, &g->spares[0]);
    g->n_spares = g->spares[0].number >= 0;
  }
  for (int i = 0; i < CSN_CGROUP_KINDS && !g->is_swept; i++)
    if (g->places[i].is_private)
      csn_cgroups_sweep(g, g->places[i].parent);
  g->is_swept = true;
}

void
csn_cgroups_close(struct csn_cgroups *g)
{
  sit(g, NULL);
  for (int i = 0; i < CSN_CGROUP_KINDS; i++) {
    struct csn_cgroup_place *p = &g->places[i];
    if (p->folder < 0 || !p->is_private)
      continue;
    csn_cgroup_remove(p->parent, g->name);
    close(p->folder);
    close(p->parent);
  }
}
