/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c - commands that go on between calls; see session.h.
 *
 * Two locks, taken in this order: the table's guards its array, the order of
 * use and all reference counts; a session's guards what its reader thread and
 * the calls share.  A reference is given up outside both, because the last one
 * joins the thread. */
#include "sandbox/session.h"

#include "core/hash.h"
#include "core/thread.h"

enum { PIECE = 65536, FIRST_ID = 1000, END_ID = 100000 };

struct csn_session {
  csn_proc *proc;
  const void *owner;
  csn_session_table *table; /* NULL until it is in one */
  int id, refs;             /* the table's lock */
  uint64_t used;            /* the table's lock */
  csn_scope life;           /* of the reader thread */
  pthread_t reader;
  bool has_reader;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* ended, failed or gone */
  csn_output *output;
  csn_session_state state;
  int failed; /* code of `why`, or 0 */
  csn_err why;
};

struct csn_session_table {
  pthread_mutex_t lock;
  csn_session *sessions[CSN_SESSIONS_MAX];
  size_t n;
  uint64_t clock;
};

csn_session *
csn_session_new(csn_proc *p, int64_t most_tokens, const csn_output_filter *filter)
{
  csn_session *s = csn_alloc(sizeof *s);
  s->proc = p;
  s->refs = 1;
  s->output = csn_output_new(most_tokens);
  if (filter)
    csn_output_set_filter(s->output, filter);
  csn_scope_init(&s->life, NULL, -1);
  pthread_mutex_init(&s->lock, NULL);
  csn_cond_init(&s->changed);
  return s;
}

static void
destroy(csn_session *s)
{
  csn_scope_cancel(&s->life);
  if (s->has_reader)
    pthread_join(s->reader, NULL);
  csn_proc_close(s->proc);
  csn_output_free(s->output);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  csn_scope_fini(&s->life);
  free(s);
}

void
csn_session_free(csn_session *s)
{
  if (!s)
    return;
  int left = 0;
  if (s->table) {
    pthread_mutex_lock(&s->table->lock);
    left = --s->refs;
    pthread_mutex_unlock(&s->table->lock);
  }
  if (left == 0)
    destroy(s);
}

csn_proc *
csn_session_proc(csn_session *s)
{
  return s->proc;
}

void
csn_session_own(csn_session *s, const void *owner)
{
  s->owner = owner;
}

const void *
csn_session_owner(const csn_session *s)
{
  return s->owner;
}

/* ---- collecting ---- */

int
csn_session_run(csn_session *s, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(PIECE);
  int rc;
  do {
    csn_buf_clear(&piece);
    rc = csn_proc_read(s->proc, sc, &piece, PIECE, NULL, err);
    if (rc > 0) {
      pthread_mutex_lock(&s->lock);
      csn_output_feed(s->output, csn_buf_str(&piece));
      pthread_mutex_unlock(&s->lock);
    }
  } while (rc > 0);
  csn_exit exit = {0};
  if (rc == 0)
    rc = csn_proc_wait(s->proc, sc, &exit, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&s->lock);
  csn_output_end(s->output);
  s->state.ended = true;
  s->state.exit = exit;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return 0;
}

static void *
read_on(void *user)
{
  csn_session *s = user;
  csn_err why;
  int rc = csn_session_run(s, &s->life, &why);
  if (rc < 0 && rc != CSN_E_CANCELLED) {
    pthread_mutex_lock(&s->lock);
    s->failed = rc;
    s->why = why;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
  }
  return NULL;
}

static int
start_reader(csn_session *s, csn_err *err)
{
  int rc = csn_thread_start(&s->reader, read_on, s, "a session", err);
  s->has_reader = rc == 0;
  return rc;
}

int
csn_session_wait(csn_session *s, csn_scope *sc, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&s->lock);
  while (rc == 0 && !s->state.ended && !s->state.gone && !s->failed)
    rc = csn_scope_wait(sc, &s->changed, &s->lock, err);
  pthread_mutex_unlock(&s->lock);
  return rc;
}

