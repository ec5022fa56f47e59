/* SPDX-License-Identifier: Apache-2.0
 *
 * mockmodel.c - a server that speaks the Responses and the Chat Completions API
 * and answers by the model's name, without a delay of its own: one thread,
 * epoll, no parsing of what it does not need.
 *
 *   mockmodel [SECONDS]     prints its base URL; ends by itself (3600)
 *
 *   echo         an answer at once
 *   tools-N      N turns that each call add{a,b}, then an answer
 *   shell-N      N turns that each run `true TURN`, by the tool the client offers
 *   write-N      N turns that each run `echo TURN >f` by exec_command
 *   stream-N     an answer of N deltas
 *   ...@Dms      the same, D milliseconds later
 *   ...~Dms      streamed with D milliseconds between events
 *   ...!CODE     each request is first refused with this HTTP status (429, 503),
 *                and answered when it comes again
 *   ...!cut      the same, but the first answer breaks off in the middle
 *
 * The three go together in this order.  The turn is the number of outputs in
 * the request.  "stream":true gets
 * events, one HTTP chunk each.  GET /last gives the last request's body, so
 * that a floor can send the same bytes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench.h"
#include "mockmodel.h"

enum { BODY_MAX = 256 << 20, READ_BYTES = 256 << 10, EVENTS = 256 };

enum { REFUSED_MAX = 4096 };

struct peer {
  int fd;
  csn_buf in, out;
  size_t sent, body_at, body_n; /* body_at 0: the head is not complete */
  int64_t due_ns;               /* the reply waits until then; 0: it does not wait */
  int64_t pace_ns;              /* between the chunks of a reply; 0: all at once */
  size_t allowed;               /* bytes of `out` that may be sent by now */
  struct peer *next_due;
  bool wants_write, is_busy, is_cut;
};

struct server {
  int epoll, listener;
  struct peer *due, *last_due; /* in order of time */
  csn_buf last;
  uint64_t refused[REFUSED_MAX]; /* requests that were refused once, by their hash */
};

/* ---- reading the request ---- */

static csn_str
after(csn_str body, const char *mark)
{
  size_t at = csn_str_find(body, csn_cstr(mark), 0);
  if (at == SIZE_MAX)
    return CSN_STR("");
  at += strlen(mark);
  return csn_strn(body.p + at, body.n - at);
}

static int64_t
digits(csn_str *s)
{
  int64_t n = 0;
  while (s->n && *s->p >= '0' && *s->p <= '9' && n < 100000000) {
    n = n * 10 + (*s->p - '0');
    s->p++;
    s->n--;
  }
  return n;
}

static bool
takes(csn_str *s, char mark)
{
  if (!s->n || *s->p != mark)
    return false;
  *s = csn_strn(s->p + 1, s->n - 1);
  return true;
}

static void
take_unit(csn_str *s)
{
  while (s->n && *s->p >= 'a' && *s->p <= 'z') /* "ms" */
    *s = csn_strn(s->p + 1, s->n - 1);
}

static struct script
read_script(csn_str head, csn_str body)
{
  size_t line = csn_str_find(head, CSN_STR("\r\n"), 0);
  struct script s = {.is_chat = csn_str_find(csn_strn(head.p, line < head.n ? line : 0),
                                             CSN_STR("/chat/completions"), 0) != SIZE_MAX,
                     .is_stream = csn_str_find(body, CSN_STR("\"stream\":true"), 0) != SIZE_MAX};
  csn_str model = after(body, "\"model\":\"");
  size_t end = csn_str_find(model, CSN_STR("\""), 0);
  model.n = end == SIZE_MAX ? 0 : end;
  size_t n = 0;
  while (n < model.n && !strchr("-@~!", model.p[n]))
    n++;
  s.name = csn_strn(model.p, n);
  csn_str rest = csn_strn(model.p + n, model.n - n);
  if (takes(&rest, '-'))
    s.n = digits(&rest);
  if (takes(&rest, '@')) {
    s.delay_ms = digits(&rest);
    take_unit(&rest);
  }
  if (takes(&rest, '~')) {
    s.pace_ms = digits(&rest);
    take_unit(&rest);
  }
  if (takes(&rest, '!')) {
    s.is_cut = csn_str_eq(rest, CSN_STR("cut"));
    s.status = digits(&rest);
  }
  /* Of a function, of a custom tool; in a conversation of the other API. */
  csn_str output = s.is_chat ? CSN_STR("\"role\":\"tool\"") : CSN_STR("call_output\"");
  for (size_t at = 0; (at = csn_str_find(body, output, at)) != SIZE_MAX; s.turn++)
    at += output.n;
  return s;
}

