/* SPDX-License-Identifier: Apache-2.0
 * raise.c - limits of a run that are raised before it goes on.
 *
 * Who raises them is written down and signed as a decision about the run (effect
 * 0); the `resumed` that then comes holds them.  A run that a limit ended goes
 * on where it stood: its workspace was kept (perform.c), calls that were not
 * made any more are answered so. */
#include <stdio.h>
#include <time.h>

#include "run/agent_read.h"
#include "run/box_save.h"
#include "run/decide.h"
#include "run/items.h"

/* ---- what they are to be ---- */

static void
number(csn_jw *w, const char *key, int64_t n)
{
  if (!n)
    return;
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

/* Fails unless it is more than it was. */
static int
more(const char *key, int64_t was, int64_t is, csn_err *err)
{
  if (!is || is > was)
    return is && !was ? csn_fail(err, CSN_E_INVALID, "limits.%s: the run has no such limit", key)
                      : 0;
  return csn_fail(err, CSN_E_INVALID,
                  "limits.%s: expected more than the run has; limits are only raised", key);
}

static int
check_more(const csn_step_config *c, const struct csn_agent_limits *l, csn_err *err)
{
  int rc = more("turns", c->max_turns, l->turns, err);
  if (rc == 0)
    rc = more("wall", c->wall_ms, l->wall_ms, err);
  if (rc == 0)
    rc = more("tokens", c->max_tokens, l->tokens, err);
  if (rc == 0)
    rc = more("tool_calls", c->max_tool_calls, l->tool_calls, err);
  return rc < 0 ? rc : more("cost_usd", c->max_cost_pusd, (int64_t)(l->cost_usd * 1e12 + 0.5), err);
}

/* As the section `limits` of an agent file, but only what can be raised. */
static int
read_limits(csn_agent *a, csn_str json, const csn_step_config *c, csn_err *err)
{
  static const char *const keys[] = {"turns", "wall", "tokens", "cost_usd", "tool_calls", NULL};
  const csn_json *v;
  struct csn_agent_reader rd = {a, "limits", err, NULL};
  a->limits = (struct csn_agent_limits){0};
  int rc = csn_json_parse(a->arena, csn_arena_dup(a->arena, json), &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "limits");
  if (v->kind != CSN_JSON_OBJECT || !v->n)
    return csn_fail(err, CSN_E_INVALID, "limits: expected an object like {\"turns\": 80}");
  rc = csn_agent_only(&rd, v, "limits.", keys);
  if (rc == 0)
    rc = csn_agent_read_budget(&rd, v);
  if (rc == 0 && csn_json_get(v, "turns") && !a->limits.turns)
    rc = more("turns", 1, 1, err);
  return rc < 0 ? rc : check_more(c, &a->limits, err);
}

static int
write_decision(const struct csn_agent_limits *l, const char *by, csn_buf *out, csn_err *err)
{
  char uid[32];
  csn_jw w;
  snprintf(uid, sizeof uid, "uid %u", (unsigned)geteuid());
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "limits");
  csn_jw_obj(&w);
  number(&w, "turns", l->turns);
  number(&w, "wall_ms", l->wall_ms);
  number(&w, "tokens", l->tokens);
  number(&w, "tool_calls", l->tool_calls);
  if (l->cost_usd > 0) {
    csn_jw_key(&w, "cost_usd");
    csn_jw_double(&w, l->cost_usd);
  }
  csn_jw_end(&w);
  csn_jw_key(&w, "by");
  csn_jw_strz(&w, by ? by : uid);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* ---- whether it can go on ---- */

/* Lock held.  Of a run that has ended. */
static int
check_ended(csn_run *r, const struct csn_agent_limits *l, csn_err *err)
{
  const csn_state *st = &r->state;
  const char *id = csn_run_id(r);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  bool is_late = st->cfg.wall_ms && !l->wall_ms &&
                 (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 >= st->timer_at_ms;
  if (r->agent->run_parent)
    return csn_fail(err, CSN_E_INVALID, "run %s was a part of run %s; raise the limits of that one",
                    id, r->agent->run_parent);
  if (!csn_state_may_be_raised(st))
    return csn_fail(err, CSN_E_INVALID,
                    "run %s has ended (%s, %s), which no limit of turns, wall, tokens, cost_usd or "
                    "tool_calls did",
                    id, csn_run_state_name(st->outcome), st->reason);
  if (st->session || r->opts.snapshot)
    return csn_fail(err, CSN_E_INVALID,
                    "run %s has ended, and what it %s; go on with a new run: caisson run --after "
                    "%s",
                    id, st->session ? "said is in its session" : "made is in its snapshot", id);
  if (r->agent->has_sandbox && !csn_boxes_are_there(r))
    return csn_fail(err, CSN_E_NOT_FOUND, "the workspace of run %s is gone; start the task anew",
                    id);
  if (is_late)
    return csn_fail(err, CSN_E_INVALID, "the time of run %s (limits.wall) is over; raise wall, too",
                    id);
  return 0;
}

/* Lock held. */
static int
check(csn_run *r, const struct csn_agent_limits *l, csn_err *err)
{
  if (!r->is_at_rest)
    return csn_fail(err, CSN_E_INVALID,
                    "run %s is going on; its limits are raised between csn_run_open() and "
                    "csn_run_go_on()",
                    csn_run_id(r));
  if (r->raise)
    return csn_fail(err, CSN_E_EXISTS,
                    "the limits of run %s were raised already; go on with it first", csn_run_id(r));
  return r->state.phase == CSN_PHASE_ENDED ? check_ended(r, l, err) : 0;
}

int
csn_run_raise(csn_run *r, csn_str limits, const char *by, csn_err *err)
{
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("");
  csn_auto(csn_buf_finip) csn_buf decision = CSN_BUF(4096);
  csn_err why = {0};
  pthread_mutex_lock(&r->lock);
  int rc = read_limits(a, limits, &r->state.cfg, &why);
  if (rc == 0)
    rc = check(r, &a->limits, &why);
  if (rc == 0)
    rc = write_decision(&a->limits, by, &decision, &why);
  csn_run_row row = {
      .state = CSN_STR("ready"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  bool has_ended = r->state.phase == CSN_PHASE_ENDED;
  if (rc == 0 && !csn_decided_add(r, 0, csn_buf_str(&decision), has_ended ? &row : NULL, &why))
    rc = why.code;
  pthread_mutex_unlock(&r->lock);
  if (rc < 0 && err)
    *err = why;
  return rc;
}

/* ---- in the journal ---- */

void
csn_raise_keep(csn_run *r, const struct csn_decided *d, const csn_json *note)
{
  if (csn_json_get(csn_json_get(note, "decision"), "limits"))
    r->raise = d;
}

static csn_str
limits_of(const struct csn_decided *d, csn_arena *a)
{
  const csn_json *v = NULL, *limits = NULL;
  if (d && csn_json_parse(a, d->event, &v, NULL) == 0)
    limits = csn_json_get(v, "limits");
  return limits ? limits->raw : CSN_STR("");
}

bool
csn_raise_stands(csn_run *r, const csn_json *resumed)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *limits = csn_json_get(resumed, "limits");
  if (!limits)
    return true;
  csn_str said = limits_of(r->raise, a);
  bool stands = said.n && csn_str_eq(said, limits->raw) &&
                csn_json_int(resumed, "note", -1) == r->raise->note;
  r->raise = NULL;
  return stands;
}

/* The id by which a call is answered; empty: it is none of ours. */
static csn_str
call_of(const csn_json *item, struct csn_call_answer *out)
{
  csn_str type = csn_json_str(item, "type", CSN_STR(""));
  csn_str id = csn_json_str(item, "call_id", CSN_STR(""));
  *out = (struct csn_call_answer){.is_denied = true};
  out->is_custom = csn_str_eq(type, CSN_STR("custom_tool_call"));
  if (csn_str_eq(type, CSN_STR("computer_call")))
    out->how = CSN_HOW_COMPUTER;
  else if (csn_str_eq(type, CSN_STR("mcp_approval_request"))) {
    out->how = CSN_HOW_MCP;
    id = csn_json_str(item, "id", CSN_STR(""));
  } else if (!out->is_custom && !csn_str_eq(type, CSN_STR("function_call")))
    id = CSN_STR("");
  out->call_id = id;
  return id;
}

static bool
is_answered(const csn_json *const *after, size_t n, csn_str id)
{
  for (size_t i = 0; i < n; i++)
    if (csn_str_eq(csn_json_str(after[i], "call_id",
                                csn_json_str(after[i], "approval_request_id", CSN_STR(""))),
                   id))
      return true;
  return false;
}

/* The calls of the last reply that nothing has answered. */
static void
write_unmade(const csn_run *r, csn_jw *w)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  size_t end = r->n_items, n;
  while (end > 0 && !r->items[end - 1].model.n) /* what came after the reply */
    end--;
  size_t first = end;
  while (first > 0 && r->items[first - 1].seq == r->items[end - 1].seq)
    first--;
  csn_auto(csn_freep) const csn_json **items = csn_alloc((r->n_items - first + 1) * sizeof *items);
  for (n = 0; first + n < r->n_items; n++)
    if (csn_json_parse(a, r->items[first + n].raw, &items[n], NULL) < 0)
      items[n] = NULL;
  for (size_t i = 0; i < end - first; i++) {
    struct csn_call_answer answer;
    csn_str id = call_of(items[i], &answer);
    if (!id.n || is_answered(items + (end - first), n - (end - first), id))
      continue;
    answer.text = CSN_STR("The call was not made: the run had reached a limit, which has been "
                          "raised since.");
    csn_item_answer(w, &answer);
  }
}

void
csn_raise_write(const csn_run *r, csn_jw *w)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_str limits = limits_of(r->raise, a);
  if (!limits.n)
    return;
  csn_jw_key(w, "limits");
  csn_jw_raw(w, limits);
  csn_jw_key(w, "note");
  csn_jw_int(w, r->raise->note);
  if (r->state.phase != CSN_PHASE_ENDED)
    return;
  csn_jw_key(w, "items");
  csn_jw_arr(w);
  write_unmade(r, w);
  csn_jw_end(w);
}
