/* SPDX-License-Identifier: Apache-2.0 */
#include "stock.h"

#include <string.h>

int
stock_init(struct stock *s)
{
  s->n = 0;
  return table_init(&s->by_code);
}

void
stock_fini(struct stock *s)
{
  table_fini(&s->by_code);
}

static const char *
add_article(struct stock *s, const struct entry *e)
{
  if (table_find(&s->by_code, e->code))
    return "the article exists already";
  if (s->n == MAX_ARTICLES)
    return "too many articles";
  struct article *a = &s->articles[s->n];
  *a = (struct article){.reorder_level = e->reorder_level};
  memcpy(a->code, e->code, sizeof a->code);
  memcpy(a->name, e->name, sizeof a->name);
  if (table_put(&s->by_code, a->code, a) < 0)
    return "no memory";
  s->n++;
  return NULL;
}

const char *
stock_apply(struct stock *s, const struct entry *e)
{
  if (e->kind == ENTRY_NONE)
    return NULL;
  if (e->kind == ENTRY_ITEM)
    return add_article(s, e);
  struct article *a = table_find(&s->by_code, e->code);
  if (!a)
    return "unknown article";
  if (e->kind == ENTRY_OUT && e->pieces > a->pieces)
    return "more pieces than there are";
  a->pieces += e->kind == ENTRY_IN ? e->pieces : -e->pieces;
  if (e->kind == ENTRY_IN)
    a->price = e->price;
  return NULL;
}

const struct article *
stock_find(const struct stock *s, const char *code)
{
  return table_find(&s->by_code, code);
}

money
stock_value(const struct stock *s)
{
  money sum = 0;
  for (size_t i = 0; i < s->n; i++)
    sum += s->articles[i].pieces * s->articles[i].price;
  return sum;
}

int
stock_is_low(const struct article *a)
{
  return a->pieces < a->reorder_level;
}
