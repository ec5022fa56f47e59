/* SPDX-License-Identifier: Apache-2.0
 * ids.h - the user namespaces of jails, and their user ids on the host. */
#ifndef CSN_JAIL_IDS_H
#define CSN_JAIL_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the user ids of jails come from. */
enum csn_ids_kind {
  CSN_IDS_ONE,  /* an ordinary user is 1000, and nobody else is there */
  CSN_IDS_LENT, /* it has further ids by /etc/subuid, the same for each jail */
  CSN_IDS_OWN,  /* root: a range for each jail */
};

/* The user ids of a jail, used by one at a time. */
struct csn_ids {
  unsigned long base; /* where the range is on the host; 0 unless it is its own */
  bool ranged;        /* 0..65535 exist */
  bool busy;
  int users; /* a user namespace: 0..65535 are the range, or 1000 is 1000 */
  int blank; /* an empty mount namespace that belongs to the range; -1: not yet */
  int owner; /* a user namespace for id-mapped mounts: `uid` and `gid` outside are */
  uid_t uid; /* user and group `inside` of the range; -1 when there is none yet */
  gid_t gid;
  uint32_t inside[2]; /* of lent ids: who is the ordinary user */
  bool knows_harness;
};

struct csn_ids_list {
  struct csn_ids **all;
  size_t n;
  enum csn_ids_kind kind;
};

/* Whether the ids exist where we are. */
bool csn_ids_exist(void);

/* Ids that no jail uses; `first`: the range for folders that are given away.
 * `inside`: the user and group of them that an ordinary user is to be, where
 * ids are lent; NULL: 1000.  NULL: *failed says what. */
struct csn_ids *csn_ids_take(struct csn_ids_list *list, bool first, const uint32_t inside[2],
                             const char **failed);
void csn_ids_drop(struct csn_ids *ids); /* nothing of its jail is left; NULL is fine */

/* The user namespace for a mount whose owner shall be that user of the range,
 * or -1 with errno.  It stays the range's.  Other users of the range own what
 * they make as the same users of the first range, whichever range they have
 * next time.  with_harness: root of this machine can make files there too. */
int csn_ids_owner(struct csn_ids *ids, uid_t uid, gid_t gid, const uint32_t inside[2],
                  bool with_harness);

/* The same for a root file system that is being built: who owns a file on the
 * disk owns it in the range, and root of this machine can make files as in
 * csn_ids_owner(). */
int csn_ids_system(struct csn_ids *ids);

/* Enters user and mount namespaces in which an ordinary user is 1000 and has
 * all capabilities.  NULL or what failed, with errno. */
const char *csn_ids_single(void);

/* A process in new namespaces that waits for its end, which is release(). */
pid_t csn_ids_hold(unsigned long flags);
void csn_ids_release(pid_t pid);
/* A file of its folder in /proc, "/ns/user". */
int csn_ids_open(pid_t pid, const char *name);

#endif
