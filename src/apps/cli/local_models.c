/* SPDX-License-Identifier: Apache-2.0
 *
 * local_models.c - see local_models.h.
 *
 * A server is who answers GET /v1/models on loopback with a list; all are asked
 * at the same time.  What is found is only shown: nothing is ever sent there
 * that the user did not ask for.
 */
#include "local_models.h"

#include <pthread.h>

#include "base/loop.h"
#include "wire/http.h"

enum { WAIT_MS = 1000, ANSWER_MAX = 1 << 20, SHOWN_MAX = 20, NAME_MAX_BYTES = 200 };

static const struct server {
  const char *name, *base_url;
} servers[] = {
    {"Ollama", "http://127.0.0.1:11434/v1"},
    {"llama.cpp", "http://127.0.0.1:8080/v1"},
    {"vLLM", "http://127.0.0.1:8000/v1"},
};

struct answers {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  int pending;
};

struct question {
  struct answers *all;
  csn_http_call *call;
  int status;
  csn_buf body;
};

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  (void)headers;
  (void)n;
  ((struct question *)user)->status = status;
}

static int
on_body(void *user, csn_str bytes)
{
  struct question *q = user;
  csn_buf_add(&q->body, bytes);
  return q->body.over ? CSN_E_LIMIT : 0;
}

static void
on_done(void *user, const csn_err *err)
{
  struct question *q = user;
  if (err)
    q->status = 0;
  pthread_mutex_lock(&q->all->lock);
  q->all->pending--;
  pthread_cond_signal(&q->all->cond);
  pthread_mutex_unlock(&q->all->lock);
}

static void
ask(csn_http *http, struct question *q, const struct server *s)
{
  static const csn_http_sink sink = {.head = on_head, .body = on_body, .done = on_done};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_http_req req = {
      .method = "GET", .url = csn_arena_printf(a, "%s/models", s->base_url), .timeout_ms = WAIT_MS};
  pthread_mutex_lock(&q->all->lock);
  q->all->pending++;
  pthread_mutex_unlock(&q->all->lock);
  if (csn_http_start(http, &req, &sink, q, &q->call, NULL) < 0)
    on_done(q, &(csn_err){.code = CSN_E_UNAVAILABLE});
}

/* A name that can be pasted into a command: of a server, so anything. */
static bool
is_plain(csn_str name)
{
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && !strchr("._-+:/@", c))
      return false;
  }
  return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

static void
write_server(csn_jw *w, const struct server *s, const csn_json *list)
{
  csn_str first = {NULL, 0};
  int shown = 0;
  csn_jw_key(w, s->name);
  csn_jw_obj(w);
  csn_jw_key(w, "base_url");
  csn_jw_strz(w, s->base_url);
  csn_jw_key(w, "models");
  csn_jw_arr(w);
  csn_json_each (m, list) {
    csn_str id = csn_json_str(m, "id", CSN_STR(""));
    if (!is_plain(id) || shown++ >= SHOWN_MAX)
      continue;
    if (!first.n)
      first = id;
    csn_jw_str(w, id);
  }
  csn_jw_end(w);
  if (first.n) {
    csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(1000);
    csn_buf_addf(&line, "OPENAI_BASE_URL=%s caisson run --model chat/%.*s TASK", s->base_url,
                 (int)first.n, first.p);
    csn_jw_key(w, "try");
    csn_jw_str(w, csn_buf_str(&line));
  }
  csn_jw_end(w);
}

static void
write_answers(csn_jw *w, const struct question *questions)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(16 << 20);
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(servers); i++) {
    const csn_json *v;
    if (questions[i].status != 200 ||
        csn_json_parse(a, csn_buf_str(&questions[i].body), &v, NULL) < 0)
      continue;
    const csn_json *list = csn_json_get(v, "data");
    if (csn_json_is(list, CSN_JSON_ARRAY))
      write_server(w, &servers[i], list);
  }
  csn_jw_end(w);
}

void
cli_local_models(csn_jw *w)
{
  struct answers all = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
  struct question questions[CSN_COUNT(servers)] = {0};
  csn_loop *loop;
  if (csn_loop_new(&loop, NULL) < 0) {
    csn_jw_obj(w);
    csn_jw_end(w);
    return;
  }
  csn_http *http = csn_http_new(loop);
  for (size_t i = 0; i < CSN_COUNT(servers); i++) {
    questions[i] = (struct question){.all = &all, .body = CSN_BUF(ANSWER_MAX)};
    ask(http, &questions[i], &servers[i]);
  }
  pthread_mutex_lock(&all.lock);
  while (all.pending)
    pthread_cond_wait(&all.cond, &all.lock);
  pthread_mutex_unlock(&all.lock);
  csn_http_free(http);
  csn_loop_free(loop);
  write_answers(w, questions);
  for (size_t i = 0; i < CSN_COUNT(servers); i++)
    csn_buf_fini(&questions[i].body);
}
