/* SPDX-License-Identifier: Apache-2.0
 * transcript.c - see transcript.h. */
#include "model/transcript.h"

enum { TEXT_MAX_BYTES = 64 << 20 };

static csn_str
type_of(const csn_json *item)
{
  return csn_json_str(item, "type", CSN_STR(""));
}

enum csn_item_side
csn_item_side(const csn_json *item)
{
  csn_str type = type_of(item), role = csn_json_str(item, "role", CSN_STR(""));
  if (csn_str_eq(role, CSN_STR("user")))
    return CSN_SIDE_USER;
  if (csn_str_eq(role, CSN_STR("assistant")) || csn_str_eq(type, CSN_STR("reasoning")) ||
      csn_str_ends(type, CSN_STR("_call")))
    return CSN_SIDE_MODEL;
  return csn_str_ends(type, CSN_STR("_output")) ? CSN_SIDE_TOOL : CSN_SIDE_OTHER;
}

csn_str
csn_item_text(csn_arena *a, const csn_json *item)
{
  const csn_json *v = csn_json_get(item, "output");
  if (!v)
    v = csn_json_get(item, "content");
  if (csn_json_is(v, CSN_JSON_STRING))
    return v->text;
  if (!csn_json_is(v, CSN_JSON_ARRAY))
    return CSN_STR("");
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(TEXT_MAX_BYTES);
  csn_json_each (part, v)
    csn_buf_add(&b, csn_json_str(part, "text", CSN_STR("")));
  return csn_arena_dup(a, csn_buf_str(&b));
}

void
csn_seen_frame(csn_str text, csn_seen *out)
{
  out->text = text;
  out->session = -1;
  if (!csn_str_starts(text, CSN_STR("Chunk ID: ")))
    return;
  csn_str rest = text, line, number;
  while (csn_str_line(&rest, &line)) {
    static const csn_str done = CSN_STR_INIT("Process exited with code "),
                         runs = CSN_STR_INIT("Process running with session ID ");
    if (csn_str_eq(line, CSN_STR("Output:"))) {
      out->text = rest;
      return;
    }
    if (csn_str_starts(line, done)) {
      number = csn_strn(line.p + done.n, line.n - done.n);
      out->has_exit = csn_str_int(number, &out->exit);
    } else if (csn_str_starts(line, runs)) {
      number = csn_strn(line.p + runs.n, line.n - runs.n);
      if (!csn_str_int(number, &out->session))
        out->session = -1;
    }
  }
}

static csn_str
tool_of(const csn_transcript *t, size_t before, csn_str call_id)
{
  for (size_t i = before; i-- > 0;) {
    const csn_json *v = t->items[i];
    if (csn_item_side(v) == CSN_SIDE_MODEL &&
        csn_str_eq(csn_json_str(v, "call_id", CSN_STR("")), call_id))
      return csn_json_str(v, "name", CSN_STR(""));
  }
  return CSN_STR("");
}

static void
add_seen(csn_arena *a, csn_transcript *t, size_t i)
{
  csn_seen *s = &t->seen[t->n_seen++];
  *s = (csn_seen){.call_id = csn_json_str(t->items[i], "call_id", CSN_STR(""))};
  s->tool = tool_of(t, i, s->call_id);
  csn_seen_frame(csn_item_text(a, t->items[i]), s);
}

static void
walk(csn_arena *a, csn_transcript *t)
{
  bool in_turn = false;
  t->is_waiting = true;
  for (size_t i = 0; i < t->n_items; i++) {
    const csn_json *v = t->items[i];
    enum csn_item_side side = csn_item_side(v);
    if (side == CSN_SIDE_MODEL) {
      if (!in_turn)
        t->turns[t->n_turns++] = CSN_STR("");
      csn_str *mark = &t->turns[t->n_turns - 1], id = csn_json_str(v, "call_id", CSN_STR(""));
      t->n_calls += id.n > 0;
      if (!mark->n)
        *mark = id.n ? id : csn_json_str(v, "id", CSN_STR(""));
      t->n_seen = 0;
    } else if (side == CSN_SIDE_TOOL) {
      add_seen(a, t, i);
      t->is_waiting = false;
    } else if (side == CSN_SIDE_USER) {
      t->task = csn_item_text(a, v);
      t->n_seen = 0;
      t->is_waiting = true;
    }
    in_turn = side == CSN_SIDE_MODEL || (in_turn && side == CSN_SIDE_OTHER);
  }
}

int
csn_transcript_read(csn_arena *a, const csn_model_request *rq, csn_transcript *out, csn_err *err)
{
  size_t n = rq->n_items;
  *out = (csn_transcript){.n_items = n};
  out->items = csn_arena_alloc(a, (n + 1) * sizeof *out->items);
  out->turns = csn_arena_alloc(a, (n + 1) * sizeof *out->turns);
  out->seen = csn_arena_alloc(a, (n + 1) * sizeof *out->seen);
  if (!out->items || !out->turns || !out->seen)
    return csn_fail(err, CSN_E_LIMIT, "the request has too many items (%zu)", n);
  for (size_t i = 0; i < n; i++) {
    int rc = csn_json_parse(a, rq->items[i], &out->items[i], err);
    if (rc == 0 && out->items[i]->kind != CSN_JSON_OBJECT)
      rc = csn_fail(err, CSN_E_INVALID, "expected a JSON object");
    if (rc < 0)
      return csn_wrap(err, rc, "item %zu of the request", i + 1);
  }
  walk(a, out);
  return 0;
}
