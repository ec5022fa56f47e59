/* SPDX-License-Identifier: Apache-2.0
 * loop.c - libuv in a thread of its own, or rather of two, by turns.
 *
 * Other threads never touch libuv: they post functions, which one uv_async
 * handle wakes the loop for.  Watches and timers are made and ended by such
 * posts; ending one waits until libuv has let go of it, so that its callback
 * does not run afterwards.
 *
 * Work that was lent to the loop's thread is done by it outside of libuv.  Then
 * nobody runs the loop, until a post or a timer calls the second thread, which
 * goes on with it; the first, when it comes back, is the second from then on.
 * A thread that lends is one that nothing else waits for, so a run that is
 * alone goes from a reply to the next request without a change of threads. */
#include "base/loop.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <uv.h>

#include "caisson/mem.h"

struct post {
  struct post *next;
  csn_loop_fn *fn;
  void *user;
};

/* One of the two threads. */
struct seat {
  csn_loop *loop;
  pthread_t thread;
  sem_t call; /* posted when this one is to run the loop, to sleep anew, or to end */
};

struct csn_loop {
  uv_loop_t uv;
  uv_async_t wake;
  pthread_mutex_t lock;
  pthread_cond_t closed; /* a watch or timer was let go */
  struct post *first, **last;
  struct handle *open;             /* the loop's thread only */
  int holds;                       /* the loop's thread only */
  struct post lent;                /* fn: not NULL; the loop's thread only */
  struct seat seats[2];            /* the second has a thread once something was lent */
  bool has_second, closing, ended; /* under the lock, as all below */
  struct seat *runner;             /* who runs libuv; NULL: nobody, `away` does lent work */
  struct seat *away;               /* who does lent work, maybe while the other runs libuv */
  int64_t called_ns;               /* when the second thread wakes by itself */
};

/* What watches and timers have in common.  References: the owner's, one of
 * libuv while its handle is open, and one for each post on its way; so a
 * post may find it ended, but never freed. */
struct handle {
  csn_loop *loop;
  struct handle *next, **link; /* of the open ones; the loop's thread only */
  int refs;                    /* under the loop's lock */
  bool is_closed;              /* under the loop's lock */
  bool is_ended;               /* the loop's thread only */
  union {
    uv_handle_t any;
    uv_poll_t poll;
    uv_timer_t timer;
  } uv;
};

struct csn_watch {
  struct handle h;
  int fd;
  int events; /* under the loop's lock */
  void (*fn)(void *user, int events);
  void *user;
};

struct csn_timer {
  struct handle h;
  int64_t at_ns;
  csn_loop_fn *fn;
  void *user;
};

/* Runs what was posted, and what that posts. */
static void
drain(csn_loop *l)
{
  for (;;) {
    pthread_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    if (!p && l->closing)
      l->ended = true; /* what is still open is closed by csn_loop_free() */
    pthread_mutex_unlock(&l->lock);
    if (!p)
      return;
    for (struct post *next; p; p = next) {
      next = p->next;
      p->fn(p->user);
      free(p);
    }
  }
}

/* ---- what is open ---- */

static int64_t
first_timer_ns(const csn_loop *l)
{
  int64_t first = INT64_MAX;
  for (const struct handle *h = l->open; h; h = h->next)
    if (h->uv.any.type == UV_TIMER && ((const csn_timer *)h)->at_ns < first)
      first = ((const csn_timer *)h)->at_ns;
  return first;
}

static bool
has_watch(const csn_loop *l)
{
  for (const struct handle *h = l->open; h; h = h->next)
    if (h->uv.any.type == UV_POLL)
      return true;
  return false;
}

/* ---- posts ---- */

static void
on_wake(uv_async_t *a)
{
  drain(a->data);
}

static struct seat *
other_of(const struct seat *s)
{
  csn_loop *l = s->loop;
  return s == &l->seats[0] ? &l->seats[1] : &l->seats[0];
}

/* Lock held: when nobody runs the loop the other thread will; true when its
 * `call` is to be posted. */
static bool
pass_on(csn_loop *l)
{
  if (l->runner || !l->away)
    return false;
  l->runner = other_of(l->away);
  return true;
}

/* ---- lent work ---- */

