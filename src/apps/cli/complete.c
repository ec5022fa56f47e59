/* SPDX-License-Identifier: Apache-2.0
 *
 * complete.c - completion scripts for bash, zsh and fish, from the tables.
 *
 * All three work alike: the script walks over the words before the cursor to
 * the command they name, then looks up in generated cases what may follow:
 * commands, options, a closed list of words, files or folders.
 */
#include "cli.h"

/* Calls fn for each command and group, with its path ("" for the top). */
typedef void visit_fn(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub);

static void
visit(FILE *to, const cli_cmd *const *cmds, const char *before, visit_fn *fn)
{
  for (; *cmds; cmds++) {
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(1000);
    csn_buf_addf(&path, "%s%s%s", before, *before ? " " : "", (*cmds)->name);
    fn(to, path.p, *cmds, (*cmds)->sub);
    if ((*cmds)->sub)
      visit(to, (*cmds)->sub, path.p, fn);
  }
}

static void
opt_words(FILE *to, const cli_opt *o)
{
  for (; o && o->name; o++) {
    fprintf(to, " --%s", o->name);
    if (o->letter)
      fprintf(to, " -%c", o->letter);
  }
}

/* "W a b c" for a closed list, "F" for files, "D" for folders, "" for what
 * cannot be known. */
static void
value_kind(FILE *to, csn_str arg)
{
  bool many = csn_str_find(arg, CSN_STR("|"), 0) != SIZE_MAX;
  if (many) {
    arg = cli_arg_bare(arg);
    fputs("W", to);
    csn_str word;
    while (cli_word(&arg, '|', &word))
      fprintf(to, " %.*s", (int)word.n, word.p);
  } else if (csn_str_find(arg, CSN_STR("DIR"), 0) != SIZE_MAX) {
    fputs("D", to);
  } else if (csn_str_find(arg, CSN_STR("FILE"), 0) != SIZE_MAX) {
    fputs("F", to);
  }
}

static void
case_words(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub)
{
  fprintf(to, "  '%s') words='", path);
  for (; sub && *sub; sub++)
    fprintf(to, "%s ", (*sub)->name);
  fputs("' kind='", to);
  csn_str args = csn_cstr(cmd ? cmd->args : NULL), first;
  if (cli_word(&args, ' ', &first))
    value_kind(to, first);
  fputs("' opts='", to);
  opt_words(to, cmd ? cmd->opts : NULL);
  opt_words(to, cli_global_opts);
  fputs("' ;;\n", to);
}

static void
case_values(FILE *to, const char *path, const cli_opt *o)
{
  for (; o && o->name; o++) {
    if (!o->arg)
      continue;
    fprintf(to, "  '%s --%s'", path, o->name);
    if (o->letter)
      fprintf(to, " | '%s -%c'", path, o->letter);
    fputs(") takes=1 kind='", to);
    value_kind(to, csn_cstr(o->arg));
    fputs("' ;;\n", to);
  }
}

static void
case_cmd_values(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub)
{
  case_values(to, path, cmd->opts);
}

static void
case_subs(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub)
{
  fprintf(to, " | '%s'", path);
}

/* The functions that bash and zsh share; arrays and indices differ, so they
 * get the words as arguments: the last one is the one to complete. */
static void
shared(const cli *c, FILE *to)
{
  fputs("_caisson_value() { # path option: kind of the option's value\n"
        "  takes= kind=\n"
        "  case \"$1 $2\" in\n",
        to);
  visit(to, c->cmds, "", case_cmd_values);
  fputs("  esac\n  [ -n \"$takes\" ] || case \" $2\" in\n", to);
  case_values(to, "", cli_global_opts);
  fputs("  esac\n}\n"
        "_caisson_what() { # path: what may follow\n"
        "  words= kind= opts=\n"
        "  case \"$1\" in\n",
        to);
  case_words(to, "", NULL, c->cmds);
  visit(to, c->cmds, "", case_words);
  fputs("  esac\n}\n"
        "_caisson_walk() { # all words: sets path, takes, kind, words, opts\n"
        "  local word next\n"
        "  path= takes=\n"
        "  while [ $# -gt 1 ]; do\n"
        "    word=$1; shift; takes=\n"
        "    case $word in\n"
        "    -*=*) ;;\n"
        "    -*) _caisson_value \"$path\" \"$word\"\n"
        "        if [ -n \"$takes\" ] && [ $# -gt 1 ]; then shift; takes=; fi ;;\n"
        "    *) next=${path:+$path }$word\n"
        "       case $next in ''",
        to);
  visit(to, c->cmds, "", case_subs);
  fputs(") path=$next ;; esac ;;\n"
        "    esac\n"
        "  done\n"
        "  [ -n \"$takes\" ] || _caisson_what \"$path\"\n"
        "}\n",
        to);
}

