/* SPDX-License-Identifier: Apache-2.0
 *
 * help.c - what `--help` prints, from the tables.
 */
#include "cli.h"

enum { WIDTH = 80 };

/* Words of the text, wrapped, each line behind `indent` blanks; an empty line
 * in the text stays one. */
static void
wrapped(FILE *to, const char *text, int indent)
{
  csn_str rest = csn_cstr(text), line, word;
  int col = 0;
  while (csn_str_line(&rest, &line)) {
    if (line.n == 0) {
      fputs(col ? "\n\n" : "\n", to);
      col = 0;
      continue;
    }
    while (cli_word(&line, ' ', &word)) {
      if (word.n == 0)
        continue;
      if (col && col + 1 + (int)word.n > WIDTH) {
        fputc('\n', to);
        col = 0;
      }
      col += col ? fprintf(to, " %.*s", (int)word.n, word.p)
                 : fprintf(to, "%*s%.*s", indent, "", (int)word.n, word.p);
    }
  }
  if (col)
    fputc('\n', to);
}

static void
options(FILE *to, const char *title, const cli_opt *o)
{
  if (!o || !o->name)
    return;
  fprintf(to, "\n%s:\n", title);
  for (; o->name; o++) {
    char left[96];
    snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
             o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->arg ? " " : "",
             o->arg ? o->arg : "");
    if (strlen(left) <= 26) {
      fprintf(to, "  %-27s %s\n", left, o->help);
    } else {
      fprintf(to, "  %s\n%30s%s\n", left, "", o->help);
    }
  }
}

static void
commands(FILE *to, const cli_cmd *const *cmds, const char *before)
{
  for (; *cmds; cmds++) {
    if ((*cmds)->sub) {
      char path[64];
      snprintf(path, sizeof path, "%s%s ", before, (*cmds)->name);
      commands(to, (*cmds)->sub, path);
      continue;
    }
    char left[64];
    snprintf(left, sizeof left, "%s%s", before, (*cmds)->name);
    fprintf(to, "  %-16s %s\n", left, (*cmds)->brief);
  }
}

static void
overview(const cli *c, FILE *to)
{
  fputs("caisson - run LLM agents that execute code, in sandboxes you control\n\n"
        "Usage: caisson [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n",
        to);
  commands(to, c->cmds, "");
  options(to, "Options of every command", cli_global_opts);
  fputs("\n'caisson help COMMAND' tells more about one of them.\n", to);
}

void
cli_help(const cli *c, const cli_cmd *cmd, FILE *to)
{
  if (!cmd) {
    overview(c, to);
    return;
  }
  csn_buf path = CSN_BUF(256);
  cli_cmd_path(c->cmds, cmd, &path);
  fprintf(to, "caisson %s - %s\n\n", path.p, cmd->brief);
  if (cmd->sub) {
    fprintf(to, "Usage: caisson %s COMMAND [ARGUMENT...]\n\nCommands:\n", path.p);
    csn_buf_addc(&path, ' ');
    commands(to, cmd->sub, path.p);
  } else {
    fprintf(to, "Usage: caisson %s%s%s%s\n", path.p, cmd->opts ? " [OPTION...]" : "",
            cmd->args ? " " : "", cmd->args ? cmd->args : "");
  }
  if (cmd->help) {
    fputc('\n', to);
    wrapped(to, cmd->help, 0);
  }
  options(to, "Options", cmd->opts);
  options(to, "Options of every command", cli_global_opts);
  csn_buf_fini(&path);
}
