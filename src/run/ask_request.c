/* SPDX-License-Identifier: Apache-2.0
 * ask_request.c - what a model call sends: the items that requests still hold,
 * the tools that are offered, the settings, and all of it as bytes. */
#include "model/items.h"
#include "run/ask.h"
#include "run/context_run.h"
#include "run/glob.h"
#include "run/items.h"

enum { BODY_MAX_BYTES = 256 << 20, INSTRUCTIONS_MAX_BYTES = 16 << 20, PATH_MAX_BYTES = 4096 };

static bool
is_offered(const struct csn_ask_job *a, csn_str name)
{
  csn_str lines = csn_cstr(a->without), line;
  while (csn_str_line(&lines, &line))
    if (csn_glob(line, name))
      return false;
  return true;
}

static size_t
collect_tools(struct csn_ask_job *a)
{
  const csn_agent *ag = a->agent;
  size_t n = 0;
  a->tools = csn_realloc(a->tools,
                         ag->n_tools + ag->n_hosted + (ag->handoffs ? ag->handoffs->n : 0) +
                             (ag->agent_tools ? ag->agent_tools->n : 0),
                         sizeof *a->tools);
  for (size_t i = 0; i < ag->n_tools; i++) {
    const char *name = ag->tools[i].tool.name;
    bool is_hosted = false; /* who acts on the computer is no function to the model */
    for (size_t k = 0; k < ag->n_hosted; k++)
      is_hosted = is_hosted || strcmp(ag->hosted[k].type, name) == 0;
    if (is_hosted || !is_offered(a, csn_cstr(name)))
      continue;
    a->tools[n] = ag->tools[i].decl;
    a->tools[n++].is_deferred = csn_agent_defers(ag, csn_cstr(name));
  }
  for (size_t i = 0; i < ag->n_hosted; i++)
    if (is_offered(a, csn_cstr(ag->hosted[i].type)))
      a->tools[n++] = csn_agent_hosted_decl(ag, i, a->arena);
  csn_json_each (t, ag->agent_tools)
    if (is_offered(a, csn_json_str(t, "tool", CSN_STR(""))))
      a->tools[n++] = csn_agent_child_decl(ag, t);
  csn_json_each (h, ag->handoffs)
    if (is_offered(a, csn_json_str(h, "tool", CSN_STR(""))))
      a->tools[n++] = csn_agent_handoff_decl(ag, h, a->arena);
  return n;
}

/* What a callback gave, and what was found when the run began, with what the
 * capabilities and the manifest add. */
int
csn_ask_compose(struct csn_ask_job *a, csn_err *err)
{
  const csn_json *text = NULL;
  const struct csn_told *told = csn_run_told(a->base.run);
  csn_str own = a->agent->instructions;
  if (!a->instructions.n && !told->workspace && !told->memory.n)
    return 0;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  int rc = a->instructions.n ? csn_json_parse(arena, a->instructions, &text, err) : 0;
  if (text)
    own = text->text;
  a->composed = CSN_BUF(INSTRUCTIONS_MAX_BYTES);
  return rc < 0 ? rc : csn_instructions_write(a->agent, own, told, &a->composed, err);
}

static bool
is_of_user(const csn_json *item)
{
  return csn_str_eq(csn_json_str(item, "role", CSN_STR("")), CSN_STR("user"));
}

/* What another provider said, as this one can read it: without its thoughts and
 * without its names for things.  Empty: nothing is left. */
static csn_str
translate(struct csn_ask_job *a, const struct csn_item_ref *item, csn_str model)
{
  const csn_json *v;
  if (!item->model.n || csn_str_eq(item->model, model) || /* as a rule */
      csn_str_eq(csn_model_prefix(item->model), csn_model_prefix(model)) ||
      csn_json_parse(a->arena, item->raw, &v, NULL) < 0)
    return item->raw;
  return csn_item_foreign(a->arena, v);
}

/* Lock held: the items that requests still hold; a hand-off may have left out
 * some that came before it. */
static size_t
select_items(struct csn_ask_job *a, const csn_run *r, struct csn_item_ref *out)
{
  size_t n = 0, first = SIZE_MAX;
  bool only_last = a->filter && strcmp(a->filter, "last") == 0;
  csn_str model = csn_cstr(csn_ask_model(a));
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  for (size_t i = 0; i < csn_context_count(r); i++) {
    const csn_json *item = NULL;
    const struct csn_item_ref *ref = csn_context_item(r, i);
    bool is_old = a->filter && ref->seq <= a->filter_to;
    if (is_old && csn_json_parse(arena, ref->raw, &item, NULL) < 0)
      item = NULL;
    if (is_old && only_last && !is_of_user(item))
      continue;
    if (is_old && !csn_item_is_message(item))
      continue;
    if (is_old && only_last && first != SIZE_MAX)
      n = first; /* the one before was not the last */
    if (is_old)
      first = n;
    out[n] = *ref;
    out[n].raw = translate(a, ref, model);
    n += out[n].raw.n > 0;
  }
  return n;
}

