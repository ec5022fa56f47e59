/* SPDX-License-Identifier: Apache-2.0
 * play.h - the machine of a run fed by hand: a scenario is a list of events and
 * the effects that each must give. */
#ifndef CSN_TESTS_RUN_PLAY_H
#define CSN_TESTS_RUN_PLAY_H

#include <stdio.h>

#include "check.h"
#include "run/step.h"

/* Which rows of the table were taken by this program. */
static bool taken[CSN_PHASE_COUNT][CSN_EV_COUNT];

struct play {
  csn_arena *arena;
  csn_state st;
  csn_effects fx;
  int64_t seq, ts;
  const csn_json *states[100]; /* as they would stand in the journal */
  size_t n_states;
};

static inline const csn_json *
state_json(struct play *p)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100000);
  csn_jw w;
  csn_err err;
  const csn_json *v;
  csn_jw_init(&w, &b);
  csn_state_to_json(&p->st, &w);
  OK(csn_jw_done(&w, &err), &err);
  OK(csn_json_parse(p->arena, csn_arena_dup(p->arena, csn_buf_str(&b)), &v, &err), &err);
  return v;
}

/* agent: its resolved form; `prices`, `models` and `compact_at` in it stand for
 * those of record 0. */
static inline void
begin(struct play *p, const char *agent)
{
  *p = (struct play){.arena = csn_arena_new(0), .seq = 1, .ts = 1000};
  const csn_json *v;
  csn_err err;
  OK(csn_json_parse(p->arena, csn_cstr(agent), &v, &err), &err);
  csn_digest salt = csn_sha256_of(csn_cstr(agent));
  csn_state_init(&p->st, v, csn_json_get(v, "prices"), &salt);
  csn_state_set_models(&p->st, csn_json_get(v, "models"));
  p->st.cfg.compact_at = csn_json_get(v, "compact_at");
}

static inline void
end(struct play *p)
{
  csn_state_fini(&p->st);
  csn_effects_fini(&p->fx);
  csn_arena_free(p->arena);
}

/* One event; `want` names the effects with their seqs: "model_call@2 ask@3". */
static inline void
play(struct play *p, enum csn_event_kind kind, const char *data, const char *want)
{
  csn_event ev = {.kind = kind, .seq = p->seq, .ts_ms = p->ts};
  csn_err err;
  OK(csn_json_parse(p->arena, csn_arena_dup(p->arena, csn_cstr(data)), &ev.data, &err), &err);
  enum csn_phase from = p->st.phase;
  OK(csn_step(&p->st, &ev, &p->fx, &err), &err);
  taken[from][kind] = true;
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  for (size_t i = 0; i < p->fx.n; i++)
    csn_buf_addf(&got, "%s%s@%lld", i ? " " : "", csn_effect_name(p->fx.v[i].kind),
                 (long long)p->fx.v[i].seq);
  STR_EQ(csn_strn(got.n ? got.p : "", got.n), want);
  p->seq += 1 + (int64_t)p->fx.n;
  if (p->st.turn_ended && p->n_states < CSN_COUNT(p->states))
    p->states[p->n_states++] = state_json(p);
}

static inline csn_str
last_effect(struct play *p)
{
  return p->fx.v[p->fx.n - 1].data;
}

static inline void
last_holds(struct play *p, const char *text)
{
  csn_str s = last_effect(p);
  if (csn_str_find(s, csn_cstr(text), 0) == SIZE_MAX)
    fail_msg("%.*s does not hold %s", (int)s.n, s.p, text);
}

/* A state that is written and read goes on alike: takes the place of p's. */
static inline void
reread(struct play *p, const char *agent)
{
  struct play q;
  csn_err err;
  const csn_json *v;
  begin(&q, agent);
  csn_str text = csn_arena_dup(q.arena, state_json(p)->raw);
  OK(csn_json_parse(q.arena, text, &v, &err), &err);
  size_t before = p->n_states - (p->n_states && p->st.turn_ended);
  for (size_t i = 0; i < p->n_states; i++) {
    OK(csn_json_parse(q.arena, csn_arena_dup(q.arena, p->states[i]->raw), &q.states[i], &err),
       &err);
    if (i < before)
      csn_state_fold(&q.st, q.states[i]);
  }
  q.n_states = p->n_states;
  OK(csn_state_from_json(&q.st, v, &err), &err);
  STR_EQ(state_json(&q)->raw, text.p);
  assert_int_equal(q.st.n_loops, p->st.n_loops);
  assert_memory_equal(q.st.loops, p->st.loops, p->st.n_loops * sizeof *q.st.loops);
  q.seq = p->seq;
  q.ts = p->ts;
  end(p);
  *p = q;
}

#define HELLO "{\"items\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define MORE "{\"added\":[{\"role\":\"user\",\"content\":\"more\"}]}"
#define MESSAGE(effect, text)                                                                      \
  "{\"effect\":" #effect ",\"items\":[{\"type\":\"message\",\"content\":[{\"type\":"               \
  "\"output_text\",\"text\":\"" text "\"}]}],\"usage\":{\"total_tokens\":7}}"
#define CALL(id, name)                                                                             \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"" name "\",\"arguments\":\"{}\"}"
#define OUTPUT(effect, id)                                                                         \
  "{\"effect\":" #effect ",\"items\":[{\"type\":\"function_call_output\",\"call_id\":\"" id        \
  "\",\"output\":\"ok\"}]}"

#endif
