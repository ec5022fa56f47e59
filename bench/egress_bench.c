/* SPDX-License-Identifier: Apache-2.0
 *
 * egress_bench.c - what the way through caisson-egress costs beside a direct
 * connection: requests one after the other, new connections, bulk, and the
 * process's own CPU.  The origin is a thread for each connection in here.
 *
 *   egress_bench CAISSON-EGRESS [REQUESTS] [MIB]
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "bench.h"
#include "caisson/json.h"
#include "wire/tls.h"

enum { BLOCK = 64 << 10 };

/* One end, with TLS or without. */
struct end {
  int fd;
  csn_tls *tls;
};

static csn_tls_ca *origin_ca;
static pthread_mutex_t ca_lock = PTHREAD_MUTEX_INITIALIZER;

static void
die(const char *what)
{
  perror(what);
  exit(1);
}

/* ---- bytes ---- */

static void
send_all(struct end *e, csn_str bytes)
{
  csn_err err;
  if (e->tls) {
    bench_must(csn_tls_write(e->tls, bytes, &err), &err);
    bytes = csn_tls_pending(e->tls);
  }
  size_t n = bytes.n;
  while (bytes.n > 0) {
    ssize_t sent = send(e->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (sent <= 0)
      pthread_exit(NULL);
    bytes = csn_strn(bytes.p + sent, bytes.n - (size_t)sent);
  }
  if (e->tls)
    csn_tls_sent(e->tls, n);
}

static ssize_t
receive(struct end *e, char *out, size_t room)
{
  char wire[BLOCK];
  csn_err err;
  while (e->tls) {
    int n = csn_tls_read(e->tls, out, room, &err);
    bench_must(n, &err);
    if (csn_tls_pending(e->tls).n > 0)
      send_all(&(struct end){e->fd, NULL}, csn_tls_pending(e->tls));
    csn_tls_sent(e->tls, csn_tls_pending(e->tls).n);
    if (n > 0 || csn_tls_ended(e->tls))
      return n;
    ssize_t got = recv(e->fd, wire, sizeof wire, 0);
    if (got <= 0)
      return got;
    csn_tls_feed(e->tls, csn_strn(wire, (size_t)got));
  }
  return recv(e->fd, out, room, 0);
}

static void
shake_hands(struct end *e)
{
  char none[1];
  csn_err err;
  while (!csn_tls_is_ready(e->tls)) {
    char wire[BLOCK];
    bench_must(csn_tls_read(e->tls, none, sizeof none, &err), &err);
    send_all(&(struct end){e->fd, NULL}, csn_tls_pending(e->tls));
    csn_tls_sent(e->tls, csn_tls_pending(e->tls).n);
    if (csn_tls_is_ready(e->tls))
      break;
    ssize_t got = recv(e->fd, wire, sizeof wire, 0);
    if (got <= 0)
      die("egress_bench: handshake");
    csn_tls_feed(e->tls, csn_strn(wire, (size_t)got));
  }
}

/* ---- the origin ---- */

static void *
serve(void *user)
{
  static const char small[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  static char block[BLOCK];
  struct end e = {.fd = (int)((intptr_t)user >> 1)};
  char text[BLOCK];
  size_t n = 0;
  csn_err err;
  if ((intptr_t)user & 1) {
    pthread_mutex_lock(&ca_lock);
    bench_must(csn_tls_accept(&e.tls, origin_ca, CSN_STR("bench.test"), &err), &err);
    pthread_mutex_unlock(&ca_lock);
  }
  for (;;) {
    ssize_t got = receive(&e, text + n, sizeof text - n);
    if (got <= 0)
      break;
    n += (size_t)got;
    if (csn_str_find(csn_strn(text, n), CSN_STR("\r\n\r\n"), 0) == SIZE_MAX)
      continue;
    int64_t mib = 0;
    csn_str path = csn_strn(text, n);
    size_t at = csn_str_find(path, CSN_STR("/mib/"), 0);
    if (at != SIZE_MAX) {
      csn_str digits = csn_strn(path.p + at + 5, strspn(path.p + at + 5, "0123456789"));
      (void)csn_str_int(digits, &mib);
      char head[100];
      snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n",
               (long long)mib << 20);
      send_all(&e, csn_cstr(head));
      for (int64_t i = 0; i < mib << 20; i += BLOCK)
        send_all(&e, csn_strn(block, BLOCK));
    } else {
      send_all(&e, csn_strn(small, sizeof small - 1));
    }
    n = 0;
  }
  close(e.fd);
  csn_tls_free(e.tls);
  return NULL;
}

static int
listen_here(uint16_t *port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof at;
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 512) < 0 ||
      getsockname(fd, (struct sockaddr *)&at, &n) < 0)
    die("egress_bench: socket");
  *port = ntohs(at.sin_port);
  return fd;
}

