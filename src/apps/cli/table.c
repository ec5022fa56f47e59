/* SPDX-License-Identifier: Apache-2.0
 *
 * table.c - from the words of a command line to a command and its options.
 *
 * One pass from left to right.  Until a command is known only the global
 * options count; after it both do, in any order with the arguments, until
 * "--" or, for a command that runs another one, until its first argument.
 */
#include "cli.h"

const cli_opt cli_global_opts[] = {
    {"state", 0, "DIR",
     "Keep runs and sandboxes in DIR instead of the nearest .caisson; runs in postgres://...",
     CLI_STR(cli_globals, state)},
    {"log-level", 0, "error|warn|info|debug", "How much to tell about the inner workings",
     CLI_STR(cli_globals, log_level)},
    {"log-file", 0, "FILE", "Append the log to FILE instead of stderr",
     CLI_STR(cli_globals, log_file)},
    {"help", 'h', NULL, "Print help about the command and exit", CLI_BOOL(cli_globals, help)},
    {"version", 0, NULL, "Print the version and exit", CLI_BOOL(cli_globals, version)},
    {0},
};

/* What is known while going through the words. */
typedef struct parse {
  cli *c;
  cli_globals *g;
  const cli_cmd *group; /* whose subcommand comes next; NULL: the top */
  const cli_cmd *cmd;
  char *opts;
  char **argv;
  int argc, at; /* words, next one */
} parse;

bool
cli_word(csn_str *text, char sep, csn_str *word)
{
  if (text->n == 0)
    return false;
  const char *end = memchr(text->p, sep, text->n);
  *word = csn_strn(text->p, end ? (size_t)(end - text->p) : text->n);
  size_t eaten = word->n + (end ? 1 : 0);
  *text = csn_strn(text->p + eaten, text->n - eaten);
  return true;
}

const cli_cmd *
cli_cmd_find(const cli_cmd *const *cmds, const char *name)
{
  for (; cmds && *cmds; cmds++)
    if (strcmp((*cmds)->name, name) == 0)
      return *cmds;
  return NULL;
}

bool
cli_cmd_path(const cli_cmd *const *cmds, const cli_cmd *cmd, csn_buf *out)
{
  for (; cmds && *cmds; cmds++) {
    size_t n = out->n;
    csn_buf_addf(out, "%s%s", n ? " " : "", (*cmds)->name);
    if (*cmds == cmd || cli_cmd_path((*cmds)->sub, cmd, out))
      return true;
    out->n = n;
  }
  return false;
}

void
cli_cmd_arity(const cli_cmd *cmd, int *min, int *max)
{
  *min = *max = 0;
  csn_str text = csn_cstr(cmd->args), word;
  while (cli_word(&text, ' ', &word)) {
    if (csn_str_find(word, CSN_STR("..."), 0) != SIZE_MAX)
      *max = -1;
    if (word.n > 0 && word.p[0] != '[')
      ++*min;
    if (*max >= 0)
      ++*max;
  }
}

/* Edits (insert, drop, replace, swap neighbours) from a to b, for short words. */
static unsigned
distance(const char *a, const char *b)
{
  unsigned d[3][40];
  size_t na = strlen(a), nb = strlen(b);
  if (na >= 40 || nb >= 40)
    return 40;
  for (unsigned j = 0; j <= nb; j++)
    d[0][j] = j;
  for (unsigned i = 1; i <= na; i++) {
    unsigned *row = d[i % 3], *up = d[(i + 2) % 3], *upup = d[(i + 1) % 3];
    row[0] = i;
    for (unsigned j = 1; j <= nb; j++) {
      unsigned best = up[j - 1] + (a[i - 1] != b[j - 1]);
      best = up[j] + 1 < best ? up[j] + 1 : best;
      best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        best = upup[j - 2] + 1 < best ? upup[j - 2] + 1 : best;
      row[j] = best;
    }
  }
  return d[na % 3][nb];
}

/* Keeps in *best the candidate nearest to word, when it is near enough. */
static void
nearer(const char *word, const char *candidate, const char **best, unsigned *far)
{
  unsigned d = distance(word, candidate);
  if (d < *far && d <= 1 + strlen(word) / 4) {
    *far = d;
    *best = candidate;
  }
}

