/* SPDX-License-Identifier: Apache-2.0
 * retention.h - which snapshots are kept: those that any rule wants. */
#ifndef CSN_SANDBOX_RETENTION_H
#define CSN_SANDBOX_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct csn_snapshot;

/* Zeroes keep everything. */
typedef struct csn_retention {
  int64_t last;     /* the newest so many; 0: no such rule */
  int64_t since_ms; /* made at that time (Unix) or later; 0: no such rule */
  bool tagged;      /* those that have a tag; alone it is no rule */
  bool dry_run;     /* nothing is forgotten nor dropped, only counted */
  /* Gets the names that are forgotten; may be NULL. */
  void (*forgotten)(void *user, const char *name);
  void *user;
} csn_retention;

/* Whether something would be forgotten at all. */
bool csn_retention_forgets(const csn_retention *k);
/* Marks in gone[] what no rule keeps. */
void csn_retention_apply(const csn_retention *k, const struct csn_snapshot *list, size_t n,
                         bool *gone);

#endif
