/* SPDX-License-Identifier: Apache-2.0
 * decide.c - questions to a human, and their answers.
 *
 * An answer is first a signed note, then the event that follows from it.  On a
 * live run both come at once; on one at rest the event comes when it goes on,
 * in the process that then performs the call. */
#include "run/driver.h"

static const struct csn_decided *
find_decided(const csn_run *r, int64_t effect)
{
  for (const struct csn_decided *d = r->decided; d; d = d->next)
    if (d->effect == effect)
      return d;
  return NULL;
}

/* ---- questions ---- */

int
csn_run_asks(csn_run *r, int (*fn)(void *user, const csn_ask *a), void *user)
{
  int rc = 0;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->state.n_pending && rc >= 0; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->kind != CSN_DO_ASK)
      continue;
    const csn_ask a = {.call = csn_cstr(p->call_id),
                       .tool = csn_cstr(p->name),
                       .input = csn_cstr(p->arguments),
                       .is_custom = p->is_custom,
                       .interrupted = p->was_interrupted,
                       .is_decided = find_decided(r, p->seq) != NULL};
    rc = fn(user, &a);
  }
  for (csn_run *k = csn_child_next(r, NULL); k && rc >= 0; k = csn_child_next(r, k))
    rc = csn_run_asks(k, fn, user);
  pthread_mutex_unlock(&r->lock);
  return rc < 0 ? rc : 0;
}

/* The one question that is meant and open. */
static int
find_ask(const csn_run *r, csn_str call, const csn_pending **out, csn_err *err)
{
  const csn_pending *found = NULL;
  size_t n = 0, n_decided = 0;
  for (size_t i = 0; i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->kind != CSN_DO_ASK || (call.n && !csn_str_eq(call, csn_cstr(p->call_id))))
      continue;
    if (find_decided(r, p->seq)) {
      n_decided++;
      continue;
    }
    found = found ? found : p;
    n++;
  }
  *out = found;
  if (!call.n && n > 1)
    return csn_fail(err, CSN_E_INVALID, "run %s waits for %zu decisions; name the call",
                    csn_run_id(r), n);
  if (!found && n_decided)
    return csn_fail(err, CSN_E_EXISTS, "that was decided already; go on with the run");
  if (!found && call.n)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s does not wait for call %.*s", csn_run_id(r),
                    (int)(call.n & 0xff), call.p);
  if (!found)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s waits for no decision", csn_run_id(r));
  return 0;
}

/* ---- answers ---- */

/* Lock held: what follows from the note v of record `seq`. */
static struct csn_decided *
keep(csn_run *r, int64_t seq, const csn_json *v, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf event = CSN_BUF(64u << 20);
  if (csn_decision_event(v, seq, &event, err) < 0)
    return NULL;
  struct csn_decided *d = csn_arena_alloc(r->keep, sizeof *d);
  if (!d) {
    csn_fail(err, CSN_E_LIMIT, "run %s is too large", csn_run_id(r));
    return NULL;
  }
  *d = (struct csn_decided){.next = r->decided,
                            .effect = csn_json_int(v, "effect", -1),
                            .note = seq,
                            .event = csn_arena_dup(r->keep, csn_buf_str(&event))};
  r->decided = d;
  return d;
}

int
csn_decided_keep(csn_run *r, const csn_record *rec, const csn_json *v, csn_err *err)
{
  const unsigned char *key;
  int rc = csn_rt_need_key(r->rt, &key, err);
  if (rc < 0)
    return rc;
  if (!csn_decision_verify(key, csn_cstr(csn_run_id(r)), &rec->prev, v))
    return csn_fail(err, CSN_E_REPLAY,
                    "record %lld (note): the decision is not signed with this folder's key, or the "
                    "journal was edited before it",
                    (long long)rec->seq);
  return keep(r, rec->seq, v, err) ? 0 : CSN_E_LIMIT;
}

bool
csn_decided_stands(const csn_run *r, const csn_record *rec, const csn_json *v)
{
  const struct csn_decided *d = find_decided(r, csn_json_int(v, "effect", -1));
  return d && csn_str_eq(d->event, rec->data);
}

