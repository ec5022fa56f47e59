/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - a journal as the model.
 *
 * Every event of a journal lists the items that it added to the conversation.
 * Read in order they are the conversation, and what stands before the n-th
 * "model_replied" is what the model was asked then.  So a request is compared
 * with that list item by item, and answered with what the model said to it.
 * What differs between two runs that did the same is left out of the
 * comparison: chunk ids, wall times and session ids in the frame of a
 * command's result.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "model/backends.h"
#include "model/transcript.h"

enum { JOURNAL_MAX_BYTES = 512 << 20, SCRATCH_MAX_BYTES = 1 << 30, SHOWN_BYTES = 80 };

/* The recording, read up to the reply that is wanted. */
struct tape {
  csn_arena *arena;
  const csn_json **items; /* the conversation so far */
  size_t n, room;
  int64_t turn;          /* replies so far */
  const csn_json *reply; /* data of the "model_replied" that answers, or NULL */
};

static int
read_file(const char *path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "replay: cannot read %s (make it with 'caisson show RUN --json')",
                          path);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "replay: %s is not a regular file", path);
  return csn_wrap(err, csn_fd_read_all(fd, out, err), "replay: %s", path);
}

static void
add_items(struct tape *t, const csn_json *data)
{
  csn_json_each (item, csn_json_get(data, "items")) {
    if (item->kind != CSN_JSON_OBJECT)
      return; /* an effect's "items" are seqs of records */
    if (t->n == t->room) {
      t->room = t->room ? 2 * t->room : 64;
      t->items = csn_realloc(t->items, t->room, sizeof *t->items);
    }
    t->items[t->n++] = item;
  }
}

/* Plays records until the model was asked with `n_items` or more. */
static int
play(struct tape *t, csn_str text, size_t n_items, csn_err *err)
{
  csn_str line;
  for (size_t number = 1; csn_str_line(&text, &line); number++) {
    if (!csn_str_trim(line).n)
      continue;
    const csn_json *v;
    csn_str kind = {0};
    int rc = csn_json_parse(t->arena, line, &v, err);
    if (rc == 0)
      rc = csn_json_need_str(v, "kind", &kind, err);
    if (rc < 0)
      return csn_wrap(err, rc, "line %zu", number);
    const csn_json *data = csn_json_get(v, "data");
    bool is_summary = csn_json_get(data, "summary") != NULL; /* of no turn */
    if (csn_str_eq(kind, CSN_STR("model_replied")) && !is_summary) {
      t->turn++;
      t->reply = data;
      if (t->n >= n_items)
        return 0;
    }
    add_items(t, data);
  }
  return csn_fail(err, CSN_E_REPLAY,
                  "turn %lld: the recording ends after %lld turns, and the run goes on",
                  (long long)t->turn + 1, (long long)t->turn);
}

/* ---- comparing ---- */

/* Text without what differs from run to run. */
static void
add_stable(csn_buf *out, csn_str text)
{
  csn_seen s = {0};
  csn_seen_frame(text, &s);
  if (s.text.p != text.p)
    csn_buf_addf(out, "exit %lld %d, running %d\n", (long long)s.exit, s.has_exit, s.session >= 0);
  csn_buf_add(out, s.text);
}

static bool
same_text(csn_arena *a, const csn_json *x, const csn_json *y)
{
  csn_auto(csn_buf_finip) csn_buf p = CSN_BUF(JOURNAL_MAX_BYTES);
  csn_auto(csn_buf_finip) csn_buf q = CSN_BUF(JOURNAL_MAX_BYTES);
  add_stable(&p, csn_item_text(a, x));
  add_stable(&q, csn_item_text(a, y));
  return csn_str_eq(csn_buf_str(&p), csn_buf_str(&q));
}

static bool
same_member(const csn_json *x, const csn_json *y, const char *key)
{
  return csn_str_eq(csn_json_str(x, key, CSN_STR("")), csn_json_str(y, key, CSN_STR("")));
}

