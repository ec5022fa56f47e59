/* SPDX-License-Identifier: Apache-2.0
 * check.h - cmocka with TAP output, and the few asserts it lacks. */
#ifndef CSN_TESTS_CHECK_H
#define CSN_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "caisson/mem.h"

#define TEST(name) static void name(void **state __attribute__((unused)))
#define RUN(name) cmocka_unit_test(name)

/* main() of a test program: RUN_TESTS("core/json", RUN(a), RUN(b)) */
#define RUN_TESTS(title, ...)                                                                      \
  int main(void)                                                                                   \
  {                                                                                                \
    const struct CMUnitTest all_tests[] = {__VA_ARGS__};                                           \
    cmocka_set_message_output(CM_OUTPUT_TAP);                                                      \
    return cmocka_run_group_tests_name(title, all_tests, NULL, NULL);                              \
  }

/* rc >= 0, or the test fails with the error's message. */
#define OK(rc, err)                                                                                \
  do {                                                                                             \
    if ((rc) < 0)                                                                                  \
      fail_msg("%s:%d: %s", __FILE__, __LINE__, (err)->msg);                                       \
  } while (0)

/* The slice equals the literal or NUL-terminated text. */
#define STR_EQ(s, z)                                                                               \
  do {                                                                                             \
    csn_str got_ = (s);                                                                            \
    const char *want_ = (z);                                                                       \
    if (!csn_str_eq(got_, csn_cstr(want_)))                                                        \
      fail_msg("%s:%d: got '%.*s', expected '%s'", __FILE__, __LINE__, (int)got_.n,                \
               got_.p ? got_.p : "", want_);                                                       \
  } while (0)

#endif
