/* SPDX-License-Identifier: Apache-2.0
 * test_retention.c - which snapshots the rules keep. */
#include "check.h"
#include "sandbox/snapshots.h"

TEST(a_snapshot_is_kept_when_any_rule_keeps_it)
{
  /* By age, the newest first: e d c b a; c and a have tags. */
  static const csn_snapshot list[] = {{.name = "a", .created_ms = 10, .tag = "x"},
                                      {.name = "c", .created_ms = 30, .tag = "x"},
                                      {.name = "b", .created_ms = 20},
                                      {.name = "e", .created_ms = 50},
                                      {.name = "d", .created_ms = 40}};
  static const struct {
    csn_retention rules;
    const char *gone; /* in the order of the list */
  } rows[] = {
      {{0}, ""},
      {{.tagged = true}, ""},
      {{.last = 2}, "acb"},
      {{.last = 9}, ""},
      {{.since_ms = 30}, "ab"},
      {{.since_ms = 60}, "acbed"},
      {{.last = 1, .since_ms = 40}, "acb"},
      {{.last = 1, .tagged = true}, "bd"},
      {{.since_ms = 60, .tagged = true}, "bed"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    bool gone[CSN_COUNT(list)];
    char names[8] = "";
    size_t n = 0;
    csn_retention_apply(&rows[i].rules, list, CSN_COUNT(list), gone);
    for (size_t k = 0; k < CSN_COUNT(list); k++)
      if (gone[k])
        names[n++] = list[k].name[0];
    assert_string_equal(names, rows[i].gone);
  }
}

RUN_TESTS("sandbox/retention", RUN(a_snapshot_is_kept_when_any_rule_keeps_it))
