/* SPDX-License-Identifier: Apache-2.0
 *
 * report.c - lines to the harness; see report.h.
 */
#include "egress/report.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "caisson/json.h"

enum { QUEUE_MAX = 4 << 20, FULL = 1 << 20, REPEATS = 64, LINE_MAX_BYTES = 16 << 10 };
#define REPEAT_NS INT64_C(10000000000)

/* Different refusals told at once, and then for each tenth of a second. */
enum { REFUSALS_AT_ONCE = 200, REFUSALS_PER_TENTH = 5 };

/* A refusal that was told lately; the line for those that came since. */
struct repeat {
  char key[400];
  int64_t told_ns;
  uint64_t since;
};

struct csn_report {
  csn_reactor *reactor;
  const csn_config *config;
  csn_ready out;
  csn_alarm alarm;
  csn_buf queue;
  struct repeat repeats[REPEATS];
  void (*on_word)(void *user, char word);
  void *user;
  uint64_t dropped;
  int64_t tokens, tokens_at_ns;
};

static void
flush(csn_report *r)
{
  size_t sent = 0;
  while (sent < r->queue.n) {
    ssize_t n = send(r->out.fd, r->queue.p + sent, r->queue.n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno != EAGAIN)
      r->reactor->stop = true; /* the harness is gone, and so is our reason to be */
    if (n <= 0)
      break;
    sent += (size_t)n;
  }
  csn_buf_drop(&r->queue, sent);
  /* Reading is asked for to hear of the harness's end. */
  csn_ready_set(r->reactor, &r->out, EPOLLIN | (r->queue.n ? EPOLLOUT : 0));
}

static void
on_ready(void *user, uint32_t events)
{
  csn_report *r = user;
  char words[64];
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    ssize_t n = recv(r->out.fd, words, sizeof words, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
      r->reactor->stop = true;
    for (ssize_t i = 0; i < n && r->on_word; i++)
      r->on_word(r->user, words[i]);
  }
  if (events & EPOLLOUT)
    flush(r);
}

static void
add_line(csn_report *r, csn_buf *line)
{
  csn_buf_addc(line, '\n');
  if (line->over || r->queue.n + line->n > QUEUE_MAX) {
    r->dropped++;
    return;
  }
  csn_buf_add(&r->queue, csn_buf_str(line));
}

static void
key_int(csn_jw *w, const char *key, int64_t value)
{
  csn_jw_key(w, key);
  csn_jw_int(w, value);
}

static void
key_str(csn_jw *w, const char *key, const char *value)
{
  if (!value || !*value)
    return;
  csn_jw_key(w, key);
  csn_jw_strz(w, value);
}

static void
add_note(csn_report *r, const csn_note *n, uint64_t count)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(LINE_MAX_BYTES);
  csn_jw w;
  csn_jw_init(&w, &line);
  csn_jw_obj(&w);
  key_str(&w, "at", "connection");
  key_str(&w, "how", n->how);
  key_str(&w, "host", n->host);
  if (n->port)
    key_int(&w, "port", n->port);
  key_str(&w, "address", n->address);
  key_str(&w, "verdict", n->allowed ? "allowed" : "refused");
  key_str(&w, "reason", n->reason);
  if (n->method.n) {
    csn_jw_key(&w, "method");
    csn_jw_str(&w, n->method);
  }
  if (n->status)
    key_int(&w, "status", n->status);
  if (count > 1) {
    key_int(&w, "count", (int64_t)count);
  } else {
    key_int(&w, "up", (int64_t)n->up);
    key_int(&w, "down", (int64_t)n->down);
    key_int(&w, "ms", n->ms);
  }
  if (n->secrets) {
    csn_jw_key(&w, "secret");
    csn_jw_arr(&w);
    for (size_t i = 0; i < r->config->n_secrets; i++)
      if (n->secrets & UINT64_C(1) << i)
        csn_jw_str(&w, r->config->secrets[i].name);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  if (csn_jw_done(&w, NULL) >= 0)
    add_line(r, &line);
}

/* What a repeated refusal is told as, later: its key is all that was kept. */
static void
tell_repeat(csn_report *r, struct repeat *at)
{
  csn_auto(csn_freep) char *key = csn_dupz(csn_cstr(at->key));
  char *parts[5] = {key};
  for (size_t i = 1; i < CSN_COUNT(parts); i++) {
    char *cut = strchr(parts[i - 1], '\n');
    if (!cut)
      return;
    *cut = '\0';
    parts[i] = cut + 1;
  }
  int64_t port = 0;
  (void)csn_str_int(csn_cstr(parts[2]), &port);
  csn_note n = {.how = parts[0],
                .host = parts[1],
                .port = (uint16_t)port,
                .method = csn_cstr(parts[3]),
                .reason = parts[4]};
  add_note(r, &n, at->since);
  at->since = 0;
}

static void
tell_dropped(csn_report *r)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(200);
  if (r->dropped == 0)
    return;
  csn_buf_addf(&line, "{\"at\":\"dropped\",\"count\":%llu}", (unsigned long long)r->dropped);
  r->dropped = 0;
  add_line(r, &line);
}

