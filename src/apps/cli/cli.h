/* SPDX-License-Identifier: Apache-2.0
 *
 * cli.h - the frame that every subcommand of `caisson` hangs in.
 *
 * A command is one table in one file, cmd_<name>.c; main.c lists them.  The
 * table is the only description there is: parsing, `--help`, the man page and
 * the shells' completions are all printed from it.
 *
 * stdout carries the result and nothing else; what is said about the work
 * goes to stderr through cli_note() and cli_status().
 */
#ifndef CSN_APPS_CLI_H
#define CSN_APPS_CLI_H

#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "caisson/json.h"
#include "caisson/scope.h"

/* The process's exit status, the same for every command. */
enum cli_exit {
  CLI_DONE = 0,
  CLI_FAILED = 1,
  CLI_USAGE = 2,   /* usage or configuration */
  CLI_WAITING = 3, /* for a human */
  CLI_LIMIT = 4,
  CLI_MODEL = 5,
  CLI_SANDBOX = 6,
  CLI_INTERRUPTED = 130,
};

enum cli_kind { CLI_KIND_BOOL, CLI_KIND_STR, CLI_KIND_INT, CLI_KIND_LIST };

/* Values of an option that may be given several times. */
typedef struct cli_list {
  const char **v; /* NULL-terminated, or NULL when n is 0 */
  size_t n;
} cli_list;

typedef struct cli_opt {
  const char *name; /* "json": the long form without its dashes */
  char letter;      /* short form; 0: none */
  const char *arg;  /* "DIR"; "a|b|c" is a closed list of words; NULL: a switch */
  const char *help; /* one sentence without a full stop */
  enum cli_kind kind;
  size_t at; /* offset in the command's struct of options */
} cli_opt;

/* Last two members of a cli_opt: where the value goes.  A field of another
 * type does not compile. */
#define CLI_AT(T, field, type) (offsetof(T, field) + 0 * sizeof(&((T *)0)->field == (type *)0))
#define CLI_BOOL(T, field) CLI_KIND_BOOL, CLI_AT(T, field, bool)
#define CLI_STR(T, field) CLI_KIND_STR, CLI_AT(T, field, const char *)
#define CLI_INT(T, field) CLI_KIND_INT, CLI_AT(T, field, int64_t)
#define CLI_LIST(T, field) CLI_KIND_LIST, CLI_AT(T, field, cli_list)

typedef struct cli cli;
typedef struct cli_cmd cli_cmd;

struct cli_cmd {
  const char *name;
  /* "FILE [TASK]", "RUN...", "bash|zsh|fish": parsed to know how many words
   * may follow and which. */
  const char *args;
  const char *brief; /* one line, imperative, without a full stop */
  const char *help;  /* paragraphs separated by an empty line; may be NULL */
  bool rest;         /* options end at the first argument: what follows is a command line */
  size_t size;       /* of the struct that main() gets, zeroed and filled */
  const cli_opt *opts;
  /* >= 0 is the exit status; a negative code is printed and mapped to one. */
  int (*main)(cli *c, const void *opts, int argc, char **argv, csn_err *err);
  const cli_cmd *const *sub; /* instead of main: subcommands, NULL-terminated */
};

/* What a command gets.  One thread, except scope, which a signal may cancel, and what is said. */
struct cli {
  const cli_cmd *const *cmds; /* all of them, NULL-terminated */
  const char *state_dir;      /* --state or CAISSON_STATE; NULL: the nearest .caisson/ upward */
  const char *session_store;  /* CAISSON_SESSIONS, or NULL */
  const char *state_url;      /* likewise, when it is the URL of a database; or NULL */
  csn_log *log;
  csn_arena *arena;         /* dies with the process */
  csn_scope scope;          /* of the whole command; see cli_catch_signals() */
  bool err_tty, color;      /* stderr is a terminal; colours are wanted there */
  pthread_mutex_t speaking; /* stderr: one line at a time */
  bool has_status;          /* locked: a status line is on the screen */
};

