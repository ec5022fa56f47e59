/* SPDX-License-Identifier: Apache-2.0
 * context_run.c - the view of a run's items, as its state says, and the
 * settings of calls that shorten a conversation. */
#include "run/context_run.h"

enum { HEAD_PART = 8 /* of the threshold: the user's messages that stay */ };

const char *
csn_run_model(const csn_run *r)
{
  const char *own = csn_agent_model(csn_run_agent(r));
  const char *chosen = csn_state_model(&r->state);
  return chosen ? chosen : *own ? own : csn_agent_model(r->agent);
}

enum csn_token_family
csn_context_family(const csn_run *r)
{
  return csn_token_family(csn_cstr(csn_run_model(r)));
}

/* Only the provider that summed up can read its summary: for another one all
 * that was said counts again. */
static int64_t
readable_since(const csn_run *r, int64_t since)
{
  csn_str prefix = csn_model_prefix(csn_cstr(csn_run_model(r)));
  for (size_t i = since < 0 ? 0 : r->n_items; i-- > 0;)
    if (r->items[i].seq == since && r->items[i].model.n)
      return csn_str_eq(csn_model_prefix(r->items[i].model), prefix) ? since : -1;
  return since;
}

struct csn_view_spec
csn_context_spec(const csn_run *r)
{
  const csn_context *c = &r->state.context;
  return (struct csn_view_spec){.trim = c->trim,
                                .cut = c->cut,
                                .since = readable_since(r, c->since),
                                .base_to = c->base_to,
                                .base = c->base >= 0 ? r->base : CSN_STR(""),
                                .summary = c->summary >= 0 ? r->summary : CSN_STR(""),
                                .head_tokens = csn_state_compact_at(&r->state) / HEAD_PART,
                                .family = csn_context_family(r)};
}

void
csn_context_need(csn_run *r)
{
  struct csn_view_spec spec = csn_context_spec(r);
  csn_view_set(&r->view, &spec, r->items, r->n_items);
}

size_t
csn_context_count(const csn_run *r)
{
  return r->view.n + r->n_items - r->view.from;
}

const struct csn_item_ref *
csn_context_item(const csn_run *r, size_t i)
{
  return i < r->view.n ? &r->view.v[i] : &r->items[r->view.from + i - r->view.n];
}

/* ---- settings ---- */

/* What is said of tools and of the answer's form does not hold for a summary. */
static bool
is_of_turns(csn_str key)
{
  static const char *const keys[] = {"tool_choice", "parallel_tool_calls", "verbosity"};
  for (size_t i = 0; i < CSN_COUNT(keys); i++)
    if (csn_str_eq(key, csn_cstr(keys[i])))
      return true;
  return false;
}

/* [{"type":"compaction","compact_threshold":N}] */
static void
write_context_management(csn_jw *w, int64_t at)
{
  csn_jw_key(w, "context_management");
  csn_jw_arr(w);
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "compaction");
  csn_jw_key(w, "compact_threshold");
  csn_jw_int(w, at);
  csn_jw_end(w);
  csn_jw_end(w);
}

int
csn_context_settings(const csn_json *own, const struct csn_call_settings *of, csn_arena *a,
                     const csn_json **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_json_each (m, own) {
    bool is_capped = of->max_output && csn_str_eq(m->key, CSN_STR("max_tokens"));
    bool is_free = of->free_choice && csn_str_eq(m->key, CSN_STR("tool_choice"));
    if (is_capped || is_free || (of->sums_up && is_of_turns(m->key)))
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  if (of->max_output) {
    csn_jw_key(&w, "max_tokens");
    csn_jw_int(&w, of->max_output);
  }
  if (of->sums_up) {
    csn_jw_key(&w, "tool_choice");
    csn_jw_strz(&w, "none");
  } else if (of->server_at) {
    write_context_management(&w, of->server_at);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  csn_str json = csn_arena_dup(a, csn_buf_str(&text));
  return rc < 0 ? rc : csn_json_parse(a, json, out, err);
}
