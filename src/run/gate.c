/* SPDX-License-Identifier: Apache-2.0
 * gate.c - see gate.h. */
#include "run/gate.h"

#include <stdatomic.h>

#include "caisson/mem.h"

#define WINDOW_NS (60 * INT64_C(1000000000))
#define HOLD_MAX_NS (60 * WINDOW_NS) /* no server keeps us away for longer */

struct entry {
  int64_t at_ns, tokens;
};

struct csn_gate {
  pthread_mutex_t lock;
  char *name;
  atomic_bool has_no_sockets;
  csn_gate_limits limits;
  csn_gate_call *waiting; /* by turn, then by arrival */
  int64_t turn;           /* of the one that went in last */
  int64_t inside, held_until_ns;
  struct entry *entries; /* of the last 60 s: [head, n), numbered from `first` */
  size_t head, n, room;
  int64_t first, tokens; /* tokens: of all entries */
  csn_loop *loop;
  csn_timer *timer;
  int64_t timer_at_ns;
};

csn_gate *
csn_gate_new(csn_str name, const csn_gate_limits *limits)
{
  csn_gate *g = csn_alloc(sizeof *g);
  pthread_mutex_init(&g->lock, NULL);
  g->name = csn_dupz(name);
  g->limits = *limits;
  g->timer_at_ns = INT64_MAX;
  return g;
}

void
csn_gate_free(csn_gate *g)
{
  if (!g)
    return;
  csn_timer *t;
  do { /* a callback that is at work may have set the next one */
    pthread_mutex_lock(&g->lock);
    t = csn_steal(g->timer);
    pthread_mutex_unlock(&g->lock);
    csn_timer_free(t);
  } while (t);
  pthread_mutex_destroy(&g->lock);
  free(g->entries);
  free(g->name);
  free(g);
}

void
csn_gate_forgo_sockets(csn_gate *g)
{
  atomic_store(&g->has_no_sockets, true);
}

bool
csn_gate_has_sockets(const csn_gate *g)
{
  return !atomic_load(&g->has_no_sockets);
}

csn_str
csn_gate_name(const csn_gate *g)
{
  return csn_cstr(g->name);
}

/* ---- the last 60 seconds ---- */

static void
forget_old(csn_gate *g, int64_t now)
{
  while (g->head < g->n && g->entries[g->head].at_ns <= now - WINDOW_NS) {
    g->tokens -= g->entries[g->head].tokens;
    g->head++;
  }
  if (g->head < g->n / 2 || g->head == 0)
    return;
  memmove(g->entries, g->entries + g->head, (g->n - g->head) * sizeof *g->entries);
  g->first += (int64_t)g->head;
  g->n -= g->head;
  g->head = 0;
}

static void
note_entry(csn_gate *g, csn_gate_call *c, int64_t now)
{
  if (g->n == g->room) {
    g->room = g->room ? g->room * 2 : 16;
    g->entries = csn_realloc(g->entries, g->room, sizeof *g->entries);
  }
  c->entry = g->first + (int64_t)g->n;
  g->entries[g->n++] = (struct entry){now, c->tokens};
  g->tokens += c->tokens;
}

/* When a call with so many tokens may go in: now or later, INT64_MAX when
 * somebody must leave first.  One that alone passes the limit of tokens goes in
 * when nothing else counts. */
static int64_t
due(const csn_gate *g, int64_t tokens, int64_t now)
{
  if (g->limits.concurrency && g->inside >= g->limits.concurrency)
    return INT64_MAX;
  int64_t at = g->held_until_ns > now ? g->held_until_ns : now;
  size_t count = g->n - g->head;
  if (g->limits.requests && (int64_t)count >= g->limits.requests) {
    int64_t then = g->entries[g->n - (size_t)g->limits.requests].at_ns + WINDOW_NS;
    at = then > at ? then : at;
  }
  int64_t sum = g->tokens;
  for (size_t i = g->head; g->limits.tokens && i < g->n && sum + tokens > g->limits.tokens; i++) {
    int64_t then = g->entries[i].at_ns + WINDOW_NS;
    at = then > at ? then : at;
    sum -= g->entries[i].tokens;
  }
  return at;
}

/* ---- the queue; with the lock held ---- */

static void
go_in(csn_gate *g, csn_gate_call *c, int64_t now)
{
  c->where = CSN_GATE_INSIDE;
  g->inside++;
  if (g->limits.requests || g->limits.tokens)
    note_entry(g, c, now);
}

/* Its group's next turn: one after the last of those that wait, and never
 * before that of one who was let in already. */
static void
stand_in_line(csn_gate *g, csn_gate_call *c)
{
  int64_t turn = g->turn;
  for (const csn_gate_call *w = g->waiting; w; w = w->next)
    if (w->group == c->group && w->turn >= turn)
      turn = w->turn + 1;
  csn_gate_call **at = &g->waiting;
  while (*at && (*at)->turn <= turn)
    at = &(*at)->next;
  c->turn = turn;
  c->where = CSN_GATE_QUEUED;
  c->next = *at;
  *at = c;
}

