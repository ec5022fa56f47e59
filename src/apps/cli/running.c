/* SPDX-License-Identifier: Apache-2.0
 * running.c - see running.h. */
#include "running.h"

#include <errno.h>
#include <signal.h>
#include <stdio_ext.h>

#include "caisson/session.h"
#include "run/box_network.h"
#include "run/driver.h"
#include "run/memory.h"

enum { SHOWN_MAX = 160 };

int
cli_rt_open(cli *c, csn_rt **out, csn_err *err)
{
  csn_rt_options o = {.state_dir = c->state_dir,
                      .state_url = c->state_url,
                      .session_store = c->session_store,
                      .log = c->log};
  return csn_rt_new(out, &o, err);
}

void
cli_show_init(cli_show *s, cli *c, bool json)
{
  *s = (cli_show){.c = c, .json = json};
  cli_live_init(&s->live, c, csn_now_ns());
}

void
cli_show_fini(cli_show *s)
{
  cli_live_fini(&s->live);
}

/* ---- a run while it goes ---- */

/* A run whose events nobody reads any more is stopped as by a signal: it can
 * be resumed, and costs nothing until then. */
static void
write_line(cli_show *s, csn_str line)
{
  if (s->is_unread)
    return;
  fwrite(line.p, 1, line.n, stdout);
  if (fflush(stdout) == 0)
    return;
  s->is_unread = true;
  if (errno == EPIPE) { /* that is no error of ours: `caisson run --json | head -1` */
    __fpurge(stdout);
    clearerr(stdout);
  }
  kill(getpid(), SIGTERM); /* the lock of the run is held here */
}

static void
print_json(cli_show *s, const char *run, const char *type, int64_t seq, csn_str data)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(SIZE_MAX / 4);
  csn_jw w;
  csn_jw_init(&w, &line);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, type);
  csn_jw_key(&w, "run");
  csn_jw_strz(&w, run);
  if (seq >= 0) {
    csn_jw_key(&w, "seq");
    csn_jw_int(&w, seq);
  }
  csn_jw_key(&w, "data");
  csn_jw_raw(&w, data);
  csn_jw_end(&w);
  csn_buf_addc(&line, '\n');
  write_line(s, csn_buf_str(&line));
}

/* The first line of a text, shortened, fit for a terminal. */
static void
add_brief(csn_buf *out, csn_str text)
{
  text = csn_str_trim(text);
  csn_str line;
  csn_str rest = text;
  if (!csn_str_line(&rest, &line))
    return;
  bool cut = rest.n > 0;
  if (line.n > SHOWN_MAX) {
    line.n = SHOWN_MAX;
    while (line.n && csn_utf8_valid(line) < line.n)
      line.n--;
    cut = true;
  }
  csn_buf_add(out, line);
  if (cut)
    csn_buf_addz(out, " ...");
}

/* Of several sandboxes; what a model wrote there may be anything. */
static void
add_in(csn_buf *out, csn_str box)
{
  box.n = box.n < 40 ? box.n : 40;
  box.n = csn_utf8_valid(box);
  csn_buf_addf(out, " in %.*s", (int)box.n, box.p);
}

void
cli_call_brief(csn_buf *out, csn_str tool, csn_str input, bool is_custom)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *obj = NULL;
  if (!is_custom && csn_json_parse(a, input, &obj, NULL) < 0)
    obj = NULL;
  csn_str box = csn_json_str(obj, "sandbox", CSN_STR(""));
  csn_buf_addf(out, "%.*s", (int)tool.n, tool.p);
  if (box.n)
    add_in(out, box);
  csn_buf_addz(out, ": ");
  bool is_patch = csn_str_eq(tool, CSN_STR("apply_patch")) && csn_json_get(obj, "input");
  if (csn_json_get(obj, "cmd")) {
    add_brief(out, csn_json_str(obj, "cmd", CSN_STR("")));
  } else if (is_custom || is_patch) {
    csn_str line;
    input = is_patch ? csn_json_str(obj, "input", CSN_STR("")) : input;
    size_t n = 0;
    while (csn_str_line(&input, &line))
      if (csn_str_starts(line, CSN_STR("*** ")) &&
          csn_str_find(line, CSN_STR(" File: "), 0) < line.n)
        csn_buf_addf(out, "%s%.*s", n++ ? ", " : "", (int)(line.n - 4), line.p + 4);
  } else {
    add_brief(out, input);
  }
}

