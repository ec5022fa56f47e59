/* SPDX-License-Identifier: Apache-2.0
 *
 * prices.h - what models cost.
 *
 * prices.json is a dated table; `prices` of caisson.yaml comes before it.  The
 * prices that a run uses are written into its record 0, so that what it spent
 * is the same on every machine and in every year.  Amounts are whole
 * picodollars (1e-12 USD): no rounding adds up.
 */
#ifndef CSN_RUN_PRICES_H
#define CSN_RUN_PRICES_H

#include "caisson/model.h"

struct csn_project;

/* Picodollars per token. */
typedef struct csn_price {
  bool is_known;
  int64_t input, cached, output;
  int64_t cache_write, cache_write_1h; /* of input that is written to the provider's cache */
  int64_t max_output;                  /* tokens of one reply that the model can give; 0: unknown */
} csn_price;

/* By the model's full name ("openai/gpt-5"); models of a file are free. */
csn_price csn_price_find(const struct csn_project *p, csn_str model);
/* Of one entry: {"input","cached"?,"cache_write"?,"cache_write_1h"?,"output","max_output"?},
 * USD per 1,000,000; what is not there costs what `input` does. */
int csn_price_from_json(const csn_json *v, csn_price *out, csn_err *err) CSN_MUST;
/* As record 0 holds it, and back; is_known is false when v is NULL. */
void csn_price_to_json(const csn_price *p, csn_jw *w);
csn_price csn_price_of(const csn_json *v);
/* What a token of input costs at most; for_hour: it may be written to a cache for so long. */
int64_t csn_price_input_most(const csn_price *p, bool for_hour);
/* Of a reply, at most INT64_MAX. */
int64_t csn_price_cost(const csn_price *p, const csn_usage *u);

#endif
