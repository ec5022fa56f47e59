/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson chat - talk with an agent; see chat.h.
 *
 * Answers go to stdout as they arrive, all else to stderr.  The main thread
 * waits for the run or for the human; events and signals arrive in others. */
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "chat.h"
#include "commands.h"
#include "core/fd.h"
#include "editing.h"
#include "run/driver.h"
#include "starting.h"

enum { SAID_MAX = 64 << 20 };

struct chat_opts {
  const char *model, *session, *after;
  bool no_stream, harness_tools;
};

static const cli_opt opts[] = {
    {"model", 'm', "PREFIX/NAME", "Use this model instead of the agent's",
     CLI_STR(struct chat_opts, model)},
    {"session", 's', "NAME", "Go on with this conversation, or give a new one this name",
     CLI_STR(struct chat_opts, session)},
    {"after", 0, "RUN", "Go on in the workspace of that run, which moves here",
     CLI_STR(struct chat_opts, after)},
    {"no-stream", 0, NULL, "Ask the model for whole replies",
     CLI_BOOL(struct chat_opts, no_stream)},
    {"harness-tools", 0, NULL, "Let tools of the agent file run outside of the sandbox",
     CLI_BOOL(struct chat_opts, harness_tools)},
    {0},
};

/* ---- what arrives ---- */

static void
end_said_line(struct chat *h)
{
  if (h->said.n && h->said.p[h->said.n - 1] != '\n')
    putchar('\n');
  fflush(stdout);
}

static void
on_event(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  struct chat *h = user;
  if (strcmp(type, "text_delta") == 0) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    if (csn_json_parse(a, data, &v, NULL) < 0)
      return;
    csn_str text = csn_json_str(v, "text", CSN_STR(""));
    cli_status(h->c, NULL);
    csn_buf_add(&h->said, text);
    cli_print(text);
    fflush(stdout);
    return;
  }
  if (strcmp(type, "attempt_restarted") == 0 && h->said.n) {
    end_said_line(h);
    cli_note(h->c, "(the reply broke off; this is the next attempt)");
    csn_buf_clear(&h->said);
  } else if (strcmp(type, "model_call") == 0) {
    csn_buf_clear(&h->said);
  } else if (strcmp(type, "model_replied") == 0 && h->said.n) {
    end_said_line(h);
    return;
  }
  cli_show_event(&h->show, run, type, seq, data);
}

/* Ctrl-C stops the answer; what else ends a process stops the run, which can be
 * resumed, and then the chat. */
static void
on_signal(void *user, int sig)
{
  struct chat *h = user;
  pthread_mutex_lock(&h->lock);
  if (h->now && sig == SIGINT)
    csn_run_cancel(h->now, false);
  else if (h->now)
    csn_run_interrupt(h->now);
  if (sig != SIGINT) {
    if (!h->now)
      _exit(CLI_INTERRUPTED); /* it waits for a line, so nothing is under way */
    h->is_over = true;
  }
  pthread_mutex_unlock(&h->lock);
}

static void
set_now(struct chat *h, csn_run *r)
{
  pthread_mutex_lock(&h->lock);
  h->now = r;
  pthread_mutex_unlock(&h->lock);
}

/* ---- approvals ---- */

struct asked {
  struct chat *h;
  bool is_found;
  csn_ask ask; /* in the arena */
};

static int
first_open(void *user, const csn_ask *a)
{
  struct asked *f = user;
  if (a->is_decided || f->is_found)
    return 0;
  csn_arena *keep = f->h->c->arena;
  f->ask = *a;
  f->ask.call = csn_arena_dup(keep, a->call);
  f->ask.tool = csn_arena_dup(keep, a->tool);
  f->ask.input = csn_arena_dup(keep, a->input);
  f->is_found = true;
  return 0;
}

