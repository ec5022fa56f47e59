/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_egress.c - stands in for caisson-egress: it takes configuration and
 * sockets as that does, tells each connection where it wanted to go, and
 * misbehaves when the first host of the policy says so.  The library finds it
 * because it lies beside the test. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "wire/address.h"

enum { SOCK = 3, MOST = 72 };

static csn_arena *arena;

static void
say(const char *line)
{
  if (csn_fd_write_all(SOCK, csn_cstr(line), NULL) < 0)
    exit(1);
}

/* The configuration; *n sockets come with its first byte. */
static const csn_json *
receive(int fds[MOST], size_t *n)
{
  unsigned char head[4];
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(MOST * sizeof(int))];
  } c;
  struct iovec iov = {head, sizeof head};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
  if (recvmsg(SOCK, &m, MSG_CMSG_CLOEXEC) != sizeof head)
    exit(1);
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  *n = h ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
  if (h)
    memcpy(fds, CMSG_DATA(h), *n * sizeof(int));
  size_t left = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16, at = 0;
  char *text = csn_arena_alloc(arena, left + 1);
  for (ssize_t got; at < left && (got = read(SOCK, text + at, left - at)) > 0;)
    at += (size_t)got;
  const csn_json *v;
  if (at != left || csn_json_parse(arena, csn_strn(text, left), &v, NULL) < 0)
    exit(1);
  return v;
}

static void
serve(int fd, csn_str kind)
{
  struct sockaddr_storage ss;
  socklen_t n = sizeof ss;
  csn_address a;
  uint16_t port = 0;
  char where[CSN_ENDPOINT_TEXT], text[400];
  if (csn_str_eq(kind, CSN_STR("dns_udp"))) {
    ssize_t got = recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&ss, &n);
    if (got >= 0)
      (void)!sendto(fd, "name\n", 5, 0, (struct sockaddr *)&ss, n);
    return;
  }
  int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  if (c < 0 || getsockname(c, (struct sockaddr *)&ss, &n) < 0 ||
      !csn_address_from_sockaddr(&ss, &a, &port))
    exit(1);
  csn_endpoint_text(&a, port, where);
  snprintf(text, sizeof text, "%.*s %s\n", (int)kind.n, kind.p, where);
  (void)!send(c, text, strlen(text), MSG_NOSIGNAL);
  close(c);
  snprintf(text, sizeof text, "{\"at\":\"connection\",\"how\":\"%.*s\",\"address\":\"%s\"}\n",
           (int)kind.n, kind.p, where);
  say(text);
}

static bool
is_first_host(const csn_json *config, const char *name)
{
  csn_str host = csn_json_str(csn_json_at(csn_json_get(config, "hosts"), 0), "host", CSN_STR(""));
  return csn_str_eq(host, csn_cstr(name));
}

int
main(void)
{
  struct pollfd fds[MOST + 1] = {{.fd = SOCK, .events = POLLIN}};
  int given[MOST];
  size_t n = 0;
  arena = csn_arena_new(0);
  signal(SIGPIPE, SIG_IGN);
  const csn_json *config = receive(given, &n), *list = csn_json_get(config, "listeners");
  if (is_first_host(config, "mute.test"))
    return 1;
  if (is_first_host(config, "sorry.test")) {
    say("{\"error\":\"no roots\"}\n");
    return 1;
  }
  if (!list || list->n != n)
    return 1;
  if (is_first_host(config, "hangs.test"))
    pause();
  say("{\"ready\":true,\"ca_pem\":\"the sandbox's own authority\\n\"}\n");
  csn_auto(csn_buf_finip) csn_buf echo = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &echo);
  csn_jw_value(&w, config);
  csn_buf_addc(&echo, '\n');
  say(echo.p);
  if (is_first_host(config, "babbles.test"))
    for (int i = 0; i < 100000; i++)
      say("words without end ");
  for (size_t i = 0; i < n; i++)
    fds[i + 1] = (struct pollfd){.fd = given[i], .events = POLLIN};
  while (fds[0].revents == 0) {
    if (poll(fds, n + 1, -1) < 0)
      return 1;
    for (size_t i = 0; i < n; i++) {
      if (!fds[i + 1].revents)
        continue;
      serve(given[i], csn_json_str(csn_json_at(list, i), "kind", CSN_STR("")));
      if (is_first_host(config, "dies.test"))
        return 1;
    }
  }
  say("{\"at\":\"farewell\"}\n");
  return 0;
}
