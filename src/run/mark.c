/* SPDX-License-Identifier: Apache-2.0
 * mark.c - see mark.h. */
#include "run/mark.h"

#define KEY "caisson_untrusted"

enum { ITEM_MAX_BYTES = 64 << 20 };

csn_str
csn_mark_put(csn_arena *a, const csn_json *item, csn_str why)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX_BYTES);
  csn_jw w;
  if (!why.n && !csn_json_get(item, KEY))
    return item->raw;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_json_each (m, item) {
    if (csn_str_eq(m->key, CSN_STR(KEY))) /* what a model wrote is no mark */
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  if (why.n) {
    csn_jw_key(&w, KEY);
    csn_jw_str(&w, why);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? item->raw : csn_arena_dup(a, csn_buf_str(&b));
}

bool
csn_mark_is_reason(csn_str why)
{
  static const char *const reasons[] = {"tool", "files", "web", "agent", NULL};
  return csn_str_is_one_of(why, reasons);
}

csn_str
csn_mark_take(csn_arena *a, const csn_json **item)
{
  const csn_json *mark = csn_json_get(*item, KEY), *bare;
  csn_str why = CSN_STR("");
  if (mark) /* whoever wrote another word meant no trust */
    why = csn_mark_is_reason(mark->text) ? mark->text : CSN_STR("agent");
  if (mark && csn_json_parse(a, csn_mark_put(a, *item, CSN_STR("")), &bare, NULL) == 0)
    *item = bare;
  return why;
}
