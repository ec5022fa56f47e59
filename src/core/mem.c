/* SPDX-License-Identifier: Apache-2.0
 * mem.c - the heap that never returns NULL, and arenas of growing chunks. */
#include "caisson/mem.h"

#include <stdint.h>
#include <stdio.h>

#include "core/arena.h"

static void *
must(void *p)
{
  if (!p) {
    fputs("caisson: out of memory\n", stderr);
    abort();
  }
  return p;
}

void *
csn_alloc(size_t n)
{
  return must(calloc(1, n ? n : 1));
}

void *
csn_realloc(void *p, size_t count, size_t size)
{
  return must(reallocarray(p, count ? count : 1, size ? size : 1));
}

char *
csn_dupz(csn_str s)
{
  char *z = must(malloc(s.n + 1));
  if (s.n)
    memcpy(z, s.p, s.n);
  z[s.n] = '\0';
  return z;
}

enum { FIRST_CHUNK = 1024, BIGGEST_CHUNK = 1 << 20, KEPT_CHUNK = 64 << 10 };

csn_arena *
csn_arena_new(size_t limit)
{
  csn_arena *a = csn_alloc(sizeof *a);
  a->limit = limit;
  a->next_size = FIRST_CHUNK;
  return a;
}

void
csn_arena_free(csn_arena *a)
{
  if (!a)
    return;
  for (struct csn_arena_chunk *c = a->now, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  free(a);
}

/* Keeps the newest chunk that is not huge: it is the largest of those, so an
 * arena that is cleared again and again soon needs no new one. */
void
csn_arena_clear(csn_arena *a)
{
  struct csn_arena_chunk *kept = NULL;
  for (struct csn_arena_chunk *c = a->now, *next; c; c = next) {
    next = c->next;
    if (!kept && (c->room <= KEPT_CHUNK || !next)) {
      kept = c;
      continue;
    }
    a->held -= c->room;
    free(c);
  }
  if (kept && kept->room > KEPT_CHUNK) {
    a->held -= kept->room;
    free(kept);
    kept = NULL;
  }
  a->now = kept;
  a->next_size = kept ? 2 * kept->room : FIRST_CHUNK;
  if (kept) {
    kept->next = NULL;
    kept->used = 0;
  }
}

void *
csn_arena_take_more(csn_arena *a, size_t n)
{
  size_t room = n > a->next_size ? n : a->next_size;
  if (a->limit && room > a->limit - a->held)
    room = n; /* the last bytes before the limit still serve */
  if (a->limit && room > a->limit - a->held)
    return NULL;
  struct csn_arena_chunk *c = must(malloc(sizeof *c + room));
  *c = (struct csn_arena_chunk){.next = a->now, .room = room, .used = n};
  a->now = c;
  a->held += room;
  if (a->next_size < BIGGEST_CHUNK)
    a->next_size *= 2;
  return c->mem;
}

void *
csn_arena_alloc(csn_arena *a, size_t n)
{
  void *p = csn_arena_take(a, n);
  return p ? memset(p, 0, n) : NULL;
}

csn_str
csn_arena_dup(csn_arena *a, csn_str s)
{
  char *p = s.n < SIZE_MAX ? csn_arena_take(a, s.n + 1) : NULL;
  if (!p)
    return (csn_str){"", 0};
  if (s.n)
    memcpy(p, s.p, s.n);
  p[s.n] = '\0';
  return (csn_str){p, s.n};
}

csn_str
csn_arena_printf(csn_arena *a, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *p = n < 0 ? NULL : csn_arena_alloc(a, (size_t)n + 1);
  if (!p)
    return (csn_str){"", 0};
  va_start(ap, fmt);
  vsnprintf(p, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return (csn_str){p, (size_t)n};
}

size_t
csn_arena_size(const csn_arena *a)
{
  return a->held;
}