static bool
same_item(csn_arena *a, const csn_json *x, const csn_json *y)
{
  if (csn_item_side(x) != csn_item_side(y) || !same_member(x, y, "call_id"))
    return false;
  if (csn_item_side(x) == CSN_SIDE_MODEL)
    return same_member(x, y, "name") && same_member(x, y, "arguments") &&
           same_member(x, y, "input");
  return same_text(a, x, y);
}

static csn_str
shown(csn_arena *a, const csn_json *item)
{
  csn_seen s = {0};
  csn_seen_frame(csn_item_text(a, item), &s);
  return csn_strn(s.text.p, s.text.n < SHOWN_BYTES ? s.text.n : SHOWN_BYTES);
}

static int
compare(const struct tape *t, const csn_transcript *now, csn_err *err)
{
  for (size_t i = 0; i < now->n_items && i < t->n; i++) {
    if (same_item(t->arena, t->items[i], now->items[i]))
      continue;
    csn_str was = shown(t->arena, t->items[i]), is = shown(t->arena, now->items[i]);
    return csn_fail(err, CSN_E_REPLAY,
                    "turn %lld: item %zu of the conversation differs from the recording: "
                    "'%.*s' now, '%.*s' then",
                    (long long)t->turn, i + 1, (int)is.n, is.n ? is.p : "", (int)was.n,
                    was.n ? was.p : "");
  }
  if (now->n_items != t->n)
    return csn_fail(err, CSN_E_REPLAY,
                    "turn %lld: the conversation has %zu items, %zu in the recording",
                    (long long)t->turn, now->n_items, t->n);
  return 0;
}

/* ---- answering ---- */

static int
give(csn_arena *a, const csn_json *data, csn_model_reply *out, csn_err *err)
{
  const csn_json *items, *usage = csn_json_get(data, "usage");
  int rc = csn_json_need(data, "items", CSN_JSON_ARRAY, &items, err);
  if (rc < 0)
    return rc;
  *out = (csn_model_reply){
      .usage = {.input_tokens = csn_json_int(usage, "input_tokens", 0),
                .cached_tokens = csn_json_int(usage, "cached_tokens", 0),
                .output_tokens = csn_json_int(usage, "output_tokens", 0),
                .reasoning_tokens = csn_json_int(usage, "reasoning_tokens", 0),
                .total_tokens = csn_json_int(usage, "total_tokens", 0),
                .cache_write_tokens = csn_json_int(usage, "cache_write_tokens", 0),
                .cache_write_1h_tokens = csn_json_int(usage, "cache_write_1h_tokens", 0)},
      .response_id = csn_arena_dup(a, csn_json_str(data, "response_id", CSN_STR(""))),
  };
  out->items = csn_arena_alloc(a, (items->n + 1) * sizeof *out->items);
  csn_json_each (item, items) {
    csn_str text = out->items ? csn_arena_dup(a, item->raw) : CSN_STR("");
    if (!text.n)
      return csn_fail(err, CSN_E_LIMIT, "the recorded reply is too large");
    out->items[out->n_items++] = text;
  }
  return 0;
}

static int
replay_answer(csn_arena *arena, csn_str source, const csn_model_request *rq, csn_model_reply *out,
              csn_err *err)
{
  if (!source.n || memchr(source.p, '\0', source.n))
    return csn_fail(err, CSN_E_INVALID, "model replay: expected a file, as in replay:run.jsonl");
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(SCRATCH_MAX_BYTES);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(JOURNAL_MAX_BYTES);
  const char *path = csn_arena_dup(tmp, source).p;
  struct tape tape = {.arena = tmp};
  csn_transcript now;
  int rc = read_file(path, &text, err);
  if (rc < 0)
    return rc;
  rc = csn_transcript_read(tmp, rq, &now, err);
  if (rc == 0)
    rc = play(&tape, csn_buf_str(&text), now.n_items, err);
  if (rc == 0)
    rc = compare(&tape, &now, err);
  if (rc == 0)
    rc = give(arena, tape.reply, out, err);
  free(tape.items);
  return csn_wrap(err, rc, "replay %s", path);
}

const csn_model_ops csn_model_replay = {
    .size = sizeof(csn_model_ops),
    .name = "replay",
    .answer = replay_answer,
};
