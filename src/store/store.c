/* SPDX-License-Identifier: Apache-2.0
 *
 * store.c - what the back-ends of the journal have in common when they come
 * and go. */
#include "store/backend.h"

void
csn_store_init(csn_store *s, const csn_store_ops *ops)
{
  s->ops = ops;
  csn_owner_self(s->self);
  pthread_mutex_init(&s->owed_lock, NULL);
}

void
csn_store_fini(csn_store *s)
{
  free(s->owed);
  pthread_mutex_destroy(&s->owed_lock);
}

void
csn_store_close(csn_store *s)
{
  if (!s)
    return;
  if (s->n_owed)
    csn_store_settle(s);
  s->ops->close(s);
}
