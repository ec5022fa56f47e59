/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - an HTTP server thread on loopback for tests: it answers each path
 * with fixed bytes, in pieces when asked to, and then keeps, closes or holds
 * the connection.
 */
#ifndef CSN_TESTS_SERVER_H
#define CSN_TESTS_SERVER_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "caisson/scope.h"
#include "check.h"

enum after { KEEP, CLOSE, HOLD };

struct page {
  const char *path, *bytes;
  enum after after;
  size_t piece;     /* bytes of each send; 0: all at once */
  const char *when; /* only for requests that hold this text; NULL: for all */
};

/* The first that fits; NULL: none. */
static const struct page *
find_page(const struct page *pages, size_t n, csn_str path, csn_str rq)
{
  for (size_t i = 0; i < n; i++)
    if (csn_str_eq(path, csn_cstr(pages[i].path)) &&
        (!pages[i].when || csn_str_find(rq, csn_cstr(pages[i].when), 0) != SIZE_MAX))
      return &pages[i];
  return NULL;
}

struct server {
  const struct page *pages;
  size_t n_pages;
  int listen_fd, stop[2], port;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t idle; /* no peer is left */
  int connections, alive;
  csn_buf requests;
};

struct peer {
  struct server *server;
  int fd;
};

/* Reads one request; false when the peer is gone or the test is over. */
static bool
read_request(struct peer *p, csn_buf *rq)
{
  csn_buf_clear(rq);
  for (;;) {
    size_t end = csn_str_find(csn_buf_str(rq), CSN_STR("\r\n\r\n"), 0);
    if (end != SIZE_MAX) {
      csn_str head = csn_strn(rq->p, end);
      size_t at = csn_str_find(head, CSN_STR("Content-Length: "), 0);
      int64_t body = 0;
      if (at != SIZE_MAX) {
        csn_str rest = csn_strn(rq->p + at + 16, end - at - 16), line;
        csn_str_line(&rest, &line);
        assert_true(csn_str_int(line, &body));
      }
      if (rq->n >= end + 4 + (size_t)body)
        return true;
    }
    struct pollfd fds[] = {{p->fd, POLLIN, 0}, {p->server->stop[0], POLLIN, 0}};
    poll(fds, 2, -1);
    ssize_t n = fds[1].revents ? 0 : recv(p->fd, csn_buf_room(rq, 65536), 65536, 0);
    if (n <= 0)
      return false;
    rq->n += (size_t)n;
  }
}

static void
send_page(int fd, const struct page *page)
{
  size_t n = strlen(page->bytes), step = page->piece ? page->piece : n;
  for (size_t at = 0; at < n; at += step)
    if (send(fd, page->bytes + at, n - at < step ? n - at : step, MSG_NOSIGNAL) < 0)
      return;
}

static void *
serve_peer(void *user)
{
  struct peer *p = user;
  csn_auto(csn_buf_finip) csn_buf rq = CSN_BUF(4 << 20);
  bool goes_on = true;
  while (goes_on && read_request(p, &rq)) {
    csn_str path = csn_strn((char *)memchr(rq.p, ' ', rq.n) + 1, 0);
    while (path.p[path.n] != ' ' && path.p[path.n] != '?')
      path.n++;
    pthread_mutex_lock(&p->server->lock);
    csn_buf_add(&p->server->requests, csn_buf_str(&rq));
    pthread_mutex_unlock(&p->server->lock);
    const struct page *page =
        find_page(p->server->pages, p->server->n_pages, path, csn_buf_str(&rq));
    if (page)
      send_page(p->fd, page);
    goes_on = !page || page->after != CLOSE;
  }
  close(p->fd);
  pthread_mutex_lock(&p->server->lock);
  if (--p->server->alive == 0)
    pthread_cond_signal(&p->server->idle);
  pthread_mutex_unlock(&p->server->lock);
  free(p);
  return NULL;
}

static void *
serve(void *user)
{
  struct server *s = user;
  for (;;) {
    struct pollfd fds[] = {{s->listen_fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
    poll(fds, 2, -1);
    if (fds[1].revents)
      return NULL;
    struct peer *p = csn_alloc(sizeof *p);
    *p = (struct peer){s, accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC)};
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    pthread_mutex_lock(&s->lock);
    s->connections++;
    s->alive++;
    pthread_mutex_unlock(&s->lock);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, serve_peer, p), 0);
    pthread_detach(t);
  }
}

static void
server_start(struct server *s, const struct page *pages, size_t n_pages)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof a;
  *s = (struct server){.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                       .pages = pages,
                       .n_pages = n_pages,
                       .requests = CSN_BUF(64 << 20)};
  pthread_mutex_init(&s->lock, NULL);
  csn_cond_init(&s->idle);
  assert_int_equal(pipe(s->stop), 0);
  assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
  assert_int_equal(listen(s->listen_fd, 1024), 0);
  getsockname(s->listen_fd, (struct sockaddr *)&a, &n);
  s->port = ntohs(a.sin_port);
  pthread_create(&s->thread, NULL, serve, s);
}

#ifdef __SANITIZE_THREAD__
/* libcurl closes a socket that was never connected before it says so; the
 * loop then removes from its epoll set a number that, in a test with a server
 * thread, may be that thread's by now.  It is in no set, so nothing happens. */
CSN_API const char *__tsan_default_suppressions(void);
const char *
__tsan_default_suppressions(void)
{
  return "race_top:epoll_ctl\n";
}
#endif

/* The byte stays in the pipe, so that every thread sees it. */
static void
server_stop(struct server *s)
{
  assert_int_equal(write(s->stop[1], "x", 1), 1);
  pthread_join(s->thread, NULL);
  pthread_mutex_lock(&s->lock);
  while (s->alive)
    pthread_cond_wait(&s->idle, &s->lock);
  pthread_mutex_unlock(&s->lock);
  close(s->listen_fd);
  close(s->stop[0]);
  close(s->stop[1]);
  csn_buf_fini(&s->requests);
}

#endif