static void
on_alarm(void *user)
{
  csn_report *r = user;
  int64_t now = r->reactor->now_ns, next = INT64_MAX;
  tell_dropped(r);
  for (size_t i = 0; i < REPEATS; i++) {
    struct repeat *at = &r->repeats[i];
    if (at->since == 0)
      continue;
    if (now - at->told_ns >= REPEAT_NS) {
      tell_repeat(r, at);
      at->told_ns = now;
    } else if (at->told_ns + REPEAT_NS < next) {
      next = at->told_ns + REPEAT_NS;
    }
  }
  if (next != INT64_MAX)
    csn_alarm_set(r->reactor, &r->alarm, next);
  flush(r);
}

/* True when this refusal was told lately and is only counted now. */
static bool
is_repeat(csn_report *r, const csn_note *n)
{
  char key[sizeof r->repeats[0].key];
  int length =
      snprintf(key, sizeof key, "%s\n%s\n%u\n%.*s\n%s", n->how, n->host ? n->host : "", n->port,
               (int)n->method.n, n->method.n ? n->method.p : "", n->reason ? n->reason : "");
  if (length < 0 || (size_t)length >= sizeof key)
    key[sizeof key - 1] = '\0';
  int64_t now = r->reactor->now_ns;
  struct repeat *oldest = &r->repeats[0];
  for (size_t i = 0; i < REPEATS; i++) {
    struct repeat *at = &r->repeats[i];
    if (at->told_ns && strcmp(at->key, key) == 0) {
      if (now - at->told_ns >= REPEAT_NS && at->since == 0) {
        at->told_ns = now;
        return false;
      }
      at->since++;
      if (!r->alarm.link)
        csn_alarm_set(r->reactor, &r->alarm, at->told_ns + REPEAT_NS);
      return true;
    }
    if (at->told_ns < oldest->told_ns)
      oldest = at;
  }
  if (oldest->since)
    tell_repeat(r, oldest);
  *oldest = (struct repeat){.told_ns = now};
  memcpy(oldest->key, key, sizeof key);
  return false;
}

/* A sandbox that asks for ever new names is not to fill the journal. */
static bool
may_tell(csn_report *r)
{
  int64_t now = r->reactor->now_ns, tenths = (now - r->tokens_at_ns) / 100000000;
  if (tenths > 0) {
    r->tokens += tenths > REFUSALS_AT_ONCE ? REFUSALS_AT_ONCE : tenths * REFUSALS_PER_TENTH;
    if (r->tokens > REFUSALS_AT_ONCE)
      r->tokens = REFUSALS_AT_ONCE;
    r->tokens_at_ns = now;
  }
  if (r->tokens > 0) {
    r->tokens--;
    return true;
  }
  r->dropped++;
  if (!r->alarm.link)
    csn_alarm_set(r->reactor, &r->alarm, now + REPEAT_NS);
  return false;
}

void
csn_report_note(csn_report *r, const csn_note *n)
{
  if (n->allowed || (!is_repeat(r, n) && may_tell(r)))
    add_note(r, n, 1);
  flush(r);
}

void
csn_report_ready(csn_report *r, csn_str ca_pem)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(LINE_MAX_BYTES);
  csn_jw w;
  csn_jw_init(&w, &line);
  csn_jw_obj(&w);
  csn_jw_key(&w, "ready");
  csn_jw_bool(&w, true);
  if (ca_pem.n) {
    csn_jw_key(&w, "ca_pem");
    csn_jw_str(&w, ca_pem);
  }
  csn_jw_end(&w);
  if (csn_jw_done(&w, NULL) >= 0)
    add_line(r, &line);
  flush(r);
}

bool
csn_report_is_full(const csn_report *r)
{
  return r->queue.n >= FULL;
}

void
csn_report_flush(csn_report *r)
{
  for (size_t i = 0; i < REPEATS; i++)
    if (r->repeats[i].since)
      tell_repeat(r, &r->repeats[i]);
  tell_dropped(r);
  flush(r);
}

csn_report *
csn_report_new(csn_reactor *r, const csn_config *c, int fd)
{
  csn_report *it = csn_alloc(sizeof *it);
  it->reactor = r;
  it->config = c;
  it->out = (csn_ready){.fd = fd, .fn = on_ready, .user = it};
  it->alarm = (csn_alarm){.fn = on_alarm, .user = it};
  it->queue = CSN_BUF(QUEUE_MAX);
  csn_ready_set(r, &it->out, EPOLLIN);
  return it;
}

void
csn_report_free(csn_report *r)
{
  csn_alarm_drop(&r->alarm);
  csn_buf_fini(&r->queue);
  free(r);
}

void
csn_report_listen(csn_report *r, void (*fn)(void *user, char word), void *user)
{
  r->on_word = fn;
  r->user = user;
}

/* However full the queue is: the harness waits for it. */
void
csn_report_told(csn_report *r, uint64_t reached)
{
  csn_buf_addf(&r->queue, "{\"at\":\"told\",\"reached\":%llu}\n", (unsigned long long)reached);
  flush(r);
}
