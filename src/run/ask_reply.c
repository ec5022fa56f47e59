/* SPDX-License-Identifier: Apache-2.0
 * ask_reply.c - what listeners see of a reply while it comes, and the event
 * that it, or the failure of the call, becomes. */
#include "run/ask.h"
#include "run/items.h"
#include "run/refusal.h"

enum { REPLY_MAX_BYTES = 256 << 20, SUMMARY_MAX_BYTES = 1 << 20 };

/* Held back is what the answer holds; it is given out from there once guardrails
 * have passed it (deliver.c).  Reasoning is not at all: nobody looks at it. */
static void
hold_back(csn_run *r, enum csn_delta_kind kind, bool holds)
{
  pthread_mutex_lock(&r->lock);
  if (kind == CSN_DELTA_TEXT)
    r->holds_text = holds;
  pthread_mutex_unlock(&r->lock);
}

void
csn_ask_on_delta(void *user, enum csn_delta_kind kind, csn_str text)
{
  struct csn_ask_job *a = user;
  csn_run *r = a->base.run;
  a->has_streamed = !a->sums_up;
  if (!r->opts.listener || kind == CSN_DELTA_ARGUMENTS || a->sums_up)
    return;
  if (a->is_gated) {
    hold_back(r, kind, true);
    return;
  }
  static const char *const types[] = {"text_delta", "reasoning_delta", "refusal_delta"};
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(REPLY_MAX_BYTES);
  csn_buf_addz(&b, "{\"text\":");
  csn_json_quote(&b, text);
  csn_buf_addc(&b, '}');
  csn_run_notify(r, types[kind], csn_buf_str(&b));
}

/* ---- its end ---- */

/* What the attempt has given out does not count. */
void
csn_ask_drop_shown(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  if (!a->is_gated && a->has_streamed)
    csn_run_notify(r, "attempt_restarted", CSN_STR("{}"));
  a->has_streamed = false;
  if (a->is_gated)
    hold_back(r, CSN_DELTA_TEXT, false);
}

/* again: the machine is to reserve anew and ask once more. */
csn_job *
csn_ask_deliver_billed(struct csn_ask_job *a, const csn_err *err, bool again)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16384);
  csn_ask_failure f = {.effect = a->base.seq, .err = err, .usage = &a->failed};
  f.again = again ? a->attempt : 0;
  csn_ask_write_failure(&b, &f);
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_FAILED, csn_buf_str(&b), true);
}

bool
csn_ask_is_billed(const struct csn_ask_job *a)
{
  return a->failed.total_tokens > 0 || a->failed.input_tokens > 0;
}

csn_job *
csn_ask_give_up(struct csn_ask_job *a)
{
  csn_err err = a->err;
  csn_wrap(&err, err.code, "model %s", csn_ask_model(a));
  if (a->has_other)
    csn_ask_drop_shown(a);
  if (csn_ask_is_billed(a))
    return csn_ask_deliver_billed(a, &err, false);
  return csn_run_deliver_error(a->base.run, CSN_EV_MODEL_FAILED, a->base.seq, &err, true);
}

/* Another model is asked. */
static csn_job *
deliver_refusal(struct csn_ask_job *a, const csn_model_reply *reply, csn_str why)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16384);
  csn_refusal_write(&b, a->base.seq, csn_ask_model(a), why, &reply->usage);
  csn_ask_drop_shown(a);
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_FAILED, csn_buf_str(&b), true);
}

/* The text of a reply's messages, which stands for what is left out. */
static int
write_summary(const struct csn_ask_job *a, const csn_model_reply *reply, csn_jw *w, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(SUMMARY_MAX_BYTES);
  csn_auto(csn_arena_freep) csn_arena *arena = NULL;
  const csn_json *item;
  if (!a->sums_up)
    return 0;
  arena = csn_arena_new(0);
  for (size_t i = 0; i < reply->n_items; i++)
    if (csn_json_parse(arena, reply->items[i], &item, NULL) == 0 && csn_item_is_message(item))
      csn_message_text(item, &text);
  if (!text.n)
    return csn_fail(err, CSN_E_MODEL, "the model wrote no summary of the conversation");
  csn_jw_key(w, "summary");
  csn_jw_str(w, csn_buf_str(&text));
  return 0;
}

csn_job *
csn_ask_deliver(struct csn_ask_job *a, const csn_model_reply *reply)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(REPLY_MAX_BYTES), why = CSN_BUF(REPLY_MAX_BYTES);
  if (a->has_other && csn_refusal_of(reply, a->arena, &why))
    return deliver_refusal(a, reply, csn_buf_str(&why));
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, a->base.seq);
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  for (size_t i = 0; i < reply->n_items && !a->sums_up; i++)
    csn_jw_raw(&w, reply->items[i]);
  csn_jw_end(&w);
  csn_jw_key(&w, "usage");
  csn_usage_to_json(&reply->usage, &w);
  csn_jw_key(&w, "model");
  csn_jw_strz(&w, csn_ask_model(a));
  if (reply->response_id.n) {
    csn_jw_key(&w, "response_id");
    csn_jw_str(&w, reply->response_id);
  }
  csn_err err;
  int rc = write_summary(a, reply, &w, &err);
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, &err);
  if (rc < 0)
    return csn_run_deliver_error(a->base.run, CSN_EV_MODEL_FAILED, a->base.seq, &err, true);
  csn_fault_pass(&a->base.run->rt->fault, "model.replied");
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_REPLIED, csn_buf_str(&b), true);
}
