/* SPDX-License-Identifier: Apache-2.0
 *
 * mem.h - the one ownership rule.
 *
 * What dies together lives in an arena.  What lives alone has new/free and a
 * csn_auto() on the local that owns it.  Everything else is a borrow.
 *
 * Running out of memory ends the process; sizes that outsiders choose are
 * bounded instead, and an arena past its limit returns NULL.
 */
#ifndef CAISSON_MEM_H
#define CAISSON_MEM_H

#include <stdlib.h>
#include <unistd.h>

#include "str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs `fn` on the address of the local when it goes out of scope. */
#define csn_auto(fn) __attribute__((cleanup(fn)))
/* Hands a pointer on and forgets it here. */
#define csn_steal(p)                                                                               \
  __extension__({                                                                                  \
    __typeof__(p) csn_own_ = (p);                                                                  \
    (p) = NULL;                                                                                    \
    csn_own_;                                                                                      \
  })
#define CSN_COUNT(a) (sizeof(a) / sizeof(*(a)))

/* CSN_FREER(T) makes csn_T_freep() out of csn_T_free() for use in csn_auto(). */
#define CSN_FREER(T)                                                                               \
  static inline void csn_##T##_freep(csn_##T **p)                                                  \
  {                                                                                                \
    csn_##T##_free(*p);                                                                            \
  }

static inline void
csn_freep(void *p)
{
  free(*(void **)p);
}
static inline void
csn_closep(int *fd)
{
  if (*fd >= 0)
    close(*fd);
  *fd = -1; /* called by hand before csn_auto does: the number may be another's then */
}

/* Like malloc, zeroed; never NULL: out of memory aborts with a message. */
CSN_API void *csn_alloc(size_t n) __attribute__((malloc, returns_nonnull));
/* Like realloc of count * size, checked for overflow; never NULL. */
CSN_API void *csn_realloc(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
/* A NUL-terminated copy on the heap; the caller frees it. */
CSN_API char *csn_dupz(csn_str s) __attribute__((returns_nonnull));

/* An arena: allocations that all end with it. One thread at a time. */
typedef struct csn_arena csn_arena;

/* limit: bytes of all chunks together; 0 means no limit. */
CSN_API csn_arena *csn_arena_new(size_t limit);
CSN_API void csn_arena_free(csn_arena *a);
/* Gives back all that was allocated; one chunk of at most 64 KiB stays for
 * reuse. */
CSN_API void csn_arena_clear(csn_arena *a);
/* Zeroed, aligned to 16; NULL only past the limit. */
CSN_API void *csn_arena_alloc(csn_arena *a, size_t n);
/* A NUL-terminated copy; the empty slice past the limit. */
CSN_API csn_str csn_arena_dup(csn_arena *a, csn_str s);
CSN_API csn_str csn_arena_printf(csn_arena *a, const char *fmt, ...) CSN_PRINTF(2, 3);
/* Bytes in use by its chunks. */
CSN_API size_t csn_arena_size(const csn_arena *a);

CSN_FREER(arena)

static inline void
csn_buf_finip(csn_buf *b)
{
  csn_buf_fini(b);
}

#ifdef __cplusplus
}
#endif
#endif