static int64_t
serve(csn_gate *g, int64_t now)
{
  bool is_long = g->held_until_ns - CSN_GATE_LONGEST_MS * INT64_C(1000000) > now;
  forget_old(g, now);
  for (csn_gate_call *c; (c = g->waiting);) {
    int64_t at = is_long ? now : due(g, c->tokens, now);
    if (at > now)
      return at;
    g->waiting = c->next;
    g->turn = c->turn;
    c->where = CSN_GATE_OUT;
    c->is_refused = is_long;
    if (!is_long)
      go_in(g, c, now);
    c->wake(c->user);
  }
  return INT64_MAX;
}

/* ---- its timer ---- */

static void on_timer(void *user);

/* Lock held; the caller frees what is returned without the lock. */
static csn_timer *
arm(csn_gate *g, int64_t at)
{
  if (at == INT64_MAX || !g->loop || at >= g->timer_at_ns)
    return NULL;
  csn_timer *old = g->timer;
  g->timer_at_ns = at;
  g->timer = csn_loop_timer(g->loop, at, on_timer, g);
  return old;
}

static void
serve_and_unlock(csn_gate *g, int64_t now)
{
  csn_timer *old = arm(g, serve(g, now));
  pthread_mutex_unlock(&g->lock);
  csn_timer_free(old);
}

static void
on_timer(void *user)
{
  csn_gate *g = user;
  pthread_mutex_lock(&g->lock);
  csn_timer *mine = csn_steal(g->timer);
  g->timer_at_ns = INT64_MAX;
  csn_timer *old = arm(g, serve(g, csn_now_ns()));
  pthread_mutex_unlock(&g->lock);
  csn_timer_free(mine);
  csn_timer_free(old);
}

void
csn_gate_run_on(csn_gate *g, csn_loop *loop)
{
  pthread_mutex_lock(&g->lock);
  g->loop = loop;
  pthread_mutex_unlock(&g->lock);
}

/* ---- what others call ---- */

static int
refuse(const csn_gate *g, int64_t now, csn_err *err)
{
  int64_t left = g->held_until_ns - now;
  int64_t ms = left > 0 ? left / 1000000 : 0;
  int rc = csn_fail(err, CSN_E_UNAVAILABLE, "the provider %s asked to be left alone for %lld s",
                    g->name, (long long)(ms + 999) / 1000);
  if (err)
    err->retry_after_ms = ms;
  return rc;
}

int
csn_gate_enter(csn_gate *g, csn_gate_call *c, int64_t now_ns, csn_err *err)
{
  pthread_mutex_lock(&g->lock);
  c->is_refused = false;
  if (g->held_until_ns - CSN_GATE_LONGEST_MS * INT64_C(1000000) > now_ns) {
    int rc = refuse(g, now_ns, err);
    pthread_mutex_unlock(&g->lock);
    return rc;
  }
  forget_old(g, now_ns);
  if (!g->waiting && due(g, c->tokens, now_ns) <= now_ns) {
    go_in(g, c, now_ns);
    pthread_mutex_unlock(&g->lock);
    return 1;
  }
  stand_in_line(g, c);
  serve_and_unlock(g, now_ns);
  return 0;
}

int
csn_gate_refusal(csn_gate *g, int64_t now_ns, csn_err *err)
{
  pthread_mutex_lock(&g->lock);
  int rc = refuse(g, now_ns, err);
  pthread_mutex_unlock(&g->lock);
  return rc;
}

void
csn_gate_leave(csn_gate *g, csn_gate_call *c, int64_t tokens, int64_t now_ns)
{
  pthread_mutex_lock(&g->lock);
  if (c->where != CSN_GATE_INSIDE) {
    pthread_mutex_unlock(&g->lock);
    return;
  }
  c->where = CSN_GATE_OUT;
  g->inside--;
  bool is_kept =
      (g->limits.requests || g->limits.tokens) && c->entry >= g->first + (int64_t)g->head;
  if (is_kept) {
    struct entry *e = &g->entries[c->entry - g->first];
    g->tokens += tokens - e->tokens;
    e->tokens = tokens;
  }
  serve_and_unlock(g, now_ns);
}

bool
csn_gate_drop(csn_gate *g, csn_gate_call *c, int64_t now_ns)
{
  pthread_mutex_lock(&g->lock);
  bool was = c->where == CSN_GATE_QUEUED;
  for (csn_gate_call **at = &g->waiting; was && *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  if (was)
    c->where = CSN_GATE_OUT;
  serve_and_unlock(g, now_ns);
  return was;
}

void
csn_gate_hold(csn_gate *g, int64_t until_ns, int64_t now_ns)
{
  pthread_mutex_lock(&g->lock);
  if (until_ns > now_ns + HOLD_MAX_NS)
    until_ns = now_ns + HOLD_MAX_NS;
  if (until_ns > g->held_until_ns)
    g->held_until_ns = until_ns;
  serve_and_unlock(g, now_ns);
}

int64_t
csn_gate_serve(csn_gate *g, int64_t now_ns)
{
  pthread_mutex_lock(&g->lock);
  int64_t at = serve(g, now_ns);
  pthread_mutex_unlock(&g->lock);
  return at;
}