static int
unknown_cmd(const parse *p, const char *word, csn_err *err)
{
  const cli_cmd *const *cmds = p->group ? p->group->sub : p->c->cmds;
  const char *best = NULL, *group = p->group ? p->group->name : "";
  unsigned far = 40;
  for (; *cmds; cmds++)
    nearer(word, (*cmds)->name, &best, &far);
  if (best)
    return csn_fail(err, CSN_E_INVALID, "there is no command '%s%s%s'; did you mean '%s'?", group,
                    *group ? " " : "", word, best);
  return csn_fail(err, CSN_E_INVALID, "there is no command '%s%s%s'; 'caisson help%s%s' lists them",
                  group, *group ? " " : "", word, *group ? " " : "", group);
}

static int
unknown_opt(const parse *p, const char *name, csn_err *err)
{
  const char *best = NULL;
  unsigned far = 40;
  const cli_opt *tables[2] = {p->cmd ? p->cmd->opts : NULL, cli_global_opts};
  for (size_t i = 0; i < CSN_COUNT(tables); i++)
    for (const cli_opt *o = tables[i]; o && o->name; o++)
      nearer(name, o->name, &best, &far);
  const char *dash = name[0] && !name[1] ? "-" : "--";
  csn_buf path = CSN_BUF(256);
  if (p->cmd)
    cli_cmd_path(p->c->cmds, p->cmd, &path);
  int rc = best ? csn_fail(err, CSN_E_INVALID, "unknown option %s%s; did you mean --%s?", dash,
                           name, best)
                : csn_fail(err, CSN_E_INVALID, "unknown option %s%s; see 'caisson help%s%s'", dash,
                           name, path.n ? " " : "", path.n ? path.p : "");
  csn_buf_fini(&path);
  return rc;
}

csn_str
cli_arg_bare(csn_str arg)
{
  bool optional = arg.n >= 2 && arg.p[0] == '[' && arg.p[arg.n - 1] == ']';
  return optional ? csn_strn(arg.p + 1, arg.n - 2) : arg;
}

static int
check_choice(const char *words, const char *name, const char *value, csn_err *err)
{
  if (!words || !strchr(words, '|'))
    return 0;
  csn_str text = cli_arg_bare(csn_cstr(words)), word;
  while (cli_word(&text, '|', &word))
    if (csn_str_eq(word, csn_cstr(value)))
      return 0;
  return csn_fail(err, CSN_E_INVALID, "%s: '%s' is not one of %s", name, value, words);
}

static int
store(parse *p, const cli_opt *o, char *base, const char *value, csn_err *err)
{
  int rc = value ? check_choice(o->arg, o->name, value, err) : 0;
  if (rc < 0)
    return csn_wrap(err, rc, "option");
  char *at = base + o->at;
  switch (o->kind) {
  case CLI_KIND_BOOL:
    *(bool *)at = true;
    return 0;
  case CLI_KIND_STR:
    *(const char **)at = value;
    return 0;
  case CLI_KIND_INT:
    if (csn_str_int(csn_cstr(value), (int64_t *)at))
      return 0;
    return csn_fail(err, CSN_E_INVALID, "option --%s: '%s' is not a whole number", o->name, value);
  case CLI_KIND_LIST: {
    cli_list *l = (cli_list *)at;
    if (!l->v) /* never more values than words */
      l->v = csn_arena_alloc(p->c->arena, ((size_t)p->argc + 1) * sizeof *l->v);
    l->v[l->n++] = value;
    return 0;
  }
  }
  return 0;
}

/* The option called by its long name or its letter; *base is its struct. */
static const cli_opt *
find_opt(parse *p, csn_str name, char letter, char **base)
{
  const cli_opt *tables[2] = {p->cmd ? p->cmd->opts : NULL, cli_global_opts};
  char *bases[2] = {p->opts, (char *)p->g};
  for (size_t i = 0; i < CSN_COUNT(tables); i++) {
    *base = bases[i];
    for (const cli_opt *o = tables[i]; o && o->name; o++)
      if (letter ? o->letter == letter : csn_str_eq(name, csn_cstr(o->name)))
        return o;
  }
  return NULL;
}

static int
next_value(parse *p, const cli_opt *o, const char **value, csn_err *err)
{
  if (p->at >= p->argc)
    return csn_fail(err, CSN_E_INVALID, "option --%s needs a value: %s", o->name, o->arg);
  *value = p->argv[p->at++];
  return 0;
}

