/* SPDX-License-Identifier: Apache-2.0
 * e2b_stream.c - see e2b_stream.h. */
#include "sandbox/backend/e2b_stream.h"

#include <signal.h>
#include <stdio.h>

#include "core/hash.h"

enum {
  MESSAGE_MAX = 4 << 20,
  REQUEST_MAX = 8 << 20,
  PENDING = 256 << 10,       /* output that waits for a reader */
  PENDING_AT_END = 16 << 20, /* while only the end is waited for: what pipes on the way hold */
  PENDING_MAX = PENDING_AT_END + MESSAGE_MAX,
  REFUSAL_MAX = 64 << 10,
  MARK = '\036',
};

/* ---- marks ---- */

void
csn_e2b_marks_init(struct csn_e2b_marks *m, const char *nonce)
{
  *m = (struct csn_e2b_marks){0};
  m->n_head = (size_t)snprintf(m->head, sizeof m->head, "%c%s ", MARK, nonce);
}

/* A byte of the line of a mark. */
static void
add_said(struct csn_e2b_marks *m, char c, void (*on_mark)(void *user, csn_str said), void *user)
{
  if (c != '\n' && m->n_said < sizeof m->said) {
    m->said[m->n_said++] = c;
    return;
  }
  on_mark(user, csn_str_trim(csn_strn(m->said, m->n_said)));
  m->n_said = m->at = 0;
}

void
csn_e2b_marks_feed(struct csn_e2b_marks *m, csn_str bytes, csn_buf *out,
                   void (*on_mark)(void *user, csn_str said), void *user)
{
  size_t i = 0;
  while (i < bytes.n) {
    if (m->at == m->n_head) {
      add_said(m, bytes.p[i++], on_mark, user);
    } else if (m->at > 0 && bytes.p[i] == m->head[m->at]) {
      m->at++;
      i++;
    } else if (m->at > 0) { /* it was none */
      csn_buf_add(out, csn_strn(m->head, m->at));
      m->at = 0;
    } else {
      const char *next = memchr(bytes.p + i, MARK, bytes.n - i);
      size_t end = next ? (size_t)(next - bytes.p) : bytes.n;
      csn_buf_add(out, csn_strn(bytes.p + i, end - i));
      i = next ? end + 1 : end;
      m->at = next != NULL;
    }
  }
}

/* ---- what the script and the service tell ---- */

/* "S<pid>", "E<code>" with an "s" behind it for a signal, or a fault's letter. */
static void
on_mark(void *user, csn_str said)
{
  struct csn_e2b_stream *s = user;
  int64_t n = 0;
  if (!said.n)
    return;
  bool by_signal = said.p[said.n - 1] == 's';
  csn_str number = csn_strn(said.p + 1, said.n - 1 - (by_signal && said.n > 1));
  bool is_number = csn_str_int(number, &n) && n >= 0 && n <= INT32_MAX;
  if (*said.p == 'S' && is_number && n > 1) {
    s->group = (int)n;
  } else if (*said.p == 'E' && is_number && n < 256) {
    s->n_ends++;
    s->has_ended = true;
    s->exit = (csn_exit){.code = (int)n, .signal = by_signal && n > 128 ? (int)n - 128 : 0};
  } else if (strchr("DNX", *said.p) && said.n == 1) {
    s->fault = *said.p;
  }
}

static void
on_output(struct csn_e2b_stream *s, csn_str text, int which)
{
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(MESSAGE_MAX);
  if (!text.n || s->n_ends > s->is_split || !csn_base64_decode(&bytes, text))
    return; /* what others write after its end is nobody's */
  csn_e2b_marks_feed(&s->marks[which], csn_buf_str(&bytes), &s->out[which && s->is_split], on_mark,
                     s);
}

/* The script has ended.  When it was killed, it could not tell. */
static void
on_end(struct csn_e2b_stream *s, const csn_json *end)
{
  csn_str status = csn_json_str(end, "status", CSN_STR(""));
  int64_t code = csn_json_int(end, "exitCode", csn_json_int(end, "exit_code", 0));
  if (!s->has_ended) {
    bool was_killed = csn_str_starts(status, CSN_STR("signal: ")) || code < 0;
    s->exit = was_killed ? (csn_exit){.code = 128 + SIGKILL, .signal = SIGKILL}
                         : (csn_exit){.code = (int)(code & 0xff)};
  }
  s->has_ended = true;
  s->n_ends = 2;
}

static int
on_message(void *user, csn_str message, bool is_last)
{
  struct csn_e2b_stream *s = user;
  const csn_json *v = NULL;
  csn_arena_clear(s->arena);
  int rc = csn_json_parse(s->arena, message, &v, &s->err);
  if (rc < 0)
    return rc;
  if (is_last) {
    const csn_json *error = csn_json_get(v, "error");
    return error ? csn_connect_fail(&s->err, 200, error) : 0;
  }
  const csn_json *event = csn_json_get(v, "event"), *data = csn_json_get(event, "data");
  const csn_json *start = csn_json_get(event, "start"), *end = csn_json_get(event, "end");
  int64_t pid = csn_json_int(start, "pid", 0);
  if (pid > 0 && pid <= UINT32_MAX)
    s->pid = (uint32_t)pid;
  on_output(s, csn_json_str(data, "stdout", CSN_STR("")), 0);
  on_output(s, csn_json_str(data, "pty", CSN_STR("")), 0);
  on_output(s, csn_json_str(data, "stderr", CSN_STR("")), 1);
  if (end)
    on_end(s, end);
  return 0;
}

