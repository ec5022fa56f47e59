/* SPDX-License-Identifier: Apache-2.0
 * test_tls_pipe.c - a TLS connection as a descriptor of plain bytes, with a server in
 * memory at the other end of a socket. */
#include "wire/tls_pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "wire/tls.h"

/* Made for this, and for nothing else. */
static const char cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBejCCAR+gAwIBAgIUCigMYcB2eDMAjzIcXPVHXTcIIcAwCgYIKoZIzj0EAwIw\n"
                               "ETEPMA0GA1UEAwwGY2xpZW50MCAXDTI2MTEyMTE3NTAzOVoYDzIxMjYxMDI4MTc1\n"
                               "MDM5WjARMQ8wDQYDVQQDDAZjbGllbnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
                               "AASlIrRPSfHiQeBG1zFo18YNE8Hj2+X6byUP2Uci3gGy4r3ZZ7Ti49sudaWeBZVD\n"
                               "ldenknBE+VkjLb2cCq2be5ffo1MwUTAdBgNVHQ4EFgQUGZRu/J94cdPXNmR2JaG2\n"
                               "mYQvcD4wHwYDVR0jBBgwFoAUGZRu/J94cdPXNmR2JaG2mYQvcD4wDwYDVR0TAQH/\n"
                               "BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAq3ksl2Ww59i6PQHjzzkqMHRtc9JO\n"
                               "4EK+4iAncMwuez8CIQC4tf5/3jhn7jxYaJPvUoRSez9W+GhicXVNv81eJ25+yQ==\n"
                               "-----END CERTIFICATE-----\n";
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSr7TCIczjD+E8sDq\n"
                              "HqM7UpZNWT/K7wa40AmXuLGNZR+hRANCAASlIrRPSfHiQeBG1zFo18YNE8Hj2+X6\n"
                              "byUP2Uci3gGy4r3ZZ7Ti49sudaWeBZVDldenknBE+VkjLb2cCq2be5ff\n"
                              "-----END PRIVATE KEY-----\n";
static const char other_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgiaVivaKIuCeOGM1g\n"
                                "ZdwxLe4N2Xz0kJjor07ut3NzqpyhRANCAARAWuDGXSoczmDLmmEYLihDluhdbo3Z\n"
                                "a3/Zs+cmqAqQCWsSGmBMRTRBP8cpAyWskip/XWjww1sYiNKZ23sjQTRt\n"
                                "-----END PRIVATE KEY-----\n";

/* ---- a server that says back what it hears ---- */

struct server {
  csn_tls_ca *ca;
  csn_tls *tls;
  int fd, client; /* client: the other end, until it is given away */
  bool is_deaf;   /* it speaks no TLS */
  size_t heard;
  pthread_t thread;
};

static void
send_pending(struct server *s)
{
  for (csn_str out; (out = csn_tls_pending(s->tls)).n > 0;) {
    ssize_t n = send(s->fd, out.p, out.n, MSG_NOSIGNAL);
    if (n <= 0)
      return;
    csn_tls_sent(s->tls, (size_t)n);
  }
}

static void *
serve(void *user)
{
  struct server *s = user;
  char wire[5000], plain[5000];
  csn_err err;
  ssize_t n;
  if (s->is_deaf)
    (void)!send(s->fd, "220 hello, this is mail\r\n", 25, MSG_NOSIGNAL);
  while (!s->is_deaf && (n = recv(s->fd, wire, sizeof wire, 0)) > 0) {
    int rc;
    csn_tls_feed(s->tls, csn_strn(wire, (size_t)n));
    while ((rc = csn_tls_read(s->tls, plain, sizeof plain, &err)) > 0) {
      s->heard += (size_t)rc;
      if (csn_tls_write(s->tls, csn_strn(plain, (size_t)rc), &err) != rc)
        rc = -1;
    }
    if (rc == 0 && csn_tls_ended(s->tls))
      csn_tls_close(s->tls);
    send_pending(s);
    if (rc < 0 || csn_tls_ended(s->tls))
      break;
  }
  shutdown(s->fd, SHUT_WR);
  while (recv(s->fd, wire, sizeof wire, 0) > 0)
    continue;
  return NULL;
}

