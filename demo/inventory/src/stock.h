/* SPDX-License-Identifier: Apache-2.0 */
/* stock.h - what is on the shelves, after each movement of the ledger. */
#ifndef STOCK_H
#define STOCK_H

#include "ledger.h"

enum { MAX_ARTICLES = 256 };

struct article {
  char code[CODE_SIZE];
  char name[NAME_SIZE];
  long reorder_level;
  long pieces;
  money price; /* of one piece, as last bought */
};

struct stock {
  struct article articles[MAX_ARTICLES]; /* in the order of the ledger */
  size_t n;
  struct table by_code;
};

/* 0, or -1 without memory. */
int stock_init(struct stock *s);
void stock_fini(struct stock *s);

/* Applies one entry.  NULL, or what is wrong with it: an unknown article, one
 * that exists already, more pieces than there are, too many articles. */
const char *stock_apply(struct stock *s, const struct entry *e);

/* The article, or NULL. */
const struct article *stock_find(const struct stock *s, const char *code);

/* What all pieces are worth at their last prices. */
money stock_value(const struct stock *s);

/* 1 when the pieces that are left are at or below the reorder level, else 0. */
int stock_is_low(const struct article *a);

#endif
