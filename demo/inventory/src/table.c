/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 8 };

/* FNV-1a. */
static size_t
home_of(const struct table *t, const char *code)
{
  uint32_t h = 2166136261u;
  for (; *code; code++)
    h = (h ^ (unsigned char)*code) * 16777619u;
  return h % t->room;
}

int
table_init(struct table *t)
{
  t->used = 0;
  t->room = FIRST_ROOM;
  t->slots = calloc(t->room, sizeof *t->slots);
  return t->slots ? 0 : -1;
}

void
table_fini(struct table *t)
{
  free(t->slots);
  t->slots = NULL;
  t->room = t->used = 0;
}

/* The code's slot, or the free one where it would go; there is one. */
static struct slot *
place_for(struct table *t, const char *code)
{
  size_t at = home_of(t, code);
  while (t->slots[at].value && strcmp(t->slots[at].code, code) != 0)
    at = (at + 1) % t->room;
  return &t->slots[at];
}

static int
grow(struct table *t)
{
  struct table bigger = {calloc(2 * t->room, sizeof *t->slots), 2 * t->room, t->used};
  if (!bigger.slots)
    return -1;
  for (size_t i = 0; i < t->room; i++)
    if (t->slots[i].value)
      *place_for(&bigger, t->slots[i].code) = t->slots[i];
  free(t->slots);
  *t = bigger;
  return 0;
}

void *
table_find(const struct table *t, const char *code)
{
  size_t home = home_of(t, code);
  for (size_t step = 0; step < t->room - 1; step++) {
    const struct slot *s = &t->slots[(home + step) % t->room];
    if (!s->value)
      return NULL;
    if (strcmp(s->code, code) == 0)
      return s->value;
  }
  return NULL;
}

int
table_put(struct table *t, const char *code, void *value)
{
  if (strlen(code) >= CODE_SIZE)
    return -1;
  if (t->used == t->room && !table_find(t, code) && grow(t) < 0)
    return -1;
  struct slot *s = place_for(t, code);
  if (!s->value) {
    memcpy(s->code, code, strlen(code) + 1);
    t->used++;
  }
  s->value = value;
  return 0;
}
