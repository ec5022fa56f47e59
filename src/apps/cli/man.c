/* SPDX-License-Identifier: Apache-2.0
 *
 * man.c - caisson(1) as man(7) source, from the tables and the few sections
 * below that belong to no command.
 */
#include "caisson/caisson.h"
#include "cli.h"

/* Text as roff: nothing in it is a request or an escape. */
static void
text(FILE *to, const char *s)
{
  bool line_start = true;
  for (; *s; s++) {
    if (line_start && (*s == '.' || *s == '\''))
      fputs("\\&", to);
    line_start = *s == '\n';
    switch (*s) {
    case '\\':
      fputs("\\e", to);
      break;
    case '-':
      fputs("\\-", to);
      break;
    case '\'':
      fputs("\\(aq", to);
      break;
    case '`':
      fputs("\\(ga", to);
      break;
    case '^':
      fputs("\\(ha", to);
      break;
    case '~':
      fputs("\\(ti", to);
      break;
    default:
      fputc(*s, to);
    }
  }
}

/* Paragraphs of a help text. */
static void
paragraphs(FILE *to, const char *s)
{
  csn_str rest = csn_cstr(s), line;
  while (csn_str_line(&rest, &line)) {
    if (line.n == 0) {
      fputs(".PP\n", to);
      continue;
    }
    char *z = csn_dupz(line);
    text(to, z);
    fputc('\n', to);
    free(z);
  }
}

static void
term(FILE *to, const char *bold, const char *plain, const char *meaning)
{
  fputs(".TP\n\\fB", to);
  text(to, bold);
  fputs("\\fR", to);
  if (plain) {
    fputs(" \\fI", to);
    text(to, plain);
    fputs("\\fR", to);
  }
  fputc('\n', to);
  text(to, meaning);
  fputs(".\n", to);
}

static void
options(FILE *to, const cli_opt *o)
{
  for (; o && o->name; o++) {
    char left[64];
    if (o->letter)
      snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name);
    else
      snprintf(left, sizeof left, "--%s", o->name);
    term(to, left, o->arg, o->help);
  }
}

static void
commands(FILE *to, const cli_cmd *const *cmds, const char *before)
{
  for (; *cmds; cmds++) {
    const cli_cmd *cmd = *cmds;
    char path[128];
    snprintf(path, sizeof path, "%s %s", before, cmd->name);
    if (cmd->sub) {
      commands(to, cmd->sub, path);
      continue;
    }
    fputs(".SS ", to);
    text(to, path);
    if (cmd->opts)
      text(to, " [OPTION...]");
    if (cmd->args) {
      fputc(' ', to);
      text(to, cmd->args);
    }
    fputc('\n', to);
    text(to, cmd->brief);
    fputs(".\n", to);
    if (cmd->help) {
      fputs(".PP\n", to);
      paragraphs(to, cmd->help);
    }
    options(to, cmd->opts);
  }
}

void
cli_man(const cli *c, FILE *to)
{
  static const struct {
    const char *status, *meaning;
  } statuses[] = {
      {"0", "Done"},
      {"1", "The work failed"},
      {"2", "The command line or a configuration file is wrong"},
      {"3", "The run waits for a human's decision"},
      {"4", "A limit was reached"},
      {"5", "The model or its provider failed"},
      {"6", "The sandbox failed"},
      {"130", "Interrupted by a signal"},
  };
  fprintf(to, ".TH CAISSON 1 \"\" \"caisson %s\" \"User Commands\"\n", csn_version());
  fputs(".SH NAME\n"
        "caisson \\- run LLM agents that execute code, in sandboxes you control\n"
        ".SH SYNOPSIS\n"
        ".B caisson\n[\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n"
        ".SH DESCRIPTION\n"
        "A trusted harness, this program, calls the model and keeps the keys and the record of\n"
        "each run. Commands and files of the agent live in an untrusted sandbox.\n"
        "The result of a command goes to standard output, everything else to standard error.\n"
        ".SH COMMANDS\n",
        to);
  commands(to, c->cmds, "caisson");
  fputs(".SH OPTIONS\nEvery command takes these too.\n", to);
  options(to, cli_global_opts);
  fputs(".SH EXIT STATUS\n", to);
  for (size_t i = 0; i < CSN_COUNT(statuses); i++)
    term(to, statuses[i].status, NULL, statuses[i].meaning);
  fputs(".SH ENVIRONMENT\n", to);
  term(to, "CAISSON_STATE", NULL, "The state folder, or postgres://..., unless --state names one");
  term(to, "CAISSON_SESSIONS", NULL,
       "Where sessions are: state, postgres://..., redis://... or jsonl:FOLDER");
  term(to, "NO_COLOR", NULL, "When set and not empty, no colours are used");
  fputs(".SH FILES\n", to);
  term(to, ".caisson/", NULL,
       "Runs and sandboxes: the nearest such folder from the current one upward, or made here");
}