int
csn_session_take(csn_session *s, int64_t max_tokens, csn_buf *out, csn_session_state *state,
                 csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&s->lock);
  *state = s->state;
  if (s->failed) {
    rc = s->failed;
    if (err)
      *err = s->why;
  } else if (!s->state.gone) {
    state->tokens = csn_output_take(s->output, max_tokens, s->state.ended, out);
    s->state.gone = s->state.ended;
  }
  pthread_mutex_unlock(&s->lock);
  return rc;
}

/* ---- the table ---- */

csn_session_table *
csn_session_table_new(void)
{
  csn_session_table *t = csn_alloc(sizeof *t);
  pthread_mutex_init(&t->lock, NULL);
  return t;
}

void
csn_session_table_free(csn_session_table *t)
{
  if (!t)
    return;
  for (size_t i = 0; i < t->n; i++)
    csn_scope_cancel(&t->sessions[i]->life); /* all at once, then join one by one */
  for (size_t i = 0; i < t->n; i++)
    csn_session_free(t->sessions[i]);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

static size_t
index_of(const csn_session_table *t, int64_t id)
{
  for (size_t i = 0; i < t->n; i++)
    if (t->sessions[i]->id == id)
      return i;
  return SIZE_MAX;
}

static csn_session *
remove_at(csn_session_table *t, size_t i)
{
  csn_session *s = t->sessions[i];
  t->sessions[i] = t->sessions[--t->n];
  return s;
}

static bool
has_ended(csn_session *s)
{
  pthread_mutex_lock(&s->lock);
  bool ended = s->state.ended || s->failed;
  pthread_mutex_unlock(&s->lock);
  return ended;
}

static size_t
newer_than(const csn_session_table *t, const csn_session *s)
{
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++)
    n += t->sessions[i]->used > s->used;
  return n;
}

static csn_session *
evict(csn_session_table *t)
{
  size_t best = SIZE_MAX;
  bool best_ended = false;
  for (size_t i = 0; i < t->n; i++) {
    csn_session *s = t->sessions[i];
    if (newer_than(t, s) < CSN_SESSIONS_KEPT)
      continue;
    bool ended = has_ended(s);
    if (best == SIZE_MAX || (ended && !best_ended) ||
        (ended == best_ended && s->used < t->sessions[best]->used)) {
      best = i;
      best_ended = ended;
    }
  }
  csn_session *s = remove_at(t, best);
  pthread_mutex_lock(&s->lock);
  s->state.gone = true;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return s;
}

/* Random without bias: a draw beyond the last full range is repeated. */
static int
new_id(const csn_session_table *t)
{
  const uint32_t range = END_ID - FIRST_ID, limit = UINT32_MAX - UINT32_MAX % range;
  for (;;) {
    uint32_t r;
    csn_random_bytes(&r, sizeof r);
    int id = FIRST_ID + (int)(r % range);
    if (r < limit && index_of(t, id) == SIZE_MAX)
      return id;
  }
}

int
csn_session_table_add(csn_session_table *t, csn_session *s, csn_err *err)
{
  int rc = start_reader(s, err);
  if (rc < 0) {
    csn_session_free(s);
    return rc;
  }
  pthread_mutex_lock(&t->lock);
  csn_session *victim = t->n == CSN_SESSIONS_MAX ? evict(t) : NULL;
  s->table = t;
  s->used = ++t->clock;
  int id = s->id = new_id(t);
  t->sessions[t->n++] = s;
  pthread_mutex_unlock(&t->lock);
  csn_session_free(victim);
  return id;
}

csn_session *
csn_session_table_find(csn_session_table *t, int64_t id)
{
  csn_session *s = NULL;
  pthread_mutex_lock(&t->lock);
  size_t i = index_of(t, id);
  if (i != SIZE_MAX) {
    s = t->sessions[i];
    s->refs++;
    s->used = ++t->clock;
  }
  pthread_mutex_unlock(&t->lock);
  return s;
}

void
csn_session_table_drop(csn_session_table *t, csn_session *s)
{
  pthread_mutex_lock(&t->lock);
  size_t i = index_of(t, s->id);
  bool found = i != SIZE_MAX && t->sessions[i] == s; /* else it was evicted, its id reused */
  if (found)
    remove_at(t, i);
  pthread_mutex_unlock(&t->lock);
  if (found)
    csn_session_free(s);
}
