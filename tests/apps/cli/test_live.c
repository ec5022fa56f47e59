/* SPDX-License-Identifier: Apache-2.0
 * What the status line says after each record of a run. */
#include <fcntl.h>
#include <stdio.h>

#include "apps/cli/live.h"
#include "check.h"

/* Stderr is a file while a line is drawn; what is left of it on the screen. */
struct screen {
  cli c;
  cli_live live;
  int file, real;
};

static void
screen_init(struct screen *s, int64_t seconds_ago)
{
  *s = (struct screen){.c = {.err_tty = true}};
  pthread_mutex_init(&s->c.speaking, NULL);
  FILE *f = tmpfile();
  s->file = dup(fileno(f));
  fclose(f);
  s->real = dup(STDERR_FILENO);
  fflush(stderr);
  dup2(s->file, STDERR_FILENO);
  cli_live_init(&s->live, &s->c, csn_now_ns() - seconds_ago * 1000000000 - 500000000);
}

static void
screen_fini(struct screen *s)
{
  cli_live_fini(&s->live);
  fflush(stderr);
  dup2(s->real, STDERR_FILENO);
  close(s->real);
  close(s->file);
  pthread_mutex_destroy(&s->c.speaking);
}

static void
happens(struct screen *s, const char *type, const char *json, char *text, size_t room)
{
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  OK(csn_json_parse(a, csn_cstr(json), &v, &err), &err);
  assert_int_equal(ftruncate(s->file, 0), 0);
  lseek(s->file, 0, SEEK_SET);
  cli_live_event(&s->live, type, v);
  fflush(stderr);
  ssize_t n = pread(s->file, text, room - 1, 0);
  text[n < 0 ? 0 : n] = '\0';
}

struct row {
  const char *type, *json, *want; /* want NULL: nothing is drawn */
};

static void
play(struct screen *s, const struct row *rows, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    char text[1000];
    happens(s, rows[i].type, rows[i].json, text, sizeof text);
    if (rows[i].want ? !strstr(text, rows[i].want) : *text != '\0')
      fail_msg("%s %s: '%s', expected '%s'", rows[i].type, rows[i].json, text,
               rows[i].want ? rows[i].want : "");
  }
}

TEST(each_record_that_matters_changes_the_line)
{
  struct screen s;
  screen_init(&s, 65);
  static const struct row rows[] = {
      {"run", "{\"agent\":{\"name\":\"mender\"},\"prices\":{}}", NULL},
      {"state", "{}", NULL},
      {"model_call", "{\"turn\":1}", "mender  turn 1  0 tokens  1:05  the model thinks"},
      {"model_replied", "{\"model\":\"m\",\"usage\":{\"total_tokens\":1234567}}",
       "mender  turn 1  1,234,567 tokens  1:05  works"},
      {"tool_call", "{\"name\":\"exec_command\",\"arguments\":\"{\\\"cmd\\\":\\\"ls -l\\\"}\"}",
       "exec_command: ls -l"},
      {"model_call", "{\"turn\":2,\"agent\":\"reviewer\"}", "reviewer  turn 2"},
      {"progress", "{\"what\":\"src\",\"files\":12}", "workspace: src, 12 files"},
      {"tool_call", "{\"name\":\"x\",\"arguments\":\"a\\u001b[2Jb\\nc\"}", "x: "},
  };
  play(&s, rows, CSN_COUNT(rows));
  char text[1000];
  happens(&s, "tool_call", "{\"name\":\"x\\u001b[2J\\n\",\"arguments\":\"{}\"}", text, sizeof text);
  const char *drawn = strstr(text, "reviewer");
  assert_non_null(drawn);
  assert_null(strpbrk(drawn, "\033\n")); /* what a model says moves no cursor */
  screen_fini(&s);
}

TEST(what_it_costs_is_told_while_each_price_is_known)
{
  struct screen s;
  screen_init(&s, 0);
  static const struct row rows[] = {
      {"run",
       "{\"agent\":{\"name\":\"a\"},\"prices\":{\"m\":{\"input\":1000000,\"output\":2000000}}}",
       NULL},
      {"model_call", "{\"turn\":1}", "0 tokens  $0.0000  0:00"},
      {"model_replied",
       "{\"model\":\"m\",\"usage\":{\"input_tokens\":100000,\"output_tokens\":50000,"
       "\"total_tokens\":150000}}",
       "150,000 tokens  $0.2000  0:00"},
      {"model_replied",
       "{\"model\":\"other\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1,"
       "\"total_tokens\":2}}",
       "150,002 tokens  0:00"},
  };
  play(&s, rows, CSN_COUNT(rows));
  screen_fini(&s);
}

TEST(with_a_limit_the_time_that_is_left_counts_down_to_nothing)
{
  static const struct {
    int64_t ago;
    const char *want;
  } rows[] = {{0, "1:02:05 left"}, {125, "1:00:00 left"}, {3700, "0:25 left"}, {9999, "0:00 left"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct screen s;
    screen_init(&s, rows[i].ago);
    const struct row play_rows[] = {
        {"run", "{\"agent\":{\"name\":\"a\",\"limits\":{\"wall_ms\":3725000}}}", NULL},
        {"model_call", "{\"turn\":1}", rows[i].want}};
    play(&s, play_rows, CSN_COUNT(play_rows));
    screen_fini(&s);
  }
}

TEST(without_a_terminal_nothing_is_drawn)
{
  struct screen s;
  screen_init(&s, 0);
  s.c.err_tty = false;
  static const struct row rows[] = {{"run", "{\"agent\":{\"name\":\"a\"}}", NULL},
                                    {"model_call", "{\"turn\":1}", NULL}};
  play(&s, rows, CSN_COUNT(rows));
  screen_fini(&s);
}

RUN_TESTS("apps/cli/live", RUN(each_record_that_matters_changes_the_line),
          RUN(what_it_costs_is_told_while_each_price_is_known),
          RUN(with_a_limit_the_time_that_is_left_counts_down_to_nothing),
          RUN(without_a_terminal_nothing_is_drawn))