/* 1: decided; 0: the human has gone. */
static int
decide(struct chat *h, csn_run *r, const csn_ask *a, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf brief = CSN_BUF(8192), line = CSN_BUF(1 << 16);
  csn_decision d = {.by = getenv("LOGNAME") ? getenv("LOGNAME") : getenv("USER")};
  cli_call_brief(&brief, a->tool, a->input, a->is_custom);
  cli_note(h->c, "%s%s", brief.p, a->interrupted ? " (was interrupted)" : "");
  int rc = cli_line_read(h->line, "allow it? yes, no, always, edit (y/n/a/e): ", &line, err);
  if (rc <= 0)
    return rc;
  csn_str word = csn_str_trim(csn_buf_str(&line));
  char first = word.n ? (char)(word.p[0] | 0x20) : 0;
  d.allow = first == 'y' || first == 'a' || first == 'e';
  d.always = first == 'a';
  if (!d.allow && first != 'n') {
    cli_note(h->c, "y allows it, n does not, a allows all later calls like it, e changes it first");
    return 1;
  }
  csn_auto(csn_buf_finip) csn_buf reason = CSN_BUF(1 << 16);
  if (!d.allow) {
    rc = cli_line_read(h->line, "why? (the model reads it): ", &reason, err);
    d.reason = csn_str_trim(csn_buf_str(&reason));
  }
  if (first == 'e')
    rc = cli_edit(h->c, a->input, &d.edited, err);
  if (rc == CSN_E_CANCELLED) {
    cli_error(h->c, "%s", err->msg);
    return 1;
  }
  return rc < 0 ? rc : csn_run_decide(r, a->call, &d, err) < 0 ? err->code : 1;
}

/* All that waits; 0: the human has gone. */
static int
decide_all(struct chat *h, csn_run *r, csn_err *err)
{
  for (;;) {
    struct asked f = {.h = h};
    csn_run_asks(r, first_open, &f);
    if (!f.is_found)
      return 1;
    int rc = decide(h, r, &f.ask, err);
    if (rc <= 0)
      return rc;
  }
}

/* ---- a message ---- */

static void
tell_end(struct chat *h, const csn_result *res)
{
  cli_status(h->c, NULL);
  if (res->output.n && !csn_str_eq(res->output, csn_buf_str(&h->said))) {
    cli_print(res->output);
    if (res->output.p[res->output.n - 1] != '\n')
      putchar('\n');
    fflush(stdout);
  }
  if (res->state == CSN_RUN_CANCELLED)
    cli_note(h->c, "stopped");
  else if (res->state == CSN_RUN_INTERRUPTED)
    cli_note(h->c, "stopped; go on with: caisson resume %s", res->run);
  else if (res->state != CSN_RUN_DONE && res->message.n)
    cli_error(h->c, "%.*s", (int)res->message.n, res->message.p);
  h->turns += res->turns;
  h->tool_calls += res->tool_calls;
  h->tokens += res->usage.total_tokens;
  h->cost_usd = h->cost_usd < 0 || res->cost_usd < 0 ? -1 : h->cost_usd + res->cost_usd;
}

/* Where the next message finds its files: here, when this run got a workspace. */
static void
note_place(struct chat *h, const char *run)
{
  csn_auto(csn_closep) int box = csn_box_folder(h->rt, run, NULL);
  if (box >= 0 && csn_box_has_workspace(box))
    snprintf(h->place, sizeof h->place, "%s", run);
}

/* The exit status that the chat would have if it ended now. */
static int
say(struct chat *h, csn_str text, csn_err *err)
{
  csn_run_options o = {.listener = on_event,
                       .user = h,
                       .no_stream = h->no_stream,
                       .parts = csn_buf_str(&h->parts),
                       .session = h->session,
                       .after = *h->place ? csn_arena_dup(h->c->arena, csn_cstr(h->place)).p : NULL,
                       .keep_workspace = true,
                       .harness_tools = h->harness_tools};
  csn_auto(csn_run_freep) csn_run *r = NULL;
  csn_result res = {0};
  h->show.live.began_ns = csn_now_ns();
  csn_buf_clear(&h->said);
  cli_tidy(&h->show, h->rt, h->agent, h->session);
  int rc = csn_run_start(h->rt, h->agent, text, &o, &r, err);
  if (rc < 0)
    return rc;
  csn_buf_clear(&h->parts);
  h->messages++;
  snprintf(h->last, sizeof h->last, "%s", csn_run_id(r));
  set_now(h, r);
  rc = csn_run_wait(r, NULL, &res, err);
  int here = 1;
  while (rc == 0 && res.state == CSN_RUN_WAITING && here > 0) {
    here = decide_all(h, r, err);
    rc = here < 0 ? here : here ? csn_run_wait(r, NULL, &res, err) : 0;
  }
  set_now(h, NULL);
  note_place(h, h->last);
  cli_remember(h->c, NULL, h->agent, r);
  if (rc < 0)
    return rc;
  tell_end(h, &res);
  if (res.state == CSN_RUN_WAITING) {
    cli_note(h->c, "decide with: caisson approve %s [CALL]", res.run);
    h->is_over = true;
  }
  return cli_exit_of_result(&res);
}