/* ---- writing the reply ---- */

static void
usage(csn_buf *b, csn_str body)
{
  csn_buf_addf(b,
               "\"usage\":{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":0},"
               "\"output_tokens\":16,\"output_tokens_details\":{\"reasoning_tokens\":0},"
               "\"total_tokens\":%zu}",
               body.n / 4, body.n / 4 + 16);
}

const char *
mock_arguments(csn_buf *out, const struct script *s, csn_str body)
{
  static const char *const offers[][4] = {
      {"\"name\":\"exec_command\"", "exec_command", "{\\\"cmd\\\":\\\"true ", "\\\"}"},
      {"\"name\":\"shell_command\"", "shell_command", "{\\\"command\\\":\\\"true ", "\\\"}"},
      {"\"name\":\"shell\"", "shell", "{\\\"command\\\":[\\\"true\\\",\\\"", "\\\"]}"},
  };
  long long turn = (long long)s->turn; /* the same call again and again is taken for a loop */
  if (csn_str_eq(s->name, CSN_STR("write"))) {
    csn_buf_addf(out, "{\\\"cmd\\\":\\\"echo %lld >f\\\"}", turn);
    return "exec_command";
  }
  if (!csn_str_eq(s->name, CSN_STR("shell"))) {
    csn_buf_addf(out, "{\\\"a\\\":%lld,\\\"b\\\":3}", turn);
    return "add";
  }
  size_t i = 0;
  while (i + 1 < CSN_COUNT(offers) && !after(body, offers[i][0]).n)
    i++;
  csn_buf_addf(out, "%s%lld%s", offers[i][2], turn, offers[i][3]);
  return offers[i][1];
}

bool
mock_calls(const struct script *s)
{
  bool calls = csn_str_eq(s->name, CSN_STR("tools")) || csn_str_eq(s->name, CSN_STR("shell")) ||
               csn_str_eq(s->name, CSN_STR("write"));
  return calls && s->turn < s->n;
}

int64_t
mock_words(const struct script *s)
{
  return csn_str_eq(s->name, CSN_STR("stream")) ? s->n : 1;
}

static void
call_item(csn_buf *b, const struct script *s, csn_str body, const char *status)
{
  csn_auto(csn_buf_finip) csn_buf rest = CSN_BUF(200);
  const char *name = mock_arguments(&rest, s, body);
  csn_buf_addf(b,
               "{\"type\":\"function_call\",\"id\":\"fc_%lld\",\"call_id\":\"call_%lld\","
               "\"name\":\"%s\",\"arguments\":\"%s\",\"status\":\"%s\"}",
               (long long)s->turn, (long long)s->turn, name,
               strcmp(status, "in_progress") == 0 ? "" : rest.p, status);
}