/* Lock held.  Items that are left out or translated otherwise than in the last
 * request are not those that its body holds. */
static void
note_form(struct csn_ask_job *a, csn_run *r)
{
  csn_str prefix = csn_model_prefix(csn_cstr(csn_ask_model(a)));
  uint64_t form = r->view.version + 1;
  for (size_t i = 0; i < prefix.n; i++)
    form = form * 31 + (unsigned char)prefix.p[i];
  if (form != r->request_form)
    a->kept = (csn_kept_body){0};
  r->request_form = form;
}

/* Fills a->items. */
static size_t
collect_items(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  pthread_mutex_lock(&r->lock);
  csn_context_need(r);
  note_form(a, r);
  size_t n = csn_context_count(r);
  csn_auto(csn_freep) struct csn_item_ref *refs = csn_realloc(NULL, n + 1, sizeof *refs);
  n = select_items(a, r, refs);
  enum csn_token_family family = csn_context_family(r);
  pthread_mutex_unlock(&r->lock);
  free(a->items);
  a->items = csn_realloc(NULL, n + 1, sizeof *a->items);
  if (a->sums_up) {
    n = csn_context_fit(refs, n, a->cut, a->room, family, a->arena, a->items);
    a->items[n] = csn_context_prompt(a->arena);
    return n + 1;
  }
  for (size_t i = 0; i < n; i++)
    a->items[i] = refs[i].raw;
  return n;
}

void
csn_ask_collect(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  size_t n = collect_items(a), n_tools = collect_tools(a);
  const csn_agent *ag = a->agent;
  a->rq = (csn_model_request){
      .model = a->route.model,
      .instructions = a->composed.n ? csn_buf_str(&a->composed) : ag->full_instructions,
      .items = a->items,
      .n_items = n,
      .tools = a->tools,
      .n_tools = n_tools,
      .settings = a->settings,
      .stream = !r->opts.no_stream,
      .output_schema = ag->output_schema && !a->sums_up ? ag->output_schema->raw : CSN_STR(""),
      .cap_is_last = a->max_output != 0,
      /* Without a filter the items of a form are only ever added to. */
      .kept = a->route.ops->appends && !a->filter && !a->sums_up ? &a->kept : NULL,
  };
}

/* The agent's settings, as this call has them. */
int
csn_ask_settle(struct csn_ask_job *a, csn_err *err)
{
  const struct csn_call_settings of = {.max_output = a->max_output,
                                       .sums_up = a->sums_up,
                                       .free_choice = a->free_choice,
                                       .server_at = a->server_at};
  a->settings = a->agent->settings;
  if (!of.max_output && !of.sums_up && !of.free_choice && !of.server_at)
    return 0;
  a->own = csn_arena_new(0);
  return csn_context_settings(a->agent->settings, &of, a->own, &a->settings, err);
}

int
csn_ask_write(struct csn_ask_job *a, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES), url = CSN_BUF(PATH_MAX_BYTES);
  a->body.cap = BODY_MAX_BYTES;
  if (!a->rq.kept) {
    csn_buf_clear(&a->body);
    a->kept = (csn_kept_body){0};
  }
  int rc = a->route.ops->encode(&a->route.endpoint, &a->rq, &a->body, &path, err);
  if (rc == 0)
    rc = csn_buf_done(&path, "the address of the model", err);
  if (rc == 0)
    rc = csn_route_url(&a->route, a->settings, csn_buf_str(&path), &url, err);
  a->url = csn_arena_dup(a->arena, csn_buf_str(&url));
  return rc;
}

/* The body as what a WebSocket takes: an object with its kind before the rest. */
void
csn_ask_frame(struct csn_ask_job *a)
{
  csn_str body = csn_buf_str(&a->body);
  a->frame.cap = BODY_MAX_BYTES + 100;
  csn_buf_clear(&a->frame);
  csn_buf_addz(&a->frame, "{\"type\":\"response.create\",");
  csn_buf_add(&a->frame, csn_strn(body.p + 1, body.n - 1));
}
