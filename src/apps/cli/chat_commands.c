/* SPDX-License-Identifier: Apache-2.0
 *
 * chat_commands.c - the lines of a chat that are not for the model: one table. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "attach.h"
#include "chat.h"
#include "commands.h"
#include "core/fd.h"
#include "run/driver.h"
#include "starting.h"
#include "store/session.h"

enum { FILES_MAX = 200, FILES_DEPTH = 3 };

/* ---- /files ---- */

struct listing {
  cli *c;
  int left; /* lines that may still be printed */
};

static int
by_name(const struct dirent **a, const struct dirent **b)
{
  return strcmp((*a)->d_name, (*b)->d_name);
}

static bool
is_dots(const char *name)
{
  return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void
list_folder(struct listing *l, int dir, const char *prefix,
            int depth) /* NOLINT(misc-no-recursion) */
{
  struct dirent **names = NULL;
  int n = scandirat(dir, ".", &names, NULL, by_name);
  for (int i = 0; i < n; i++) {
    csn_auto(csn_freep) struct dirent *d = names[i];
    struct stat st;
    if (is_dots(d->d_name) || fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        l->left-- <= 0)
      continue;
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
    csn_buf_addf(&path, "%s%s", prefix, d->d_name);
    if (!S_ISDIR(st.st_mode)) {
      cli_note(l->c, "%s", path.p);
      continue;
    }
    csn_buf_addc(&path, '/');
    cli_note(l->c, "%s", path.p);
    csn_auto(csn_closep) int sub =
        depth > 1 ? openat(dir, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (sub >= 0)
      list_folder(l, sub, path.p, depth - 1);
  }
  free(names);
}

/* Of the i-th sandbox. */
static int
list_box(struct chat *h, size_t i, csn_str arg, csn_err *err)
{
  csn_str id = csn_arena_printf(h->c->arena, "%s%s%s", h->place, i ? "." : "",
                                i ? csn_agent_box_name(h->agent, i) : "");
  int rc = csn_box_lay_out(h->rt->project, h->rt->state_fd, id.p, &h->c->scope, err);
  csn_auto(csn_closep) int box = rc < 0 ? rc : csn_box_folder(h->rt, id.p, err);
  csn_auto(csn_closep) int dir =
      box < 0 ? box : csn_open_beneath(box, "workspace", O_RDONLY | O_DIRECTORY, 0, err);
  if (dir < 0)
    return dir;
  csn_auto(csn_closep) int at = arg.n ? csn_open_beneath(dir, csn_arena_dup(h->c->arena, arg).p,
                                                         O_RDONLY | O_DIRECTORY, 0, err)
                                      : dup(dir);
  if (at < 0)
    return at;
  struct listing l = {h->c, FILES_MAX};
  list_folder(&l, at, "", FILES_DEPTH);
  if (l.left < 0)
    cli_note(h->c, "... and %d more; name a folder: /files FOLDER", -l.left);
  return 0;
}

/* NAME:FOLDER of one of several sandboxes; else of each. */
static int
say_files(struct chat *h, csn_str arg, csn_err *err)
{
  size_t colon = csn_str_find(arg, CSN_STR(":"), 0), only;
  int rc = 0;
  if (!*h->place)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no workspace yet; say something first");
  if (colon != SIZE_MAX && csn_agent_box_find(h->agent, csn_strn(arg.p, colon), &only))
    return list_box(h, only, csn_strn(arg.p + colon + 1, arg.n - colon - 1), err);
  if (arg.n || !h->agent->n_boxes)
    return list_box(h, 0, arg, err);
  for (size_t i = 0; rc == 0 && csn_agent_box(h->agent, i); i++) {
    cli_note(h->c, "%s:", csn_agent_box_name(h->agent, i));
    rc = list_box(h, i, arg, err);
  }
  return rc;
}

/* ---- the others ---- */

static int
say_budget(struct chat *h, csn_str arg, csn_err *err)
{
  const struct csn_agent_limits *l = &h->agent->limits;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_buf_addf(&text, "this chat: %lld messages, %lld turns, %lld tool calls, %lld tokens",
               (long long)h->messages, (long long)h->turns, (long long)h->tool_calls,
               (long long)h->tokens);
  if (h->cost_usd >= 0)
    csn_buf_addf(&text, ", $%.4f", h->cost_usd);
  cli_note(h->c, "%s", text.p);
  csn_buf_clear(&text);
  csn_buf_addf(&text, "at most for each message: %lld turns", (long long)l->turns);
  if (l->tokens)
    csn_buf_addf(&text, ", %lld tokens", (long long)l->tokens);
  if (l->tool_calls)
    csn_buf_addf(&text, ", %lld tool calls", (long long)l->tool_calls);
  if (l->cost_usd > 0)
    csn_buf_addf(&text, ", $%.2f", l->cost_usd);
  if (l->wall_ms)
    csn_buf_addf(&text, ", %lld s", (long long)(l->wall_ms / 1000));
  cli_note(h->c, "%s", text.p);
  return 0;
}

static int
say_model(struct chat *h, csn_str arg, csn_err *err)
{
  if (arg.n)
    cli_choose_model(h->c, h->agent, csn_arena_dup(h->c->arena, arg).p, h->rt);
  cli_note(h->c, "model: %s%s", csn_agent_model(h->agent),
           arg.n ? ", from the next message on" : "");
  return 0;
}

/* On the wire with the next message, so that it has a text beside it. */
static int
show_image(struct chat *h, csn_str arg, csn_err *err)
{
  if (!arg.n)
    return csn_fail(err, CSN_E_INVALID, "/image FILE: which picture?");
  int rc = cli_attach_image(&h->parts, csn_arena_dup(h->c->arena, arg).p, err);
  if (rc == 0)
    cli_note(h->c, "it goes with the next message");
  return rc;
}

static int
undo(struct chat *h, csn_str arg, csn_err *err)
{
  if (!h->messages)
    return csn_fail(err, CSN_E_NOT_FOUND, "nothing was said in this chat yet");
  csn_rt *rt = h->rt;
  csn_sessions *sessions = NULL;
  int n = csn_state_sessions_need(&rt->sessions, rt->project, rt->store, &sessions, err);
  if (n == 0)
    n = csn_session_undo(sessions, csn_cstr(h->session), err);
  if (n >= 0)
    cli_note(h->c, "%d items taken back; files stay as they are", n);
  return n < 0 ? n : 0;
}

/* Another command of the program, about the run that has the workspace. */
static int
about_workspace(struct chat *h, const cli_cmd *cmd, csn_err *err)
{
  if (!*h->place)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no workspace yet; say something first");
  char *argv[] = {h->place, NULL};
  int rc = cmd->main(h->c, NULL, 1, argv, err);
  return rc < 0 ? rc : cli_flush(err);
}

static int
diff(struct chat *h, csn_str arg, csn_err *err)
{
  return about_workspace(h, &cmd_diff, err);
}

static int
apply(struct chat *h, csn_str arg, csn_err *err)
{
  return about_workspace(h, &cmd_apply, err);
}

static int
leave(struct chat *h, csn_str arg, csn_err *err)
{
  h->is_over = true;
  return 0;
}

static int help(struct chat *h, csn_str arg, csn_err *err);

static const struct {
  const char *name, *arg, *brief;
  int (*fn)(struct chat *h, csn_str arg, csn_err *err);
} commands[] = {
    {"/undo", "", "take the last message back, and what followed", undo},
    {"/files", "[FOLDER]", "list the workspace", say_files},
    {"/diff", "", "show what changed in the folders that were copied in", diff},
    {"/apply", "", "bring those changes back to your folders", apply},
    {"/image", "FILE", "show the model a picture beside the next message", show_image},
    {"/budget", "", "what was used, and the limits of a message", say_budget},
    {"/model", "[PREFIX/NAME]", "show or change the model", say_model},
    {"/help", "", "this list", help},
    {"/quit", "", "leave; Ctrl-D does, too", leave},
};

static int
help(struct chat *h, csn_str arg, csn_err *err)
{
  for (size_t i = 0; i < CSN_COUNT(commands); i++) {
    char head[40];
    snprintf(head, sizeof head, "%s %s", commands[i].name, commands[i].arg);
    cli_note(h->c, "%-22s %s", head, commands[i].brief);
  }
  cli_note(h->c, "%-22s %s", "Ctrl-C", "stop the answer; the chat goes on");
  cli_note(h->c, "%-22s %s", "\\ at a line's end", "go on in the next line");
  return 0;
}

int
chat_command(struct chat *h, csn_str line, csn_err *err)
{
  size_t n = 0;
  while (n < line.n && line.p[n] != ' ')
    n++;
  csn_str name = csn_strn(line.p, n), arg = csn_str_trim(csn_strn(line.p + n, line.n - n));
  for (size_t i = 0; i < CSN_COUNT(commands); i++) {
    if (!csn_str_eq(name, csn_cstr(commands[i].name)))
      continue;
    if (arg.n && !*commands[i].arg)
      return csn_fail(err, CSN_E_INVALID, "%s takes nothing after it", commands[i].name);
    return commands[i].fn(h, arg, err);
  }
  return csn_fail(err, CSN_E_INVALID,
                  "there is no command %.*s; /help lists them (a message that starts with a slash "
                  "begins with a blank)",
                  (int)name.n, name.p);
}
