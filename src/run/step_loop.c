/* SPDX-License-Identifier: Apache-2.0
 * step_loop.c - a run that goes in circles is stopped.
 *
 * Of each call and its result a hash is kept, of the last LOOPS_KEPT different
 * ones, with how often it came since anything new came.  A pair that came
 * `repeats` times ends the run.  So the same test may fail again and again as
 * long as a patch that was not tried before stands between. */
#include <stdio.h>

#include "model/transcript.h"
#include "run/step_impl.h"

enum { RESULTS_MAX_BYTES = 1 << 20 };

static csn_str
text_of(const csn_json *item)
{
  const csn_json *output = csn_json_get(item, "output");
  return csn_json_is(output, CSN_JSON_STRING)  ? output->text
         : csn_json_is(output, CSN_JSON_ARRAY) ? output->raw
                                               : CSN_STR("");
}

/* False for a command that still runs: waiting for it is no circle. */
static bool
hash_pair(const csn_pending *p, const csn_json *items, unsigned char out[8])
{
  csn_sha256 h;
  csn_sha256_init(&h);
  csn_sha256_add(&h, csn_strn(p->name, strlen(p->name) + 1));
  csn_sha256_add(&h, csn_strn(p->arguments, strlen(p->arguments) + 1));
  csn_json_each (item, items) {
    csn_seen seen = {.session = -1};
    csn_seen_frame(text_of(item), &seen);
    if (seen.session >= 0)
      return false;
    csn_sha256_add(&h, csn_strn((const char *)&seen.exit, sizeof seen.exit));
    csn_sha256_add(&h, seen.text);
  }
  csn_digest d = csn_sha256_end(&h);
  memcpy(out, d.b, 8);
  return true;
}

static bool
count_pair(csn_state *st, const unsigned char hash[8], int64_t max)
{
  struct csn_loop_pair *v = st->loops;
  size_t i = 0;
  while (i < st->n_loops && memcmp(v[i].hash, hash, 8) != 0)
    i++;
  if (i < st->n_loops)
    return v[i].times < 255 && ++v[i].times >= max;
  for (size_t k = 0; k < st->n_loops; k++)
    v[k].times = 0;
  if (st->n_loops == CSN_LOOPS_KEPT)
    memmove(v, v + 1, --st->n_loops * sizeof *v);
  v[st->n_loops].times = 1;
  memcpy(v[st->n_loops++].hash, hash, 8);
  st->handoffs_back = 0;
  return false;
}

void
csn_step_watch_loops(struct csn_step *s, const csn_pending *p)
{
  csn_state *st = s->st;
  unsigned char hash[8];
  if (!st->cfg.max_repeats || !hash_pair(p, csn_json_get(s->ev->data, "items"), hash))
    return;
  st->results.cap = RESULTS_MAX_BYTES;
  for (size_t i = 0; i < sizeof hash; i++) {
    csn_buf_addc(&st->results, "0123456789abcdef"[hash[i] >> 4]);
    csn_buf_addc(&st->results, "0123456789abcdef"[hash[i] & 15]);
  }
  if (!count_pair(st, hash, st->cfg.max_repeats))
    return;
  csn_step_loop_found(s, "repeats", st->cfg.max_repeats, p->name, p->arguments);
}

void
csn_step_loop_found(struct csn_step *s, const char *what, int64_t times, const char *name,
                    const char *input)
{
  csn_state *st = s->st;
  char text[400];
  int n = snprintf(text, sizeof text,
                   "a loop: %s %.150s gave the same %lld times with nothing new in between; raise "
                   "limits.%s if that is no mistake",
                   name, input, (long long)times, what);
  if (st->outcome == CSN_RUN_RUNNING) {
    csn_step_set_text(&st->limit_what, csn_cstr(what));
    st->limit_max = st->limit_used = times;
  }
  csn_step_give_up(s, CSN_RUN_LIMIT, "loop_detected", csn_strn(text, (size_t)n));
}

static int
hex(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

/* Two digits a byte. */
static void
read_hex(const char *s, unsigned char *out, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = (unsigned char)(hex(s[2 * i]) << 4 | hex(s[2 * i + 1]));
}

void
csn_state_fold(csn_state *st, const csn_json *v)
{
  csn_str whole = csn_json_str(v, "loops", CSN_STR("")); /* of earlier versions: the history */
  unsigned char one[9];
  for (bool first = true; whole.n >= 18; whole = csn_strn(whole.p + 18, whole.n - 18)) {
    st->n_loops = first ? 0 : st->n_loops;
    first = false;
    read_hex(whole.p, one, 9);
    if (st->n_loops < CSN_LOOPS_KEPT) {
      memcpy(st->loops[st->n_loops].hash, one, 8);
      st->loops[st->n_loops++].times = one[8];
    }
  }
  csn_str results = csn_json_str(v, "results", CSN_STR(""));
  for (; results.n >= 16; results = csn_strn(results.p + 16, results.n - 16)) {
    read_hex(results.p, one, 8);
    (void)count_pair(st, one, INT64_MAX);
  }
}
