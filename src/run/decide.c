/* SPDX-License-Identifier: Apache-2.0
 * decide.c - questions to a human, and their answers.
 *
 * An answer is first a signed note, then the event that follows from it.  On a
 * live run both come at once; on one at rest the event comes when it goes on,
 * in the process that then performs the call. */
#include "run/decide.h"

static const struct csn_decided *
find_decided(const csn_run *r, int64_t effect)
{
  for (const struct csn_decided *d = r->decided; d; d = d->next)
    if (d->effect == effect)
      return d;
  return NULL;
}

/* ---- questions ---- */

/* A question of a run or of one that it called; its texts live in an arena, so
 * that no lock is held while it is looked at. */
struct asked {
  struct asked *next;
  int64_t seq;
  csn_str qualified; /* RUN/CALL */
  csn_str numbered;  /* RUN/#SEQ */
  csn_ask a;
};

/* Lock held: the questions of this run and below, in order, to the list's end. */
static struct asked **
gather(csn_run *r, csn_arena *keep, struct asked **end)
{
  csn_str run = csn_arena_dup(keep, csn_cstr(csn_run_id(r)));
  for (size_t i = 0; i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->kind != CSN_DO_ASK)
      continue;
    struct asked *q = csn_arena_alloc(keep, sizeof *q);
    *q = (struct asked){.seq = p->seq};
    q->a = (csn_ask){.run = run,
                     .id = csn_arena_dup(keep, csn_cstr(p->call_id)),
                     .tool = csn_arena_dup(keep, csn_cstr(p->name)),
                     .input = csn_arena_dup(keep, csn_cstr(p->arguments)),
                     .is_custom = p->is_custom,
                     .interrupted = p->was_interrupted,
                     .is_decided = find_decided(r, p->seq) != NULL};
    q->qualified = csn_arena_printf(keep, "%s/%s", run.p, q->a.id.p);
    q->numbered = csn_arena_printf(keep, "%s/#%lld", run.p, (long long)p->seq);
    *end = q;
    end = &q->next;
  }
  for (csn_run *k = csn_child_next(r, NULL); k; k = csn_child_next(r, k)) {
    pthread_mutex_lock(&k->lock);
    end = gather(k, keep, end);
    pthread_mutex_unlock(&k->lock);
  }
  return end;
}

/* Ids of calls are the provider's and only hold within a run, if there: a name
 * is the id where no other question can be meant by it. */
static csn_str
name_of(const struct asked *all, const struct asked *q)
{
  bool is_plain = q->a.id.n && !memchr(q->a.id.p, '/', q->a.id.n);
  for (const struct asked *o = all; o; o = o->next) {
    if (o == q || !csn_str_eq(o->a.id, q->a.id))
      continue;
    if (csn_str_eq(o->a.run, q->a.run))
      return q->numbered;
    is_plain = false;
  }
  return is_plain ? q->a.id : q->qualified;
}

int
csn_run_asks(csn_run *r, int (*fn)(void *user, const csn_ask *a), void *user)
{
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  struct asked *all = NULL;
  int rc = 0;
  pthread_mutex_lock(&r->lock);
  gather(r, keep, &all);
  pthread_mutex_unlock(&r->lock);
  for (struct asked *q = all; q && rc >= 0; q = q->next) {
    q->a.call = name_of(all, q);
    rc = fn(user, &q->a);
  }
  return rc < 0 ? rc : 0;
}

static bool
is_meant(const struct asked *q, csn_str call)
{
  return !call.n || csn_str_eq(call, q->a.id) || csn_str_eq(call, q->qualified) ||
         csn_str_eq(call, q->numbered);
}

/* The one question that is meant and open. */
static int
find_ask(const csn_run *r, const struct asked *all, csn_str call, const struct asked **out,
         csn_err *err)
{
  const struct asked *found = NULL;
  size_t n = 0, n_decided = 0;
  int shown = call.n < 200 ? (int)call.n : 200;
  for (const struct asked *q = all; q; q = q->next) {
    if (!is_meant(q, call))
      continue;
    if (q->a.is_decided) {
      n_decided++;
      continue;
    }
    found = found ? found : q;
    n++;
  }
  *out = found;
  if (n > 1 && !call.n)
    return csn_fail(err, CSN_E_INVALID, "run %s waits for %zu decisions; name the call",
                    csn_run_id(r), n);
  if (n > 1) {
    csn_str name = name_of(all, found);
    return csn_fail(err, CSN_E_INVALID,
                    "%zu calls that wait have the id %.*s; give the run, too, as in %.*s", n, shown,
                    call.p, (int)(name.n < 300 ? name.n : 300), name.p);
  }
  if (!found && n_decided)
    return csn_fail(err, CSN_E_EXISTS, "that was decided already; go on with the run");
  if (!found && call.n)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s does not wait for call %.*s", csn_run_id(r),
                    shown, call.p);
  if (!found)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s waits for no decision", csn_run_id(r));
  return 0;
}

