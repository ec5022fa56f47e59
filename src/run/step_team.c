/* SPDX-License-Identifier: Apache-2.0
 * step_team.c - which agent of a run is at work, and hand-offs between them.
 *
 * A hand-off is a call of a tool that is not made: its answer names the agent
 * that goes on when all calls of the turn are done. */
#include "run/schema_check.h"
#include "run/step_impl.h"

/* The agent of that name among those of record 0; NULL: none. */
static const csn_json *
find_agent(const csn_json *root, csn_str name)
{
  if (csn_str_eq(name, csn_json_str(root, "name", CSN_STR(""))))
    return root;
  csn_json_each (a, csn_json_get(root, "agents"))
    if (csn_str_eq(name, csn_json_str(a, "name", CSN_STR(""))))
      return a;
  return NULL;
}

static csn_str
callback_of(const csn_json *agent, const char *key)
{
  return csn_json_str(csn_json_get(agent, key), "callback", CSN_STR(""));
}

static const csn_json *
find_list(const csn_json *lists, csn_str agent)
{
  csn_json_each (list, lists)
    if (csn_str_eq(list->key, agent))
      return list;
  return NULL;
}

bool
csn_step_set_agent(csn_state *st, csn_str name)
{
  const csn_json *root = st->cfg.root, *a = find_agent(root, name);
  if (!a)
    return false;
  bool has_model = csn_json_get(a, "model") != NULL;
  csn_str model = csn_json_str(has_model ? a : root, "model", CSN_STR(""));
  st->cfg.agent = csn_json_str(a, "name", CSN_STR(""));
  st->cfg.model = model;
  st->cfg.models = find_list(st->cfg.lists, st->cfg.agent);
  if (!has_model && !st->cfg.models)
    st->cfg.models = find_list(st->cfg.lists, csn_json_str(root, "name", CSN_STR("")));
  st->cfg.guardrails = csn_json_get(a, "guardrails");
  st->cfg.errors = csn_json_get(a, "error_handlers");
  st->cfg.tools = csn_json_get(a, "tool_settings");
  st->cfg.tool_use = csn_json_get(a, "tool_use");
  st->cfg.agent_tools = csn_json_get(a, "agent_tools");
  st->cfg.has_schema = csn_json_get(a, "output_schema") != NULL;
  st->cfg.resets_choice = csn_json_bool(a, "reset_tool_choice", false);
  st->cfg.handoffs = csn_json_get(a, "handoffs");
  st->cfg.instructions = callback_of(a, "instructions");
  const csn_json *settings = csn_json_get(a, "settings");
  const csn_json *mark = csn_json_get(csn_json_get(settings, "extra_body"), "cache_control");
  csn_str ttl =
      csn_json_str(settings, "prompt_cache_retention", csn_json_str(mark, "ttl", CSN_STR("")));
  st->cfg.caches_for_hour = csn_str_eq(ttl, CSN_STR("1h"));
  st->cfg.reply_tokens = csn_json_int(settings, "max_tokens", 0);
  return true;
}

const csn_json *
csn_step_handoff(const csn_state *st, const csn_pending *p)
{
  csn_json_each (h, p->is_custom ? NULL : st->cfg.handoffs)
    if (csn_str_eq(csn_json_str(h, "tool", CSN_STR("")), csn_cstr(p->name)))
      return h;
  return NULL;
}

const char csn_step_bad_input[] = "Invalid input for the hand-off";

/* Before the name of a function, in the place of a filter's word. */
static const char by_callback[] = "callback:";

/* Whether its arguments are what the hand-off wants; else its answer says why not. */
static bool
fits(csn_pending *p, const csn_json *schema)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_str text = csn_str_trim(csn_cstr(p->arguments));
  const csn_json *v;
  csn_err err;
  int rc = csn_json_parse(a, text.n ? text : CSN_STR("{}"), &v, &err);
  if (rc == 0)
    rc = csn_schema_check(schema, v, "input", &err);
  if (rc == 0)
    return true;
  csn_buf why = CSN_BUF(2 * sizeof err.msg);
  csn_buf_addf(&why, "%s: %s", csn_step_bad_input, err.msg);
  free(p->answer);
  p->answer = why.p;
  return false;
}

/* The call's answer; the first of a turn counts. */
void
csn_step_take_handoff(struct csn_step *s, csn_pending *p, const csn_json *h)
{
  csn_state *st = s->st;
  csn_str name = csn_json_str(h, "agent", CSN_STR(""));
  if (st->next_agent) {
    csn_step_set_text(&p->answer, CSN_STR("Multiple handoffs detected, ignoring this one."));
    return;
  }
  const csn_json *schema = csn_json_get(h, "input_schema");
  if (schema && !fits(p, schema))
    return;
  csn_buf text = CSN_BUF(6 * name.n + 40);
  csn_buf_addz(&text, "{\"assistant\": ");
  csn_json_quote(&text, name);
  csn_buf_addc(&text, '}');
  free(p->answer);
  p->answer = text.p;
  csn_step_set_text(&st->next_agent, name);
  free(csn_steal(st->next_input));
  if (schema)
    st->next_input = csn_dupz(csn_cstr(p->arguments));
  csn_str callback = csn_json_str(csn_json_get(h, "filter"), "callback", CSN_STR(""));
  csn_buf filter = CSN_BUF(callback.n + 40);
  csn_buf_addz(&filter, callback.n ? by_callback : "");
  csn_buf_add(&filter, callback.n ? callback : csn_json_str(h, "filter", CSN_STR("")));
  free(st->next_filter);
  st->next_filter = csn_dupz(csn_buf_str(&filter));
  csn_buf_fini(&filter);
}

/* Between two turns: the other agent goes on. */
void
csn_step_hand_off(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_auto(csn_freep) char *from = csn_dupz(st->cfg.agent), *to = csn_steal(st->next_agent);
  csn_auto(csn_freep) char *filter = csn_steal(st->next_filter);
  csn_auto(csn_freep) char *input = csn_steal(st->next_input);
  csn_step_set_agent(st, csn_cstr(to));
  st->instructions = -1;
  free(csn_steal(st->stop_output)); /* a hand-off goes before a result that would end the run */
  bool asks = csn_str_starts(csn_cstr(filter), csn_cstr(by_callback));
  if (*filter && strcmp(filter, "all") != 0 && !asks) {
    csn_step_set_text(&st->filter, csn_cstr(filter));
    st->filter_to = st->items_to;
  }
  st->handoffs_back++;
  if (st->cfg.max_handoffs && st->handoffs_back >= st->cfg.max_handoffs)
    csn_step_loop_found(s, "handoffs", st->handoffs_back, "handing off from", from);
  if (asks && st->outcome == CSN_RUN_RUNNING) /* in this phase, before the other prepares */
    csn_step_ask_callback(s, CSN_FOR_HANDOFF, csn_cstr(filter + sizeof by_callback - 1),
                          csn_cstr(input));
}

/* {"effect","view":[items]}: what stands for all that came before. */
void
csn_step_filtered(struct csn_step *s)
{
  csn_state *st = s->st;
  if (!csn_json_get(s->ev->data, "view"))
    return;
  free(csn_steal(st->filter));
  st->context.base = s->ev->seq;
  st->context.base_to = st->items_to;
  st->context.counted_to = -1;
}
