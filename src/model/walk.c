/* SPDX-License-Identifier: Apache-2.0
 * walk.c - see walk.h. */
#include "model/walk.h"

static bool
is(csn_str type, const char *word)
{
  return csn_str_eq(type, csn_cstr(word));
}

static int
write_item(const csn_item_writer *w, void *m, const csn_json *item, csn_err *err)
{
  csn_str type = csn_json_str(item, "type", CSN_STR("message"));
  if (is(type, "message"))
    return w->message(m, item, err);
  if (is(type, "function_call_output") || is(type, "custom_tool_call_output"))
    return w->output(m, item, err);
  if (is(type, "function_call") || is(type, "custom_tool_call"))
    w->call(m, item, is(type, "custom_tool_call"));
  else if (is(type, "reasoning") && w->thought)
    w->thought(m, item);
  else if (is(type, "item_reference") || is(type, "compaction"))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "%s cannot take an item of type %.*s; it belongs to the Responses API", w->api,
                    (int)type.n, type.p);
  return 0;
}

int
csn_items_write(const csn_item_writer *w, void *m, const csn_model_request *rq, csn_arena *scratch,
                size_t *left, csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; i < rq->n_items && rc == 0; i++) {
    const csn_json *item;
    if (!w->keeps_items)
      csn_arena_clear(scratch);
    if (left)
      *left = rq->n_items - i - 1;
    rc = csn_json_parse(scratch, rq->items[i], &item, err);
    if (rc == 0)
      rc = write_item(w, m, item, err);
    csn_wrap(err, rc, "input item %zu", i);
  }
  return rc;
}

bool
csn_part_is_text(const csn_json *part)
{
  csn_str type = csn_json_str(part, "type", CSN_STR(""));
  return is(type, "input_text") || is(type, "output_text") || is(type, "text");
}

enum csn_choice
csn_choice_of(const csn_model_request *rq, const csn_json **value)
{
  const csn_json *v = csn_json_get(rq->settings, "tool_choice");
  *value = v;
  if (rq->n_tools == 0 || !v || v->kind == CSN_JSON_NULL)
    return CSN_CHOICE_NONE_GIVEN;
  if (v->kind != CSN_JSON_STRING)
    return CSN_CHOICE_WIRE;
  return is(v->text, "auto")       ? CSN_CHOICE_AUTO
         : is(v->text, "none")     ? CSN_CHOICE_NONE
         : is(v->text, "required") ? CSN_CHOICE_ANY
                                   : CSN_CHOICE_TOOL;
}
