/* SPDX-License-Identifier: Apache-2.0
 * The command line's frame, with commands made up here. */
#include "apps/cli/cli.h"
#include "check.h"

struct eat_opts {
  bool fast;
  const char *what, *how;
  int64_t times;
  cli_list with;
};

static const cli_opt eat_table[] = {
    {"fast", 'f', NULL, "Do it fast", CLI_BOOL(struct eat_opts, fast)},
    {"what", 'w', "FILE", "What to eat", CLI_STR(struct eat_opts, what)},
    {"how", 0, "raw|cooked", "How it is done", CLI_STR(struct eat_opts, how)},
    {"times", 'n', "N", "How often", CLI_INT(struct eat_opts, times)},
    {"with", 'e', "THING", "With it", CLI_LIST(struct eat_opts, with)},
    {0},
};

static int
nothing(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  return 0;
}

static const cli_cmd cmd_eat = {.name = "eat",
                                .args = "FILE [SIDE]",
                                .brief = "Eat",
                                .size = sizeof(struct eat_opts),
                                .opts = eat_table,
                                .main = nothing};
static const cli_cmd cmd_exec = {.name = "exec",
                                 .args = "CMD...",
                                 .brief = "Run a command",
                                 .rest = true,
                                 .size = sizeof(struct eat_opts),
                                 .opts = eat_table,
                                 .main = nothing};
static const cli_cmd cmd_pick = {
    .name = "pick", .args = "red|green", .brief = "Pick", .help = "Isn't it\\", .main = nothing};
static const cli_cmd *const box_cmds[] = {&cmd_exec, &cmd_pick, NULL};
static const cli_cmd cmd_box = {.name = "box", .brief = "Boxes", .sub = box_cmds};
static const cli_cmd *const cmds[] = {&cmd_eat, &cmd_box, NULL};

/* Everything that parsing gave, as one line. */
static void
describe(const cli_cmd *cmd, const cli_globals *g, const struct eat_opts *o, int argc, char **argv,
         csn_buf *out)
{
  csn_buf_addf(out, "%s", cmd ? cmd->name : "-");
  if (o && cmd->opts)
    csn_buf_addf(out, " fast=%d what=%s how=%s n=%d", o->fast, o->what ? o->what : "-",
                 o->how ? o->how : "-", (int)o->times);
  for (size_t i = 0; o && cmd->opts && i < o->with.n; i++)
    csn_buf_addf(out, " +%s", o->with.v[i]);
  csn_buf_addf(out, "%s%s%s |", g->help ? " help" : "", g->state ? " state=" : "",
               g->state ? g->state : "");
  for (int i = 0; i < argc; i++)
    csn_buf_addf(out, " %s", argv[i]);
}

