/* SPDX-License-Identifier: Apache-2.0
 * exec_stream.c - streams of a talk (exec_talk.h): output that comes as long as
 * there is credit for it, input that goes when what was sent before was taken. */
#include <errno.h>
#include <stdio.h>

#include "core/hash.h"
#include "sandbox/backend/exec_talk.h"

enum { SIGNALS = 64 };

csn_talk_stream *
csn_talk_listen(csn_talk *t, int64_t id, bool ends)
{
  csn_talk_stream *s = csn_alloc(sizeof *s);
  *s = (csn_talk_stream){.id = id,
                         .out = {CSN_BUF(CSN_TALK_WINDOW), CSN_BUF(CSN_TALK_WINDOW)},
                         .credit = CSN_TALK_WINDOW,
                         .has_ended = ends}; /* until the request is sent */
  pthread_mutex_lock(&t->lock);
  s->next = t->streams;
  t->streams = s;
  pthread_mutex_unlock(&t->lock);
  return s;
}

void
csn_talk_stream_free(csn_talk *t, csn_talk_stream *s)
{
  csn_talk_stream **at = &t->streams;
  while (*at != s)
    at = &(*at)->next;
  *at = s->next;
  for (struct csn_talk_call *c = t->calls; c; c = c->next) {
    c->ends = c->ends == s ? NULL : c->ends;
    c->frees = c->frees == s ? NULL : c->frees;
  }
  csn_buf_fini(&s->out[0]);
  csn_buf_fini(&s->out[1]);
  free(s);
}

void
csn_talk_drop(csn_talk *t, csn_talk_stream *s)
{
  pthread_mutex_lock(&t->lock);
  s->is_dropped = true;
  if (s->has_ended || t->is_dead)
    csn_talk_stream_free(t, s);
  else
    csn_talk_tell_end(t, s);
  pthread_mutex_unlock(&t->lock);
}

void
csn_talk_forget(csn_talk *t, csn_talk_stream *s)
{
  pthread_mutex_lock(&t->lock);
  csn_talk_stream_free(t, s);
  pthread_mutex_unlock(&t->lock);
}

bool
csn_talk_has_ended(csn_talk *t, csn_talk_stream *s)
{
  pthread_mutex_lock(&t->lock);
  bool ended = s->has_ended;
  pthread_mutex_unlock(&t->lock);
  return ended;
}

/* ---- what comes ---- */

static csn_talk_stream *
stream_of(csn_talk *t, const csn_json *v)
{
  int64_t of = 0;
  csn_talk_stream *s = csn_json_to_int(csn_json_get(v, "of"), &of) ? t->streams : NULL;
  while (s && s->id != of)
    s = s->next;
  if (!s || s->has_ended) {
    csn_talk_die(t, "the program sent an event of %lld, which is no stream", (long long)of);
    return NULL;
  }
  return s;
}

static void
on_output(csn_talk *t, csn_talk_stream *s, const csn_json *v)
{
  int64_t which = csn_json_int(v, "stream", 1);
  csn_buf_clear(&t->decoded);
  if ((which != 1 && which != 2) ||
      !csn_base64_decode(&t->decoded, csn_json_str(v, "data", CSN_STR("?"))) || t->decoded.over) {
    csn_talk_die(t,
                 "the program sent output that is not base64, or of a stream that is not 1 or 2");
    return;
  }
  s->credit -= (int64_t)t->decoded.n;
  if (s->credit < 0)
    csn_talk_die(t, "the program sent more output than it was given credit for");
  else if (!s->is_dropped)
    csn_buf_add(&s->out[which - 1], csn_buf_str(&t->decoded));
}

static void
on_exit_event(csn_talk *t, csn_talk_stream *s, const csn_json *v)
{
  int64_t code = csn_json_int(v, "code", 0), sig = csn_json_int(v, "signal", 0);
  if (code < 0 || code > 255 || sig < 0 || sig > SIGNALS) {
    csn_talk_die(t, "the program told an exit code or a signal that cannot be");
    return;
  }
  s->exit =
      sig ? (csn_exit){.code = 128 + (int)sig, .signal = (int)sig} : (csn_exit){.code = (int)code};
  s->has_ended = true;
}