static int
long_opt(parse *p, const char *word, csn_err *err)
{
  const char *eq = strchr(word, '=');
  csn_str name = csn_strn(word, eq ? (size_t)(eq - word) : strlen(word));
  char *base;
  const cli_opt *o = find_opt(p, name, 0, &base);
  if (!o)
    return unknown_opt(p, csn_arena_dup(p->c->arena, name).p, err);
  const char *value = eq ? eq + 1 : NULL;
  if (eq && !o->arg)
    return csn_fail(err, CSN_E_INVALID, "option --%s takes no value", o->name);
  if (!eq && o->arg) {
    int rc = next_value(p, o, &value, err);
    if (rc < 0)
      return rc;
  }
  return store(p, o, base, value, err);
}

static int
short_opts(parse *p, const char *word, csn_err *err)
{
  for (; *word; word++) {
    char *base;
    const cli_opt *o = find_opt(p, CSN_STR(""), *word, &base);
    if (!o)
      return unknown_opt(p, (char[]){*word, '\0'}, err);
    const char *value = NULL;
    int rc = 0;
    if (o->arg && word[1])
      value = word + 1;
    else if (o->arg)
      rc = next_value(p, o, &value, err);
    if (rc >= 0)
      rc = store(p, o, base, value, err);
    if (rc < 0 || o->arg)
      return rc;
  }
  return 0;
}

/* A word that is no option, before the command is known. */
static int
name_word(parse *p, const char *word, csn_err *err)
{
  const cli_cmd *cmd = cli_cmd_find(p->group ? p->group->sub : p->c->cmds, word);
  if (!cmd)
    return unknown_cmd(p, word, err);
  if (cmd->sub)
    p->group = cmd;
  if (!cmd->main) /* a group that does nothing without a subcommand */
    return 0;
  p->cmd = cmd;
  p->opts = csn_arena_alloc(p->c->arena, cmd->size + 1);
  return 0;
}

static int
check_args(const parse *p, int argc, char **argv, csn_err *err)
{
  int min, max;
  cli_cmd_arity(p->cmd, &min, &max);
  csn_buf path = CSN_BUF(256);
  cli_cmd_path(p->c->cmds, p->cmd, &path);
  int rc = 0;
  if (argc < min)
    rc = csn_fail(err, CSN_E_INVALID, "arguments are missing; usage: caisson %s %s", path.p,
                  p->cmd->args);
  else if (max >= 0 && argc > max)
    rc = csn_fail(err, CSN_E_INVALID, "unexpected argument '%s'; usage: caisson %s%s%s", argv[max],
                  path.p, max ? " " : "", max ? p->cmd->args : "");
  csn_str text = csn_cstr(p->cmd->args), word;
  for (int i = 0; rc >= 0 && i < argc && cli_word(&text, ' ', &word); i++)
    rc = check_choice(csn_arena_dup(p->c->arena, word).p, path.p, argv[i], err);
  csn_buf_fini(&path);
  return rc;
}

int
cli_parse(cli *c, int *argc, char **argv, cli_globals *g, const cli_cmd **cmd, void **opts,
          csn_err *err)
{
  parse p = {.c = c, .g = g, .argv = argv, .argc = *argc, .at = 1};
  int n = 0, rc = 0; /* arguments move to the front, behind what was read */
  bool only_args = false;
  while (rc >= 0 && p.at < p.argc) {
    char *word = argv[p.at++];
    if (only_args)
      argv[n++] = word;
    else if (strcmp(word, "--") == 0)
      only_args = true;
    else if (word[0] == '-' && word[1] == '-')
      rc = long_opt(&p, word + 2, err);
    else if (word[0] == '-' && word[1])
      rc = short_opts(&p, word + 1, err);
    else if (!p.cmd || p.cmd->sub)
      rc = name_word(&p, word, err);
    else {
      argv[n++] = word;
      only_args = p.cmd->rest;
    }
  }
  argv[n] = NULL; /* n < argc: the program's name is not among them */
  *argc = n;
  *cmd = p.cmd ? p.cmd : p.group;
  *opts = p.opts;
  if (rc >= 0 && p.cmd && !g->help && !g->version)
    rc = check_args(&p, n, argv, err);
  return rc;
}