/* user: the listener, shifted, and whether it speaks TLS. */
static void *
accept_all(void *user)
{
  int on = 1, listener = (int)((intptr_t)user >> 1);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
    pthread_t t;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    intptr_t what = (intptr_t)fd << 1 | ((intptr_t)user & 1);
    if (pthread_create(&t, &small, serve, (void *)what) != 0) // NOLINT(performance-no-int-to-ptr)
      die("egress_bench: thread");
  }
  return NULL;
}

static void
start_origin(int listener, bool tls)
{
  pthread_t t;
  intptr_t what = (intptr_t)listener << 1 | tls;
  if (pthread_create(&t, NULL, accept_all, (void *)what) != 0) // NOLINT(performance-no-int-to-ptr)
    die("egress_bench: thread");
  pthread_detach(t);
}

/* ---- the process ---- */

struct way {
  pid_t pid;
  int fd;
  pthread_t reader; /* of the notes; the process accepts no more while nobody reads them */
  uint16_t proxy;
  csn_tls_client *client;
  char ca[4096];
};

static void *
drop_notes(void *user)
{
  char text[BLOCK];
  while (recv(*(const int *)user, text, sizeof text, 0) > 0) {
  }
  return NULL;
}

static void
start(struct way *w, const char *program, const char *config_format, uint16_t plain, uint16_t tls)
{
  int pair[2], listener = listen_here(&w->proxy);
  char *argv[] = {(char *)(uintptr_t)program, NULL}, *none[] = {NULL};
  csn_auto(csn_buf_finip) csn_buf config = CSN_BUF(1 << 20), quoted = CSN_BUF(1 << 16);
  csn_auto(csn_buf_finip) csn_buf answer = CSN_BUF(1 << 16);
  csn_json_quote(&quoted, csn_tls_ca_pem(origin_ca));
  csn_buf_addf(
      &config,
      "{\"policy\":\"allow\",%s\"hosts\":[{\"host\":\"bench.test\",\"ports\":[%u,%u]}],"
      "\"resolve\":{\"bench.test\":\"127.0.0.1\"},\"allow_private\":[\"127.0.0.1:%u\","
      "\"127.0.0.1:%u\"],\"extra_roots\":%s,\"listeners\":[{\"kind\":\"proxy\",\"port\":3128}]}",
      config_format, plain, tls, plain, tls, quoted.p);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    die("socketpair");
  posix_spawn_file_actions_t fa;
  posix_spawn_file_actions_init(&fa);
  posix_spawn_file_actions_adddup2(&fa, pair[1], 3);
  if (posix_spawn(&w->pid, program, &fa, NULL, argv, none) != 0)
    die(program);
  posix_spawn_file_actions_destroy(&fa);
  close(pair[1]);
  w->fd = pair[0];
  unsigned char length[4] = {(unsigned char)config.n, (unsigned char)(config.n >> 8),
                             (unsigned char)(config.n >> 16), 0};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.head), &listener, sizeof listener);
  struct iovec part = {length, 4};
  struct msghdr m = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  csn_err err;
  if (sendmsg(w->fd, &m, 0) != 4)
    die("sendmsg");
  bench_must(csn_fd_write_all(w->fd, csn_buf_str(&config), &err), &err);
  while (answer.n == 0 || answer.p[answer.n - 1] != '\n') {
    ssize_t n = recv(w->fd, csn_buf_room(&answer, 4096), 4096, 0);
    if (n <= 0)
      die("egress_bench: the process ended");
    answer.n += (size_t)n;
  }
  csn_arena *a = csn_arena_new(1 << 20);
  const csn_json *v;
  bench_must(csn_json_parse(a, csn_str_trim(csn_buf_str(&answer)), &v, &err), &err);
  csn_str ca = csn_json_str(v, "ca_pem", csn_tls_ca_pem(origin_ca));
  bench_must(csn_tls_client_new(&w->client, ca, &err), &err);
  csn_arena_free(a);
  close(listener);
  if (pthread_create(&w->reader, NULL, drop_notes, &w->fd) != 0)
    die("egress_bench: thread");
}

