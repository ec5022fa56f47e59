/* SPDX-License-Identifier: Apache-2.0 */
#include "money.h"

#include "check.h"

static void
amounts_are_read(void)
{
  money m = 0;
  CHECK_INT(money_parse("12.34", &m), 0);
  CHECK_INT(m, 1234);
  CHECK_INT(money_parse("7", &m), 0);
  CHECK_INT(m, 700);
  CHECK_INT(money_parse("-0.5", &m), 0);
  CHECK_INT(m, -50);
}

static void
what_is_no_amount_is_refused(void)
{
  money m;
  CHECK_INT(money_parse("", &m), -1);
  CHECK_INT(money_parse("1.", &m), -1);
  CHECK_INT(money_parse(".5", &m), -1);
  CHECK_INT(money_parse("1.234", &m), -1);
  CHECK_INT(money_parse("1,50", &m), -1);
  CHECK_INT(money_parse("9999999999999", &m), -1);
}

static const char *
formatted(money m)
{
  static char text[24];
  money_format(m, text, sizeof text);
  return text;
}

static void
amounts_are_written(void)
{
  CHECK_STR(formatted(1230), "12.30");
  CHECK_STR(formatted(-5), "-0.05");
  CHECK_STR(formatted(0), "0.00");
}

static void
percent_of_a_debit_is_rounded(void)
{
  CHECK_INT(money_percent(1000, 19), 190);
  CHECK_INT(money_percent(250, 5), 13);
  CHECK_INT(money_percent(240, 1), 2);
}

static void
percent_of_a_credit_is_rounded_the_same_way(void)
{
  CHECK_INT(money_percent(-1000, 19), -190);
  CHECK_INT(money_percent(-250, 5), -13);
  CHECK_INT(money_percent(-240, 1), -2);
}

void
money_tests(void)
{
  RUN(amounts_are_read);
  RUN(what_is_no_amount_is_refused);
  RUN(amounts_are_written);
  RUN(percent_of_a_debit_is_rounded);
  RUN(percent_of_a_credit_is_rounded_the_same_way);
}
