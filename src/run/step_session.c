/* SPDX-License-Identifier: Apache-2.0
 * step_session.c - the conversation before this run, and after it.
 *
 * An input with {"session":{"name",...},"input":[items]} does not begin the
 * conversation by itself: `session_loaded` does, with what was said before and
 * the input behind it.  In closing, what the run added is appended, but
 * for what guardrails held back. */
#include "run/step_impl.h"

void
csn_step_begin_session(struct csn_step *s)
{
  const csn_json *session = csn_json_get(s->ev->data, "session");
  if (!csn_json_is(session, CSN_JSON_OBJECT)) {
    csn_step_absorb(s);
    return;
  }
  csn_step_set_text(&s->st->session, csn_json_str(session, "name", CSN_STR("")));
  csn_pending_add(s->st, CSN_DO_SESSION_READ, csn_emit_session_read(s->out, s->ev, session));
}

/* ---- what guardrails hold back ---- */

void
csn_step_hold_answer(csn_state *st, int64_t seq)
{
  if (st->answer < 0 && csn_state_is_gated(st))
    st->answer = seq;
}

void
csn_step_set_aside(csn_state *st, int64_t to)
{
  if (st->answer < 0 || to < st->answer)
    return;
  st->aside = csn_realloc(st->aside, st->n_aside + 1, sizeof *st->aside);
  st->aside[st->n_aside++] = (struct csn_aside){st->answer, to};
  st->answer = -1;
}

bool
csn_state_withholds(const csn_state *st, int64_t seq)
{
  for (size_t i = 0; i < st->n_aside; i++)
    if (seq >= st->aside[i].from && seq <= st->aside[i].to)
      return true;
  return st->withheld >= 0 && seq >= st->withheld;
}

static bool
is_reason(const csn_state *st, const char *reason)
{
  return st->reason && strcmp(st->reason, reason) == 0;
}

/* Before the phase is left in which the run came to its outcome.  A reply that
 * no guardrail has passed is read by nobody later either; what came after it
 * makes no sense alone. */
void
csn_step_withhold(csn_state *st)
{
  bool is_replied = st->phase == CSN_PHASE_MODEL;
  bool is_gated = csn_state_is_gated(st) && (is_replied || st->stop_output);
  bool is_stopped = is_replied && (is_reason(st, "guardrail") || is_reason(st, "callback"));
  if (st->outcome != CSN_RUN_DONE && st->answer >= 0)
    st->withheld = st->answer;
  else if (st->outcome != CSN_RUN_DONE && (is_gated || is_stopped))
    st->withheld = st->reply; /* is_stopped: one on input objected beside the call */
  st->reply = -1;
}

static void
seq_to_json(csn_jw *w, const char *key, int64_t seq)
{
  if (seq < 0)
    return;
  csn_jw_key(w, key);
  csn_jw_int(w, seq);
}

void
csn_step_withheld_to_json(const csn_state *st, csn_jw *w)
{
  seq_to_json(w, "reply", st->reply);
  seq_to_json(w, "answer", st->answer);
  seq_to_json(w, "withheld", st->withheld);
  if (!st->n_aside)
    return;
  csn_jw_key(w, "aside");
  csn_jw_arr(w);
  for (size_t i = 0; i < st->n_aside; i++) {
    csn_jw_arr(w);
    csn_jw_int(w, st->aside[i].from);
    csn_jw_int(w, st->aside[i].to);
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

void
csn_step_withheld_from_json(csn_state *st, const csn_json *v)
{
  st->reply = csn_json_int(v, "reply", -1);
  st->answer = csn_json_int(v, "answer", -1);
  st->withheld = csn_json_int(v, "withheld", -1);
  const csn_json *list = csn_json_get(v, "aside");
  st->aside = csn_realloc(NULL, list ? list->n : 0, sizeof *st->aside);
  csn_json_each (pair, list) {
    struct csn_aside *to = &st->aside[st->n_aside];
    if (pair->n == 2 && csn_json_to_int(pair->child, &to->from) &&
        csn_json_to_int(pair->child->next, &to->to))
      st->n_aside++;
  }
}

/* ---- appending ---- */

/* Nothing is saved of a run that never had its conversation. */
void
csn_step_save_session(struct csn_step *s)
{
  csn_state *st = s->st;
  if (st->session && st->items_from >= 0)
    csn_pending_add(st, CSN_DO_SESSION_APPEND, csn_emit_session_append(s->out, s->ev, st));
}

/* The session answered: {"effect","items","history"} to a read, {"effect",
 * "saved"} to an append, or an error. */
int
csn_step_on_session_loaded(struct csn_step *s)
{
  csn_state *st = s->st;
  bool is_read = st->phase == CSN_PHASE_SETUP;
  csn_pending *p = csn_pending_answered(s, is_read ? CSN_DO_SESSION_READ : CSN_DO_SESSION_APPEND);
  if (!p)
    return CSN_E_INVALID;
  csn_pending_drop(st, p);
  bool has_failed = csn_json_get(s->ev->data, "error") != NULL;
  if (is_read && has_failed)
    csn_step_give_up(s, CSN_RUN_FAILED, "session", csn_step_error_text(s->ev));
  else if (is_read)
    csn_step_absorb(s);
  else if (has_failed && !(st->message && *st->message)) /* the outcome stands */
    csn_step_set_text(&st->message, csn_step_error_text(s->ev));
  return 0;
}