void
csn_talk_on_event(csn_talk *t, const csn_json *v)
{
  csn_str word = csn_json_str(v, "event", CSN_STR(""));
  bool is_output = csn_str_eq(word, CSN_STR("output"));
  if (csn_str_eq(word, CSN_STR("gone"))) {
    csn_talk_die(t, "the program says that the sandbox is gone");
    return;
  }
  if (!is_output && !csn_str_eq(word, CSN_STR("exit"))) {
    csn_talk_die(t, "the program sent an unknown event \"%.*s\"", (int)(word.n < 40 ? word.n : 40),
                 word.p);
    return;
  }
  csn_talk_stream *s = stream_of(t, v);
  if (s && is_output)
    on_output(t, s, v);
  else if (s)
    on_exit_event(t, s, v);
}

/* ---- what is read ---- */

/* Lock held: more may come for what was taken, now and then. */
static void
give_credit(csn_talk *t, csn_talk_stream *s, size_t n)
{
  char line[100];
  s->taken += (int64_t)n;
  if (s->has_ended || t->is_dead || s->taken < CSN_TALK_WINDOW / 4)
    return;
  s->credit += s->taken;
  snprintf(line, sizeof line, "{\"do\":\"credit\",\"of\":%lld,\"bytes\":%lld}", (long long)s->id,
           (long long)s->taken);
  s->taken = 0;
  csn_talk_tell(t, csn_cstr(line));
}

/* Lock held: what there is of one output. */
static int
hand_over(csn_talk *t, csn_talk_stream *s, csn_buf *out, size_t max, enum csn_stream *which)
{
  for (int i = 0; i < 2; i++) {
    size_t n = s->out[i].n, room = out->cap - out->n;
    n = n < max ? n : max;
    n = n < room ? n : room;
    if (!n)
      continue;
    csn_buf_add(out, csn_strn(s->out[i].p, n));
    csn_buf_drop(&s->out[i], n);
    *which = i ? CSN_STDERR : CSN_STDOUT;
    give_credit(t, s, n);
    return (int)n;
  }
  return 0;
}

static int
lost(const csn_talk *t, csn_err *err)
{
  return csn_fail(err, CSN_E_SANDBOX, "%s", t->why.msg);
}

int
csn_talk_read(csn_talk *t, csn_talk_stream *s, csn_scope *sc, csn_buf *out, size_t max,
              enum csn_stream *which, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&t->lock);
  while (rc == 0 && (rc = hand_over(t, s, out, max, which)) == 0 && !s->has_ended)
    rc = t->is_dead ? lost(t, err) : csn_scope_wait(sc, &t->changed, &t->lock, err);
  pthread_mutex_unlock(&t->lock);
  return rc;
}

int
csn_talk_wait(csn_talk *t, csn_talk_stream *s, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&t->lock);
  while (rc == 0 && !s->has_ended)
    rc = t->is_dead ? lost(t, err) : csn_scope_wait(sc, &t->changed, &t->lock, err);
  if (rc == 0)
    *exit = s->exit;
  pthread_mutex_unlock(&t->lock);
  return rc;
}

/* ---- what is written ---- */

static int
write_some(csn_talk *t, csn_scope *sc, int64_t of, csn_str bytes, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2u * CSN_TALK_CHUNK);
  const csn_json *ok;
  csn_talk_ask_init(t, &q, "write");
  csn_jw_key(&q.w, "of");
  csn_jw_int(&q.w, of);
  csn_base64_add(&text, bytes);
  csn_jw_key(&q.w, bytes.n ? "data" : "end");
  if (bytes.n)
    csn_jw_str(&q.w, csn_buf_str(&text));
  else
    csn_jw_bool(&q.w, true);
  return csn_talk_ask_send(t, sc, &q, a, &ok, err);
}

int
csn_talk_write(csn_talk *t, csn_scope *sc, int64_t of, csn_str bytes, csn_err *err)
{
  size_t at = 0;
  int rc;
  do {
    size_t n = bytes.n - at < CSN_TALK_CHUNK ? bytes.n - at : CSN_TALK_CHUNK;
    rc = write_some(t, sc, of, csn_strn(bytes.p + at, n), err);
    at += n;
  } while (rc == 0 && at < bytes.n);
  return rc < 0 ? rc : bytes.n > INT32_MAX ? INT32_MAX : (int)bytes.n;
}
