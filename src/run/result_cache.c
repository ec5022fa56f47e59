/* SPDX-License-Identifier: Apache-2.0
 * result_cache.c - see result_cache.h. */
#include "run/result_cache.h"

#include "run/policy.h"

/* Lengths first, so that no two calls look alike. */
static void
add_text(csn_sha256 *h, csn_str s)
{
  uint64_t n = s.n;
  csn_sha256_add(h, csn_strn((const char *)&n, sizeof n));
  csn_sha256_add(h, s);
}

csn_digest
csn_result_call(csn_str agent, csn_str tool, const csn_json *args)
{
  csn_policy_call c = {.args = args};
  csn_digest scope = csn_policy_scope(&c);
  csn_sha256 h;
  csn_sha256_init(&h);
  add_text(&h, agent);
  add_text(&h, tool);
  add_text(&h, csn_strn((const char *)scope.b, sizeof scope.b));
  return csn_sha256_end(&h);
}

void
csn_results_keep(csn_results *r, int64_t seq, const csn_json *data)
{
  struct csn_kept_result k = {.seq = seq};
  const csn_json *item = csn_json_at(csn_json_get(data, "items"), 0);
  if (!item || !csn_digest_from_hex(csn_json_str(data, "call", CSN_STR("")), &k.call))
    return;
  k.item = item->raw;
  if (!r->v)
    r->v = csn_alloc(CSN_RESULTS_KEPT * sizeof *r->v);
  r->v[r->n++ % CSN_RESULTS_KEPT] = k;
}

const struct csn_kept_result *
csn_results_find(const csn_results *r, const csn_digest *call)
{
  size_t n = r->n < CSN_RESULTS_KEPT ? r->n : CSN_RESULTS_KEPT;
  for (size_t i = 1; i <= n; i++) {
    const struct csn_kept_result *k = &r->v[(r->n - i) % CSN_RESULTS_KEPT];
    if (memcmp(k->call.b, call->b, sizeof call->b) == 0)
      return k;
  }
  return NULL;
}

void
csn_results_fini(csn_results *r)
{
  free(r->v);
  *r = (csn_results){0};
}
