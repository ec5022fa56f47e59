/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <string.h>

static int passed, failed, broken; /* broken: checks of the running test */

void
check_int(const char *file, int line, const char *what, long long got, long long want)
{
  if (got == want)
    return;
  broken++;
  printf("%s:%d: %s: expected %lld, got %lld\n", file, line, what, want, got);
}

void
check_str(const char *file, int line, const char *what, const char *got, const char *want)
{
  if (strcmp(got, want) == 0)
    return;
  broken++;
  printf("%s:%d: %s: expected \"%s\", got \"%s\"\n", file, line, what, want, got);
}

void
check_run(const char *name, void (*test)(void))
{
  broken = 0;
  test();
  if (broken)
    failed++;
  else
    passed++;
  printf("%s %s\n", broken ? "FAIL" : "ok  ", name);
}

int
main(void)
{
  money_tests();
  table_tests();
  ledger_tests();
  stock_tests();
  report_tests();
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
