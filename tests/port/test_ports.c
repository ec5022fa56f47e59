/* SPDX-License-Identifier: Apache-2.0
 * test_ports.c - connections to servers inside of a sandbox, one body over all
 * back-ends that have ports of their own. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "machine.h"

enum { AT_ONCE = 4, MUCH = 700000 };

/* What comes in goes out, until the client has ended. */
static const char server[] =
    "if command -v python3 >/dev/null; then exec python3 -c '\n"
    "import socket, sys, threading\n"
    "def serve(c):\n"
    "    while d := c.recv(65536):\n"
    "        c.sendall(d)\n"
    "    c.close()\n"
    "s = socket.create_server((\"127.0.0.1\", int(sys.argv[1])))\n"
    "while True:\n"
    "    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()\n"
    "' \"$0\"; else exec nc -ll -p \"$0\" -e cat; fi";

/* Free on this machine, as some sandboxes share its loopback interface. */
static uint16_t
free_port(void)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof at;
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(s, (struct sockaddr *)&at, n), 0);
  assert_int_equal(getsockname(s, (struct sockaddr *)&at, &n), 0);
  close(s);
  return ntohs(at.sin_port);
}

static csn_proc *
serve(struct machine *m, uint16_t port)
{
  char number[8];
  snprintf(number, sizeof number, "%u", port);
  csn_exec x = {.argv = (const char *const[]){"sh", "-c", server, number, NULL}, .claim_fd = -1};
  return machine_spawn(m, x);
}

static int
dial(struct machine *m, uint16_t port)
{
  int fd = -1, rc;
  while ((rc = csn_sandbox_dial(m->sb, &m->sc, port, &fd, &m->err)) == CSN_E_UNAVAILABLE)
    pause_ms(20);
  OK(rc, &m->err);
  return fd;
}

/* Sends all, ends, and reads to the end: what came. */
static void
round_trip(struct machine *m, int fd, csn_str bytes, csn_buf *got)
{
  size_t at = 0;
  bool is_open = true;
  while (is_open) {
    char piece[65536];
    struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (at < bytes.n ? POLLOUT : 0))};
    assert_int_equal(poll(&ready, 1, 30000), 1);
    if (at < bytes.n && ready.revents & POLLOUT) {
      ssize_t n = send(fd, bytes.p + at, bytes.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      at += n > 0 ? (size_t)n : 0;
      if (at == bytes.n)
        shutdown(fd, SHUT_WR);
    }
    ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n > 0)
      csn_buf_add(got, csn_strn(piece, (size_t)n));
    is_open = n != 0;
  }
}

TEST(a_server_is_reached_when_its_port_is_exposed_and_somebody_listens)
{
  struct machine m;
  uint16_t port = free_port();
  int fd = -1;
  machine_open_with(&m, BACKEND, NULL, &port);
  assert_int_equal(csn_sandbox_dial(m.sb, &m.sc, port, &fd, &m.err), CSN_E_UNAVAILABLE);
  uint16_t other = port == 1 ? 2 : (uint16_t)(port - 1);
  assert_int_equal(csn_sandbox_dial(m.sb, &m.sc, other, &fd, &m.err), CSN_E_DENIED);
  csn_proc *p = serve(&m, port);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(2 * MUCH);
  fd = dial(&m, port);
  round_trip(&m, fd, CSN_STR("\036hello"), &got);
  STR_EQ(csn_buf_str(&got), "\036hello");
  close(fd);
  csn_proc_close(p);
  machine_close(&m);
}

TEST(much_goes_both_ways_and_all_bytes_arrive)
{
  struct machine m;
  uint16_t port = free_port();
  machine_open_with(&m, BACKEND, NULL, &port);
  csn_proc *p = serve(&m, port);
  csn_auto(csn_buf_finip) csn_buf much = CSN_BUF(MUCH), got = CSN_BUF(2 * MUCH);
  for (uint32_t i = 0, x = 1; i < MUCH; i++, x = x * 1664525 + 1013904223)
    csn_buf_addc(&much, (char)(x >> 24));
  int fd = dial(&m, port);
  round_trip(&m, fd, csn_buf_str(&much), &got);
  assert_int_equal(got.n, much.n);
  assert_memory_equal(got.p, much.p, much.n);
  close(fd);
  csn_proc_close(p);
  machine_close(&m);
}

TEST(connections_that_are_open_end_with_the_sandbox)
{
  struct machine m;
  uint16_t port = free_port();
  int before = count_fds(), fds[AT_ONCE];
  machine_open_with(&m, BACKEND, NULL, &port);
  csn_proc *p = serve(&m, port);
  for (int i = 0; i < AT_ONCE; i++) {
    fds[i] = dial(&m, port);
    assert_int_equal(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
  }
  for (int i = 0; i < AT_ONCE; i++) { /* all of them work at once */
    char c = 0;
    struct pollfd ready = {.fd = fds[i], .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_int_equal(recv(fds[i], &c, 1, 0), 1);
    assert_int_equal(c, 'x');
  }
  csn_proc_close(p);
  csn_sandbox_close(m.sb);
  m.sb = NULL;
  for (int i = 0; i < AT_ONCE; i++) {
    char c;
    struct pollfd ready = {.fd = fds[i], .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_true(recv(fds[i], &c, 1, 0) <= 0);
    close(fds[i]);
  }
  machine_close(&m);
  assert_true(count_fds() <= before + 2); /* what a loop of the process's own may keep */
}

RUN_TESTS("port/ports", ON_ALL(a_server_is_reached_when_its_port_is_exposed_and_somebody_listens),
          ON_ALL(much_goes_both_ways_and_all_bytes_arrive),
          ON_ALL(connections_that_are_open_end_with_the_sandbox))
