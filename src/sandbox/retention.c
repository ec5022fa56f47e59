/* SPDX-License-Identifier: Apache-2.0
 * retention.c - which snapshots are kept; see retention.h. */
#include "sandbox/retention.h"

#include "sandbox/snapshots.h"

bool
csn_retention_forgets(const csn_retention *k)
{
  return k->last > 0 || k->since_ms > 0;
}

static int
newest_first(const void *a, const void *b)
{
  const csn_snapshot *x = *(const csn_snapshot *const *)a, *y = *(const csn_snapshot *const *)b;
  if (x->created_ms != y->created_ms)
    return x->created_ms < y->created_ms ? 1 : -1;
  return strcmp(x->name, y->name);
}

void
csn_retention_apply(const csn_retention *k, const csn_snapshot *list, size_t n, bool *gone)
{
  csn_auto(csn_freep) const csn_snapshot **order = csn_alloc((n + 1) * sizeof *order);
  for (size_t i = 0; i < n; i++)
    order[i] = &list[i];
  qsort(order, n, sizeof *order, newest_first);
  for (size_t i = 0; i < n; i++) {
    const csn_snapshot *r = order[i];
    bool keeps = (k->last > 0 && (int64_t)i < k->last) ||
                 (k->since_ms > 0 && r->created_ms >= k->since_ms) || (k->tagged && r->tag[0]);
    gone[r - list] = csn_retention_forgets(k) && !keeps;
  }
}
