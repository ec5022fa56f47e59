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
  bool is_root;  /* of this machine: mounts and user ids are ours */
  bool ranged;   /* a jail has 65536 user ids */
  char why[120]; /* it has not */
  bool is_open;
  int proc;        /* the host's /proc */
  int blank;       /* an empty, read-only mount namespace, when it was needed */
  int around;      /* a mount namespace whose end takes time */
  uint64_t serial; /* of the template that was made last */
  struct csn_ids_list ids;
};

/* Finds out, once; NULL or what failed, with errno.  Safe to call again. */
const char *csn_home_open(struct csn_home *home);
/* Lets go of what is better let go of when nobody waits. */
void csn_home_rest(struct csn_home *home);
/* A process that is no jail's has ended and was collected. */
void csn_home_reaped(pid_t pid);

/* One folder that programs come from: of a rootfs, or /etc of the host. */
struct csn_origin {
  dev_t device;
  ino_t number;
  struct timespec changed; /* a template that is older than its entries is made anew */
};

/* A template: the skeleton of jails of one kind, as a mount namespace. */
struct csn_template {
  char root[CSN_JAIL_ROOT_MAX];
  const struct csn_ids *ids; /* whose ids layers and grants are seen through; NULL for the host's */
  size_t layers;             /* 0: the host's programs */
  struct csn_origin *origins;
  char *granted; /* csn_granted_key(); NULL: nothing is */
  size_t granted_n;
  int mounts;
  uint64_t serial;
  struct csn_template *next; /* most recently used first */
};

/* What a template is wanted for. */
struct csn_wanted {
  const char *root;
  struct csn_ids *ids;              /* of the jail; may be NULL */
  const int *layers;                /* folders, the lowest first; borrowed */
  size_t n;                         /* 0: the host's programs */
  const struct csn_granted *grants; /* NULL: none; as root they need the ids */
};

/* Gives a template, made when there is none; NULL: *why says what failed. */
struct csn_template *csn_template_find(struct csn_home *home, struct csn_template **list,
                                       const struct csn_wanted *want, csn_jail_note *why);

/* A detached tree of a folder of the host; -1 with errno, ESTALE when another
 * folder is found where it should be. */
int csn_home_tree(const struct csn_home *home, int fd);

/* Lays the layers of a workspace, folders and the lowest first, below *top, a
 * tree that is taken; *top is the whole then.  `ids`: a user namespace through
 * which owners are seen, or -1.  NULL or what failed, with errno. */
const char *csn_home_stack(const struct csn_home *home, int ids, const int *layers, size_t n,
                           int *top);

/* Closes what may be the last descriptor of such a whole in a process beside
 * us: the kernel then forgets each of its files, which takes its time. */
void csn_home_let_go(int whole);
/* Runs `go` in a process beside us, whose memory and descriptors are ours, until
 * it has let go of the memory; that it gives back its namespaces takes longer,
 * and nobody waits for it: csn_jails_reap() collects it.  The processes it clones
 * with CLONE_PARENT are ours.  0, or -1. */
int csn_start_beside(int (*go)(void *), void *arg, unsigned long more, char *stack, size_t size);

/* Network and IPC namespaces that nobody is in yet.  Beside the first comes the
 * blank mount namespace. */
struct csn_spare {
  int net, ipc;
};
bool csn_spare_make(struct csn_home *home, struct csn_spare *spare);
/* The same in two steps, one at a time: what is begun goes on while we do
 * something else, on another processor where there is one. */
void csn_spare_begin(struct csn_home *home);
bool csn_spare_end(struct csn_home *home,
                   struct csn_spare *spare); /* waits; false also when none was begun */
void csn_spare_drop(struct csn_spare *spare);

/* Clones the first process of a jail: it builds plan->open on the template and
 * becomes the warden.  spare may be NULL, and group,
 * a control group, -1.  The pid, or -1 with errno. */
pid_t csn_jail_clone(struct csn_home *home, const struct csn_template *t, struct csn_ids *ids,
                     const struct csn_spare *spare, int group, struct csn_jail_plan *plan,
                     int *pidfd);

#endif