/* Sleeps until this thread is to run the loop; false: the loop has ended. */
static bool
wait_for_turn(struct seat *s)
{
  csn_loop *l = s->loop;
  pthread_mutex_lock(&l->lock);
  while (l->runner != s && !l->ended) {
    int64_t until = l->called_ns;
    pthread_mutex_unlock(&l->lock);
    struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int rc;
    do
      rc = until == INT64_MAX ? sem_wait(&s->call) : sem_clockwait(&s->call, CLOCK_MONOTONIC, &t);
    while (rc < 0 && errno == EINTR);
    pthread_mutex_lock(&l->lock);
    if (rc < 0) {
      l->called_ns = INT64_MAX;
      if (!l->runner && l->away != s)
        l->runner = s; /* a timer is due, and nobody looks after it */
    }
  }
  bool goes_on = !l->ended;
  pthread_mutex_unlock(&l->lock);
  return goes_on;
}

/* Does what was lent, while the loop rests or the other thread runs it. */
static void
do_lent(struct seat *s)
{
  csn_loop *l = s->loop;
  drain(l); /* what came meanwhile is not to wait for this work */
  struct post work = l->lent;
  l->lent.fn = NULL;
  bool needs_loop = l->holds || has_watch(l);
  int64_t due_ns = first_timer_ns(l);
  pthread_mutex_lock(&l->lock);
  l->away = s;
  l->runner = NULL;
  bool calls = (needs_loop || l->first) && pass_on(l);
  if (!calls && due_ns < l->called_ns) {
    l->called_ns = due_ns;
    calls = true;
  }
  pthread_mutex_unlock(&l->lock);
  if (calls)
    sem_post(&other_of(s)->call);
  work.fn(work.user);
  pthread_mutex_lock(&l->lock);
  l->away = NULL;
  if (!l->runner)
    l->runner = s;
  pthread_mutex_unlock(&l->lock);
}

static void *
loop_thread(void *user)
{
  struct seat *s = user;
  csn_loop *l = s->loop;
  while (wait_for_turn(s)) {
    drain(l); /* what was posted while nobody ran libuv has woken nobody */
    if (l->ended)
      break;
    if (!l->lent.fn)
      uv_run(&l->uv, UV_RUN_ONCE);
    if (l->lent.fn)
      do_lent(s);
  }
  sem_post(&other_of(s)->call);
  return NULL;
}

/* Threads of the loop take no signals: those are for the program's. */
static int
start_seat(struct seat *s)
{
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  int rc = pthread_create(&s->thread, NULL, loop_thread, s);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return rc;
}

bool
csn_loop_lend(csn_loop *l, csn_loop_fn *fn, void *user)
{
  if (l->lent.fn || l->holds || has_watch(l))
    return false;
  pthread_mutex_lock(&l->lock);
  if (!l->has_second)
    l->has_second = start_seat(&l->seats[1]) == 0;
  bool can = l->has_second && !l->away && !l->closing;
  pthread_mutex_unlock(&l->lock);
  if (can)
    l->lent = (struct post){.fn = fn, .user = user};
  return can;
}

void
csn_loop_hold(csn_loop *l, int by)
{
  l->holds += by;
}

/* ---- birth and end ---- */

int
csn_loop_new(csn_loop **out, csn_err *err)
{
  csn_loop *l = csn_alloc(sizeof *l);
  l->last = &l->first;
  l->called_ns = INT64_MAX;
  l->runner = &l->seats[0];
  pthread_mutex_init(&l->lock, NULL);
  csn_cond_init(&l->closed);
  for (size_t i = 0; i < CSN_COUNT(l->seats); i++) {
    l->seats[i].loop = l;
    sem_init(&l->seats[i].call, 0, 0);
  }
  int rc = uv_loop_init(&l->uv);
  if (rc == 0)
    rc = uv_async_init(&l->uv, &l->wake, on_wake);
  l->wake.data = l;
  if (rc == 0 && start_seat(&l->seats[0]) != 0)
    rc = UV_EAGAIN;
  if (rc != 0) {
    uv_loop_close(&l->uv);
    free(l);
    return csn_fail(err, CSN_E_IO, "cannot start the I/O thread: %s", uv_strerror(rc));
  }
  *out = l;
  return 0;
}

static void
release(struct handle *h)
{
  pthread_mutex_lock(&h->loop->lock);
  bool is_last = --h->refs == 0;
  pthread_mutex_unlock(&h->loop->lock);
  if (is_last)
    free(h);
}

