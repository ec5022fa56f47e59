/* SPDX-License-Identifier: Apache-2.0
 * grants.h - folders and files of the host that commands see at a path of their
 * own, read-only or not. */
#ifndef CSN_JAIL_GRANTS_H
#define CSN_JAIL_GRANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct csn_home;
struct csn_ids;
struct csn_jail_plan;

/* Those of a request. */
struct csn_granted {
  uint32_t n;
  const char *list; /* of each 'r' or 'w' and its path, with a NUL; mapped */
  size_t size;
  const int *fds;     /* as many; borrowed */
  uint32_t inside[2]; /* who their owner is in the jail */
};

/* In the spawner: reads the list behind fd.  NULL or what failed, with errno. */
const char *csn_granted_read(struct csn_granted *g, uint32_t n, int fd, const int *fds);
void csn_granted_fini(struct csn_granted *g);
/* What tells a template with these from one with others; on the heap, or NULL. */
char *csn_granted_key(const struct csn_granted *g, size_t *n);
/* Detached trees of them, as many.  With ids their owner is `inside` there, unless
 * the file system cannot do that and they are only read. */
const char *csn_granted_trees(const struct csn_home *home, struct csn_ids *ids,
                              const struct csn_granted *g, int *trees);
/* In the skeleton, whose root is the current folder: attaches and takes them. */
void csn_granted_attach(const struct csn_granted *g, int *trees);

/* In the jail: calls fn with the path of each that may be written to. */
void csn_granted_writable(const struct csn_jail_plan *plan,
                          void (*fn)(void *user, const char *path), void *user);

#endif