TEST(a_command_line_is_read_as_written)
{
  static const struct {
    const char *line, *want; /* want starts with "!" for an error */
  } rows[] = {
      {"eat a", "eat fast=0 what=- how=- n=0 | a"},
      {"eat a b", "eat fast=0 what=- how=- n=0 | a b"},
      {"eat --fast a --what x b", "eat fast=1 what=x how=- n=0 | a b"},
      {"eat a --what=x=y", "eat fast=0 what=x=y how=- n=0 | a"},
      {"eat -fwx a", "eat fast=1 what=x how=- n=0 | a"},
      {"eat -fn 12 a -w -", "eat fast=1 what=- how=- n=12 | a"},
      {"eat -e A=1 -eB=2 a", "eat fast=0 what=- how=- n=0 +A=1 +B=2 | a"},
      {"eat --how cooked a", "eat fast=0 what=- how=cooked n=0 | a"},
      {"eat -- -f --x", "eat fast=0 what=- how=- n=0 | -f --x"},
      {"eat -", "eat fast=0 what=- how=- n=0 | -"},
      {"box exec -f ls -l --what x", "exec fast=1 what=- how=- n=0 | ls -l --what x"},
      {"box exec -f -- -l", "exec fast=1 what=- how=- n=0 | -l"},
      {"--state d box pick red", "pick state=d | red"},
      {"box --state d pick --state=e red", "pick state=e | red"},
      {"eat --help", "eat fast=0 what=- how=- n=0 help |"},
      {"box --help", "box help |"},
      {"-h", "- help |"},
      {"", "- |"},
      {"eta a", "!there is no command 'eta'; did you mean 'eat'?"},
      {"digest", "!there is no command 'digest'; 'caisson help' lists them"},
      {"box exce", "!there is no command 'box exce'; did you mean 'exec'?"},
      {"eat --fats a", "!unknown option --fats; did you mean --fast?"},
      {"eat -x a", "!unknown option -x; see 'caisson help eat'"},
      {"box pick --fast red", "!unknown option --fast; see 'caisson help box pick'"},
      {"eat --fast=1 a", "!option --fast takes no value"},
      {"eat a --what", "!option --what needs a value: FILE"},
      {"eat -n x a", "!option --times: 'x' is not a whole number"},
      {"eat -n 1 -n 99999999999999999999 a",
       "!option --times: '99999999999999999999' is not a whole number"},
      {"eat --how boiled a", "!option: how: 'boiled' is not one of raw|cooked"},
      {"eat", "!arguments are missing; usage: caisson eat FILE [SIDE]"},
      {"eat a b c", "!unexpected argument 'c'; usage: caisson eat FILE [SIDE]"},
      {"box pick blue", "!box pick: 'blue' is not one of red|green"},
      {"box exec", "!arguments are missing; usage: caisson box exec CMD..."},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    cli c = {.cmds = cmds, .arena = csn_arena_new(0)};
    char *argv[16] = {"caisson"};
    int argc = 1;
    csn_str text = csn_cstr(rows[i].line), word;
    while (cli_word(&text, ' ', &word))
      argv[argc++] = (char *)csn_arena_dup(c.arena, word).p;
    cli_globals g = {0};
    const cli_cmd *cmd;
    void *opts;
    csn_err err;
    csn_buf got = CSN_BUF(1000);
    int rc = cli_parse(&c, &argc, argv, &g, &cmd, &opts, &err);
    if (rc < 0)
      csn_buf_addf(&got, "!%s", err.msg);
    else
      describe(cmd, &g, opts, argc, argv, &got);
    STR_EQ(csn_buf_str(&got), rows[i].want);
    assert_true(rc >= 0 || cli_exit_of(rc) == CLI_USAGE);
    csn_buf_fini(&got);
    csn_arena_free(c.arena);
  }
}

static char *
printed(void (*print)(const cli *c, FILE *to))
{
  cli c = {.cmds = cmds};
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  print(&c, f);
  fclose(f);
  return text;
}

static void
help_eat(const cli *c, FILE *to)
{
  cli_help(c, &cmd_eat, to);
}

static void
complete_bash(const cli *c, FILE *to)
{
  cli_complete(c, "bash", to);
}

static void
complete_fish(const cli *c, FILE *to)
{
  cli_complete(c, "fish", to);
}

TEST(help_manual_and_completion_show_every_option)
{
  void (*const prints[])(const cli *, FILE *) = {help_eat, cli_man, complete_bash, complete_fish};
  for (size_t i = 0; i < CSN_COUNT(prints); i++) {
    char *text = printed(prints[i]);
    for (const cli_opt *o = eat_table; o->name; o++)
      if (!strstr(text, o->name))
        fail_msg("printer %zu leaves out --%s", i, o->name);
    assert_non_null(strstr(text, "cooked"));
    free(text);
  }
}

TEST(text_in_the_manual_cannot_become_a_request)
{
  char *text = printed(cli_man);
  assert_non_null(strstr(text, "Isn\\(aqt it\\e\n"));
  free(text);
}

TEST(text_from_outside_cannot_steer_the_terminal)
{
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);
  cli_put(f, CSN_STR("a\033[2J\tb\r\nc\x7f \xc2\x9b \xc3\xa9 \xc2\xa9"));
  fclose(f);
  STR_EQ(csn_strn(text, n), "a\\x1b[2J\tb\\x0d\nc\\x7f \\x9b \xc3\xa9 \xc2\xa9");
  free(text);
}

RUN_TESTS("apps/cli/table", RUN(a_command_line_is_read_as_written),
          RUN(help_manual_and_completion_show_every_option),
          RUN(text_in_the_manual_cannot_become_a_request),
          RUN(text_from_outside_cannot_steer_the_terminal))
