/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - finds what belongs to a code: a hash table with open addressing.
 * Values are borrowed and never NULL. */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>

enum { CODE_SIZE = 16 }; /* of an article's code, with its NUL */

struct slot {
  char code[CODE_SIZE];
  void *value; /* NULL: the slot is free */
};

struct table {
  struct slot *slots;
  size_t room, used;
};

/* 0, or -1 without memory. */
int table_init(struct table *t);
void table_fini(struct table *t);

/* Adds or replaces; grows when every slot is taken.  0, or -1 when the code is
 * too long or there is no memory. */
int table_put(struct table *t, const char *code, void *value);

/* The value, or NULL.  Looks into every slot, from the code's own one on, until
 * it meets the code or a free slot. */
void *table_find(const struct table *t, const char *code);

#endif
