/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <string.h>

#include "check.h"

static void
names_that_fit_are_kept_whole(void)
{
  char out[16];
  memset(out, 0, sizeof out);
  CHECK_STR(report_cut(out, 10, "Work lamp"), "Work lamp");
  memset(out, 0, sizeof out);
  CHECK_STR(report_cut(out, 10, ""), "");
}

static void
long_names_are_cut_and_still_end(void)
{
  char out[16] = "###############";
  CHECK_STR(report_cut(out, 10, "Wood glue, slow"), "Wood glue");
}

static void
an_article_is_one_line(void)
{
  char out[LINE_SIZE];
  struct article a = {.code = "GLUE-2", .name = "Wood glue, two components, slow setting",
                      .reorder_level = 5, .pieces = 4, .price = 740};
  CHECK_STR(report_line(out, &a), "* GLUE-2     Wood glue, two compone      4        29.60");
  a.pieces = 12;
  CHECK_STR(report_line(out, &a), "  GLUE-2     Wood glue, two compone     12        88.80");
}

void
report_tests(void)
{
  RUN(names_that_fit_are_kept_whole);
  RUN(long_names_are_cut_and_still_end);
  RUN(an_article_is_one_line);
}
