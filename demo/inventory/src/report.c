/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdio.h>
#include <string.h>

enum { NAME_WIDTH = 22 };

char *
report_cut(char *out, size_t room, const char *name)
{
  size_t n = strlen(name);
  if (n > room - 1)
    n = room - 1;
  memcpy(out, name, n);
  return out;
}

char *
report_line(char out[LINE_SIZE], const struct article *a)
{
  char name[NAME_WIDTH + 1] = "", worth[24];
  report_cut(name, sizeof name, a->name);
  money_format(a->pieces * a->price, worth, sizeof worth);
  snprintf(out, LINE_SIZE, "%c %-10s %-*s %6ld %12s", stock_is_low(a) ? '*' : ' ', a->code,
           NAME_WIDTH, name, a->pieces, worth);
  return out;
}
