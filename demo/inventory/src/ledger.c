/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <stdio.h>
#include <string.h>

int
ledger_days_in(int year, int month)
{
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12)
    return 0;
  int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

static int
read_date(const char *text, struct entry *e)
{
  int end = 0;
  if (sscanf(text, "%4d-%2d-%2d%n", &e->year, &e->month, &e->day, &end) != 3 || text[end])
    return -1;
  return e->day >= 1 && e->day <= ledger_days_in(e->year, e->month) ? 0 : -1;
}

static int
read_item(const char *line, struct entry *e)
{
  int end = 0;
  if (sscanf(line, " item %15s %ld %47[^\n]%n", e->code, &e->reorder_level, e->name, &end) != 3)
    return -1;
  e->kind = ENTRY_ITEM;
  return e->reorder_level >= 0 && (!line[end] || line[end] == '\n') ? 0 : -1;
}

static int
read_movement(const char *line, struct entry *e)
{
  char word[4], date[11], price[16] = "", more[2];
  int n = sscanf(line, " %3s %10s %15s %ld %15s %1s", word, date, e->code, &e->pieces, price, more);
  e->kind = strcmp(word, "in") == 0 ? ENTRY_IN : ENTRY_OUT;
  if (n != (e->kind == ENTRY_IN ? 5 : 4) || e->pieces <= 0 || read_date(date, e) < 0)
    return -1;
  return e->kind == ENTRY_OUT ? 0 : money_parse(price, &e->price);
}

int
ledger_read_line(const char *line, struct entry *out)
{
  *out = (struct entry){.kind = ENTRY_NONE};
  char word[8] = "";
  if (sscanf(line, " %7s", word) != 1 || word[0] == '#')
    return 0;
  if (strcmp(word, "item") == 0)
    return read_item(line, out);
  if (strcmp(word, "in") == 0 || strcmp(word, "out") == 0)
    return read_movement(line, out);
  return -1;
}
