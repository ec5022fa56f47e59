/* SPDX-License-Identifier: Apache-2.0
 *
 * floor.c - the least that an agent loop could cost: one libcurl easy handle
 * that posts the same bytes over one connection and drops the replies.
 *
 *   floor NAME N     (samples NAME floor: CPU us a turn; NAME-wall floor)
 *
 * The run measured just before was the last to speak to the server at
 * OPENAI_BASE_URL: its last body holds those of all its turns, as each is the
 * one before with two items more.
 */
#include <curl/curl.h>

#include "bench.h"
#include "caisson/json.h"

enum { BODY_MAX = 256 << 20 };

static size_t
keep(char *p, size_t size, size_t n, void *user)
{
  csn_buf_add(user, csn_strn(p, size * n));
  return size * n;
}

static size_t
count(char *p, size_t size, size_t n, void *user)
{
  (void)p;
  *(size_t *)user += size * n;
  return size * n;
}

static void
must_curl(CURLcode rc)
{
  if (rc == CURLE_OK)
    return;
  fprintf(stderr, "floor: %s\n", curl_easy_strerror(rc));
  exit(1);
}

static void
get_last(CURL *c, const char *base, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(1000);
  csn_str b = csn_cstr(base);
  csn_buf_add(&url, csn_strn(b.p, b.n - strlen("/v1")));
  csn_buf_addz(&url, "/last");
  curl_easy_setopt(c, CURLOPT_URL, url.p);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
  must_curl(curl_easy_perform(c));
}

/* Where each turn's items end in the last body: after the 1st, 3rd, 5th item. */
static size_t *
find_ends(csn_arena *a, csn_str last, int64_t turns, size_t *tail)
{
  csn_err err;
  const csn_json *v;
  bench_must(csn_json_parse(a, last, &v, &err), &err);
  const csn_json *input = csn_json_get(v, "input");
  size_t *ends = csn_arena_alloc(a, (size_t)turns * sizeof *ends);
  int64_t i = 0;
  csn_json_each (item, input) {
    if (i % 2 == 0 && i / 2 < turns)
      ends[i / 2] = (size_t)(item->raw.p + item->raw.n - last.p);
    i++;
  }
  if (i != turns * 2 - 1) {
    fprintf(stderr, "floor: the last request has %lld items, expected %lld\n", (long long)i,
            (long long)(turns * 2 - 1));
    exit(1);
  }
  *tail = (size_t)(input->raw.p + input->raw.n - 1 - last.p);
  return ends;
}

int
main(int argc, char **argv)
{
  const char *base = getenv("OPENAI_BASE_URL");
  if (argc != 3 || !base || !csn_str_ends(csn_cstr(base), CSN_STR("/v1"))) {
    fprintf(stderr, "usage: OPENAI_BASE_URL=http://HOST:PORT/v1 floor NAME N\n");
    return 2;
  }
  int64_t turns = bench_number(argv[2], 1, 1000000);
  csn_auto(csn_buf_finip) csn_buf last = CSN_BUF(BODY_MAX);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(BODY_MAX);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(1000);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL *c = curl_easy_init();
  get_last(c, base, &last);
  size_t tail, got = 0;
  const size_t *ends = find_ends(a, csn_buf_str(&last), turns, &tail);
  csn_buf_addf(&url, "%s/responses", base);
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
  headers = curl_slist_append(headers, "Authorization: Bearer none");
  headers = curl_slist_append(headers, "Expect:");
  curl_easy_setopt(c, CURLOPT_URL, url.p);
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, count);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &got);
  double cpu = bench_cpu_us();
  int64_t began = csn_now_ns();
  csn_buf_add(&body, csn_strn(last.p, ends[0]));
  for (int64_t i = 0; i < turns; i++) {
    if (i > 0)
      csn_buf_add(&body, csn_strn(last.p + ends[i - 1], ends[i] - ends[i - 1]));
    csn_buf_add(&body, csn_strn(last.p + tail, last.n - tail));
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    must_curl(curl_easy_perform(c));
    body.n = ends[i];
  }
  bench_sample(argv[1], "floor", (bench_cpu_us() - cpu) / (double)turns);
  csn_buf_clear(&url);
  csn_buf_addf(&url, "%s-wall", argv[1]);
  bench_sample(url.p, "floor", bench_ms_since(began) * 1e3 / (double)turns);
  curl_easy_cleanup(c);
  curl_slist_free_all(headers);
  curl_global_cleanup();
  return 0;
}
