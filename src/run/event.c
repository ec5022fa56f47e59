/* SPDX-License-Identifier: Apache-2.0
 * event.c - the words of the closed lists in event.h. */
#include "run/event.h"

#define X(id, word) #word,
static const char *const event_names[] = {CSN_EVENTS(X)};
static const char *const effect_names[] = {CSN_EFFECTS(X)};
#undef X

const char *
csn_event_name(enum csn_event_kind k)
{
  return event_names[k];
}

const char *
csn_effect_name(enum csn_effect_kind k)
{
  return effect_names[k];
}

static int
find(const char *const *names, int count, csn_str word)
{
  for (int i = 0; i < count; i++)
    if (csn_str_eq(word, csn_cstr(names[i])))
      return i;
  return -1;
}

int
csn_event_find(csn_str word)
{
  return find(event_names, CSN_EV_COUNT, word);
}

int
csn_effect_find(csn_str word)
{
  return find(effect_names, CSN_DO_COUNT, word);
}