static void
show_tool_call(cli *c, const csn_json *v)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(8192);
  const csn_json *input = csn_json_get(v, "input");
  cli_call_brief(&text, csn_json_str(v, "name", CSN_STR("?")),
                 input ? input->text : csn_json_str(v, "arguments", CSN_STR("")), input != NULL);
  csn_str reason = csn_json_str(v, "reason", CSN_STR(""));
  if (reason.n)
    csn_buf_addf(&text, " (%.*s)", (int)reason.n, reason.p);
  if (csn_json_get(v, "answer"))
    csn_buf_addz(&text, " (not made)");
  cli_note(c, "%s", text.p);
}

static int
list_ask(void *user, const csn_ask *a)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(8192);
  if (a->is_decided)
    return 0;
  cli_call_brief(&text, a->tool, a->input, a->is_custom);
  cli_note(user, "waits: %.*s  %s%s", (int)a->call.n, a->call.p, text.p,
           a->interrupted ? " (was interrupted)" : "");
  return 0;
}

void
cli_list_asks(cli *c, csn_run *r)
{
  csn_run_asks(r, list_ask, c);
}

static void
show_message(cli *c, const csn_json *item)
{
  csn_json_each (part, csn_json_get(item, "content")) {
    csn_str text = csn_json_str(part, "text", CSN_STR(""));
    csn_auto(csn_buf_finip) csn_buf brief = CSN_BUF(4096);
    add_brief(&brief, text);
    if (brief.n)
      cli_note(c, "%s", brief.p);
  }
}

/* Messages beside tool calls are shown; the last one is the answer on stdout. */
static void
show_reply(cli *c, const csn_json *v)
{
  bool has_calls = false;
  const csn_json *items = csn_json_get(v, "items");
  csn_json_each (item, items)
    has_calls =
        has_calls || csn_str_ends(csn_json_str(item, "type", CSN_STR("")), CSN_STR("_call"));
  csn_json_each (item, items) {
    if (has_calls && csn_str_eq(csn_json_str(item, "type", CSN_STR("")), CSN_STR("message")))
      show_message(c, item);
  }
}

static void
show_outputs(cli *c, const csn_json *v)
{
  csn_json_each (o, csn_json_get(v, "outputs")) {
    csn_str path = csn_json_str(o, "path", CSN_STR("")), to = csn_json_str(o, "to", CSN_STR(""));
    csn_str status = csn_json_str(o, "status", CSN_STR(""));
    csn_str box = csn_json_str(o, "sandbox", CSN_STR(""));
    cli_note(c, "output %.*s%s%.*s: %.*s%s%.*s", (int)box.n, box.p, box.n ? ":" : "", (int)path.n,
             path.p, (int)status.n, status.p, to.n ? " -> " : "", (int)to.n, to.p);
  }
  csn_str why = csn_json_str(csn_json_get(v, "error"), "message", CSN_STR(""));
  if (why.n)
    cli_note(c, "outputs: %.*s", (int)why.n, why.p);
}

void
cli_show_event(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  cli_show *s = user;
  if (s->json) {
    print_json(s, run, type, seq, data);
    return;
  }
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  if (csn_json_parse(a, data, &v, NULL) < 0)
    return;
  if (strcmp(type, "tool_call") == 0 || strcmp(type, "child_start") == 0) {
    show_tool_call(s->c, v);
  } else if (strcmp(type, "model_replied") == 0) {
    show_reply(s->c, v);
  } else if (strcmp(type, "port") == 0) {
    csn_str address = csn_json_str(v, "address", CSN_STR(""));
    csn_str box = csn_json_str(v, "sandbox", CSN_STR(""));
    cli_note(s->c, "port %lld of the sandbox%s%.*s is at %.*s",
             (long long)csn_json_int(v, "port", 0), box.n ? " " : "", (int)box.n, box.p,
             (int)address.n, address.p);
  } else if (strcmp(type, "checkpointed") == 0) {
    show_outputs(s->c, v);
  } else if (strcmp(type, "note") == 0) {
    csn_str why = csn_json_str(v, "error", CSN_STR(""));
    if (why.n)
      cli_note(s->c, "%.*s; again in %lld ms", (int)why.n, why.p,
               (long long)csn_json_int(v, "retry_in_ms", 0));
  }
  cli_live_event(&s->live, type, v);
}

/* ---- its end ---- */

