/* SPDX-License-Identifier: Apache-2.0
 * check.h - cmocka with TAP output, and the few asserts it lacks. */
#ifndef CSN_TESTS_CHECK_H
#define CSN_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "caisson/mem.h"

#define TEST(name) static void name(void **state __attribute__((unused)))
#define RUN(name) cmocka_unit_test(name)

/* Skips the rest of a test aloud: SKIP("no user namespaces here") */
static char skip_reason[200] __attribute__((unused));
#define SKIP(...)                                                                                  \
  do {                                                                                             \
    snprintf(skip_reason, sizeof skip_reason, __VA_ARGS__);                                        \
    skip();                                                                                        \
  } while (0)

/* cmocka prints a skipped test as "not ok N # SKIP name", which TAP readers
 * count as failed: stdout passes each line through here. */
static inline ssize_t
tap_line(void *real, const char *bytes, size_t n)
{
  const char *skipped = memmem(bytes, n, " # SKIP ", 8);
  if (skipped && n > 7 && memcmp(bytes, "not ok ", 7) == 0) {
    size_t rest = n - (bytes[n - 1] == '\n');
    fprintf((FILE *)real, "ok %.*s%s%s\n", (int)(rest - 7), bytes + 7, skip_reason[0] ? ": " : "",
            skip_reason);
    skip_reason[0] = '\0';
  } else {
    fwrite(bytes, 1, n, (FILE *)real);
  }
  fflush((FILE *)real);
  return (ssize_t)n;
}

static inline void
tap_stdout(void)
{
  static char line[BUFSIZ];
  FILE *f = fopencookie(stdout, "w", (cookie_io_functions_t){.write = tap_line});
  setvbuf(f, line, _IOLBF, sizeof line);
  stdout = f;
}

/* main() of a test program: RUN_TESTS("core/json", RUN(a), RUN(b)) */
#define RUN_TESTS(title, ...)                                                                      \
  int main(void)                                                                                   \
  {                                                                                                \
    const struct CMUnitTest all_tests[] = {__VA_ARGS__};                                           \
    tap_stdout();                                                                                  \
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
