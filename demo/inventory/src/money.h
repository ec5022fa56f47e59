/* SPDX-License-Identifier: Apache-2.0 */
/* money.h - amounts in whole cents, so that sums are exact. */
#ifndef MONEY_H
#define MONEY_H

#include <stddef.h>

typedef long long money;

/* Reads "12", "12.3", "-0.05".  0, or -1 when the text is no amount. */
int money_parse(const char *text, money *out);

/* Writes "12.30" or "-0.05" and always a final NUL. */
void money_format(money amount, char *out, size_t room);

/* So many percent of an amount; half a cent is rounded away from zero, for
 * credits (negative amounts) as for debits. */
money money_percent(money amount, int percent);

#endif