/* ---- the call ---- */

static size_t
pending(const struct csn_e2b_stream *s)
{
  return s->out[0].n + s->out[1].n;
}

static size_t
most_pending(const struct csn_e2b_stream *s)
{
  return s->is_waiting ? PENDING_AT_END : PENDING;
}

bool
csn_e2b_stream_is_over(const struct csn_e2b_stream *s)
{
  return s->has_ended && s->n_ends > s->is_split;
}

void
csn_e2b_stream_go_on(struct csn_e2b_stream *s)
{
  if (!s->is_put_off || !s->call || pending(s) > most_pending(s) / 2)
    return;
  s->is_put_off = false;
  csn_http_resume(s->http, s->call);
}

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  struct csn_e2b_stream *s = user;
  pthread_mutex_lock(&s->lock);
  s->status = status;
  pthread_mutex_unlock(&s->lock);
}

static int
take(struct csn_e2b_stream *s, csn_str bytes)
{
  if (s->status != 200) {
    csn_buf_add(&s->refusal, bytes);
    return s->refusal.over ? CSN_E_LIMIT : 0;
  }
  bool is_over = csn_e2b_stream_is_over(s);
  if (pending(s) >= most_pending(s) && !is_over) {
    s->is_put_off = true;
    return CSN_HTTP_LATER;
  }
  return csn_connect_feed(&s->codec, bytes, &s->err);
}

static int
on_body(void *user, csn_str bytes)
{
  struct csn_e2b_stream *s = user;
  pthread_mutex_lock(&s->lock);
  int rc = take(s, bytes);
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return rc;
}

static void
on_done(void *user, const csn_err *err)
{
  struct csn_e2b_stream *s = user;
  pthread_mutex_lock(&s->lock);
  if (err && !s->err.code)
    s->err = *err;
  s->call = NULL;
  s->is_done = true;
  s->is_put_off = false;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  csn_e2b_stream_unref(s);
}

int
csn_e2b_stream_start(struct csn_e2b_stream *s, const csn_http_req *req, csn_err *err)
{
  static const csn_http_sink sink = {.head = on_head, .body = on_body, .done = on_done};
  csn_connect_fini(&s->codec);
  csn_connect_init(&s->codec, MESSAGE_MAX, on_message, s);
  pthread_mutex_lock(&s->lock);
  s->is_done = s->is_put_off = false;
  s->status = 0;
  s->err = (csn_err){0};
  csn_buf_clear(&s->refusal);
  s->refs++;
  int rc = csn_http_start(s->http, req, &sink, s, &s->call, err);
  if (rc < 0) {
    s->refs--;
    s->is_done = true;
  }
  pthread_mutex_unlock(&s->lock);
  return rc;
}

void
csn_e2b_stream_stop(struct csn_e2b_stream *s)
{
  pthread_mutex_lock(&s->lock);
  if (s->call)
    csn_http_cancel(s->http, s->call);
  while (!s->is_done)
    pthread_cond_wait(&s->changed, &s->lock);
  pthread_mutex_unlock(&s->lock);
}

struct csn_e2b_stream *
csn_e2b_stream_new(csn_http *http, const char *nonce, bool is_split)
{
  struct csn_e2b_stream *s = csn_alloc(sizeof *s);
  *s = (struct csn_e2b_stream){.refs = 1,
                               .http = http,
                               .is_done = true,
                               .is_split = is_split,
                               .arena = csn_arena_new(4u * MESSAGE_MAX),
                               .body = CSN_BUF(REQUEST_MAX),
                               .refusal = CSN_BUF(REFUSAL_MAX),
                               .out = {CSN_BUF(PENDING_MAX), CSN_BUF(PENDING_MAX)}};
  pthread_mutex_init(&s->lock, NULL);
  csn_cond_init(&s->changed);
  csn_connect_init(&s->codec, MESSAGE_MAX, on_message, s);
  csn_e2b_marks_init(&s->marks[0], nonce);
  csn_e2b_marks_init(&s->marks[1], nonce);
  return s;
}

void
csn_e2b_stream_unref(struct csn_e2b_stream *s)
{
  if (!s)
    return;
  pthread_mutex_lock(&s->lock);
  bool is_last = --s->refs == 0;
  pthread_mutex_unlock(&s->lock);
  if (!is_last)
    return;
  csn_connect_fini(&s->codec);
  csn_arena_free(s->arena);
  csn_buf_fini(&s->body);
  csn_buf_fini(&s->refusal);
  csn_buf_fini(&s->out[0]);
  csn_buf_fini(&s->out[1]);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  free(s);
}
