/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - caisson-egress: the only way from one sandbox to a network.
 *
 * Descriptor 3 is a stream socket to the harness.  It brings, once, the length
 * of the configuration in 4 bytes, the configuration, and with the first byte
 * the listening sockets.  It takes one line that says ready, then one line for
 * each decision.  When it ends, so does this process.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "egress/conn.h"
#include "egress/seal.h"

enum { HARNESS = 3, CONFIG_MAX = 8 << 20, FILE_MAX = 1 << 20, CA_DAYS = 14 };

/* ---- the configuration ---- */

/* Some bytes, and the descriptors that come with them. */
static ssize_t
receive(char *out, size_t room, int *fds, size_t *n_fds)
{
  union {
    struct cmsghdr align;
    char room[CMSG_SPACE(CSN_LISTENERS_MAX * sizeof(int))];
  } control;
  struct iovec part = {out, room};
  struct msghdr m = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n;
  do
    n = recvmsg(HARNESS, &m, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && *n_fds < CSN_LISTENERS_MAX; i++)
      memcpy(&fds[(*n_fds)++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
  }
  return n;
}

static int
receive_config(csn_buf *text, int *fds, size_t *n_fds, csn_err *err)
{
  size_t want = 4;
  unsigned char length[4];
  for (size_t got = 0; got < want;) {
    char bytes[65536];
    size_t room = want - got < sizeof bytes ? want - got : sizeof bytes;
    ssize_t n = receive(bytes, room, fds, n_fds);
    if (n <= 0)
      return csn_fail(err, CSN_E_IO, "the harness ended before its configuration was whole");
    if (got < 4) {
      memcpy(length + got, bytes, (size_t)n);
      if (got + (size_t)n == 4)
        want += (size_t)length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 |
                (size_t)length[3] << 24;
      if (want > CONFIG_MAX)
        return csn_fail(err, CSN_E_LIMIT, "a configuration of more than %d bytes", CONFIG_MAX);
    } else {
      csn_buf_add(text, csn_strn(bytes, (size_t)n));
    }
    got += (size_t)n;
    explicit_bzero(bytes, (size_t)n);
  }
  return 0;
}

static int
take_listeners(csn_egress *e, const int *fds, size_t n, csn_err *err)
{
  int on = 1;
  if (n != e->config.n_listeners)
    return csn_fail(err, CSN_E_INVALID, "%zu listeners are named, but %zu sockets came",
                    e->config.n_listeners, n);
  for (size_t i = 0; i < n; i++) {
    csn_listener *l = &e->listeners[i];
    *l = (csn_listener){.ready = {.fd = fds[i]}, .egress = e, .config = e->config.listeners[i]};
    int flags = fcntl(fds[i], F_GETFL);
    if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK) < 0)
      return csn_fail_errno(err, "listener %zu", i);
    if (l->config.kind == CSN_LISTEN_DNS_UDP) {
      /* One of the two fails, by the socket's family. */
      (void)setsockopt(fds[i], IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
      (void)setsockopt(fds[i], IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    }
  }
  return 0;
}

/* Empty when there is no such file, or it is no text of a usual size. */
static void
read_file(const char *path, csn_buf *out)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  *out = CSN_BUF(FILE_MAX);
  if (fd < 0 || csn_fd_read_all(fd, out, NULL) < 0)
    csn_buf_clear(out);
}

/* ---- the process ---- */

static int
prepare(csn_egress *e, csn_arena *a, csn_buf *text, csn_err *err)
{
  int fds[CSN_LISTENERS_MAX];
  size_t n = 0;
  csn_auto(csn_buf_finip) csn_buf hosts = {0}, resolv_conf = {0};
  int rc = receive_config(text, fds, &n, err);
  if (rc >= 0)
    rc = csn_config_parse(&e->config, a, csn_buf_str(text), err);
  if (rc >= 0)
    rc = take_listeners(e, fds, n, err);
  if (rc >= 0)
    rc = csn_reactor_init(&e->reactor, err);
  if (rc < 0)
    return csn_wrap(err, rc, "configuration");
  read_file("/etc/hosts", &hosts);
  read_file("/etc/resolv.conf", &resolv_conf);
  e->names = csn_names_new();
  e->scrubber = csn_scrubber_new(&e->config);
  e->resolver =
      csn_resolver_new(&e->reactor, &e->config, csn_buf_str(&hosts), csn_buf_str(&resolv_conf));
  if (csn_config_terminates(&e->config)) {
    rc = csn_tls_ca_new(&e->ca, CA_DAYS, err);
    if (rc >= 0)
      rc = csn_tls_client_new(&e->client, e->config.extra_roots, err);
  }
  return rc;
}

static void
release(csn_egress *e)
{
  while (e->conns)
    csn_conn_end(e->conns, NULL);
  csn_dns_stop(e);
  for (csn_grave *g; (g = e->reactor.graves);) {
    e->reactor.graves = g->next;
    g->fn(g->user);
  }
  if (e->report) {
    csn_report_flush(e->report);
    csn_report_free(e->report);
  }
  csn_resolver_free(e->resolver);
  csn_names_free(e->names);
  csn_scrubber_free(e->scrubber);
  csn_tls_ca_free(e->ca);
  csn_tls_client_free(e->client);
  csn_reactor_fini(&e->reactor);
  free(e);
}

static void
tell_failure(const csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(4096);
  csn_jw w;
  csn_jw_init(&w, &line);
  csn_jw_obj(&w);
  csn_jw_key(&w, "error");
  csn_jw_strz(&w, err->msg);
  csn_jw_end(&w);
  if (csn_jw_done(&w, NULL) >= 0) {
    csn_buf_addc(&line, '\n');
    (void)!send(HARNESS, line.p, line.n, MSG_NOSIGNAL);
  }
}

static int
serve(csn_egress *e, csn_err *err)
{
  int rc = csn_egress_seal(e->config.max_connections, err);
  if (rc < 0)
    return rc;
  e->report = csn_report_new(&e->reactor, &e->config, HARNESS);
  csn_report_ready(e->report, e->ca ? csn_tls_ca_pem(e->ca) : CSN_STR(""));
  csn_report_listen(e->report, csn_egress_word, e);
  csn_egress_listen(e);
  return csn_reactor_run(&e->reactor, err);
}

int
main(void)
{
  csn_err err = {0};
  csn_buf text = CSN_BUF(CONFIG_MAX);
  csn_egress *e = csn_alloc(sizeof *e);
  csn_arena *a = csn_arena_new((size_t)4 * CONFIG_MAX);
  signal(SIGPIPE, SIG_IGN);
  syscall(SYS_close_range, HARNESS + 1, ~0U, 0);
  e->reactor.epoll_fd = -1;
  int rc = prepare(e, a, &text, &err);
  if (rc >= 0)
    rc = serve(e, &err);
  if (rc < 0)
    tell_failure(&err);
  release(e);
  csn_arena_free(a);
  if (text.p)
    explicit_bzero(text.p, text.room);
  csn_buf_fini(&text);
  return rc < 0;
}
