/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/mem.h"
#include "check.h"

TEST(an_arena_gives_zeroed_aligned_memory_up_to_its_limit)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(10000);
  size_t got = 0;
  for (char *p; (p = csn_arena_alloc(a, 100)); got++) {
    assert_int_equal((uintptr_t)p % 16, 0);
    for (int i = 0; i < 100; i++)
      assert_int_equal(p[i], 0);
    memset(p, 'x', 100);
  }
  assert_true(got >= 80 && csn_arena_size(a) <= 10000);
  assert_int_equal(csn_arena_dup(a, csn_strn((char[200]){0}, 200)).n, 0);
  csn_arena_clear(a);
  char *p = csn_arena_alloc(a, 100);
  assert_non_null(p);
  assert_int_equal(p[0], 0); /* zeroed again after its first use */
  assert_null(csn_arena_alloc(a, SIZE_MAX));
  assert_null(csn_arena_alloc(a, SIZE_MAX / 2 + 1));
}

TEST(an_arena_cleared_again_and_again_settles_on_one_chunk)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  size_t size = 0;
  for (int round = 0; round < 100; round++) {
    csn_arena_clear(a);
    for (int i = 0; i < 50; i++)
      (void)csn_arena_alloc(a, 100);
    if (round == 10)
      size = csn_arena_size(a);
  }
  assert_int_equal(csn_arena_size(a), size);
  assert_true(size <= 32768);
  (void)csn_arena_alloc(a, 10 << 20); /* one huge value is given back */
  csn_arena_clear(a);
  assert_true(csn_arena_size(a) <= 64 << 10);
}

TEST(copies_end_with_nul)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  (void)memset(csn_arena_alloc(a, 500), 'x', 500);
  csn_arena_clear(a);
  csn_str s = csn_arena_dup(a, csn_strn("abcdef", 3));
  assert_string_equal(s.p, "abc");
  assert_string_equal(csn_arena_dup(a, CSN_STR("")).p, "");
  STR_EQ(csn_arena_printf(a, "%d-%s", 7, "x"), "7-x");
  csn_auto(csn_freep) char *z = csn_dupz(csn_strn("abcdef", 2));
  assert_string_equal(z, "ab");
}

RUN_TESTS("core/mem", RUN(an_arena_gives_zeroed_aligned_memory_up_to_its_limit),
          RUN(an_arena_cleared_again_and_again_settles_on_one_chunk), RUN(copies_end_with_nul))
