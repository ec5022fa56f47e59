/* SPDX-License-Identifier: Apache-2.0
 *
 * build.h - what the spawner and the processes that it clones share: the steps
 * from a cloned process to the warden of a jail. */
#ifndef CSN_JAIL_BUILD_H
#define CSN_JAIL_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "jail/proto.h"

struct csn_jail_plan {
  bool ranged;           /* the jail has 65536 user ids, 0 among them; else one, 1000 */
  bool spare;            /* its network and IPC namespaces are made already */
  csn_jail_open open;    /* what the harness asked for */
  int fds[CSN_JAIL_FDS]; /* by their CSN_JAIL_ number; -1 or 0: not there */
};

/* In the first process of the new namespaces, whose "/" is a template: makes
 * what is this jail's own, becomes the warden and never comes back.  A failure
 * is told on the control stream and ends the process. */
_Noreturn void csn_jail_build(struct csn_jail_plan *plan);

/* Tells the failing step with errno, and ends the process.  Who hears it: the
 * note when there is one (memory shared with the spawner), else the harness. */
_Noreturn void csn_jail_fail(const char *what, const char *name);
void csn_jail_tell(csn_jail_note *note);

/* What all jails of a kind share (jail/skeleton.c): makes it in a mount
 * namespace that is a copy of the host's, and ends with it as ".", read-only.
 * rootfs: a detached tree, or -1 for the host's programs; taken, as are the trees
 * of grants (NULL: none). */
struct csn_granted;
void csn_jail_skeleton(const char *root, int rootfs, const struct csn_granted *grants, int *trees);

/* Part of it: the folder `dev` in the folder at hand, from the host's. */
void csn_make_devices(void);

/* What is this jail's own (jail/mounts.c), on top of the skeleton as "/". */
void csn_jail_mounts(const struct csn_jail_plan *plan);
/* In a build, over the skeleton what may be changed (jail/system.c). */
void csn_jail_system(const struct csn_jail_plan *plan);
/* Whether an entry at the top of a root file system is not used, since the jail
 * has its own of that name; so are "." and "..". */
bool csn_jail_is_ours(const char *name);
/* Its users and groups over those of the skeleton (jail/accounts.c). */
void csn_jail_accounts(const struct csn_jail_plan *plan);
/* The last of it: the workspace, and what nobody needs to see. */
void csn_jail_graft(const struct csn_jail_plan *plan);

/* Storage of others (jail/storage.c): folders outside of the workspace for it;
 * then, on the workspace, the mounts themselves, served by the harness. */
void csn_jail_storage_places(const struct csn_jail_plan *plan);
void csn_jail_storage(const struct csn_jail_plan *plan);
/* Calls fn for each, in their order. */
void csn_jail_storage_each(const struct csn_jail_plan *plan,
                           void (*fn)(const struct csn_jail_plan *plan, uint32_t i, bool writable,
                                      const char *path));

/* The rest of what comes on the control stream; false when the harness has gone. */
bool csn_jail_read(void *to, size_t n);
/* Sends a note with descriptors; false with errno. */
bool csn_jail_hand_over(int kind, const int *fds, size_t n);

/* A part of the seal: the graft, when its time has come. */
void csn_jail_finish(struct csn_jail_plan *plan);

/* Raises the interface `lo` of the network namespace that the caller is in;
 * false with errno. */
bool csn_jail_loopback(void);
/* For the process and those it starts. */
void csn_jail_limit_processes(const struct csn_jail_plan *plan);

/* Files and folders of /proc that tell about the host, as far as this kernel has
 * them and others than root may read them.  The skeleton has a cover of that
 * name for each in its /tmp, where every jail mounts its own. */
extern const char *const csn_jail_covered[];

#endif
