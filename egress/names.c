/* SPDX-License-Identifier: Apache-2.0
 *
 * names.c - the map of synthetic addresses; see names.h.
 *
 * The n-th address given belongs to slot n % SLOTS; names are found by a table
 * of open addressing with twice as many places, rebuilt when it has filled up
 * with names that were replaced.
 */
#include "egress/names.h"

#include "core/hash.h"

enum { SLOTS = 8192, PLACES = 4 * SLOTS, RANGE = 1 << 17, FIRST = 198 << 24 | 18 << 16 };

struct slot {
  char *name;
  uint32_t offset; /* of its address in the range */
};

struct csn_names {
  struct slot slots[SLOTS];
  uint32_t next;           /* offset that is given next; 0 is never given */
  uint16_t places[PLACES]; /* slot + 1 */
  size_t taken;            /* places that are not 0 */
  uint64_t seed;
};

csn_names *
csn_names_new(void)
{
  csn_names *n = csn_alloc(sizeof *n);
  n->next = 1;
  csn_random_bytes(&n->seed, sizeof n->seed);
  return n;
}

void
csn_names_free(csn_names *n)
{
  if (!n)
    return;
  for (size_t i = 0; i < SLOTS; i++)
    free(n->slots[i].name);
  free(n);
}

/* FNV-1a from a seed that the sandbox does not know. */
static size_t
place_of(const csn_names *n, csn_str name)
{
  uint64_t h = n->seed;
  for (size_t i = 0; i < name.n; i++)
    h = (h ^ (unsigned char)name.p[i]) * UINT64_C(0x100000001b3);
  return (size_t)(h ^ h >> 32) % PLACES;
}

static void
put_place(csn_names *n, csn_str name, size_t slot)
{
  size_t at = place_of(n, name);
  while (n->places[at])
    at = (at + 1) % PLACES;
  n->places[at] = (uint16_t)(slot + 1);
  n->taken++;
}

static void
rebuild(csn_names *n)
{
  memset(n->places, 0, sizeof n->places);
  n->taken = 0;
  for (size_t i = 0; i < SLOTS; i++)
    if (n->slots[i].name)
      put_place(n, csn_cstr(n->slots[i].name), i);
}

static csn_address
address_at(uint32_t offset)
{
  uint32_t v = FIRST + offset;
  return csn_address_v4((uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v);
}

csn_address
csn_names_need(csn_names *n, csn_str name, bool *is_new)
{
  *is_new = false;
  for (size_t at = place_of(n, name); n->places[at]; at = (at + 1) % PLACES) {
    const struct slot *s = &n->slots[n->places[at] - 1];
    if (s->name && csn_str_eq(csn_cstr(s->name), name))
      return address_at(s->offset);
  }
  size_t slot = n->next % SLOTS;
  struct slot *s = &n->slots[slot];
  free(s->name);
  *s = (struct slot){csn_dupz(name), n->next};
  n->next = n->next + 1 < RANGE ? n->next + 1 : SLOTS; /* keeps offset % SLOTS in step */
  if (n->taken >= PLACES / 2)
    rebuild(n);
  else
    put_place(n, name, slot);
  *is_new = true;
  return address_at(s->offset);
}

bool
csn_names_is_ours(const csn_address *a)
{
  return !a->v6 && a->b[0] == 198 && (a->b[1] & 0xfe) == 18;
}

csn_str
csn_names_find(const csn_names *n, const csn_address *a)
{
  if (!csn_names_is_ours(a))
    return (csn_str){NULL, 0};
  uint32_t offset = (uint32_t)(a->b[1] & 1) << 16 | (uint32_t)a->b[2] << 8 | a->b[3];
  const struct slot *s = &n->slots[offset % SLOTS];
  return s->name && s->offset == offset ? csn_cstr(s->name) : (csn_str){NULL, 0};
}
