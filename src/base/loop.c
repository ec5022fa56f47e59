/* SPDX-License-Identifier: Apache-2.0
 * loop.c - libuv in a thread of its own.
 *
 * Other threads never touch libuv: they post functions, which one uv_async
 * handle wakes the loop for.  Watches and timers are made and ended by such
 * posts; ending one waits until libuv has let go of it, so that its callback
 * does not run afterwards. */
#include "base/loop.h"

#include <signal.h>
#include <uv.h>

#include "caisson/mem.h"

struct post {
  struct post *next;
  csn_loop_fn *fn;
  void *user;
};

struct csn_loop {
  uv_loop_t uv;
  uv_async_t wake;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t closed; /* a watch or timer was let go */
  struct post *first, **last;
  struct handle *open; /* the loop's thread only */
  bool closing;
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

static void
run_posts(uv_async_t *a)
{
  csn_loop *l = a->data;
  for (;;) {
    pthread_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    bool close = !p && l->closing;
    pthread_mutex_unlock(&l->lock);
    if (close)
      uv_stop(&l->uv); /* what is still open is closed by csn_loop_free() */
    if (!p)
      return;
    for (struct post *next; p; p = next) {
      next = p->next;
      p->fn(p->user);
      free(p);
    }
  }
}

static void *
loop_thread(void *user)
{
  csn_loop *l = user;
  uv_run(&l->uv, UV_RUN_DEFAULT);
  return NULL;
}

int
csn_loop_new(csn_loop **out, csn_err *err)
{
  csn_loop *l = csn_alloc(sizeof *l);
  l->last = &l->first;
  pthread_mutex_init(&l->lock, NULL);
  csn_cond_init(&l->closed);
  int rc = uv_loop_init(&l->uv);
  if (rc == 0)
    rc = uv_async_init(&l->uv, &l->wake, run_posts);
  l->wake.data = l;
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  if (rc == 0 && pthread_create(&l->thread, NULL, loop_thread, l) != 0)
    rc = UV_EAGAIN;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
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
  uv_async_send(&l->wake);
  pthread_join(l->thread, NULL);
  for (struct handle *h; (h = l->open);) {
    end(h);
    release(h); /* the owner's */
  }
  uv_walk(&l->uv, close_foreign, NULL);
  uv_run(&l->uv, UV_RUN_DEFAULT);
  uv_loop_close(&l->uv);
  pthread_cond_destroy(&l->closed);
  pthread_mutex_destroy(&l->lock);
  free(l);
}

void
csn_loop_post(csn_loop *l, csn_loop_fn *fn, void *user)
{
  struct post *p = csn_alloc(sizeof *p);
  *p = (struct post){.fn = fn, .user = user};
  pthread_mutex_lock(&l->lock);
  bool was_empty = !l->first;
  *l->last = p;
  l->last = &p->next;
  pthread_mutex_unlock(&l->lock);
  if (was_empty)
    uv_async_send(&l->wake);
}

bool
csn_loop_is_current(const csn_loop *l)
{
  return pthread_equal(l->thread, pthread_self());
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
