/* SPDX-License-Identifier: Apache-2.0
 * loop.c - libuv in a thread of its own.
 *
 * Other threads never touch libuv: they post functions, which one uv_async
 * handle wakes the loop for.  Watches and timers are made and ended by such
 * posts; ending one waits until the loop has let go of it, so that its
 * callback does not run afterwards. */
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
  bool closing;
};

/* What watches and timers have in common. */
struct handle {
  csn_loop *loop;
  bool is_closed;
};

struct csn_watch {
  struct handle h;
  uv_poll_t poll;
  int fd, events;
  void (*fn)(void *user, int events);
  void *user;
};

struct csn_timer {
  struct handle h;
  uv_timer_t timer;
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
    if (close && !uv_is_closing((uv_handle_t *)&l->wake))
      uv_close((uv_handle_t *)&l->wake, NULL);
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
    free(l);
    return csn_fail(err, CSN_E_IO, "cannot start the I/O thread: %s", uv_strerror(rc));
  }
  *out = l;
  return 0;
}

static void
close_any(uv_handle_t *h, void *arg)
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
  uv_walk(&l->uv, close_any, NULL);
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

/* Runs `fn` in the loop's thread: here when this is it, else by a post. */
static void
in_loop(csn_loop *l, csn_loop_fn *fn, void *user)
{
  if (csn_loop_is_current(l))
    fn(user);
  else
    csn_loop_post(l, fn, user);
}

static void
let_go(struct handle *h)
{
  pthread_mutex_lock(&h->loop->lock);
  h->is_closed = true;
  pthread_cond_broadcast(&h->loop->closed);
  pthread_mutex_unlock(&h->loop->lock);
}

static void
await_let_go(struct handle *h)
{
  csn_loop *l = h->loop;
  pthread_mutex_lock(&l->lock);
  while (!h->is_closed)
    pthread_cond_wait(&l->closed, &l->lock);
  pthread_mutex_unlock(&l->lock);
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
apply_watch(void *user)
{
  csn_watch *w = user;
  if (uv_is_closing((uv_handle_t *)&w->poll))
    return;
  int ev =
      (w->events & CSN_READABLE ? UV_READABLE : 0) | (w->events & CSN_WRITABLE ? UV_WRITABLE : 0);
  if (ev)
    uv_poll_start(&w->poll, ev, on_poll);
  else
    uv_poll_stop(&w->poll);
}

static void
begin_watch(void *user)
{
  csn_watch *w = user;
  uv_poll_init(&w->h.loop->uv, &w->poll, w->fd);
  w->poll.data = w;
  apply_watch(w);
}

csn_watch *
csn_loop_watch(csn_loop *l, int fd, int events, void (*fn)(void *user, int events), void *user)
{
  csn_watch *w = csn_alloc(sizeof *w);
  *w = (csn_watch){.h.loop = l, .fd = fd, .events = events, .fn = fn, .user = user};
  in_loop(l, begin_watch, w);
  return w;
}

void
csn_watch_set(csn_watch *w, int events)
{
  w->events = events;
  in_loop(w->h.loop, apply_watch, w);
}

static void
watch_closed(uv_handle_t *h)
{
  free(h->data);
}

static void
watch_closed_awaited(uv_handle_t *h)
{
  csn_watch *w = h->data;
  let_go(&w->h);
}

static void
end_watch(void *user)
{
  csn_watch *w = user;
  uv_close((uv_handle_t *)&w->poll, watch_closed_awaited);
}

void
csn_watch_free(csn_watch *w)
{
  if (!w)
    return;
  if (csn_loop_is_current(w->h.loop)) {
    uv_close((uv_handle_t *)&w->poll, watch_closed);
    return;
  }
  csn_loop_post(w->h.loop, end_watch, w);
  await_let_go(&w->h);
  free(w);
}

/* ---- timers ---- */

static void
on_timer(uv_timer_t *t)
{
  csn_timer *ct = t->data;
  ct->fn(ct->user);
}

static void
begin_timer(void *user)
{
  csn_timer *t = user;
  int64_t left = t->at_ns - csn_now_ns();
  uv_timer_init(&t->h.loop->uv, &t->timer);
  t->timer.data = t;
  uv_update_time(&t->h.loop->uv);
  uv_timer_start(&t->timer, on_timer, left > 0 ? (uint64_t)(left + 999999) / 1000000 : 0, 0);
}

csn_timer *
csn_loop_timer(csn_loop *l, int64_t at_ns, csn_loop_fn *fn, void *user)
{
  csn_timer *t = csn_alloc(sizeof *t);
  *t = (csn_timer){.h.loop = l, .at_ns = at_ns, .fn = fn, .user = user};
  in_loop(l, begin_timer, t);
  return t;
}

static void
timer_closed(uv_handle_t *h)
{
  free(h->data);
}

static void
timer_closed_awaited(uv_handle_t *h)
{
  csn_timer *t = h->data;
  let_go(&t->h);
}

static void
end_timer(void *user)
{
  csn_timer *t = user;
  uv_close((uv_handle_t *)&t->timer, timer_closed_awaited);
}

void
csn_timer_free(csn_timer *t)
{
  if (!t)
    return;
  if (csn_loop_is_current(t->h.loop)) {
    uv_close((uv_handle_t *)&t->timer, timer_closed);
    return;
  }
  csn_loop_post(t->h.loop, end_timer, t);
  await_let_go(&t->h);
  free(t);
}
