/* SPDX-License-Identifier: Apache-2.0
 *
 * arena.h - the inside of an arena, for code in core/ that fills what it
 * takes: csn_arena_take() is csn_arena_alloc() without the zeroing.
 */
#ifndef CSN_CORE_ARENA_H
#define CSN_CORE_ARENA_H

#include "caisson/mem.h"

struct csn_arena_chunk {
  struct csn_arena_chunk *next;
  size_t room, used;
  _Alignas(16) char mem[];
};

struct csn_arena {
  struct csn_arena_chunk *now; /* newest first */
  size_t limit, held, next_size;
};

/* The slow way, through a new chunk. */
void *csn_arena_take_more(csn_arena *a, size_t n);

/* Not zeroed; aligned to 16; NULL only past the limit. */
static inline void *
csn_arena_take(csn_arena *a, size_t n)
{
  struct csn_arena_chunk *c = a->now;
  if (n > SIZE_MAX / 2)
    return NULL;
  n = (n + 15) & ~(size_t)15;
  if (!c || c->room - c->used < n)
    return csn_arena_take_more(a, n);
  void *p = c->mem + c->used;
  c->used += n;
  return p;
}

#endif
