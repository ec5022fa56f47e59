/* SPDX-License-Identifier: Apache-2.0
 *
 * cgroup.h - the control groups of one spawner's jails.
 *
 * Each controller is used where this machine has it: in a version 1 hierarchy
 * or in the unified one.  There the spawner makes one folder, and in it one
 * group for each jail.  The folder's name holds the process namespace, id and
 * start time of the spawner, so that a later one knows which are left behind.
 *
 * With version 2 a jail's first process is cloned into its group.  Version 1
 * has no such call, and moving a process waits for all processors, so the
 * spawner itself sits in the next jail's groups, gone there after the last
 * answer: what it clones is in them from the start.
 */
#ifndef CSN_JAIL_CGROUP_H
#define CSN_JAIL_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "jail/proto.h"

enum csn_cgroup_kind { CSN_CGROUP_MEMORY, CSN_CGROUP_PIDS, CSN_CGROUP_CPU, CSN_CGROUP_KINDS };

enum {
  CSN_CGROUP_SPARES = 16,
  CSN_CGROUP_DOOMED = 256,
  CSN_CGROUP_NAME = 80,
  CSN_CGROUP_PATH = 1024
};

/* One jail's groups; number -1: none. */
struct csn_cgroup {
  int number;
  uint64_t kills, refusals; /* events before this jail had them */
};

/* Where a controller is. */
struct csn_cgroup_place {
  int version;     /* 1 or 2; 0: not for us */
  int folder;      /* this spawner's; -1 */
  int parent;      /* of that folder; -1 */
  bool is_private; /* the descriptors are not another kind's */
};

struct csn_cgroups {
  struct csn_cgroup_place places[CSN_CGROUP_KINDS];
  char name[CSN_CGROUP_NAME];                  /* of this spawner's folder */
  struct csn_cgroup spares[CSN_CGROUP_SPARES]; /* made, without limits, empty */
  size_t n_spares;
  int doomed[CSN_CGROUP_DOOMED]; /* numbers of those that could not be removed yet */
  size_t n_doomed;
  struct csn_cgroup seat; /* version 1: where the spawner sits; else number -1 */
  int made;               /* numbers given */
  uint64_t available;     /* bytes of memory that all jails together can have at most */
  bool is_swept;
  /* For tests: mkdirat(2) or one that also makes the files that the kernel
   * would, csn_cgroup_try(), and the controllers' names. */
  int (*make)(int dir, const char *name, mode_t mode);
  bool (*try)(int folder);
  const char *names[CSN_CGROUP_KINDS];
};

/* What the kernel says about this process. */
struct csn_cgroup_view {
  const char *cgroup, *mounts; /* /proc/self/cgroup, /proc/self/mountinfo */
};

/* Finds the controllers and makes this spawner's folder in each hierarchy. */
void csn_cgroups_open(struct csn_cgroups *g);
/* The same from texts. */
void csn_cgroups_find(struct csn_cgroups *g, const struct csn_cgroup_view *view);
/* Groups for a jail that is cloned next. */
void csn_cgroups_take(struct csn_cgroups *g, struct csn_cgroup *c);
/* What clone3(2) takes to put a process there; -1: not needed. */
int csn_cgroup_target(const struct csn_cgroups *g, const struct csn_cgroup *c);
/* Sets the limits; *held says which are in force, or would be if there were one. */
void csn_cgroup_limit(const struct csn_cgroups *g, const struct csn_cgroup *c,
                      const csn_jail_limits *limits, csn_jail_held *held);
/* The same for processes, once the first is there: making it takes more. */
void csn_cgroup_limit_processes(const struct csn_cgroups *g, const struct csn_cgroup *c,
                                const csn_jail_limits *limits, csn_jail_held *held);
/* The files that count events, -1 where there is none: memory, processes. */
void csn_cgroup_events(const struct csn_cgroups *g, const struct csn_cgroup *c, int fds[2]);
/* Events of this jail so far. */
void csn_cgroup_count(const struct csn_cgroups *g, const struct csn_cgroup *c, csn_jail_end *end);
/* All its processes have ended. */
void csn_cgroup_drop(struct csn_cgroups *g, struct csn_cgroup *c);
/* What is better done now than when the next jail is asked for. */
void csn_cgroups_prepare(struct csn_cgroups *g);
/* Removes everything; the jails have been dropped. */
void csn_cgroups_close(struct csn_cgroups *g);

/* In cgroup_find.c: the path of this process's group in the hierarchy of a
 * controller, NULL for the unified one, and the length of the part of it that
 * is the mount point.  False when it is not in view. */
bool csn_cgroup_path(const struct csn_cgroup_view *view, const char *controller,
                     char path[CSN_CGROUP_PATH], size_t *root);
/* Whether a process can be cloned into a group of version 2: it takes the right
 * to the folder that is above that group and ours. */
bool csn_cgroup_try(int folder);
/* The whole of a small file into a text; false when it cannot be read. */
bool csn_cgroup_read(int dir, const char *path, char *to, size_t room);
bool csn_cgroup_write(int dir, const char *path, const char *text);
/* The number after `word` at the start of a line; 0 when there is none. */
uint64_t csn_cgroup_field(const char *text, const char *word);
/* Whether a list separated by spaces or line ends has the word. */
bool csn_cgroup_has(const char *list, const char *word);
/* In cgroup_sweep.c */
void csn_cgroups_own_name(char name[CSN_CGROUP_NAME]);
void csn_cgroups_sweep(const struct csn_cgroups *g, int parent);
/* Removes groups below a folder, and it; false when processes are in there. */
bool csn_cgroup_remove(int parent, const char *name);

#endif
