/* SPDX-License-Identifier: Apache-2.0 */
#include "money.h"

#include <ctype.h>
#include <stdio.h>

enum { MAX_DIGITS = 12 };

int
money_parse(const char *text, money *out)
{
  int negative = *text == '-';
  const char *s = text + negative;
  money cents = 0;
  int digits = 0, decimals = -1; /* -1: no point yet */
  for (; *s; s++) {
    if (*s == '.' && decimals < 0 && digits > 0) {
      decimals = 0;
      continue;
    }
    if (!isdigit((unsigned char)*s) || ++digits > MAX_DIGITS)
      return -1;
    if (decimals >= 0 && ++decimals > 2)
      return -1;
    cents = cents * 10 + (*s - '0');
  }
  if (digits == 0 || decimals == 0)
    return -1;
  for (int i = decimals < 0 ? 0 : decimals; i < 2; i++)
    cents *= 10;
  *out = negative ? -cents : cents;
  return 0;
}

void
money_format(money amount, char *out, size_t room)
{
  money size = amount < 0 ? -amount : amount;
  snprintf(out, room, "%s%lld.%02lld", amount < 0 ? "-" : "", size / 100, size % 100);
}

money
money_percent(money amount, int percent)
{
  return (amount * percent + 50) / 100;
}
