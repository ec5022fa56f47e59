/* SPDX-License-Identifier: Apache-2.0
 * Names as addresses, more of them than are kept. */
#include "egress/names.h"

#include "check.h"

static csn_str
name_of(char out[40], int i)
{
  snprintf(out, 40, "host%d.example.com", i);
  return csn_cstr(out);
}

TEST(a_name_keeps_its_address_and_an_address_its_name)
{
  csn_auto(csn_names_freep) csn_names *n = csn_names_new();
  char text[40];
  bool is_new;
  csn_address first = csn_names_need(n, name_of(text, 0), &is_new);
  assert_true(is_new && csn_names_is_ours(&first));
  for (int i = 1; i < 8000; i++) {
    csn_address a = csn_names_need(n, name_of(text, i), &is_new);
    assert_true(is_new && csn_names_is_ours(&a));
    csn_address again = csn_names_need(n, name_of(text, i), &is_new);
    assert_true(!is_new && csn_address_eq(&a, &again));
    assert_true(csn_str_eq(csn_names_find(n, &a), name_of(text, i)));
  }
  assert_true(csn_str_eq(csn_names_find(n, &first), name_of(text, 0)));
}

TEST(an_old_address_never_means_a_new_name)
{
  csn_auto(csn_names_freep) csn_names *n = csn_names_new();
  char text[40];
  bool is_new;
  csn_address first = csn_names_need(n, name_of(text, 0), &is_new);
  for (int i = 1; i < 100000; i++) {
    csn_address a = csn_names_need(n, name_of(text, i), &is_new);
    assert_true(is_new && csn_str_eq(csn_names_find(n, &a), name_of(text, i)));
    csn_str old = csn_names_find(n, &first);
    assert_true(old.n == 0 || csn_str_eq(old, name_of(text, 0)));
  }
  csn_address later = csn_names_need(n, name_of(text, 0), &is_new);
  assert_true(is_new && !csn_address_eq(&later, &first));
  for (int i = 0; i < 100000; i++) /* around the range */
    (void)csn_names_need(n, name_of(text, i + 100000), &is_new);
  csn_address a = csn_names_need(n, name_of(text, 7), &is_new);
  assert_true(csn_names_is_ours(&a) && csn_str_eq(csn_names_find(n, &a), name_of(text, 7)));
}

TEST(other_addresses_mean_nothing)
{
  csn_auto(csn_names_freep) csn_names *n = csn_names_new();
  static const csn_address rows[] = {{0, {198, 18, 0, 0}},     {0, {198, 18, 0, 1}},
                                     {0, {198, 19, 255, 255}}, {0, {198, 20, 0, 1}},
                                     {0, {198, 17, 0, 1}},     {1, {198, 18, 0, 1}}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    assert_int_equal(csn_names_find(n, &rows[i]).n, 0);
    assert_int_equal(csn_names_is_ours(&rows[i]), i < 3);
  }
}

RUN_TESTS("egress/names", RUN(a_name_keeps_its_address_and_an_address_its_name),
          RUN(an_old_address_never_means_a_new_name), RUN(other_addresses_mean_nothing))