/* Lock held.  A run at rest is listed as ready once nothing is left to decide. */
static int
write_note(csn_run *r, const csn_pending *p, const csn_decision *d, int64_t *seq,
           const csn_json **note, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf decision = CSN_BUF(32u << 20), text = CSN_BUF(33u << 20);
  const unsigned char *key;
  int rc = csn_rt_need_key(r->rt, &key, err);
  if (rc == 0)
    rc = csn_decision_write(d, &r->state, p, &decision, err);
  csn_digest prev = csn_journal_head(r->journal);
  if (rc == 0)
    rc = csn_decision_sign(key, csn_cstr(csn_run_id(r)), &prev, p->seq, csn_buf_str(&decision),
                           &text, err);
  if (rc < 0)
    return rc;
  bool is_last = csn_state_waits(&r->state);
  for (size_t i = 0; i < r->state.n_pending; i++)
    is_last = is_last && (&r->state.pending[i] == p || find_decided(r, r->state.pending[i].seq));
  csn_run_row row = {
      .state = CSN_STR("ready"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  *seq = csn_journal_next_seq(r->journal);
  rc = csn_run_note_held(r, csn_buf_str(&text), r->is_at_rest && is_last ? &row : NULL, err);
  csn_str kept = csn_arena_dup(r->keep, csn_buf_str(&text));
  return rc < 0 ? rc : csn_json_parse(r->keep, kept, note, err);
}

static int
count_open(void *user, const csn_ask *a)
{
  *(int *)user += !a->is_decided;
  return 0;
}

/* Lock held: decides in the child that waits with the call. */
static int
decide_in_child(csn_run *r, csn_str call, const csn_decision *d, csn_err *err)
{
  int rc = CSN_E_NOT_FOUND, open = 0;
  for (csn_run *k = csn_child_next(r, NULL); k && rc == CSN_E_NOT_FOUND; k = csn_child_next(r, k)) {
    if (!r->is_at_rest)
      csn_child_stirs(r, k);
    rc = csn_run_decide(k, call, d, err);
  }
  for (csn_run *k = csn_child_next(r, NULL); k && r->is_at_rest; k = csn_child_next(r, k))
    csn_run_asks(k, count_open, &open);
  if (rc < 0 || !r->is_at_rest || open)
    return rc;
  csn_run_row row = {
      .state = CSN_STR("ready"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  return csn_run_note_held(r, CSN_STR("{\"note\":\"child_decided\",\"effect\":0}"), &row, err);
}

int
csn_run_decide(csn_run *r, csn_str call, const csn_decision *d, csn_err *err)
{
  int64_t seq = -1;
  const csn_json *note = NULL;
  const struct csn_decided *done = NULL;
  pthread_mutex_lock(&r->lock);
  const csn_pending *p = NULL;
  int rc = find_ask(r, call, &p, err);
  if (rc == CSN_E_NOT_FOUND && csn_child_next(r, NULL)) {
    rc = decide_in_child(r, call, d, err);
    pthread_mutex_unlock(&r->lock);
    return rc;
  }
  if (rc == 0)
    rc = write_note(r, p, d, &seq, &note, err);
  if (rc == 0)
    done = keep(r, seq, note, err);
  if (done && !r->is_at_rest)
    csn_run_deliver_held(r, CSN_EV_DECIDED, done->event, false);
  csn_run_wake(r);
  pthread_mutex_unlock(&r->lock);
  return rc < 0 ? rc : done ? 0 : CSN_E_LIMIT;
}

void
csn_decided_deliver(csn_run *r)
{
  pthread_mutex_lock(&r->lock);
  for (const struct csn_decided *d = r->decided; d && !r->is_stopped; d = d->next) {
    const csn_pending *p = csn_state_find(&r->state, d->effect);
    if (p && p->kind == CSN_DO_ASK)
      csn_run_deliver_held(r, CSN_EV_DECIDED, d->event, false);
  }
  csn_run_wake(r);
  pthread_mutex_unlock(&r->lock);
}
