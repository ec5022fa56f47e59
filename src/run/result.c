/* SPDX-License-Identifier: Apache-2.0
 * result.c - see result.h. */
#include "run/result.h"

/* Lives as long as the run. */
static csn_str
write_uses(const csn_run *r)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(16 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_step_uses_to_json(&r->state, &w, true);
  csn_jw_end(&w);
  const csn_json *v;
  csn_str json = csn_arena_dup(r->keep, csn_buf_str(&text));
  bool ok = r->state.n_uses && csn_json_parse(r->keep, json, &v, NULL) == 0;
  return ok ? csn_json_get(v, "agents")->raw : CSN_STR("");
}

void
csn_result_fill(const csn_run *r, csn_result *out)
{
  const csn_state *st = &r->state;
  *out = (csn_result){
      .run = csn_journal_id(r->journal),
      .state = st->outcome,
      .reason = csn_cstr(st->reason ? st->reason : ""),
      .output = csn_cstr(st->output ? st->output : ""),
      .message = csn_cstr(st->message ? st->message : ""),
      .turns = st->turns,
      .tool_calls = st->tool_calls,
      .usage = st->usage,
      .agents = write_uses(r),
      .untrusted = csn_cstr(st->untrusted ? st->untrusted : ""),
      .cost_usd = st->cfg.prices ? (double)st->budget.cost_pusd / 1e12 : -1,
  };
  if (st->phase != CSN_PHASE_ENDED)
    out->state = csn_state_waits(st) || csn_run_rests(r) ? CSN_RUN_WAITING : CSN_RUN_INTERRUPTED;
}
