/* SPDX-License-Identifier: Apache-2.0
 * caisson approve - decide about the tool calls that a run waits with. */
#include <time.h>

#include "commands.h"
#include "editing.h"
#include "running.h"

struct approve_opts {
  const char *deny, *like, *duration, *as, *reason;
  bool edit, always, all, resume, harness_tools;
};

static const cli_opt opts[] = {
    {"deny", 0, "REASON", "Deny instead; the model reads the reason",
     CLI_STR(struct approve_opts, deny)},
    {"edit", 'e', NULL, "Change the call's input in $VISUAL or $EDITOR, then allow it",
     CLI_BOOL(struct approve_opts, edit)},
    {"always", 0, NULL, "Decide so for every later call of this run with the same arguments",
     CLI_BOOL(struct approve_opts, always)},
    {"like", 0, "PATTERN", "Decide so for every later call of this tool that matches",
     CLI_STR(struct approve_opts, like)},
    {"for", 0, "TIME", "With --always or --like: how long that holds (90s, 30m, 2h)",
     CLI_STR(struct approve_opts, duration)},
    {"reason", 0, "TEXT", "Why it is allowed; kept in the journal",
     CLI_STR(struct approve_opts, reason)},
    {"as", 0, "NAME", "Who decides; the user's name otherwise", CLI_STR(struct approve_opts, as)},
    {"all", 0, NULL, "Decide so for all calls that wait", CLI_BOOL(struct approve_opts, all)},
    {"harness-tools", 0, NULL,
     "With --resume: let tools of the agent file run outside of the sandbox",
     CLI_BOOL(struct approve_opts, harness_tools)},
    {"resume", 0, NULL, "Go on with the run", CLI_BOOL(struct approve_opts, resume)},
    {0},
};

/* The calls that wait and are not decided yet. */
struct open_asks {
  cli *c;
  csn_ask *v;
  size_t n;
};

static int
take_ask(void *user, const csn_ask *a)
{
  struct open_asks *l = user;
  if (a->is_decided)
    return 0;
  csn_ask *v = csn_arena_alloc(l->c->arena, (l->n + 1) * sizeof *v);
  if (l->n)
    memcpy(v, l->v, l->n * sizeof *v);
  v[l->n] = *a;
  v[l->n].call = csn_arena_dup(l->c->arena, a->call);
  v[l->n].tool = csn_arena_dup(l->c->arena, a->tool);
  v[l->n].input = csn_arena_dup(l->c->arena, a->input);
  v[l->n].run = csn_arena_dup(l->c->arena, a->run);
  v[l->n].id = csn_arena_dup(l->c->arena, a->id);
  l->v = v;
  l->n++;
  return 0;
}

static int
until_of(const char *duration, int64_t *until_ms, csn_err *err)
{
  csn_str s = csn_cstr(duration);
  int64_t n, unit_ms = 1000;
  if (!s.n)
    return 0;
  char last = s.p[s.n - 1];
  if (last == 's' || last == 'm' || last == 'h') {
    unit_ms = last == 'h' ? 3600000 : last == 'm' ? 60000 : 1000;
    s.n--;
  }
  if (!csn_str_int(s, &n) || n < 1 || n > INT32_MAX)
    return csn_fail(err, CSN_E_INVALID, "--for: expected a time like 90s, 30m or 2h");
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *until_ms = (int64_t)now.tv_sec * 1000 + n * unit_ms;
  return 0;
}

static int
decide_one(cli *c, csn_run *r, const struct approve_opts *v, const csn_ask *a, csn_err *err)
{
  const char *user = getenv("LOGNAME") ? getenv("LOGNAME") : getenv("USER");
  csn_decision d = {.allow = !v->deny,
                    .by = v->as ? v->as : user,
                    .reason = csn_cstr(v->deny ? v->deny : v->reason),
                    .always = v->always,
                    .like = csn_cstr(v->like)};
  int rc = until_of(v->duration, &d.until_ms, err);
  if (rc == 0 && v->edit)
    rc = cli_edit(c, a->input, &d.edited, err);
  if (rc == 0)
    rc = csn_run_decide(r, a->call, &d, err);
  if (rc == 0) {
    csn_auto(csn_buf_finip) csn_buf brief = CSN_BUF(4096);
    cli_call_brief(&brief, a->tool, a->input, a->is_custom);
    cli_note(c, "%s %s", v->deny ? "denied " : "allowed", brief.p);
  }
  return rc;
}

/* By the name that is listed, the call's id, or the run and that. */
static bool
is_named(const csn_ask *a, csn_str call)
{
  return csn_str_eq(a->call, call) || csn_str_eq(a->id, call) ||
         (call.n == a->run.n + 1 + a->id.n && csn_str_starts(call, a->run) &&
          call.p[a->run.n] == '/' && csn_str_ends(call, a->id));
}

static int
decide(cli *c, csn_run *r, const struct approve_opts *v, const char *call, csn_err *err)
{
  struct open_asks l = {.c = c};
  csn_run_asks(r, take_ask, &l);
  if (l.n == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s waits for no decision", csn_run_id(r));
  if (!call && l.n > 1 && !v->all) {
    cli_list_asks(c, r);
    return csn_fail(err, CSN_E_INVALID, "%zu calls wait: name one, or give --all", l.n);
  }
  size_t n = 0;
  for (size_t i = 0; i < l.n; i++)
    if (!call || is_named(&l.v[i], csn_cstr(call)))
      l.v[n++] = l.v[i];
  if (n == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s does not wait for call %s", csn_run_id(r), call);
  if (call && n > 1) {
    cli_list_asks(c, r);
    return csn_fail(err, CSN_E_INVALID, "%zu calls are named %s: give the name that is listed", n,
                    call);
  }
  int rc = CSN_OK;
  for (size_t i = 0; i < n && rc == 0; i++)
    rc = decide_one(c, r, v, &l.v[i], err);
  return rc;
}

static int
approve_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct approve_opts *v = o;
  if (v->edit && v->deny)
    return csn_fail(err, CSN_E_INVALID, "--edit and --deny exclude each other");
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  int rc = cli_rt_open(c, &rt, err);
  if (rc < 0)
    return rc;
  csn_auto(cli_show_fini) cli_show show;
  cli_show_init(&show, c, false);
  csn_run_options ro = {.listener = v->resume ? cli_show_event : NULL,
                        .user = &show,
                        .harness_tools = v->harness_tools};
  csn_auto(csn_run_freep) csn_run *r = NULL;
  rc = csn_run_open(rt, csn_cstr(argv[0]), &ro, &r, err);
  if (rc == 0)
    rc = decide(c, r, v, argc > 1 ? argv[1] : NULL, err);
  if (rc < 0)
    return rc;
  if (!v->resume) {
    cli_note(c, "go on with: caisson resume %s", csn_run_id(r));
    return CLI_DONE;
  }
  rc = csn_run_go_on(r, err);
  if (rc < 0)
    return rc;
  return cli_await(&show, r, err);
}

const cli_cmd cmd_approve = {
    .name = "approve",
    .args = "RUN [CALL]",
    .brief = "Allow or deny a tool call that waits for a decision",
    .help = "`caisson runs --waiting` lists the runs that wait. The decision is written into the "
            "run's journal, signed with the key of the state folder; `caisson resume` then goes "
            "on, here or elsewhere.",
    .size = sizeof(struct approve_opts),
    .opts = opts,
    .main = approve_main,
};