/* ---- the chat ---- */

static const char *
name_session(cli *c)
{
  struct tm tm;
  char text[40];
  time_t now = time(NULL);
  strftime(text, sizeof text, "chat-%Y%m%d-%H%M%S", localtime_r(&now, &tm));
  return csn_arena_printf(c->arena, "%s-%d", text, (int)getpid()).p;
}

static int
talk(struct chat *h, csn_err *err)
{
  int last = CLI_DONE, rc = 1;
  while (!h->is_over) {
    csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(SAID_MAX);
    rc = cli_line_read(h->line, "> ", &line, err);
    if (rc <= 0)
      break;
    csn_str text = csn_str_trim(csn_buf_str(&line));
    if (!text.n)
      continue;
    bool is_command = line.p[0] == '/';
    rc = is_command ? chat_command(h, text, err) : say(h, text, err);
    if (rc < 0)
      cli_error(h->c, "%s", err->msg);
    if (!is_command)
      last = rc < 0 ? (int)cli_exit_of(rc) : rc;
    rc = cli_flush(err);
    if (rc < 0)
      break;
  }
  return rc < 0 ? rc : last;
}

static int
chat_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP, 0};
  const struct chat_opts *v = o;
  static struct chat h; /* not on the stack: the signals' thread may look at it until the end */
  csn_auto(csn_agent_freep) csn_agent *agent = NULL;
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  csn_auto(cli_line_closep) cli_line *line = NULL;
  if (argc && !cli_is_agent_file(argv[0]))
    return csn_fail(err, CSN_E_INVALID, "'%s' is no agent file (its name must end in .yaml)",
                    argv[0]);
  int rc = cli_agent_open(argc ? argv[0] : NULL, &agent, err);
  if (rc == 0)
    rc = cli_rt_open(c, &rt, err);
  if (rc < 0)
    return rc;
  cli_choose_model(c, agent, v->model, rt);
  h = (struct chat){.c = c,
                    .rt = rt,
                    .agent = agent,
                    .session = v->session ? v->session : name_session(c),
                    .said = CSN_BUF(SAID_MAX),
                    .parts = CSN_BUF(CLI_PARTS_MAX),
                    .no_stream = v->no_stream,
                    .harness_tools = v->harness_tools,
                    .lock = PTHREAD_MUTEX_INITIALIZER};
  cli_show_init(&h.show, c, false);
  if (v->after)
    snprintf(h.place, sizeof h.place, "%s", v->after);
  cli_no_sigpipe();
  rc = cli_on_signals(c, signals, on_signal, &h, err);
  if (rc == 0)
    rc = cli_line_open(c, &line, err);
  if (rc < 0)
    return rc;
  h.line = line;
  cli_note(c, "%s, model %s; /help lists the commands, Ctrl-D leaves", csn_agent_name(agent),
           csn_agent_model(agent));
  rc = talk(&h, err);
  if (h.messages)
    cli_remember(c, rt, agent, NULL);
  csn_buf_fini(&h.said);
  csn_buf_fini(&h.parts);
  if (h.messages)
    cli_note(c, "go on with: caisson chat%s%s --session %s%s%s", argc ? " " : "",
             argc ? argv[0] : "", h.session, *h.place ? " --after " : "", h.place);
  return rc;
}

const cli_cmd cmd_chat = {
    .name = "chat",
    .args = "[AGENT.yaml]",
    .brief = "Talk with an agent",
    .help = "Each message is a run of its own: a session carries what was said from one to the "
            "next, and the workspace moves along, so that files stay. Tool calls that wait for a "
            "decision are asked about in between. Ctrl-C stops the answer and not the chat; /help "
            "lists what can be typed beside messages: /undo, /files, /diff, /apply, /budget, "
            "/model, /image.\n\n"
            "Answers go to stdout, everything else to stderr; messages are read from stdin, one a "
            "line, when that is no terminal. Without an agent file the current folder is copied "
            "into a sandbox, as `caisson run` does.",
    .size = sizeof(struct chat_opts),
    .opts = opts,
    .main = chat_main,
};
