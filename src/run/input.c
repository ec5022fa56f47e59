/* SPDX-License-Identifier: Apache-2.0
 * input.c - see input.h. */
#include "run/input.h"

#include "model/items.h"
#include "model/transcript.h"
#include "run/items.h"

enum { ITEMS_MAX = 10000 };

#define TEXT_OF(s) (int)((s).n < 60 ? (s).n : 60), (s).p

static bool
is(const csn_json *v, const char *key, const char *word)
{
  return csn_str_eq(csn_json_str(v, key, CSN_STR("")), csn_cstr(word));
}

/* ---- content ---- */

static bool
is_address(csn_str url)
{
  return csn_str_starts(url, CSN_STR("https://")) || csn_str_starts(url, CSN_STR("http://"));
}

static int
check_image(const csn_json *part, csn_err *err)
{
  csn_str url = csn_json_str(part, "image_url", CSN_STR("")), type, data;
  bool is_data = csn_data_url_cut(url, &type, &data);
  if (is_data ? csn_str_starts(type, CSN_STR("image/")) && data.n : is_address(url))
    return 0;
  if (!url.n && csn_json_str(part, "file_id", CSN_STR("")).n)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "input_image: expected image_url with data:image/TYPE;base64,... or an address, "
                  "or a file_id");
}

static int
check_file(const csn_json *part, csn_err *err)
{
  csn_str data = csn_json_str(part, "file_data", CSN_STR("")), type, bytes;
  if (data.n ? csn_data_url_cut(data, &type, &bytes)
             : is_address(csn_json_str(part, "file_url", CSN_STR(""))) ||
                   csn_json_str(part, "file_id", CSN_STR("")).n)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "input_file: expected file_data with data:TYPE;base64,..., a file_url or a "
                  "file_id");
}

/* Of a message of the user, or one that only has texts. */
static int
check_part(const csn_json *part, bool is_of_user, csn_err *err)
{
  csn_str type = csn_json_str(part, "type", CSN_STR(""));
  bool has_text = csn_json_is(csn_json_get(part, "text"), CSN_JSON_STRING);
  if (csn_str_eq(type, CSN_STR("input_text")) || csn_str_eq(type, CSN_STR("output_text")))
    return has_text ? 0 : csn_fail(err, CSN_E_INVALID, "expected a `text`");
  if (csn_str_eq(type, CSN_STR("refusal")) && !is_of_user)
    return 0;
  if (csn_str_eq(type, CSN_STR("input_image")) && is_of_user)
    return check_image(part, err);
  if (csn_str_eq(type, CSN_STR("input_file")) && is_of_user)
    return check_file(part, err);
  if (csn_str_eq(type, CSN_STR("input_audio")) && is_of_user)
    return 0;
  return csn_fail(err, CSN_E_INVALID, "unknown content '%.*s'; expected input_text%s",
                  TEXT_OF(type),
                  is_of_user ? ", input_image, input_file or input_audio" : " or output_text");
}

static int
check_parts(const csn_json *list, bool is_of_user, const char *where, csn_err *err)
{
  size_t i = 0;
  if (!csn_json_is(list, CSN_JSON_ARRAY))
    return csn_fail(err, CSN_E_INVALID, "%s: expected a list", where);
  csn_json_each (part, list) {
    int rc = check_part(part, is_of_user, err);
    if (rc < 0)
      return csn_wrap(err, rc, "%s[%zu]", where, i);
    i++;
  }
  return 0;
}

/* ---- items ---- */

static bool
is_call(const csn_json *v)
{
  return is(v, "type", "function_call") || is(v, "type", "custom_tool_call");
}

static bool
is_result(const csn_json *v)
{
  return is(v, "type", "function_call_output") || is(v, "type", "custom_tool_call_output");
}

static int
check_message(const csn_json *v, csn_err *err)
{
  static const char *const roles[] = {"user", "assistant", "system", "developer", NULL};
  csn_str role = csn_json_str(v, "role", CSN_STR(""));
  const csn_json *content = csn_json_get(v, "content");
  if (!csn_str_is_one_of(role, roles))
    return csn_fail(err, CSN_E_INVALID,
                    "role '%.*s': expected user, assistant, system or developer", TEXT_OF(role));
  if (csn_json_is(content, CSN_JSON_STRING))
    return 0;
  return check_parts(content, csn_str_eq(role, CSN_STR("user")), "content", err);
}

