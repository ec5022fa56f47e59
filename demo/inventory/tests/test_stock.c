/* SPDX-License-Identifier: Apache-2.0 */
#include "stock.h"

#include "check.h"

static struct stock stock;

/* The last complaint, or "". */
static const char *
apply(const char *const *lines)
{
  const char *wrong = NULL;
  for (; *lines && !wrong; lines++) {
    struct entry e;
    wrong = ledger_read_line(*lines, &e) < 0 ? "malformed" : stock_apply(&stock, &e);
  }
  return wrong ? wrong : "";
}

static const char *const spring[] = {
    "item BOLT-10 50 Hexagon bolt M10", "item LAMP-7 2 Work lamp", "in 2024-03-01 BOLT-10 200 0.15",
    "in 2024-03-02 LAMP-7 4 24.90",     "out 2024-03-04 BOLT-10 120", NULL};

static void
movements_change_the_stock(void)
{
  stock_init(&stock);
  CHECK_STR(apply(spring), "");
  CHECK_INT(stock_find(&stock, "BOLT-10")->pieces, 80);
  CHECK_INT(stock_find(&stock, "LAMP-7")->price, 2490);
  CHECK_INT(stock_find(&stock, "LAMP") == NULL, 1);
  stock_fini(&stock);
}

static void
the_stock_has_its_worth(void)
{
  stock_init(&stock);
  CHECK_INT(stock_value(&stock), 0);
  CHECK_STR(apply(spring), "");
  CHECK_INT(stock_value(&stock), 80 * 15 + 4 * 2490);
  stock_fini(&stock);
}

static void
impossible_movements_are_refused(void)
{
  static const char *const twice[] = {"item A 1 One", "item A 1 One", NULL};
  static const char *const unknown[] = {"out 2024-01-01 B 1", NULL};
  static const char *const too_many[] = {"in 2024-01-01 A 3 1", "out 2024-01-01 A 4", NULL};
  stock_init(&stock);
  CHECK_STR(apply(twice), "the article exists already");
  CHECK_STR(apply(unknown), "unknown article");
  CHECK_STR(apply(too_many), "more pieces than there are");
  CHECK_INT(stock_find(&stock, "A")->pieces, 3);
  stock_fini(&stock);
}

static void
an_article_is_low_from_its_reorder_level_down(void)
{
  struct article a = {.reorder_level = 5, .pieces = 6};
  CHECK_INT(stock_is_low(&a), 0);
  a.pieces = 5;
  CHECK_INT(stock_is_low(&a), 1);
  a.pieces = 0;
  CHECK_INT(stock_is_low(&a), 1);
}

void
stock_tests(void)
{
  RUN(movements_change_the_stock);
  RUN(the_stock_has_its_worth);
  RUN(impossible_movements_are_refused);
  RUN(an_article_is_low_from_its_reorder_level_down);
}
