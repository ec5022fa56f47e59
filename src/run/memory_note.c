/* SPDX-License-Identifier: Apache-2.0
 * memory_note.c - a run that has ended, as a line of its rollout. */
#include <stdio.h>

#include "core/fd.h"
#include "model/transcript.h"
#include "run/box_network.h"
#include "run/clean_text.h"
#include "run/driver.h"
#include "run/memory.h"
#include "run/memory_store.h"
#include "run/redact.h"

enum { ITEM_MAX = 64 << 10, LINE_MAX_BYTES = 32 << 20 };

bool
csn_memory_is_made(const csn_agent *a)
{
  return csn_json_is(csn_json_get(a->memory, "generate"), CSN_JSON_OBJECT);
}

static bool
is_kept(const csn_json *item)
{
  static const char *const roles[] = {"assistant", "tool", "user", NULL};
  static const char *const dropped[] = {"compaction", "image_generation_call", "reasoning", NULL};
  csn_str role = csn_json_str(item, "role", CSN_STR("")),
          type = csn_json_str(item, "type", CSN_STR(""));
  if (role.n)
    return csn_str_is_one_of(role, roles);
  return csn_item_side(item) != CSN_SIDE_OTHER && !csn_str_is_one_of(type, dropped);
}

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* What is too long for notes to be drawn from stands with its beginning. */
static void
write_item(csn_jw *w, const csn_json *item, csn_arena *a)
{
  if (item->raw.n <= ITEM_MAX) {
    csn_jw_raw(w, item->raw);
    return;
  }
  csn_jw_obj(w);
  member(w, "type", csn_json_str(item, "type", CSN_STR("message")));
  member(w, "cut", csn_text_head(csn_item_text(a, item), ITEM_MAX));
  csn_jw_end(w);
}

static const char *
terminal_state(const csn_result *res)
{
  switch (res->state) {
  case CSN_RUN_DONE:
    return "completed";
  case CSN_RUN_CANCELLED:
    return "cancelled";
  case CSN_RUN_LIMIT:
    return csn_str_eq(res->reason, CSN_STR("turns")) ? "max_turns_exceeded" : "failed";
  case CSN_RUN_FAILED:
    return csn_str_starts(res->reason, CSN_STR("guardrail")) ? "guardrail_tripped" : "failed";
  case CSN_RUN_RUNNING:
  case CSN_RUN_WAITING:
  case CSN_RUN_INTERRUPTED:
    break;
  }
  return "interrupted";
}

/* The run's items, its own: not what the session had before, nor what a guardrail
 * held back.  They live as long as the run. */
static void
write_items(csn_run *r, csn_jw *w, csn_arena *a)
{
  pthread_mutex_lock(&r->lock);
  size_t from = (size_t)r->history < r->n_items ? (size_t)r->history : r->n_items, n = r->n_items;
  while (n > from && r->state.withheld >= 0 && r->items[n - 1].seq >= r->state.withheld)
    n--;
  bool is_input = true;
  csn_jw_key(w, "input");
  csn_jw_arr(w);
  for (size_t i = from; i < n; i++) {
    const csn_json *item;
    if (csn_json_parse(a, r->items[i].raw, &item, NULL) < 0 || !is_kept(item))
      continue;
    if (is_input && csn_item_side(item) == CSN_SIDE_MODEL) {
      csn_jw_end(w);
      csn_jw_key(w, "generated_items");
      csn_jw_arr(w);
      is_input = false;
    }
    write_item(w, item, a);
  }
  csn_jw_end(w);
  pthread_mutex_unlock(&r->lock);
}

static void
write_segment(csn_run *r, csn_str id, const csn_result *res, csn_jw *w, csn_arena *a)
{
  char at[40];
  struct timespec now;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &now);
  strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now.tv_sec, &tm));
  csn_jw_obj(w);
  member(w, "updated_at", csn_cstr(at));
  member(w, "rollout_id", id);
  member(w, "run", csn_cstr(csn_run_id(r)));
  if (res->untrusted.n)
    member(w, "untrusted", res->untrusted);
  write_items(r, w, a);
  csn_jw_key(w, "terminal_metadata");
  csn_jw_obj(w);
  member(w, "terminal_state", csn_cstr(terminal_state(res)));
  if (res->message.n)
    member(w, "exception_message", res->message);
  csn_jw_key(w, "has_final_output");
  csn_jw_bool(w, res->state == CSN_RUN_DONE);
  csn_jw_end(w);
  if (res->state == CSN_RUN_DONE)
    member(w, "final_output", res->output);
  csn_jw_end(w);
}

/* Whether a line of the rollout is of that run; lock held. */
static bool
is_noted(const csn_memory_store *m, csn_str id, const char *run)
{
  char path[CSN_ROLLOUT_ID_MAX + 20], mark[64];
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_ROLLOUT_MAX);
  snprintf(path, sizeof path, "sessions/%.*s.jsonl", (int)id.n, id.p);
  snprintf(mark, sizeof mark, "\"run\":\"%s\"", run);
  return csn_file_read(m->dir, path, &text, NULL) == 0 &&
         csn_str_find(csn_buf_str(&text), csn_cstr(mark), 0) != SIZE_MAX;
}

int
csn_memory_note(csn_run *r, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_memory_close) csn_memory_store m = {-1, -1, -1};
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(LINE_MAX_BYTES);
  csn_result res;
  if (!csn_memory_is_made(r->agent) || r->box_run || r->state.phase != CSN_PHASE_ENDED)
    return 0;
  csn_str session = csn_cstr(r->state.session);
  csn_str id = csn_rollout_id_check(session) ? session : csn_cstr(csn_run_id(r));
  int rc = csn_run_wait(r, NULL, &res, err); /* it is over: this does not wait */
  csn_jw w;
  csn_jw_init(&w, &line);
  if (rc == 0) {
    write_segment(r, id, &res, &w, a);
    rc = csn_jw_done(&w, err);
  }
  csn_redact_json(csn_box_secrets(r), &line);
  const char *store = csn_arena_dup(a, csn_json_str(r->agent->memory, "store", CSN_STR(""))).p;
  if (rc == 0)
    rc = csn_memory_open(&m, r->rt->state_fd, store, true, err);
  if (rc == 0)
    rc = csn_memory_lock(&m, err);
  if (rc == 0 && !is_noted(&m, id, csn_run_id(r)))
    rc = csn_memory_append(&m, id, csn_buf_str(&line), err);
  return csn_wrap(err, rc, "memory");
}