/* Lock held: how many questions nobody has decided, here and below. */
static size_t
count_open(const csn_run *r)
{
  size_t n = 0;
  for (size_t i = 0; i < r->state.n_pending; i++)
    n += r->state.pending[i].kind == CSN_DO_ASK && !find_decided(r, r->state.pending[i].seq);
  for (csn_run *k = csn_child_next(r, NULL); k; k = csn_child_next(r, k)) {
    pthread_mutex_lock(&k->lock);
    n += count_open(k);
    pthread_mutex_unlock(&k->lock);
  }
  return n;
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
  csn_raise_keep(r, d, v);
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

const struct csn_decided *
csn_decided_add(csn_run *r, int64_t effect, csn_str decision, const csn_run_row *row, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(33u << 20);
  const unsigned char *key;
  const csn_json *note = NULL;
  int rc = csn_rt_need_key(r->rt, &key, err);
  csn_digest prev = csn_journal_head(r->journal);
  if (rc == 0)
    rc = csn_decision_sign(key, csn_cstr(csn_run_id(r)), &prev, effect, decision, &text, err);
  int64_t seq = csn_journal_next_seq(r->journal);
  if (rc == 0)
    rc = csn_run_note_held(r, csn_buf_str(&text), row, err);
  csn_str kept = csn_arena_dup(r->keep, csn_buf_str(&text));
  if (rc == 0)
    rc = csn_json_parse(r->keep, kept, &note, err);
  return rc < 0 ? NULL : keep(r, seq, note, err);
}

/* Lock held.  A run at rest is listed as ready once nothing is left to decide. */
static const struct csn_decided *
write_note(csn_run *r, const csn_pending *p, const csn_decision *d, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf decision = CSN_BUF(32u << 20);
  if (csn_decision_write(d, &r->state, p, &decision, err) < 0)
    return NULL;
  bool is_last = (csn_state_waits(&r->state) || csn_child_next(r, NULL)) && count_open(r) == 1;
  csn_run_row row = {
      .state = CSN_STR("ready"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  return csn_decided_add(r, p->seq, csn_buf_str(&decision), r->is_at_rest && is_last ? &row : NULL,
                         err);
}

/* Lock held. */
static int
decide_here(csn_run *r, int64_t effect, const csn_decision *d, csn_err *err)
{
  csn_err why = {0};
  const csn_pending *p = csn_state_find(&r->state, effect);
  if (!p || p->kind != CSN_DO_ASK || find_decided(r, effect))
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s does not wait for that any more", csn_run_id(r));
  const struct csn_decided *done = write_note(r, p, d, &why);
  if (!done && err)
    *err = why;
  if (!done)
    return why.code;
  if (!r->is_at_rest)
    csn_run_deliver_held(r, CSN_EV_DECIDED, done->event, false);
  csn_run_wake(r);
  return 0;
}

/* Lock held.  Only the runs on the way to the one that asks are touched; all
 * others of them go on resting.  1: that run is not here. */
static int
decide_below(csn_run *r, const struct asked *q, const csn_decision *d, csn_err *err)
{
  if (csn_str_eq(q->a.run, csn_cstr(csn_run_id(r))))
    return decide_here(r, q->seq, d, err);
  int rc = 1;
  for (csn_run *k = csn_child_next(r, NULL); k && rc == 1; k = csn_child_next(r, k)) {
    pthread_mutex_lock(&k->lock);
    rc = decide_below(k, q, d, err);
    pthread_mutex_unlock(&k->lock);
    if (rc == 0 && !r->is_at_rest)
      csn_child_stirs(r, k);
  }
  if (rc != 0 || !r->is_at_rest || count_open(r))
    return rc;
  csn_run_row row = {
      .state = CSN_STR("ready"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  return csn_run_note_held(r, CSN_STR("{\"note\":\"child_decided\",\"effect\":0}"), &row, err);
}

int
csn_run_decide(csn_run *r, csn_str call, const csn_decision *d, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct asked *all = NULL;
  const struct asked *q = NULL;
  pthread_mutex_lock(&r->lock);
  gather(r, a, &all);
  int rc = find_ask(r, all, call, &q, err);
  if (rc == 0)
    rc = decide_below(r, q, d, err);
  if (rc == 1)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "run %s does not wait for that any more", csn_run_id(r));
  pthread_mutex_unlock(&r->lock);
  return rc;
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
