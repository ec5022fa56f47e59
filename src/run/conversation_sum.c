/* SPDX-License-Identifier: Apache-2.0
 * conversation_sum.c - a kept conversation is summed up where it is kept.
 *
 * What stands before the last message of the user is given to a run of its own,
 * cut so that it fits into a request; its answer is the summary.  What replaces
 * those items is made by the view that requests of a long run have, too.  What
 * was appended meanwhile stays behind them; any other change in between ends it
 * without one.  A summary of what is not to be trusted is not to be trusted. */
#include "model/items.h"
#include "model/transcript.h"
#include "run/conversation.h"
#include "run/driver.h"
#include "run/mark.h"

enum {
  LEAST_CANDIDATES = 10,
  HEAD_PART = 4, /* of the room of a request: the user's messages that stay */
  TRIES = 20,
  SUMMARY_MAX_BYTES = 1 << 20
};

/* The conversation as it is kept. */
struct kept {
  csn_arena *arena;
  csn_str *stored; /* with their marks */
  size_t n, room;
};

static int
keep_item(void *user, int64_t n, csn_str item)
{
  struct kept *k = user;
  (void)n;
  if (k->n == k->room) {
    k->room = k->room ? k->room * 2 : 64;
    k->stored = csn_realloc(k->stored, k->room, sizeof *k->stored);
  }
  k->stored[k->n++] = csn_arena_dup(k->arena, item);
  return 0;
}

static int
read_all(csn_conversation *c, struct kept *k, csn_err *err)
{
  k->n = 0;
  return csn_session_read(c->sessions, csn_cstr(c->name), 0, 0, keep_item, k, err);
}

static csn_digest
digest_of(const csn_str *items, size_t n)
{
  csn_sha256 h;
  csn_sha256_init(&h);
  for (size_t i = 0; i < n; i++) {
    csn_sha256_add(&h, items[i]);
    csn_sha256_add(&h, CSN_STR("\n"));
  }
  return csn_sha256_end(&h);
}

/* What is to be summed up: the items before the last message of the user. */
struct past {
  struct csn_item_ref *refs;
  csn_str *why;    /* of each, its mark */
  size_t n;        /* of refs */
  size_t stored;   /* items that these are; some are not for this model */
  size_t could_go; /* that are no messages of the user */
};

static bool
is_of_user(const csn_json *v)
{
  return csn_item_side(v) == CSN_SIDE_USER;
}

static size_t
last_message(const struct kept *k)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  for (size_t i = k->n; i-- > 0; csn_arena_clear(a))
    if (csn_json_parse(a, k->stored[i], &v, NULL) == 0 && is_of_user(v))
      return i;
  return 0;
}

/* Items that the model said together share a seq, as in a run. */
static void
find_past(const struct kept *k, const char *api, struct past *p)
{
  bool was_model = false;
  int64_t seq = 0;
  p->stored = last_message(k);
  p->refs = csn_alloc((p->stored + 1) * sizeof *p->refs);
  p->why = csn_alloc((p->stored + 1) * sizeof *p->why);
  for (size_t i = 0; i < p->stored; i++) {
    const csn_json *v;
    if (csn_json_parse(k->arena, k->stored[i], &v, NULL) < 0)
      continue;
    csn_str why = csn_mark_take(k->arena, &v), raw = csn_item_for(k->arena, v, api);
    bool is_model = csn_item_side(v) == CSN_SIDE_MODEL;
    seq += !(is_model && was_model);
    was_model = is_model;
    p->could_go += !is_of_user(v);
    if (!raw.n)
      continue;
    p->why[p->n] = why;
    p->refs[p->n++] = (struct csn_item_ref){.seq = seq, .raw = raw};
  }
}

/* ---- the summary ---- */

/* The agent's model, told nothing of tools and of the answer's form. */
static int
make_agent(const csn_agent *from, csn_agent **out, csn_err *err)
{
  csn_agent *a = *out = csn_agent_new("summary");
  csn_agent_set_model(a, csn_agent_model(from));
  if (!from->settings)
    return 0;
  return csn_context_settings(from->settings, &(struct csn_call_settings){.sums_up = true},
                              a->arena, &a->settings, err);
}