int
cli_exit_of_result(const csn_result *r)
{
  switch (r->state) {
  case CSN_RUN_DONE:
    return CLI_DONE;
  case CSN_RUN_WAITING:
    return CLI_WAITING;
  case CSN_RUN_LIMIT:
    return CLI_LIMIT;
  case CSN_RUN_INTERRUPTED:
  case CSN_RUN_CANCELLED:
    return CLI_INTERRUPTED;
  case CSN_RUN_FAILED:
    if (csn_str_eq(r->reason, CSN_STR("model")))
      return CLI_MODEL;
    return csn_str_eq(r->reason, CSN_STR("sandbox")) ? CLI_SANDBOX : CLI_FAILED;
  case CSN_RUN_RUNNING:
    break;
  }
  return CLI_FAILED;
}

static void
on_signal(void *user)
{
  csn_run_interrupt(user);
}

void
cli_remember(cli *c, csn_rt *rt, const csn_agent *a, csn_run *r)
{
  struct csn_memory_made made = {0};
  csn_err err;
  if (!csn_memory_is_made(a))
    return;
  cli_status(c, "memory: drawing notes");
  int rc = r ? csn_memory_note(r, &err) : 0;
  if (rc == 0 && rt && (!r || r->state.phase == CSN_PHASE_ENDED))
    rc = csn_memory_make(rt, &c->scope, a, r ? csn_box_secrets(r) : NULL, &made, &err);
  cli_status(c, NULL);
  if (made.rollouts)
    cli_note(c, "memory: notes of %lld rollout%s, %lld entries, %lld tokens",
             (long long)made.rollouts, made.rollouts == 1 ? "" : "s", (long long)made.entries,
             (long long)made.tokens);
  if (rc < 0)
    cli_note(c, "%s; it is done after the next run", err.msg);
}

void
cli_tidy(cli_show *s, csn_rt *rt, const csn_agent *a, const char *session)
{
  csn_err err;
  int rc = session ? csn_conversation_tidy(rt, &s->c->scope, a, session, NULL, NULL, &err) : 0;
  if (rc > 0)
    cli_note(s->c, "session %s was summed up: %d items fewer", session, rc);
  else if (rc < 0)
    cli_note(s->c, "%s", err.msg);
}

int
cli_await(cli_show *s, csn_run *r, csn_err *err)
{
  cli *c = s->c;
  csn_waker w;
  csn_result res;
  int rc = cli_catch_signals(c, err);
  if (rc < 0)
    return rc;
  csn_waker_add(&w, &c->scope, on_signal, r);
  if (!s->json)
    cli_live_start(&s->live);
  if (csn_scope_check(&c->scope, NULL) < 0)
    csn_run_interrupt(r);
  rc = csn_run_wait(r, NULL, &res, err);
  csn_waker_drop(&w);
  cli_live_stop(&s->live);
  cli_status(c, NULL);
  if (rc < 0)
    return rc;
  if (!s->json && res.output.n) {
    cli_print(res.output);
    if (res.output.p[res.output.n - 1] != '\n')
      putchar('\n');
    fflush(stdout);
  }
  if (res.state != CSN_RUN_DONE && res.message.n)
    cli_error(c, "%.*s", (int)res.message.n, res.message.p);
  if (res.state == CSN_RUN_WAITING) {
    cli_list_asks(c, r);
    cli_note(c, "decide with: caisson approve %s [CALL]", res.run);
  }
  if (res.state == CSN_RUN_INTERRUPTED)
    cli_note(c, "stopped; go on with: caisson resume %s", res.run);
  if (csn_str_eq(res.reason, CSN_STR("turns")) || csn_str_eq(res.reason, CSN_STR("wall")) ||
      csn_str_eq(res.reason, CSN_STR("budget_exhausted")))
    cli_note(c, "go on with: caisson resume %s --limits KEY=VALUE", res.run);
  double seconds = (double)(csn_now_ns() - s->live.began_ns) / 1e9;
  char cost[40] = "";
  if (res.cost_usd > 0)
    snprintf(cost, sizeof cost, " $%.4f,", res.cost_usd);
  cli_note(c, "run %s: %s (%.*s), %lld turns, %lld tool calls, %lld tokens,%s %.1f s", res.run,
           csn_run_state_name(res.state), (int)res.reason.n, res.reason.p, (long long)res.turns,
           (long long)res.tool_calls, (long long)res.usage.total_tokens, cost, seconds);
  int status = cli_exit_of_result(&res);
  cli_remember(c, r->rt, r->agent, r);
  return status;
}
