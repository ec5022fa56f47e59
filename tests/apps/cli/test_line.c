/* SPDX-License-Identifier: Apache-2.0
 * Lines that come from a file or a pipe instead of a human. */
#include <fcntl.h>
#include <stdio.h>

#include "apps/cli/line.h"
#include "check.h"

/* The text becomes stdin. */
static void
type(const char *text)
{
  FILE *f = tmpfile();
  fputs(text, f);
  rewind(f);
  assert_int_equal(dup2(fileno(f), STDIN_FILENO), STDIN_FILENO);
  fclose(f);
  clearerr(stdin);
  lseek(STDIN_FILENO, 0, SEEK_SET);
}

TEST(a_line_ends_where_it_ends_unless_a_backslash_says_that_it_goes_on)
{
  static const struct {
    const char *typed;
    const char *want[4]; /* NULL: the end */
  } rows[] = {
      {"one\ntwo\n", {"one", "two"}},
      {"no end of line", {"no end of line"}},
      {"dos\r\n", {"dos"}},
      {"\n\nafter empty ones\n", {"", "", "after empty ones"}},
      {"one \\\nand on\nnext\n", {"one \nand on", "next"}},
      {"a\\\nb\\\nc\n", {"a\nb\nc"}},
      {"cut off \\\n", {"cut off \n"}},
      {"in the mid\\dle\n", {"in the mid\\dle"}},
      {"", {NULL}},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    cli c = {.err_tty = true};
    csn_err err;
    csn_auto(cli_line_closep) cli_line *l = NULL;
    pthread_mutex_init(&c.speaking, NULL);
    type(rows[i].typed);
    OK(cli_line_open(&c, &l, &err), &err);
    for (size_t k = 0;; k++) {
      csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(1000);
      int rc = cli_line_read(l, "> ", &line, &err);
      OK(rc, &err);
      if (rc == 0 && line.n == 0) {
        assert_null(rows[i].want[k]);
        break;
      }
      assert_non_null(rows[i].want[k]);
      STR_EQ(csn_buf_str(&line), rows[i].want[k]);
    }
    pthread_mutex_destroy(&c.speaking);
  }
}

TEST(a_line_that_is_too_long_is_refused)
{
  cli c = {0};
  csn_err err;
  csn_auto(cli_line_closep) cli_line *l = NULL;
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(8);
  pthread_mutex_init(&c.speaking, NULL);
  type("more than eight bytes\n");
  OK(cli_line_open(&c, &l, &err), &err);
  assert_int_equal(cli_line_read(l, "> ", &line, &err), CSN_E_LIMIT);
  pthread_mutex_destroy(&c.speaking);
}

RUN_TESTS("apps/cli/line", RUN(a_line_ends_where_it_ends_unless_a_backslash_says_that_it_goes_on),
          RUN(a_line_that_is_too_long_is_refused))