/* Tokens that a request may hold. */
static int
room_of(csn_rt *rt, const csn_agent *a, int64_t *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  const csn_json *v = NULL;
  csn_jw w;
  csn_jw_init(&w, &text);
  int rc = csn_agent_write_compact_at(a, rt->project, &w, err);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(arena, csn_buf_str(&text), &v, err);
  *out = csn_json_int(v ? v->child : NULL, "tokens", 0);
  if (!*out)
    *out = INT64_MAX / 8; /* models of a file take anything */
  return rc;
}

/* Runs it; the summary as a JSON string. */
static int
ask(csn_conversation *c, csn_scope *sc, const csn_agent *a, const struct past *p, int64_t room,
    const csn_compaction *o, csn_buf *summary, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_freep) csn_str *fit = csn_alloc((p->n + 1) * sizeof *fit);
  csn_auto(csn_buf_finip) csn_buf items = CSN_BUF(CSN_INPUT_MAX);
  csn_jw w;
  size_t n = csn_context_fit(p->refs, p->n, INT64_MAX, room,
                             csn_token_family(csn_cstr(csn_agent_model(a))), arena, fit);
  csn_jw_init(&w, &items);
  csn_jw_arr(&w);
  csn_jw_raws(&w, fit, n);
  csn_jw_raw(&w, csn_context_prompt(arena));
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  csn_result res = {0};
  csn_run_options ro = {.items = csn_buf_str(&items), .listener = o->listener, .user = o->user};
  if (rc == 0)
    rc = csn_run_once(c->rt, sc, a, CSN_STR(""), &ro, arena, &res, err);
  if (rc < 0)
    return rc;
  if (res.state != CSN_RUN_DONE || !csn_str_trim(res.output).n)
    return csn_fail(err, CSN_E_MODEL, "run %s ended without a summary (%s): %.*s", res.run,
                    csn_run_state_name(res.state), (int)(res.message.n & 0x3ff), res.message.p);
  csn_json_quote(summary, csn_str_trim(res.output));
  return csn_buf_done(summary, "the summary", err);
}

/* ---- in its place ---- */

static csn_str
mark_of(const struct past *p, const struct csn_item_ref *item)
{
  csn_str first = CSN_STR("");
  for (size_t i = 0; i < p->n; i++) {
    if (p->refs[i].raw.p == item->raw.p) /* it stays as it was */
      return p->why[i];
    if (!first.n)
      first = p->why[i];
  }
  return first;
}

/* The items with their marks, in the arena. */
static int
write_past(csn_arena *a, const struct past *p, const struct csn_view *view, csn_str *out,
           csn_err *err)
{
  for (size_t i = 0; i < view->n; i++) {
    const csn_json *v;
    int rc = csn_json_parse(a, view->v[i].raw, &v, err);
    if (rc < 0)
      return rc;
    out[i] = csn_mark_put(a, v, mark_of(p, &view->v[i]));
  }
  return 0;
}

/* `fresh` stands for the first `had` items, which must be what they were. */
static int
put(csn_conversation *c, struct kept *k, size_t had, const csn_str *fresh, size_t n, csn_err *err)
{
  csn_digest was = digest_of(k->stored, had);
  for (int i = 0; i < TRIES; i++) {
    int rc = i ? read_all(c, k, err) : 0;
    if (rc < 0)
      return rc;
    csn_digest is = digest_of(k->stored, had < k->n ? had : k->n);
    if (k->n < had || memcmp(was.b, is.b, sizeof is.b) != 0)
      break;
    csn_auto(csn_freep) csn_str *all = csn_alloc((n + k->n) * sizeof *all);
    memcpy(all, fresh, n * sizeof *all);
    memcpy(all + n, k->stored + had, (k->n - had) * sizeof *all);
    rc = csn_session_replace(c->sessions, csn_cstr(c->name), (int64_t)k->n, all, n + k->n - had,
                             err);
    if (rc != CSN_E_CONFLICT)
      return rc;
  }
  return csn_fail(err, CSN_E_CONFLICT, "session '%s' was changed while it was summed up", c->name);
}