static void
bash(const cli *c, FILE *to)
{
  fputs("# bash completion for caisson\n", to);
  shared(c, to);
  fputs("_caisson() {\n"
        "  local path takes kind words opts cur=${COMP_WORDS[COMP_CWORD]}\n"
        "  _caisson_walk \"${COMP_WORDS[@]:1:COMP_CWORD}\"\n"
        "  if [ -z \"$takes\" ] && [[ $cur == -* ]]; then\n"
        "    COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\"))\n"
        "    return\n"
        "  fi\n"
        "  case $kind in\n"
        "  W*) COMPREPLY=($(compgen -W \"${kind#W}\" -- \"$cur\")) ;;\n"
        "  D) compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
        "  F) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
        "  *) [ -n \"$takes\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
        "  esac\n"
        "}\n"
        "complete -F _caisson caisson\n",
        to);
}

static void
zsh(const cli *c, FILE *to)
{
  fputs("#compdef caisson\n", to);
  shared(c, to);
  /* `path` and `words` are special in zsh: local -h hides that. */
  fputs("_caisson() {\n"
        "  local -a all=(\"${(@)words[2,CURRENT]}\")\n"
        "  local -h path words; local takes kind opts cur=${all[-1]}\n"
        "  _caisson_walk \"${all[@]}\"\n"
        "  if [[ -z $takes && $cur == -* ]]; then compadd -- ${=opts}; return; fi\n"
        "  case $kind in\n"
        "  W*) compadd -- ${=kind#W} ;;\n"
        "  D) _files -/ ;;\n"
        "  F) _files ;;\n"
        "  *) [[ -n $takes ]] || compadd -- ${=words} ;;\n"
        "  esac\n"
        "}\n"
        "if [ \"$funcstack[1]\" = _caisson ]; then _caisson \"$@\"; else compdef _caisson caisson; "
        "fi\n",
        to);
}

static void
fish_text(FILE *to, const char *s)
{
  for (; *s; s++) {
    if (*s == '\'' || *s == '\\')
      fputc('\\', to);
    fputc(*s, to);
  }
}

static void
fish_opts(FILE *to, const char *path, const cli_opt *o)
{
  for (; o && o->name; o++) {
    fputs("complete -c caisson", to);
    if (path)
      fprintf(to, " -n '__caisson_at \"%s\"'", path);
    fprintf(to, " -l %s", o->name);
    if (o->letter)
      fprintf(to, " -s %c", o->letter);
    if (o->arg) {
      fputs(" -r", to);
      csn_str arg = csn_cstr(o->arg), word;
      if (strchr(o->arg, '|')) {
        fputs(" -f -a '", to);
        while (cli_word(&arg, '|', &word))
          fprintf(to, "%.*s ", (int)word.n, word.p);
        fputc('\'', to);
      } else if (strstr(o->arg, "FILE") || strstr(o->arg, "DIR")) {
        fputs(" -F", to);
      }
    }
    fputs(" -d '", to);
    fish_text(to, o->help);
    fputs("'\n", to);
  }
}

static void
fish_cmd(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub)
{
  const char *last = strrchr(path, ' ');
  fprintf(to, "complete -c caisson -n '__caisson_at \"%.*s\"' -f -a %s -d '",
          last ? (int)(last - path) : 0, path, cmd->name);
  fish_text(to, cmd->brief);
  fputs("'\n", to);
  fish_opts(to, path, cmd->opts);
  csn_str args = csn_cstr(cmd->args), first, word;
  if (cli_word(&args, ' ', &first) && csn_str_find(first, CSN_STR("|"), 0) != SIZE_MAX) {
    fprintf(to, "complete -c caisson -n '__caisson_at \"%s\"' -f -a '", path);
    first = cli_arg_bare(first);
    while (cli_word(&first, '|', &word))
      fprintf(to, "%.*s ", (int)word.n, word.p);
    fputs("'\n", to);
  }
}

static void
fish_known(FILE *to, const char *path, const cli_cmd *cmd, const cli_cmd *const *sub)
{
  fprintf(to, " '%s'", path);
}

static void
fish(const cli *c, FILE *to)
{
  fputs("# fish completion for caisson\n"
        "function __caisson_at\n"
        "  set -l at ''\n"
        "  for word in (commandline -opc)[2..-1]\n"
        "    string match -q -- '-*' $word; and continue\n"
        "    set -l next (string trim -- \"$at $word\")\n"
        "    contains -- $next",
        to);
  visit(to, c->cmds, "", fish_known);
  fputs("; and set at $next\n"
        "  end\n"
        "  test \"$at\" = \"$argv[1]\"\n"
        "end\n",
        to);
  fish_opts(to, NULL, cli_global_opts);
  visit(to, c->cmds, "", fish_cmd);
}

void
cli_complete(const cli *c, const char *shell, FILE *to)
{
  if (strcmp(shell, "bash") == 0)
    bash(c, to);
  else if (strcmp(shell, "zsh") == 0)
    zsh(c, to);
  else
    fish(c, to);
}
