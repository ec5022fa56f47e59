/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include "check.h"

static void
an_article_is_read(void)
{
  struct entry e;
  CHECK_INT(ledger_read_line("item BOLT-10 50 Hexagon bolt M10\n", &e), 0);
  CHECK_INT(e.kind, ENTRY_ITEM);
  CHECK_STR(e.code, "BOLT-10");
  CHECK_STR(e.name, "Hexagon bolt M10");
  CHECK_INT(e.reorder_level, 50);
}

static void
movements_are_read(void)
{
  struct entry e;
  CHECK_INT(ledger_read_line("in  2024-02-29 NUT-10 300 0.06\n", &e), 0);
  CHECK_INT(e.kind, ENTRY_IN);
  CHECK_INT(e.pieces, 300);
  CHECK_INT(e.price, 6);
  CHECK_INT(ledger_read_line("out 2024-12-31 NUT-10 1", &e), 0);
  CHECK_INT(e.kind, ENTRY_OUT);
  CHECK_INT(e.day, 31);
}

static void
empty_lines_and_comments_are_nothing(void)
{
  struct entry e;
  CHECK_INT(ledger_read_line("\n", &e), 0);
  CHECK_INT(e.kind, ENTRY_NONE);
  CHECK_INT(ledger_read_line("  # in 2024", &e), 0);
  CHECK_INT(e.kind, ENTRY_NONE);
}

static void
malformed_lines_are_refused(void)
{
  static const char *const lines[] = {
      "sell 2024-01-01 NUT-10 1", "out 2024-01-01 NUT-10",         "out 2024-01-01 NUT-10 0",
      "out 2023-02-29 NUT-10 1",  "in 2024-01-01 NUT-10 1 cheap",  "item NUT-10 -1 Nut",
      "out 2024-1x-01 NUT-10 1",  "in 2024-01-01 NUT-10 1 0.10 x", "item NUT-10",
  };
  struct entry e;
  for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
    CHECK_INT(ledger_read_line(lines[i], &e), -1);
}

static void
months_have_their_days(void)
{
  CHECK_INT(ledger_days_in(2023, 1), 31);
  CHECK_INT(ledger_days_in(2023, 2), 28);
  CHECK_INT(ledger_days_in(2000, 2), 29);
  CHECK_INT(ledger_days_in(1900, 2), 28);
  CHECK_INT(ledger_days_in(2024, 12), 31);
  CHECK_INT(ledger_days_in(2024, 13), 0);
}

void
ledger_tests(void)
{
  RUN(an_article_is_read);
  RUN(movements_are_read);
  RUN(empty_lines_and_comments_are_nothing);
  RUN(malformed_lines_are_refused);
  RUN(months_have_their_days);
}