static void
stop(struct way *w)
{
  shutdown(w->fd, SHUT_RDWR);
  pthread_join(w->reader, NULL);
  close(w->fd);
  waitpid(w->pid, NULL, 0);
  csn_tls_client_free(w->client);
}

static double
cpu_us(const struct way *w)
{
  clockid_t clock;
  struct timespec t = {0};
  if (w && clock_getcpuclockid(w->pid, &clock) == 0)
    clock_gettime(clock, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the client ---- */

enum how { DIRECT, TUNNEL, WEB };

static void
read_reply(struct end *e, csn_str head_end, int64_t body)
{
  static char text[BLOCK];
  size_t n = 0, at = SIZE_MAX;
  while (at == SIZE_MAX) {
    ssize_t got = receive(e, text + n, sizeof text - n);
    if (got <= 0)
      die("egress_bench: no reply");
    n += (size_t)got;
    at = csn_str_find(csn_strn(text, n), head_end, 0);
  }
  int64_t left = body - (int64_t)(n - at - head_end.n);
  while (left > 0) {
    ssize_t got = receive(e, text, sizeof text);
    if (got <= 0)
      die("egress_bench: the reply was cut");
    left -= got;
  }
}

static struct end
open_end(const struct way *w, enum how how, uint16_t port, csn_tls_client *client)
{
  int on = 1;
  struct end e = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  to.sin_port = htons(how == DIRECT ? port : w->proxy);
  if (e.fd < 0 || connect(e.fd, (struct sockaddr *)&to, sizeof to) < 0)
    die("egress_bench: connect");
  setsockopt(e.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (how == TUNNEL) {
    char text[200];
    snprintf(text, sizeof text, "CONNECT bench.test:%u HTTP/1.1\r\nHost: bench.test:%u\r\n\r\n",
             port, port);
    send_all(&e, csn_cstr(text));
    read_reply(&e, CSN_STR("\r\n\r\n"), 0);
  }
  if (client) {
    csn_err err;
    bench_must(csn_tls_connect(&e.tls, client, CSN_STR("bench.test"), &err), &err);
    shake_hands(&e);
  }
  return e;
}

static void
close_end(struct end *e)
{
  close(e->fd);
  csn_tls_free(e->tls);
}

static void
ask(struct end *e, enum how how, uint16_t port, const char *path, int64_t body)
{
  char text[300], url[100] = "";
  if (how == WEB)
    snprintf(url, sizeof url, "http://bench.test:%u", port);
  snprintf(text, sizeof text, "GET %s%s HTTP/1.1\r\nHost: bench.test:%u\r\n\r\n", url, path, port);
  send_all(e, csn_cstr(text));
  read_reply(e, CSN_STR("\r\n\r\n"), body);
}

struct load {
  const char *name, *also; /* a direct connection is beside two others */
  const struct way *way;   /* NULL: direct */
  enum how how;
  uint16_t port;
  csn_tls_client *client;
};

static void
tell(const struct load *l, const char *what, double value)
{
  const char *const names[] = {l->name, l->also};
  for (size_t i = 0; i < CSN_COUNT(names) && names[i]; i++) {
    char text[100];
    snprintf(text, sizeof text, "egress-%s-%s", names[i], what);
    bench_sample(text, l->way ? "ours" : "direct", value);
  }
}

static void
measure(const struct load *l, int requests, int mib)
{
  char path[40];
  struct end e = open_end(l->way, l->how, l->port, l->client);
  for (int i = 0; i < 200; i++)
    ask(&e, l->how, l->port, "/", 5);
  double cpu = cpu_us(l->way);
  int64_t began = csn_now_ns();
  for (int i = 0; i < requests; i++)
    ask(&e, l->how, l->port, "/", 5);
  tell(l, "request", bench_ms_since(began) * 1000 / requests);
  if (l->way)
    tell(l, "cpu", (cpu_us(l->way) - cpu) / requests);

  snprintf(path, sizeof path, "/mib/%d", mib);
  cpu = cpu_us(l->way);
  began = csn_now_ns();
  ask(&e, l->how, l->port, path, (int64_t)mib << 20);
  tell(l, "gib", bench_ms_since(began) * 1024 / mib);
  if (l->way)
    tell(l, "gib-cpu", (cpu_us(l->way) - cpu) / 1000 * 1024 / mib);
  close_end(&e);

  int connects = requests / 10;
  began = csn_now_ns();
  for (int i = 0; i < connects; i++) {
    e = open_end(l->way, l->how, l->port, l->client);
    ask(&e, l->how, l->port, "/", 5);
    close_end(&e);
  }
  tell(l, "connect", bench_ms_since(began) * 1000 / connects);
}

int
main(int argc, char **argv)
{
  csn_err err;
  uint16_t plain, tls;
  int64_t requests = 20000, mib = 1024;
  if (argc < 2) {
    fprintf(stderr, "usage: egress_bench CAISSON-EGRESS [REQUESTS] [MIB]\n");
    return 2;
  }
  if (argc > 2)
    (void)csn_str_int(csn_cstr(argv[2]), &requests);
  if (argc > 3)
    (void)csn_str_int(csn_cstr(argv[3]), &mib);
  bench_must(csn_tls_ca_new(&origin_ca, 2, &err), &err);
  start_origin(listen_here(&plain), false);
  start_origin(listen_here(&tls), true);
  struct way passes, looks;
  int64_t began = csn_now_ns();
  start(&passes, argv[1], "", plain, tls);
  bench_sample("egress-start", "ours", bench_ms_since(began));
  began = csn_now_ns();
  start(&looks, argv[1],
        "\"secrets\":[{\"name\":\"T\",\"value\":\"0123456789abcdef\",\"header\":\"A: {}\","
        "\"hosts\":[\"bench.test\"]}],",
        plain, tls);
  bench_sample("egress-start-tls", "ours", bench_ms_since(began));
  bench_sample("egress-start-tls-cpu", "ours", cpu_us(&looks) / 1000);
  bench_sample("egress-start-cpu", "ours", cpu_us(&passes) / 1000);
  const struct load loads[] = {
      {"tunnel", "web", NULL, DIRECT, plain, NULL},
      {"tunnel", NULL, &passes, TUNNEL, plain, NULL},
      {"web", NULL, &passes, WEB, plain, NULL},
      {"secret", NULL, NULL, DIRECT, tls, passes.client},
      {"secret", NULL, &looks, TUNNEL, tls, looks.client},
  };
  for (size_t i = 0; i < CSN_COUNT(loads); i++)
    measure(&loads[i], (int)requests, (int)mib);
  stop(&passes);
  stop(&looks);
  return 0;
}