static int
sum_up(csn_conversation *c, csn_scope *sc, const csn_agent *a, struct kept *k, const struct past *p,
       const csn_compaction *o, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf summary = CSN_BUF(SUMMARY_MAX_BYTES);
  struct csn_view view = {0};
  int64_t room;
  int rc = room_of(c->rt, a, &room, err);
  if (rc == 0)
    rc = ask(c, sc, a, p, room, o, &summary, err);
  if (rc == 0 && o->keep_as)
    rc = csn_conversation_branch(c, o->keep_as, -1, err);
  if (rc < 0)
    return rc;
  struct csn_view_spec spec = {.trim = -1,
                               .since = -1,
                               .base_to = -1,
                               .cut = p->refs[p->n - 1].seq,
                               .summary = csn_buf_str(&summary),
                               .head_tokens = room / HEAD_PART,
                               .family = csn_token_family(csn_cstr(csn_agent_model(a)))};
  csn_view_set(&view, &spec, p->refs, p->n);
  csn_auto(csn_freep) csn_str *fresh = csn_alloc((view.n + 1) * sizeof *fresh);
  size_t n = view.n;
  rc = write_past(k->arena, p, &view, fresh, err);
  if (rc == 0)
    rc = put(c, k, p->stored, fresh, n, err);
  csn_view_fini(&view); /* it holds the summary */
  return rc < 0 ? rc : (int)(p->stored > n ? p->stored - n : 0);
}

static int64_t
tokens_of(const struct kept *k, const csn_agent *a)
{
  enum csn_token_family family = csn_token_family(csn_cstr(csn_agent_model(a)));
  int64_t n = 0;
  for (size_t i = 0; i < k->n; i++)
    n += csn_tokens_estimate(family, k->stored[i]);
  return n;
}

int
csn_conversation_compact(csn_conversation *c, csn_scope *sc, const csn_agent *agent,
                         const csn_compaction *o, csn_err *err)
{
  static const csn_compaction usual = {0};
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  struct csn_route route = {0};
  struct kept k = {.arena = arena};
  struct past p = {0};
  o = o ? o : &usual;
  int rc = make_agent(agent, &a, err);
  if (rc == 0)
    rc = read_all(c, &k, err);
  if (rc == 0)
    rc = csn_agent_check(a, c->rt->project, err);
  if (rc == 0) {
    bool is_found = csn_route_find(c->rt->project, csn_cstr(csn_agent_model(a)), &route, NULL) == 0;
    find_past(&k, is_found ? route.ops->name : NULL, &p);
    csn_route_fini(&route);
    bool is_enough = p.n && p.could_go >= (size_t)(o->at > 0 ? o->at : LEAST_CANDIDATES);
    if (is_enough && (!o->at_tokens || tokens_of(&k, a) >= o->at_tokens))
      rc = sum_up(c, sc, a, &k, &p, o, err);
  }
  free(k.stored);
  free(p.refs);
  free(p.why);
  return rc;
}

int
csn_conversation_tidy(csn_rt *rt, csn_scope *sc, const csn_agent *agent, const char *name,
                      csn_listener *listener, void *user, csn_err *err)
{
  const csn_json *said = csn_json_get(agent->compaction, "session");
  csn_auto(csn_conversation_closep) csn_conversation *c = NULL;
  csn_compaction how = {.listener = listener, .user = user};
  if (!said || (said->kind == CSN_JSON_BOOL && !csn_json_bool(agent->compaction, "session", false)))
    return 0;
  int rc = csn_json_to_int(said, &how.at_tokens) ? 0 : room_of(rt, agent, &how.at_tokens, err);
  if (rc == 0)
    rc = csn_conversation_open(rt, name, &c, err);
  if (rc == 0)
    rc = csn_conversation_compact(c, sc, agent, &how, err);
  return csn_wrap(err, rc, "session %s is not summed up", name);
}