static void
on_closed(uv_handle_t *any)
{
  struct handle *h = any->data;
  pthread_mutex_lock(&h->loop->lock);
  h->is_closed = true;
  pthread_cond_broadcast(&h->loop->closed);
  pthread_mutex_unlock(&h->loop->lock);
  release(h);
}

/* In the loop's thread: libuv has made the handle. */
static void
opened(struct handle *h)
{
  csn_loop *l = h->loop;
  h->uv.any.data = h;
  h->next = l->open;
  h->link = &l->open;
  if (h->next)
    h->next->link = &h->next;
  l->open = h;
  pthread_mutex_lock(&l->lock);
  h->refs++;
  pthread_mutex_unlock(&l->lock);
}

/* In the loop's thread. */
static void
end(struct handle *h)
{
  h->is_ended = true;
  if (!h->link)
    return;
  *h->link = h->next;
  if (h->next)
    h->next->link = h->link;
  h->link = NULL;
  uv_close(&h->uv.any, on_closed);
}

static void
close_foreign(uv_handle_t *h, void *arg)
{
  (void)arg;
  if (!uv_is_closing(h))
    uv_close(h, NULL);
}

void
csn_loop_free(csn_loop *l)
{
  if (!l)
    return;
  pthread_mutex_lock(&l->lock);
  l->closing = true;
  pthread_mutex_unlock(&l->lock);
  uv_async_send(&l->wake); /* a thread that is away comes back to it */
  pthread_join(l->seats[0].thread, NULL);
  if (l->has_second)
    pthread_join(l->seats[1].thread, NULL);
  for (struct handle *h; (h = l->open);) {
    end(h);
    release(h); /* the owner's */
  }
  uv_walk(&l->uv, close_foreign, NULL);
  uv_run(&l->uv, UV_RUN_DEFAULT);
  uv_loop_close(&l->uv);
  for (size_t i = 0; i < CSN_COUNT(l->seats); i++)
    sem_destroy(&l->seats[i].call);
  pthread_cond_destroy(&l->closed);
  pthread_mutex_destroy(&l->lock);
  free(l);
}

/* Lock held: whether this thread does lent work, and nobody runs the loop. */
static bool
is_away(const csn_loop *l)
{
  return !l->runner && l->away && pthread_equal(l->away->thread, pthread_self());
}

static void
post(csn_loop *l, csn_loop_fn *fn, void *user, bool comes_back)
{
  struct post *p = csn_alloc(sizeof *p);
  *p = (struct post){.fn = fn, .user = user};
  pthread_mutex_lock(&l->lock);
  bool was_empty = !l->first;
  *l->last = p;
  l->last = &p->next;
  bool waits = comes_back && is_away(l);
  struct seat *called = !waits && pass_on(l) ? l->runner : NULL;
  pthread_mutex_unlock(&l->lock);
  if (called)
    sem_post(&called->call);
  else if (was_empty && !waits)
    uv_async_send(&l->wake);
}

void
csn_loop_post(csn_loop *l, csn_loop_fn *fn, void *user)
{
  post(l, fn, user, false);
}

void
csn_loop_post_last(csn_loop *l, csn_loop_fn *fn, void *user)
{
  post(l, fn, user, true);
}

bool
csn_loop_is_current(csn_loop *l)
{
  pthread_mutex_lock(&l->lock);
  bool is = l->runner && pthread_equal(l->runner->thread, pthread_self());
  pthread_mutex_unlock(&l->lock);
  return is;
}

void *
csn_loop_uv(csn_loop *l)
{
  return &l->uv;
}

/* Runs fn(h) in the loop's thread: here when this is it, else by a post. */
static void
in_loop(struct handle *h, csn_loop_fn *fn)
{
  pthread_mutex_lock(&h->loop->lock);
  h->refs++;
  pthread_mutex_unlock(&h->loop->lock);
  if (csn_loop_is_current(h->loop))
    fn(h);
  else
    csn_loop_post(h->loop, fn, h);
}

static void
posted_end(void *user)
{
  struct handle *h = user;
  bool was_open = h->link != NULL;
  end(h);
  if (!was_open) { /* libuv never had it */
    pthread_mutex_lock(&h->loop->lock);
    h->is_closed = true;
    pthread_cond_broadcast(&h->loop->closed);
    pthread_mutex_unlock(&h->loop->lock);
  }
  release(h);
}