static void
server_open(struct server *s, const char *name)
{
  int pair[2];
  csn_err err;
  OK(csn_tls_ca_new(&s->ca, 2, &err), &err);
  OK(csn_tls_accept(&s->tls, s->ca, csn_cstr(name), &err), &err);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  s->fd = pair[0];
  s->client = pair[1];
  fcntl(s->client, F_SETFL, O_NONBLOCK);
  assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
server_close(struct server *s)
{
  pthread_join(s->thread, NULL);
  close(s->fd);
  csn_tls_free(s->tls);
  csn_tls_ca_free(s->ca);
}

/* The caller's end, or what was wrong. */
static int
pipe_to(struct server *s, const csn_tls_who *who, csn_err *err)
{
  int pair[2];
  csn_scope sc;
  csn_scope_init(&sc, NULL, 30000);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  int rc = csn_tls_pipe(s->client, pair[1], CSN_STR("engine.test"), who, &sc, err);
  csn_scope_fini(&sc);
  if (rc == 0)
    return pair[0];
  close(pair[0]);
  return rc;
}

static csn_tls_who
me(const struct server *s)
{
  return (csn_tls_who){
      .roots = csn_tls_ca_pem(s->ca), .cert = csn_cstr(cert_pem), .key = csn_cstr(key_pem)};
}

/* ---- tests ---- */

TEST(bytes_go_both_ways_and_so_does_the_end)
{
  enum { ALL = 3000000 };
  struct server s = {0};
  csn_err err;
  server_open(&s, "engine.test");
  csn_tls_who who = me(&s);
  int fd = pipe_to(&s, &who, &err);
  OK(fd, &err);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  size_t sent = 0, got = 0;
  char piece[7001];
  for (bool is_over = false; !is_over;) {
    struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < ALL ? POLLOUT : 0))};
    assert_int_equal(poll(&p, 1, 30000), 1);
    if (p.revents & POLLOUT && sent < ALL) {
      size_t n = ALL - sent < sizeof piece ? ALL - sent : sizeof piece;
      for (size_t i = 0; i < n; i++)
        piece[i] = (char)((sent + i) % 251);
      ssize_t took = send(fd, piece, n, MSG_NOSIGNAL);
      sent += took > 0 ? (size_t)took : 0;
      if (sent == ALL)
        shutdown(fd, SHUT_WR);
    }
    ssize_t n = p.revents & (POLLIN | POLLHUP) ? recv(fd, piece, sizeof piece, 0) : -1;
    for (ssize_t i = 0; i < n; i++)
      assert_int_equal((unsigned char)piece[i], (got + (size_t)i) % 251);
    got += n > 0 ? (size_t)n : 0;
    is_over = n == 0;
  }
  assert_int_equal(got, ALL);
  close(fd);
  server_close(&s);
  assert_int_equal(s.heard, ALL);
}

TEST(a_reader_who_goes_away_ends_it)
{
  struct server s = {0};
  csn_err err;
  server_open(&s, "engine.test");
  csn_tls_who who = me(&s);
  int fd = pipe_to(&s, &who, &err);
  OK(fd, &err);
  assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
  close(fd);
  server_close(&s); /* returns: it heard the end */
}

TEST(who_is_not_who_it_should_be_is_refused)
{
  struct server other = {0};
  const struct {
    const char *name;
    bool is_strange_root, is_deaf;
    const char *key;
    int code;
  } rows[] = {{"other.test", false, false, key_pem, CSN_E_DENIED},
              {"engine.test", true, false, key_pem, CSN_E_DENIED},
              {"engine.test", false, true, key_pem, CSN_E_PARSE},
              {"engine.test", false, false, other_pem, CSN_E_INVALID},
              {"engine.test", false, false, "", CSN_E_INVALID}};
  csn_err err;
  OK(csn_tls_ca_new(&other.ca, 2, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct server s = {.is_deaf = rows[i].is_deaf};
    server_open(&s, rows[i].name);
    csn_tls_who who = me(&s);
    who.key = csn_cstr(rows[i].key);
    if (rows[i].is_strange_root)
      who.roots = csn_tls_ca_pem(other.ca);
    assert_int_equal(pipe_to(&s, &who, &err), rows[i].code);
    server_close(&s);
  }
  csn_tls_ca_free(other.ca);
}

RUN_TESTS("wire/tls_pipe", RUN(bytes_go_both_ways_and_so_does_the_end),
          RUN(a_reader_who_goes_away_ends_it), RUN(who_is_not_who_it_should_be_is_refused))
