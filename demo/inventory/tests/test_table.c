/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdio.h>

#include "check.h"

/* Eight codes with the same hash in a table of eight: the last one stands
 * seven slots from where it belongs. */
static const char *const crowd[] = {"BOLT-8", "NUT-6", "PIN-2",  "CAP-3",
                                    "ROD-8",  "KEY-2", "NAIL-1", "HOOK-4"};

static void
an_empty_table_has_nothing(void)
{
  struct table t;
  CHECK_INT(table_init(&t), 0);
  CHECK_INT(table_find(&t, "BOLT-8") == NULL, 1);
  table_fini(&t);
}

static void
values_are_found_and_replaced(void)
{
  struct table t;
  int one = 1, two = 2;
  table_init(&t);
  CHECK_INT(table_put(&t, "BOLT-8", &one), 0);
  CHECK_INT(table_find(&t, "BOLT-8") == &one, 1);
  CHECK_INT(table_put(&t, "BOLT-8", &two), 0);
  CHECK_INT(table_find(&t, "BOLT-8") == &two, 1);
  CHECK_INT(table_find(&t, "BOLT") == NULL, 1);
  CHECK_INT(t.used, 1);
  table_fini(&t);
}

static void
a_full_table_finds_all_it_holds(void)
{
  struct table t;
  int value = 0;
  table_init(&t);
  for (int i = 0; i < 8; i++)
    CHECK_INT(table_put(&t, crowd[i], &value), 0);
  CHECK_INT(t.room, 8);
  for (int i = 0; i < 8; i++)
    CHECK_INT(table_find(&t, crowd[i]) == &value, 1);
  CHECK_INT(table_find(&t, "LAMP-7") == NULL, 1);
  table_fini(&t);
}

static void
a_table_grows(void)
{
  static int values[100];
  struct table t;
  char code[CODE_SIZE];
  table_init(&t);
  for (int i = 0; i < 100; i++) {
    snprintf(code, sizeof code, "P-%d", i);
    CHECK_INT(table_put(&t, code, &values[i]), 0);
  }
  CHECK_INT(t.used, 100);
  CHECK_INT(t.room, 128);
  CHECK_INT(table_find(&t, "P-0") == &values[0], 1);
  CHECK_INT(table_find(&t, "P-99") == &values[99], 1);
  table_fini(&t);
}

static void
a_code_that_is_too_long_is_refused(void)
{
  struct table t;
  table_init(&t);
  CHECK_INT(table_put(&t, "SIXTEEN-LETTERS-", &t), -1);
  table_fini(&t);
}

void
table_tests(void)
{
  RUN(an_empty_table_has_nothing);
  RUN(values_are_found_and_replaced);
  RUN(a_full_table_finds_all_it_holds);
  RUN(a_table_grows);
  RUN(a_code_that_is_too_long_is_refused);
}
