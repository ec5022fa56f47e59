/* SPDX-License-Identifier: Apache-2.0
 * request.c - see request.h. */
#include "model/request.h"

int
csn_body_init(csn_body *b, csn_buf *out, const csn_model_request *rq, csn_err *err)
{
  *b = (csn_body){.rq = rq, .extra = csn_json_get(rq->settings, "extra_body")};
  if (b->extra && b->extra->kind != CSN_JSON_OBJECT && b->extra->kind != CSN_JSON_NULL)
    return csn_fail(err, CSN_E_INVALID, "model settings: extra_body: expected an object, got %s",
                    csn_json_kind_name((enum csn_json_kind)b->extra->kind));
  csn_jw_init(&b->w, out);
  csn_jw_obj(&b->w);
  return 0;
}

bool
csn_body_key(csn_body *b, const char *key)
{
  if (csn_json_get(b->extra, key))
    return false;
  csn_jw_key(&b->w, key);
  return true;
}

void
csn_body_setting(csn_body *b, const char *setting, const char *key)
{
  const csn_json *v = csn_json_get(b->rq->settings, setting);
  if (v && v->kind != CSN_JSON_NULL && csn_body_key(b, key))
    csn_jw_value(&b->w, v);
}

int
csn_body_done(csn_body *b, csn_err *err)
{
  csn_json_each (m, b->extra) {
    if (m->kind == CSN_JSON_NULL)
      continue;
    csn_jw_keyn(&b->w, m->key);
    csn_jw_value(&b->w, m);
  }
  csn_jw_end(&b->w);
  return csn_wrap(err, csn_jw_done(&b->w, err), "the request to the model");
}

size_t
csn_kept_begin(const csn_model_request *rq, csn_buf *out)
{
  if (!rq->kept || !rq->kept->n_items || rq->kept->n_items > rq->n_items ||
      rq->kept->items_end > out->n || out->over)
    csn_buf_clear(out);
  else
    out->n = rq->kept->items_end;
  return out->n;
}

size_t
csn_kept_items(const csn_model_request *rq, csn_buf *out, size_t head_at, bool custom_tools)
{
  size_t n = out->n - head_at;
  csn_kept_body old = rq->kept ? *rq->kept : (csn_kept_body){0};
  if (rq->kept)
    *rq->kept = (csn_kept_body){0}; /* until this one is whole */
  if (!head_at || out->over)
    return 0;
  if (n == old.items_at && custom_tools == old.custom_tools &&
      memcmp(out->p, out->p + head_at, n) == 0) {
    out->n = head_at;
    return old.n_items;
  }
  memmove(out->p, out->p + head_at, n);
  out->n = n;
  return 0;
}
