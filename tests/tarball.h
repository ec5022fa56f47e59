/* SPDX-License-Identifier: Apache-2.0
 * tarball.h - tar archives written by hand, byte by byte, so that tests can
 * make what no honest program would. */
#ifndef CSN_TESTS_TARBALL_H
#define CSN_TESTS_TARBALL_H

#include <stdio.h>
#include <string.h>

#include "caisson/mem.h"

struct tar_item {
  char type; /* 0 ends a list */
  const char *name, *link, *content;
  unsigned mode; /* 0: 0755 */
  unsigned uid;
};

/* Puts the check sum right after a change of the header at `at`. */
static inline void
tar_sign(csn_buf *b, size_t at)
{
  unsigned sum = 0;
  memset(b->p + at + 148, ' ', 8);
  for (size_t i = 0; i < 512; i++)
    sum += (unsigned char)b->p[at + i];
  snprintf(b->p + at + 148, 8, "%06o", sum);
}

static inline void
tar_pad(csn_buf *b)
{
  while (b->n % 512)
    csn_buf_addc(b, '\0');
}

/* Gives where the header stands. */
static inline size_t
tar_add_n(csn_buf *b, const struct tar_item *i, size_t size)
{
  char h[513] = {0}; /* one more for snprintf's NUL */
  size_t at = b->n;
  strncpy(h, i->name, 100);
  snprintf(h + 100, 8, "%07o", (i->mode ? i->mode : 0755) & 07777777);
  snprintf(h + 108, 8, "%07o", i->uid & 07777777);
  snprintf(h + 116, 8, "%07o", i->uid & 07777777);
  snprintf(h + 124, 12, "%011zo", size & 0777777777);
  snprintf(h + 136, 12, "%011o", 1000000000u);
  h[156] = i->type;
  strncpy(h + 157, i->link ? i->link : "", 100);
  memcpy(h + 257, "ustar\00000", 8);
  csn_buf_add(b, csn_strn(h, 512));
  tar_sign(b, at);
  if (i->content)
    csn_buf_add(b, csn_strn(i->content, size));
  tar_pad(b);
  return at;
}

static inline size_t
tar_add(csn_buf *b, struct tar_item i)
{
  return tar_add_n(b, &i, i.content ? strlen(i.content) : 0);
}

static inline void
tar_end(csn_buf *b)
{
  char zero[1024] = {0};
  csn_buf_add(b, csn_strn(zero, sizeof zero));
}

/* A pax header with one record. */
static inline void
tar_pax(csn_buf *b, char type, const char *key, csn_str value)
{
  csn_auto(csn_buf_finip) csn_buf record = CSN_BUF(2 << 20);
  size_t n = strlen(key) + value.n + 3, digits = 1;
  for (size_t limit = 10; n + digits >= limit; limit *= 10)
    digits++;
  csn_buf_addf(&record, "%zu %s=", n + digits, key);
  csn_buf_add(&record, value);
  csn_buf_addc(&record, '\n');
  struct tar_item i = {.type = type, .name = "pax", .content = record.p};
  tar_add_n(b, &i, record.n);
}

#endif