static void
handle_free(struct handle *h)
{
  csn_loop *l = h->loop;
  if (csn_loop_is_current(l)) {
    end(h);
  } else {
    in_loop(h, posted_end);
    pthread_mutex_lock(&l->lock);
    while (!h->is_closed)
      pthread_cond_wait(&l->closed, &l->lock);
    pthread_mutex_unlock(&l->lock);
  }
  release(h);
}

/* ---- watches ---- */

static void
on_poll(uv_poll_t *poll, int status, int events)
{
  csn_watch *w = poll->data;
  int got = (events & UV_READABLE ? CSN_READABLE : 0) | (events & UV_WRITABLE ? CSN_WRITABLE : 0);
  w->fn(w->user, status < 0 ? CSN_READABLE | CSN_WRITABLE : got);
}

static void
apply(csn_watch *w)
{
  pthread_mutex_lock(&w->h.loop->lock);
  int want = w->events;
  pthread_mutex_unlock(&w->h.loop->lock);
  int ev = (want & CSN_READABLE ? UV_READABLE : 0) | (want & CSN_WRITABLE ? UV_WRITABLE : 0);
  if (ev)
    uv_poll_start(&w->h.uv.poll, ev, on_poll);
  else
    uv_poll_stop(&w->h.uv.poll);
}

static void
posted_apply(void *user)
{
  csn_watch *w = user;
  if (w->h.link)
    apply(w);
  release(&w->h);
}

/* An fd that cannot be polled: the caller's own read says why. */
static void
posted_refusal(void *user)
{
  csn_watch *w = user;
  if (!w->h.is_ended)
    w->fn(w->user, CSN_READABLE | CSN_WRITABLE);
  release(&w->h);
}

static void
posted_watch(void *user)
{
  csn_watch *w = user;
  if (w->h.is_ended) {
    release(&w->h);
  } else if (uv_poll_init(&w->h.loop->uv, &w->h.uv.poll, w->fd) != 0) {
    csn_loop_post(w->h.loop, posted_refusal, w);
  } else {
    opened(&w->h);
    apply(w);
    release(&w->h);
  }
}

csn_watch *
csn_loop_watch(csn_loop *l, int fd, int events, void (*fn)(void *user, int events), void *user)
{
  csn_watch *w = csn_alloc(sizeof *w);
  *w = (csn_watch){.h = {.loop = l, .refs = 1}, .fd = fd, .events = events, .fn = fn, .user = user};
  in_loop(&w->h, posted_watch);
  return w;
}

void
csn_watch_set(csn_watch *w, int events)
{
  pthread_mutex_lock(&w->h.loop->lock);
  w->events = events;
  pthread_mutex_unlock(&w->h.loop->lock);
  in_loop(&w->h, posted_apply);
}

void
csn_watch_free(csn_watch *w)
{
  if (w)
    handle_free(&w->h);
}

/* ---- timers ---- */

static void on_timer(uv_timer_t *t);

/* libuv counts whole milliseconds from a clock of its own. */
static void
arm(csn_timer *t)
{
  int64_t left = t->at_ns - csn_now_ns();
  uv_update_time(&t->h.loop->uv);
  uv_timer_start(&t->h.uv.timer, on_timer, left > 0 ? (uint64_t)(left / 1000000 + 1) : 0, 0);
}

static void
on_timer(uv_timer_t *uv)
{
  csn_timer *t = uv->data;
  if (csn_now_ns() < t->at_ns)
    arm(t);
  else
    t->fn(t->user);
}

static void
posted_timer(void *user)
{
  csn_timer *t = user;
  if (!t->h.is_ended) {
    uv_timer_init(&t->h.loop->uv, &t->h.uv.timer);
    opened(&t->h);
    arm(t);
  }
  release(&t->h);
}

csn_timer *
csn_loop_timer(csn_loop *l, int64_t at_ns, csn_loop_fn *fn, void *user)
{
  csn_timer *t = csn_alloc(sizeof *t);
  *t = (csn_timer){.h = {.loop = l, .refs = 1}, .at_ns = at_ns, .fn = fn, .user = user};
  in_loop(&t->h, posted_timer);
  return t;
}

void
csn_timer_free(csn_timer *t)
{
  if (t)
    handle_free(&t->h);
}
