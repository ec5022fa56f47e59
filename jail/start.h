/* SPDX-License-Identifier: Apache-2.0
 * start.h - how the spawner makes processes in namespaces it is not in itself,
 * and what it keeps ready for them. */
#ifndef CSN_JAIL_START_H
#define CSN_JAIL_START_H

#include <sys/stat.h>
#include <time.h>

#include "jail/build.h"
#include "jail/ids.h"

/* Where we are: what a root harness's spawner and an ordinary user's have. */
struct csn_home {
  bool ranged; /* root of this machine: jails get user ids of their own */
  int mounts;  /* the host's mounts as we see them: a namespace */
  int proc;    /* the host's /proc */
  int blank;   /* an empty, read-only mount namespace */
  struct csn_ids_list ids;
};

/* Finds out, once; NULL or what failed, with errno.  Safe to call again. */
const char *csn_home_open(struct csn_home *home);

/* A template: the skeleton of jails of one kind, as a mount namespace. */
struct csn_template {
  char root[CSN_JAIL_ROOT_MAX];
  bool is_host;            /* else a rootfs folder */
  dev_t device;            /* of the folder that the programs' entries come from: */
  ino_t number;            /* /etc of the host, or the rootfs */
  struct timespec changed; /* a template that is older than its entries is made anew */
  int mounts;
  struct csn_template *next; /* most recently used first */
};

/* Gives a template, made when there is none; NULL: *why says what failed.
 * rootfs: a detached tree of the folder, or -1. */
struct csn_template *csn_template_find(struct csn_home *home, struct csn_template **list,
                                       const char *root, int rootfs, csn_jail_note *why);

/* Network and IPC namespaces that nobody is in yet. */
struct csn_spare {
  int net, ipc;
};
bool csn_spare_make(struct csn_spare *spare);
void csn_spare_drop(struct csn_spare *spare);

/* Clones the first process of a jail: it builds plan->open on the template and
 * becomes the warden.  spare may be NULL, and group,
 * a control group, -1.  The pid, or -1 with errno. */
pid_t csn_jail_clone(struct csn_home *home, const struct csn_template *t, const struct csn_ids *ids,
                     const struct csn_spare *spare, int group, struct csn_jail_plan *plan,
                     int *pidfd);

#endif