static void
text_item(csn_buf *b, const struct script *s, bool is_whole)
{
  csn_buf_addf(b,
               "{\"type\":\"message\",\"id\":\"msg_%lld\",\"role\":\"assistant\",\"status\":"
               "\"%s\",\"content\":[",
               (long long)s->turn, is_whole ? "completed" : "in_progress");
  if (is_whole) {
    csn_buf_addz(b, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
    for (int64_t i = 0; i < mock_words(s); i++)
      csn_buf_addz(b, "word ");
    csn_buf_addz(b, "\"}");
  }
  csn_buf_addz(b, "]}");
}

static void
response(csn_buf *b, const struct script *s, csn_str body, bool is_done)
{
  csn_buf_addf(b,
               "{\"id\":\"resp_%lld\",\"object\":\"response\",\"created_at\":1760000000,"
               "\"status\":\"%s\",\"error\":null,\"incomplete_details\":null,"
               "\"instructions\":null,\"model\":\"%.*s\",\"parallel_tool_calls\":true,"
               "\"temperature\":1.0,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"
               "\"metadata\":{},\"output\":[",
               (long long)s->turn, is_done ? "completed" : "in_progress", (int)s->name.n,
               s->name.p);
  if (is_done && mock_calls(s))
    call_item(b, s, body, "completed");
  else if (is_done)
    text_item(b, s, true);
  csn_buf_addz(b, "],");
  usage(b, body);
  csn_buf_addc(b, '}');
}

/* One event in an HTTP chunk of its own. */
struct events {
  csn_buf *out;
  csn_buf one;
  int64_t seq;
};

static void
event_begin(struct events *e, const char *type)
{
  csn_buf_clear(&e->one);
  csn_buf_addf(&e->one, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%lld,", type, type,
               (long long)e->seq++);
}

static void
event_end(struct events *e)
{
  csn_buf_addz(&e->one, "}\n\n");
  csn_buf_addf(e->out, "%zx\r\n", e->one.n);
  csn_buf_add(e->out, csn_buf_str(&e->one));
  csn_buf_addz(e->out, "\r\n");
}

/* The one part of the message, empty: a client adds the deltas to it. */
static void
stream_part(struct events *e, const struct script *s, const char *type)
{
  event_begin(e, type);
  csn_buf_addf(&e->one,
               "\"item_id\":\"msg_%lld\",\"output_index\":0,\"content_index\":0,\"part\":{"
               "\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}",
               (long long)s->turn);
  event_end(e);
}

static void
stream_text(struct events *e, const struct script *s)
{
  event_begin(e, "response.output_item.added");
  csn_buf_addz(&e->one, "\"output_index\":0,\"item\":");
  text_item(&e->one, s, false);
  event_end(e);
  stream_part(e, s, "response.content_part.added");
  for (int64_t i = 0; i < mock_words(s); i++) {
    event_begin(e, "response.output_text.delta");
    csn_buf_addf(&e->one,
                 "\"item_id\":\"msg_%lld\",\"output_index\":0,\"content_index\":0,\"delta\":"
                 "\"word \",\"logprobs\":[],\"obfuscation\":\"0123456789abcde\"",
                 (long long)s->turn);
    event_end(e);
  }
  stream_part(e, s, "response.content_part.done");
  event_begin(e, "response.output_item.done");
  csn_buf_addz(&e->one, "\"output_index\":0,\"item\":");
  text_item(&e->one, s, true);
  event_end(e);
}

static void
stream_call(struct events *e, const struct script *s, csn_str body)
{
  event_begin(e, "response.output_item.added");
  csn_buf_addz(&e->one, "\"output_index\":0,\"item\":");
  call_item(&e->one, s, body, "in_progress");
  event_end(e);
  event_begin(e, "response.function_call_arguments.delta");
  csn_buf_addf(&e->one,
               "\"item_id\":\"fc_%lld\",\"output_index\":0,\"delta\":\"{}\",\"obfuscation\":"
               "\"0123456789abcde\"",
               (long long)s->turn);
  event_end(e);
  event_begin(e, "response.output_item.done");
  csn_buf_addz(&e->one, "\"output_index\":0,\"item\":");
  call_item(&e->one, s, body, "completed");
  event_end(e);
}

static void
stream(csn_buf *out, const struct script *s, csn_str body)
{
  struct events e = {.out = out, .one = CSN_BUF(BODY_MAX)};
  static const char *const heads[] = {"response.created", "response.in_progress"};
  for (size_t i = 0; i < CSN_COUNT(heads); i++) {
    event_begin(&e, heads[i]);
    csn_buf_addz(&e.one, "\"response\":");
    response(&e.one, s, body, false);
    event_end(&e);
  }
  if (mock_calls(s))
    stream_call(&e, s, body);
  else
    stream_text(&e, s);
  event_begin(&e, "response.completed");
  csn_buf_addz(&e.one, "\"response\":");
  response(&e.one, s, body, true);
  event_end(&e);
  csn_buf_fini(&e.one);
}

static void
plain(csn_buf *out, csn_str body, const char *type)
{
  csn_buf_addf(out,
               "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nx-request-id: req_0\r\n"
               "Content-Length: %zu\r\n\r\n",
               type, body.n);
  csn_buf_add(out, body);
}

/* ---- connections ---- */

static void
peer_free(struct peer *p)
{
  close(p->fd);
  csn_buf_fini(&p->in);
  csn_buf_fini(&p->out);
  free(p);
}

static void
watch(struct server *s, struct peer *p, int how)
{
  struct epoll_event e = {.events = EPOLLIN | (p->wants_write ? (uint32_t)EPOLLOUT : 0),
                          .data.ptr = p};
  if (epoll_ctl(s->epoll, how, p->fd, &e) < 0)
    exit(1);
}

static void
wait_until(struct server *s, struct peer *p, int64_t due_ns)
{
  /* Most wait equally long, so the newest is the last. */
  struct peer **at = s->due && s->last_due->due_ns <= due_ns ? &s->last_due->next_due : &s->due;
  p->due_ns = due_ns;
  while (*at && (*at)->due_ns <= due_ns)
    at = &(*at)->next_due;
  p->next_due = *at;
  *at = p;
  if (!p->next_due)
    s->last_due = p;
}

/* One event of a stream more; each ends in a blank line and the chunk's end. */
static void
allow_chunk(struct peer *p)
{
  size_t end = csn_str_find(csn_buf_str(&p->out), CSN_STR("\n\n\r\n"), p->allowed);
  p->allowed = end == SIZE_MAX ? p->out.n : end + 4;
}

static bool
flush_out(struct server *s, struct peer *p)
{
  size_t end = p->pace_ns ? p->allowed : p->out.n;
  while (p->sent < end) {
    ssize_t n = send(p->fd, p->out.p + p->sent, end - p->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
      return false;
    if (n < 0)
      break;
    p->sent += (size_t)n;
  }
  bool wants = p->sent < end;
  if (!wants && end < p->out.n) {
    allow_chunk(p);
    wait_until(s, p, csn_now_ns() + p->pace_ns);
  } else if (!wants) {
    csn_buf_clear(&p->out);
    p->sent = 0;
    p->is_busy = false;
    if (p->is_cut)
      return false;
  }
  if (wants != p->wants_write) {
    p->wants_write = wants;
    watch(s, p, EPOLL_CTL_MOD);
  }
  return true;
}

/* The head of a request; false until it is whole. */
static bool
read_head(struct peer *p)
{
  csn_str in = csn_buf_str(&p->in);
  size_t end = csn_str_find(in, CSN_STR("\r\n\r\n"), 0);
  if (end == SIZE_MAX)
    return false;
  p->body_at = end + 4;
  p->body_n = 0;
  csn_str rest = csn_strn(in.p, end + 2), line;
  while (csn_str_line(&rest, &line))
    if (line.n > 15 && strncasecmp(line.p, "content-length:", 15) == 0) {
      csn_str n = csn_str_trim(csn_strn(line.p + 15, line.n - 15));
      p->body_n = (size_t)digits(&n);
    }
  return true;
}

/* Whether this request is to be refused: the first time that it comes. */
static bool
refuses(struct server *s, csn_str body)
{
  uint64_t h = 14695981039346656037u; /* FNV-1a */
  for (size_t i = 0; i < body.n; i++)
    h = (h ^ (unsigned char)body.p[i]) * 1099511628211u;
  uint64_t *slot = &s->refused[h % REFUSED_MAX];
  bool was_refused = *slot == h;
  *slot = was_refused ? 0 : h;
  return !was_refused;
}

static void
write_answer(struct server *s, struct peer *p, const struct script *sc, csn_str body)
{
  bool is_bad = (sc->status || sc->is_cut) && refuses(s, body);
  if (is_bad && sc->status) {
    csn_buf_addf(&p->out,
                 "HTTP/1.1 %lld Refused\r\nContent-Type: application/json\r\nretry-after-ms: 1\r\n"
                 "Content-Length: 40\r\n\r\n{\"error\":{\"message\":\"once\",\"code\":null}}",
                 (long long)sc->status);
    return;
  }
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(BODY_MAX);
  if (!sc->is_stream) {
    if (sc->is_chat)
      mock_chat(&b, sc, body);
    else
      response(&b, sc, body, true);
    plain(&p->out, csn_buf_str(&b), "application/json");
  } else {
    csn_buf_addz(&p->out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                          "x-request-id: req_0\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (sc->is_chat)
      mock_chat_stream(&p->out, sc, body);
    else
      stream(&p->out, sc, body);
    csn_buf_addz(&p->out, "0\r\n\r\n");
    p->pace_ns = sc->pace_ms * 1000000;
  }
  p->is_cut = is_bad;
  if (is_bad)
    p->out.n -= p->out.n / 3;
}

static void
answer(struct server *s, struct peer *p)
{
  csn_str head = csn_strn(p->in.p, p->body_at), body = csn_strn(p->in.p + p->body_at, p->body_n);
  p->is_busy = true;
  p->pace_ns = 0;
  p->allowed = 0;
  if (csn_str_starts(head, CSN_STR("GET /last"))) {
    plain(&p->out, csn_buf_str(&s->last), "application/json");
  } else {
    struct script sc = read_script(head, body);
    write_answer(s, p, &sc, body);
    allow_chunk(p);
    csn_buf_clear(&s->last);
    csn_buf_add(&s->last, body);
    if (sc.delay_ms)
      wait_until(s, p, csn_now_ns() + sc.delay_ms * 1000000);
  }
  csn_buf_drop(&p->in, p->body_at + p->body_n);
  p->body_at = 0;
}

/* False: the connection is over.  One that still waits in the queue of
 * delayed replies is freed there. */
static bool
take_bytes(struct server *s, struct peer *p)
{
  char *room = csn_buf_room(&p->in, READ_BYTES);
  ssize_t n = room ? read(p->fd, room, READ_BYTES) : 0;
  if (n < 0 && errno == EAGAIN)
    return true;
  if (n <= 0)
    return false;
  p->in.n += (size_t)n;
  p->in.p[p->in.n] = '\0';
  while (!p->is_busy && (p->body_at || read_head(p)) && p->in.n >= p->body_at + p->body_n) {
    answer(s, p);
    if (!p->due_ns && !flush_out(s, p))
      return false;
  }
  return true;
}

static void
drop(struct server *s, struct peer *p)
{
  (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, p->fd, NULL);
  if (!p->due_ns)
    peer_free(p);
  else
    shutdown(p->fd, SHUT_RDWR);
}

static int
serve_due(struct server *s)
{
  while (s->due) {
    struct peer *p = s->due;
    int64_t left_ns = p->due_ns - csn_now_ns();
    if (left_ns > 0)
      return (int)(left_ns / 1000000) + 1;
    s->due = p->next_due;
    p->due_ns = 0;
    if (!flush_out(s, p))
      drop(s, p);
  }
  return -1;
}

static void
accept_all(struct server *s)
{
  int fd, yes = 1;
  while ((fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct peer *p = csn_alloc(sizeof *p);
    *p = (struct peer){.fd = fd, .in = CSN_BUF(BODY_MAX), .out = CSN_BUF(BODY_MAX)};
    watch(s, p, EPOLL_CTL_ADD);
  }
}

int
main(int argc, char **argv)
{
  static struct server s;
  s.last = CSN_BUF(BODY_MAX);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t n = sizeof at;
  s.epoll = epoll_create1(EPOLL_CLOEXEC);
  s.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  if (s.listener < 0 || bind(s.listener, (struct sockaddr *)&at, n) < 0 ||
      listen(s.listener, 4096) < 0 || getsockname(s.listener, (struct sockaddr *)&at, &n) < 0 ||
      epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.listener, &e) < 0) {
    perror("mockmodel");
    return 1;
  }
  alarm((unsigned)(argc > 1 ? bench_number(argv[1], 1, 1000000) : 3600));
  struct rlimit files = {65536, 65536};
  (void)setrlimit(RLIMIT_NOFILE, &files);
  printf("http://127.0.0.1:%u/v1\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    struct epoll_event got[EVENTS];
    int count = epoll_wait(s.epoll, got, EVENTS, serve_due(&s));
    for (int i = 0; i < count; i++) {
      struct peer *p = got[i].data.ptr;
      if (!p)
        accept_all(&s);
      else if ((got[i].events & EPOLLOUT && !flush_out(&s, p)) ||
               (got[i].events & ~(uint32_t)EPOLLOUT && !take_bytes(&s, p)))
        drop(&s, p);
    }
  }
}
