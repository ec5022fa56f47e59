/* SPDX-License-Identifier: Apache-2.0
 * zero.c - record 0, what a run is, and the input with which it is committed. */
#include "run/box_save.h"
#include "run/items.h"
#include "run/memory.h"

enum { RUN_FORMAT = 1 };

/* What is written into record 0 and decides the course of the run. */
struct zero {
  csn_digest salt;
  const csn_json *agent, *prices, *models, *compact_at;
};

/* What the project says of the agent's models today; *json is {} or more. */
static int
find_known(csn_run *r,
           int (*write)(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err),
           csn_str *json, const csn_json **v, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  int rc = write(r->agent, r->rt->project, &w, err);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  *json = csn_arena_dup(r->keep, csn_buf_str(&text));
  return json->n > 2 ? csn_json_parse(r->keep, *json, v, err) : 0;
}

static void
write_known(csn_jw *w, const char *key, csn_str object)
{
  if (object.n <= 2)
    return;
  csn_jw_key(w, key);
  csn_jw_raw(w, object);
}

/* Record 0: what the run is, once and for all.  It is committed with the input. */
static int
record_zero(csn_run *r, struct zero *z, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_agent_to_json(r->agent, &w);
  int rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  csn_str json = csn_arena_dup(r->keep, csn_buf_str(&text));
  z->salt = csn_sha256_of(json);
  rc = csn_json_parse(r->keep, json, &z->agent, err);
  if (rc < 0)
    return rc;
  char hex[65];
  csn_digest_hex(&z->salt, hex);
  csn_str prices = CSN_STR(""), models = CSN_STR(""), compact_at = CSN_STR("");
  rc = find_known(r, csn_agent_write_prices, &prices, &z->prices, err);
  if (rc == 0)
    rc = find_known(r, csn_agent_write_models, &models, &z->models, err);
  if (rc == 0)
    rc = find_known(r, csn_agent_write_compact_at, &compact_at, &z->compact_at, err);
  if (rc < 0)
    return rc;
  csn_buf_clear(&text);
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "format");
  csn_jw_int(&w, RUN_FORMAT);
  csn_jw_key(&w, "step_version");
  csn_jw_int(&w, CSN_STEP_VERSION);
  csn_jw_key(&w, "version");
  csn_jw_strz(&w, CSN_VERSION);
  csn_jw_key(&w, "agent");
  csn_jw_raw(&w, json);
  csn_jw_key(&w, "agent_sha256");
  csn_jw_strz(&w, hex);
  write_known(&w, "prices", prices);
  write_known(&w, "models", models);
  write_known(&w, "compact_at", compact_at);
  if (r->opts.keep_workspace) {
    csn_jw_key(&w, "keep_workspace");
    csn_jw_bool(&w, true);
  }
  if (r->opts.after) {
    csn_jw_key(&w, "after");
    csn_jw_strz(&w, r->opts.after);
  }
  if (r->opts.snapshot) {
    csn_jw_key(&w, "snapshot");
    csn_jw_strz(&w, r->opts.snapshot);
  }
  csn_boxes_zero(r, &w);
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  r->zero = csn_arena_dup(r->keep, csn_buf_str(&text));
  return 0;
}

/* What each request holds beside the conversation, as tokens at most. */
static int64_t
request_bytes(const csn_agent *a) /* NOLINT(misc-no-recursion): one level */
{
  enum { AROUND_TOKENS = 64 };
  size_t n = a->full_instructions.n + AROUND_TOKENS;
  for (size_t i = 0; i < a->n_agents; i++) /* whichever of them is at work */
    n += (size_t)request_bytes(a->agents[i]);
  for (size_t i = 0; i < a->n_tools; i++) {
    const csn_tool_decl *d = &a->tools[i].decl;
    n += d->name.n + d->description.n + d->schema.n + d->format.n + AROUND_TOKENS;
  }
  return (int64_t)n;
}

static void
write_session(const csn_run *r, csn_jw *w)
{
  csn_jw_key(w, "session");
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_strz(w, r->opts.session);
  csn_jw_key(w, "max_items");
  csn_jw_int(w, r->opts.session_items);
  csn_jw_key(w, "max_tokens");
  csn_jw_int(w, r->opts.session_tokens);
  csn_jw_end(w);
}

int
csn_run_begin(csn_run *r, csn_str items, csn_err *err)
{
  struct zero z = {0};
  int rc = record_zero(r, &z, err);
  if (rc < 0)
    return rc;
  csn_state_init(&r->state, z.agent, z.prices, &z.salt);
  csn_state_set_models(&r->state, z.models);
  r->state.cfg.compact_at = z.compact_at;
  csn_state_set_checkpoint(&r->state, csn_boxes_checkpoint_ms(r));
  csn_auto(csn_buf_finip) csn_buf data = CSN_BUF(CSN_INPUT_MAX + 4096);
  csn_jw w;
  csn_jw_init(&w, &data);
  csn_jw_obj(&w);
  if (r->opts.session)
    write_session(r, &w);
  csn_jw_key(&w, r->opts.session ? "input" : "items");
  csn_jw_raw(&w, items);
  if (r->is_untrusted_from_birth) {
    csn_jw_key(&w, "untrusted");
    csn_jw_strz(&w, "agent");
  }
  rc = csn_memory_write_input(r, &w, err);
  if (rc < 0)
    return rc;
  if (r->agent->limits.tokens || r->agent->limits.cost_usd > 0 || z.models) {
    csn_jw_key(&w, "request_bytes");
    csn_jw_int(&w, request_bytes(r->agent));
  }
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  if (rc == 0)
    csn_run_deliver(r, CSN_EV_INPUT, csn_buf_str(&data), false);
  return rc;
}
