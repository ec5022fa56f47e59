/* SPDX-License-Identifier: Apache-2.0
 * refusal.c - see refusal.h. */
#include "run/refusal.h"

#include "run/items.h"

enum { ITEMS_MAX_BYTES = 256 << 20 };

bool
csn_refusal_of(const csn_model_reply *reply, csn_arena *scratch, csn_buf *why)
{
  const csn_json *v;
  csn_jw w;
  csn_auto(csn_buf_finip) csn_buf items = CSN_BUF(ITEMS_MAX_BYTES);
  csn_jw_init(&w, &items);
  csn_jw_arr(&w);
  csn_jw_raws(&w, reply->items, reply->n_items);
  csn_jw_end(&w);
  if (csn_jw_done(&w, NULL) < 0 || csn_json_parse(scratch, csn_buf_str(&items), &v, NULL) < 0)
    return false;
  struct csn_reply_shape shape = csn_reply_shape_of(v);
  csn_buf_add(why, shape.refusal);
  return shape.refusal.n && !shape.n_calls;
}

void
csn_refusal_write(csn_buf *out, int64_t effect, const char *model, csn_str why,
                  const csn_usage *usage)
{
  csn_err said;
  csn_jw w;
  csn_fail(&said, CSN_E_MODEL, "model %s refused: %.*s", model, (int)(why.n < 300 ? why.n : 300),
           why.p);
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, effect);
  csn_jw_key(&w, "error");
  csn_jw_obj(&w);
  csn_jw_key(&w, "code");
  csn_jw_strz(&w, csn_code_name(said.code));
  csn_jw_key(&w, "message");
  csn_jw_strz(&w, said.msg);
  csn_jw_end(&w);
  csn_jw_key(&w, "refused");
  csn_jw_bool(&w, true);
  csn_jw_key(&w, "usage");
  csn_usage_to_json(usage, &w);
  csn_jw_end(&w);
}
