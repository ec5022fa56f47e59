/* SPDX-License-Identifier: Apache-2.0 */
/* ledger.h - reads the lines of a ledger; README.md shows them. */
#ifndef LEDGER_H
#define LEDGER_H

#include "money.h"
#include "table.h"

enum { NAME_SIZE = 48 }; /* of an article's name, with its NUL */

enum entry_kind { ENTRY_NONE, ENTRY_ITEM, ENTRY_IN, ENTRY_OUT };

struct entry {
  enum entry_kind kind; /* NONE: an empty line or a comment */
  char code[CODE_SIZE];
  char name[NAME_SIZE];    /* of ITEM */
  long reorder_level;      /* of ITEM */
  int year, month, day;    /* of IN and OUT */
  long pieces;             /* of IN and OUT, above zero */
  money price;             /* of IN: of one piece */
};

/* Reads one line.  0, or -1 when it is malformed. */
int ledger_read_line(const char *line, struct entry *out);

/* Days of a month from 1 to 12, by the Gregorian calendar; 0 for no month. */
int ledger_days_in(int year, int month);

#endif