/* ---- parsing (table.c) */

/* Options that every command takes too, and their values. */
typedef struct cli_globals {
  const char *state, *log_level, *log_file;
  bool help, version;
} cli_globals;
extern const cli_opt cli_global_opts[];

/* argv[0] is skipped.  On return *cmd is the command named (NULL: none was),
 * *opts its filled struct (in the arena), and argv[0 .. *argc) its arguments,
 * in their order, with a NULL behind them. */
int cli_parse(cli *c, int *argc, char **argv, cli_globals *g, const cli_cmd **cmd, void **opts,
              csn_err *err) CSN_MUST;
/* "sandbox run": the names down to cmd; false when it is not in the tree. */
bool cli_cmd_path(const cli_cmd *const *cmds, const cli_cmd *cmd, csn_buf *out);
const cli_cmd *cli_cmd_find(const cli_cmd *const *cmds, const char *name);
/* Smallest and greatest (-1: no end) number of arguments that cmd takes. */
void cli_cmd_arity(const cli_cmd *cmd, int *min, int *max);
/* The next of the words in "a|b c|d"-like text that are separated by sep;
 * false at the end. */
bool cli_word(csn_str *text, char sep, csn_str *word);
/* "[a|b]" without the brackets that say it may be absent. */
csn_str cli_arg_bare(csn_str arg);

/* ---- printed from the tables (help.c, man.c, complete.c) */

/* cmd NULL: the overview. */
void cli_help(const cli *c, const cli_cmd *cmd, FILE *to);
/* caisson(1) as man(7) source. */
void cli_man(const cli *c, FILE *to);
/* shell: "bash", "zsh" or "fish". */
void cli_complete(const cli *c, const char *shell, FILE *to);

/* ---- talking (report.c) */

/* "caisson: MSG" on stderr. */
void cli_error(cli *c, const char *fmt, ...) CSN_PRINTF(2, 3);
/* A line that stays, on stderr. */
void cli_note(cli *c, const char *fmt, ...) CSN_PRINTF(2, 3);
/* What is going on now: one line that the next one replaces on a terminal,
 * a plain line elsewhere. NULL takes it off the terminal. */
void cli_status(cli *c, const char *fmt, ...) CSN_PRINTF(2, 3);
/* Text from outside, with control characters made visible so that it cannot
 * steer the terminal; line ends and tabs stay. */
void cli_put(FILE *to, csn_str text);
/* To stdout: as it is into a file or a pipe, like cli_put() on a terminal. */
void cli_print(csn_str text);
/* Flushes stdout; CSN_E_IO when what was printed did not arrive. */
int cli_flush(csn_err *err) CSN_MUST;
enum cli_exit cli_exit_of(int code);

/* ---- state (state.c) */

/* What --state and CAISSON_STATE (either may be NULL) mean: a folder, or the
 * URL of a database, with the other one for the folder. */
int cli_state_choose(cli *c, const char *option, const char *variable, csn_err *err) CSN_MUST;
/* Opens the folder that holds runs and sandboxes, made 0700 when `make`.  The
 * caller closes *dir; path, when not NULL, gets its name.  CSN_E_NOT_FOUND
 * when there is none, CSN_E_DENIED when the one found is somebody else's. */
int cli_state_open(cli *c, bool make, int *dir, csn_buf *path, csn_err *err) CSN_MUST;

/* ---- signals (signals.c) */

/* From now on SIGINT and SIGTERM cancel c->scope; a second one ends the
 * process at once with 130.  Starts one thread.  SIGPIPE as below. */
int cli_catch_signals(cli *c, csn_err *err) CSN_MUST;
/* Calls fn(user, sig) in a thread of its own for each of `signals`, a list
 * that ends with 0.  Once per process. */
int cli_on_signals(cli *c, const int *signals, void (*fn)(void *user, int sig), void *user,
                   csn_err *err) CSN_MUST;
/* Writing to a closed pipe is EPIPE from now on and ends nothing. */
void cli_no_sigpipe(void);

#endif
