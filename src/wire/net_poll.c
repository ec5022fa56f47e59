/* SPDX-License-Identifier: Apache-2.0
 *
 * net_poll.c - libcurl's multi_socket_action on the program's libuv loop.
 *
 * A connection that rests between two requests stays registered with the
 * kernel: libcurl asks to forget the socket and, at the next request, to watch
 * it again, which would be four system calls for nothing.  That is safe only
 * where we learn of the closing.  libcurl announces it for a connection that
 * is in use, not for one that is still being made nor for its resolver's
 * pipes, so a socket rests only after the head of a reply came over it.  When
 * a resting connection becomes readable its peer closed it; watching stops
 * and libcurl finds out when it wants to use it.
 */
#include "wire/net_impl.h"

struct sock {
  uv_poll_t poll; /* first */
  csn_net *net;
  curl_socket_t fd;
  int want; /* UV_READABLE | UV_WRITABLE now registered */
  bool is_resting;
};

void
csn_net_poll_gone(csn_net *n)
{
  if (--n->n_handles || !n->gone)
    return;
  csn_loop_fn *gone = n->gone;
  void *user = n->gone_user;
  free(n->socks);
  free(n);
  gone(user);
}

static void
on_sock_closed(uv_handle_t *h)
{
  struct sock *s = (struct sock *)h;
  csn_net *n = s->net;
  free(s);
  csn_net_poll_gone(n);
}

static void
on_timer_closed(uv_handle_t *h)
{
  csn_net_poll_gone(h->data);
}

static void
kick_until_quiet(csn_net *n)
{
  int running;
  for (int i = 0; n->due_now && i < 8; i++) {
    n->due_now = false;
    curl_multi_socket_action(n->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

static void
on_timer(uv_timer_t *t)
{
  csn_net *n = t->data;
  n->due_now = true;
  csn_net_kick(n);
}

void
csn_net_kick(csn_net *n)
{
  kick_until_quiet(n);
  csn_net_check(n);
  if (n->due_now)
    uv_timer_start(&n->timer, on_timer, 0, 0);
}

static int
on_curl_timer(CURLM *multi, long ms, void *user)
{
  csn_net *n = user;
  n->due_now = ms == 0;
  if (ms > 0)
    uv_timer_start(&n->timer, on_timer, (uint64_t)ms, 0);
  else
    uv_timer_stop(&n->timer);
  return 0;
}

static void
on_poll(uv_poll_t *p, int status, int events)
{
  struct sock *s = (struct sock *)p;
  if (s->is_resting) {
    uv_poll_stop(p);
    s->want = 0;
    return;
  }
  /* libcurl is let find an error out by its own call: then it knows whether the
   * request on a connection that was resting may be sent on another one. */
  int bits = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : 0;
  if (events & UV_READABLE)
    bits |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE)
    bits |= CURL_CSELECT_OUT;
  csn_net *n = s->net; /* s may end in the next call */
  int running;
  curl_multi_socket_action(n->multi, s->fd, bits, &running);
  csn_net_kick(n);
}

static struct sock *
sock_find(const csn_net *n, curl_socket_t fd)
{
  return fd >= 0 && (size_t)fd < n->n_socks ? n->socks[fd] : NULL;
}

static struct sock *
sock_new(csn_net *n, curl_socket_t fd)
{
  if ((size_t)fd >= n->n_socks) {
    size_t room = ((size_t)fd + 1) * 2;
    n->socks = csn_realloc(n->socks, room, sizeof *n->socks);
    memset(n->socks + n->n_socks, 0, (room - n->n_socks) * sizeof *n->socks);
    n->n_socks = room;
  }
  struct sock *s = csn_alloc(sizeof *s);
  *s = (struct sock){.net = n, .fd = fd};
  if (uv_poll_init_socket(n->uv, &s->poll, fd) != 0) {
    free(s);
    return NULL;
  }
  n->n_handles++;
  n->socks[fd] = s;
  return s;
}

static void
sock_drop(struct sock *s)
{
  s->net->socks[s->fd] = NULL;
  uv_close((uv_handle_t *)&s->poll, on_sock_closed);
}

static void
sock_watch(struct sock *s, int want)
{
  if (s->want != want && uv_poll_start(&s->poll, want, on_poll) == 0)
    s->want = want;
}

static int
on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *sock_user)
{
  csn_net *n = user;
  struct sock *s = sock_find(n, fd);
  if (what == CURL_POLL_REMOVE) {
    if (s && csn_net_has_heard(easy)) {
      s->is_resting = true;
      sock_watch(s, UV_READABLE);
    } else if (s) {
      sock_drop(s);
    }
    return 0;
  }
  if (!s)
    s = sock_new(n, fd);
  if (!s)
    return -1;
  s->is_resting = false;
  sock_watch(s, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
  return 0;
}

static int
close_socket(void *user, curl_socket_t fd)
{
  struct sock *s = sock_find(user, fd);
  if (s)
    sock_drop(s);
  return close(fd);
}

void
csn_net_poll_open(csn_net *n)
{
  n->uv = n->host.loop_uv(n->host.loop);
  uv_timer_init(n->uv, &n->timer);
  uv_timer_init(n->uv, &n->idle_timer);
  n->timer.data = n->idle_timer.data = n;
  n->n_handles = 2;
  curl_multi_setopt(n->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
  curl_multi_setopt(n->multi, CURLMOPT_SOCKETDATA, n);
  curl_multi_setopt(n->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
  curl_multi_setopt(n->multi, CURLMOPT_TIMERDATA, n);
}

void
csn_net_poll_setup(csn_net *n, CURL *easy)
{
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, n);
}

void
csn_net_poll_close(csn_net *n)
{
  for (size_t i = 0; i < n->n_socks; i++)
    if (n->socks[i])
      sock_drop(n->socks[i]);
  uv_close((uv_handle_t *)&n->timer, on_timer_closed);
  uv_close((uv_handle_t *)&n->idle_timer, on_timer_closed);
}
