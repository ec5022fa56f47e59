/* SPDX-License-Identifier: Apache-2.0
 * emit.h - writing effects: each function appends one and returns its seq. */
#ifndef CSN_RUN_EMIT_H
#define CSN_RUN_EMIT_H

#include "run/step.h"

void csn_effects_clear(csn_effects *e);
/* Points each effect at its text; CSN_E_LIMIT when they are too large. */
int csn_effects_done(csn_effects *e, csn_err *err) CSN_MUST;

int64_t csn_emit_model_call(csn_effects *e, const csn_event *ev, const csn_state *st);
int64_t csn_emit_tool_call(csn_effects *e, const csn_event *ev, const csn_pending *p);
/* rule: the one of `approvals` that asks; may be NULL. */
int64_t csn_emit_ask(csn_effects *e, const csn_event *ev, const csn_pending *p, const char *why,
                     const csn_json *rule);
/* tool: what an ENABLED asks about; empty else. */
int64_t csn_emit_callback(csn_effects *e, const csn_event *ev, const csn_pending *p, csn_str about);
int64_t csn_emit_child(csn_effects *e, const csn_event *ev, const csn_pending *p, csn_str agent);
int64_t csn_emit_cancel(csn_effects *e, const csn_event *ev, enum csn_effect_kind kind,
                        int64_t target);
int64_t csn_emit_timer(csn_effects *e, const csn_event *ev, int64_t at_ms);
int64_t csn_emit_sandbox_open(csn_effects *e, const csn_event *ev);
/* limits: the input's `session`. */
int64_t csn_emit_session_read(csn_effects *e, const csn_event *ev, const csn_json *limits);
int64_t csn_emit_session_append(csn_effects *e, const csn_event *ev, const csn_state *st);
int64_t csn_emit_checkpoint(csn_effects *e, const csn_event *ev);
int64_t csn_emit_save(csn_effects *e, const csn_event *ev); /* a checkpoint of the workspace */
int64_t csn_emit_sandbox_close(csn_effects *e, const csn_event *ev);
int64_t csn_emit_finish(csn_effects *e, const csn_event *ev, const csn_state *st);

#endif