/* The other half of v in the list, from one side of it on. */
static bool
has_partner(const csn_json *list, const csn_json *v, bool (*half)(const csn_json *v), bool is_after)
{
  csn_str id = csn_json_str(v, "call_id", CSN_STR(""));
  bool is_past = false;
  csn_json_each (o, list) {
    if (o == v)
      is_past = true;
    else if (is_past == is_after && half(o) &&
             csn_str_eq(csn_json_str(o, "call_id", CSN_STR("")), id))
      return true;
  }
  return false;
}

static int
check_item(const csn_json *list, const csn_json *v, csn_err *err)
{
  csn_str type = csn_json_str(v, "type", CSN_STR("message"));
  if (!csn_json_is(v, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_INVALID, "expected an object");
  if (csn_str_eq(type, CSN_STR("message")))
    return check_message(v, err);
  if (csn_str_eq(type, CSN_STR("item_reference")))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "an item_reference names what a server keeps; write the item itself");
  csn_str id = csn_json_str(v, "call_id", CSN_STR(""));
  if ((is_call(v) || is_result(v)) && !id.n)
    return csn_fail(err, CSN_E_INVALID, "%.*s: expected a call_id", TEXT_OF(type));
  if (is_call(v) && !csn_json_str(v, "name", CSN_STR("")).n)
    return csn_fail(err, CSN_E_INVALID, "%.*s: expected a name", TEXT_OF(type));
  if (is_call(v) && !has_partner(list, v, is_result, true))
    return csn_fail(err, CSN_E_INVALID, "the call %.*s has no result after it", TEXT_OF(id));
  if (is_result(v) && !has_partner(list, v, is_call, false))
    return csn_fail(err, CSN_E_INVALID, "the result of %.*s has no call before it", TEXT_OF(id));
  return 0;
}

int
csn_input_write_items(csn_str items, csn_jw *w, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *list;
  size_t i = 0;
  int rc = csn_json_parse(a, items, &list, err);
  if (rc == 0 && (list->kind != CSN_JSON_ARRAY || list->n > ITEMS_MAX))
    rc = csn_fail(err, CSN_E_INVALID, "expected a list of at most %d", ITEMS_MAX);
  if (rc < 0)
    return csn_wrap(err, rc, "items");
  csn_json_each (v, list) {
    rc = check_item(list, v, err);
    if (rc < 0)
      return csn_wrap(err, rc, "items[%zu]", i);
    csn_jw_raw(w, csn_item_clean(a, v));
    i++;
  }
  return 0;
}

static int
write_message(const struct csn_input *in, csn_jw *w, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *list;
  int rc = csn_json_parse(a, in->parts, &list, err);
  rc = rc < 0 ? csn_wrap(err, rc, "parts") : check_parts(list, true, "parts", err);
  if (rc < 0)
    return rc;
  csn_jw_obj(w);
  csn_jw_key(w, "role");
  csn_jw_strz(w, "user");
  csn_jw_key(w, "content");
  csn_jw_arr(w);
  if (in->text.n) {
    csn_jw_obj(w);
    csn_jw_key(w, "type");
    csn_jw_strz(w, "input_text");
    csn_jw_key(w, "text");
    csn_jw_str(w, in->text);
    csn_jw_end(w);
  }
  csn_json_each (part, list)
    csn_jw_value(w, part);
  csn_jw_end(w);
  csn_jw_end(w);
  return 0;
}

int
csn_input_write(const struct csn_input *in, csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_arr(&w);
  int rc = in->items.n ? csn_input_write_items(in->items, &w, err) : 0;
  if (rc == 0 && in->parts.n)
    rc = write_message(in, &w, err);
  else if (in->text.n || !in->items.n)
    csn_item_user(&w, in->text);
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_wrap(err, csn_jw_done(&w, err), "the input");
}

void
csn_input_task(const csn_json *items, csn_buf *out)
{
  const csn_json *last = NULL;
  csn_json_each (item, items)
    if (is(item, "role", "user"))
      last = item;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  if (last)
    csn_buf_add(out, csn_item_text(a, last));
}
