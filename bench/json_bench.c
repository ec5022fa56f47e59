/* SPDX-License-Identifier: Apache-2.0
 *
 * json_bench.c - JSON as a stream needs it: 20,000 delta events of about 214
 * bytes parsed, spliced and quoted.  The best of several rounds, beside the
 * floor: one memchr over the same bytes in the same run. */
#include <stdio.h>

#include "bench.h"
#include "caisson/json.h"
#include "caisson/scope.h"

enum { EVENTS = 20000, ROUNDS = 25 };

static const char event[] =
    "{\"type\":\"response.output_text.delta\",\"sequence_number\":%d,\"item_id\":"
    "\"msg_68f1c2a4b7d08191a3e5c9d2f4b6a8c0e1\",\"output_index\":0,\"content_index\":0,"
    "\"delta\":\" word%d\",\"logprobs\":[],\"obfuscation\":\"q7Zr2LwXy9Kd\"}";

struct data {
  csn_buf text;
  csn_str events[EVENTS];
  csn_arena *arena;
  csn_buf out;
};

static size_t
parse_all(struct data *d)
{
  size_t sum = 0;
  for (size_t i = 0; i < EVENTS; i++) {
    const csn_json *v;
    csn_arena_clear(d->arena);
    if (csn_json_parse(d->arena, d->events[i], &v, NULL) < 0)
      abort();
    sum += v->n;
  }
  return sum;
}

static size_t
read_delta(struct data *d)
{
  size_t sum = 0;
  for (size_t i = 0; i < EVENTS; i++) {
    const csn_json *v;
    csn_arena_clear(d->arena);
    if (csn_json_parse(d->arena, d->events[i], &v, NULL) < 0)
      abort();
    sum += csn_json_str(v, "type", CSN_STR("")).n + csn_json_str(v, "delta", CSN_STR("")).n;
  }
  return sum;
}

static size_t
splice_all(struct data *d)
{
  csn_jw w;
  csn_buf_clear(&d->out);
  csn_jw_init(&w, &d->out);
  csn_jw_arr(&w);
  for (size_t i = 0; i < EVENTS; i++)
    csn_jw_raw(&w, d->events[i]);
  csn_jw_end(&w);
  return d->out.n;
}

static size_t
quote_all(struct data *d)
{
  csn_buf_clear(&d->out);
  for (size_t i = 0; i < EVENTS; i++)
    csn_json_quote(&d->out, d->events[i]);
  return d->out.n;
}

static size_t
build_all(struct data *d)
{
  csn_jw w;
  csn_buf_clear(&d->out);
  csn_jw_init(&w, &d->out);
  csn_jw_arr(&w);
  for (int i = 0; i < EVENTS; i++) {
    csn_jw_obj(&w);
    csn_jw_key(&w, "type");
    csn_jw_strz(&w, "function_call_output");
    csn_jw_key(&w, "call_id");
    csn_jw_strz(&w, "call_68f1c2a4b7d08191a3e5c9d2f4b6a8c0");
    csn_jw_key(&w, "index");
    csn_jw_int(&w, i);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  return d->out.n;
}

static size_t
floor_memchr(struct data *d)
{
  size_t sum = 0;
  for (size_t i = 0; i < EVENTS; i++)
    sum += memchr(d->events[i].p, '\n', d->events[i].n) != NULL;
  return sum;
}

static double
best_ms(size_t (*fn)(struct data *d), struct data *d)
{
  int64_t best = INT64_MAX;
  volatile size_t sink = 0;
  for (int i = 0; i < ROUNDS; i++) {
    int64_t from = csn_now_ns();
    sink = sink + fn(d);
    int64_t took = csn_now_ns() - from;
    best = took < best ? took : best;
  }
  return (double)best / 1e6;
}

int
main(void)
{
  static const struct {
    const char *what;
    size_t (*fn)(struct data *d);
  } rows[] = {{"parse", parse_all},
              {"parse and read two members", read_delta},
              {"splice raw", splice_all},
              {"quote as a string", quote_all},
              {"write objects", build_all}};
  static struct data d;
  d.text = CSN_BUF(64u << 20);
  d.out = CSN_BUF(64u << 20);
  size_t ends[EVENTS];
  for (int i = 0; i < EVENTS; i++) {
    csn_buf_addf(&d.text, event, 10000 + i, i);
    ends[i] = d.text.n;
  }
  for (size_t i = 0, from = 0; i < EVENTS; from = ends[i++])
    d.events[i] = csn_strn(d.text.p + from, ends[i] - from);
  d.arena = csn_arena_new(1u << 20);
  double floor = best_ms(floor_memchr, &d);
  printf("%d events, %zu bytes each, best of %d\n", EVENTS, d.text.n / EVENTS, ROUNDS);
  printf("%-28s %8.3f ms\n", "memchr (floor)", floor);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    double ms = best_ms(rows[i].fn, &d);
    printf("%-28s %8.3f ms %6.0f ns each %6.1f x floor\n", rows[i].what, ms, ms * 1e6 / EVENTS,
           ms / floor);
    if (i == 0)
      bench_sample("json-parse", "ours", ms);
  }
  csn_arena_free(d.arena);
  csn_buf_fini(&d.text);
  csn_buf_fini(&d.out);
  return 0;
}
