/* SPDX-License-Identifier: Apache-2.0
 * memory_make.c - memories made of rollouts; see memory.h.
 *
 * A rollout that has more lines than notes were drawn from is due, so what a death
 * or a used-up budget left undone is done the next time.  No lock of the files is
 * held while a model is asked: what it answers is put into the memory as it is
 * then, so a rollout that was forgotten meanwhile stays forgotten. */
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "run/box_network.h"
#include "run/clean_text.h"
#include "run/driver.h"
#include "run/memory.h"
#include "run/memory_prompt.h"
#include "run/memory_store.h"
#include "run/redact.h"

enum {
  DUE_MAX = 8, /* rollouts in one go */
  ENTRIES_MAX = 300,
  TEXT_MAX = 2000,
  SLUG_MAX = 80,
  ANSWER_MAX = 4 << 20,
  HEX = 65
};

struct making {
  csn_rt *rt;
  csn_scope *sc;
  const csn_agent *agent;
  const struct csn_redact *secrets;
  csn_memory_store m;
  csn_arena *arena;
  const csn_json *config; /* `generate` */
  csn_str model;          /* of the agent, JSON */
  struct csn_memory_made *out;
  int64_t tokens; /* left, as the next */
  double cost_usd;
  bool has_cost;
};

/* What is written into the index beside what stays. */
struct change {
  csn_str rollout;          /* in the place of the one with its id; or empty */
  csn_str id;               /* its id */
  csn_str summary, entries; /* in the place of those; or empty */
  csn_str told;             /* added; or empty */
  const char *run;          /* in which the entries were made; or NULL */
};

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* ---- asking ---- */

/* One run of a phase; *answer lives in the arena. */
static int
ask(struct making *k, int phase, csn_str prompt, const csn_json **answer, csn_str *run,
    csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 20), text = CSN_BUF(ANSWER_MAX);
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  csn_auto(csn_run_freep) csn_run *r = NULL;
  const csn_json *v = NULL;
  csn_result res = {0};
  csn_jw w;
  if (k->tokens <= 0 || (k->has_cost && k->cost_usd <= 0))
    return csn_fail(err, CSN_E_LIMIT, "memory.generate.limits are used up");
  csn_jw_init(&w, &json);
  csn_memory_agent(&(struct csn_memory_phase){.phase = phase,
                                              .config = k->config,
                                              .tokens = k->tokens,
                                              .cost_usd = k->has_cost ? k->cost_usd : 0,
                                              .model = k->model},
                   &w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(k->arena, csn_arena_dup(k->arena, csn_buf_str(&json)), &v, err);
  if (rc == 0)
    rc = csn_agent_from_json(&a, v, "memory", k->agent->folder, err);
  const csn_run_options o = {.no_stream = true};
  if (rc == 0)
    rc = csn_run_start(k->rt, a, prompt, &o, &r, err);
  if (rc == 0)
    rc = csn_run_wait(r, k->sc, &res, err);
  if (rc < 0)
    return csn_wrap(err, rc, "memory, phase %d", phase);
  *run = csn_arena_dup(k->arena, csn_cstr(res.run));
  k->out->tokens += res.usage.total_tokens;
  k->out->cost_usd += res.cost_usd > 0 ? res.cost_usd : 0;
  k->tokens -= res.usage.total_tokens;
  k->cost_usd -= res.cost_usd > 0 ? res.cost_usd : 0;
  if (res.state != CSN_RUN_DONE)
    return csn_fail(err, CSN_E_MODEL,
                    "memory, phase %d: run %s ended without an answer (%.*s): %.*s", phase, res.run,
                    (int)(res.reason.n & 0x3f), res.reason.p,
                    (int)(res.message.n > 200 ? 200 : res.message.n), res.message.p);
  csn_buf_add(&text, res.output);
  csn_redact_json(k->secrets, &text);
  rc = csn_buf_done(&text, "the answer", err);
  if (rc == 0)
    rc = csn_json_parse(k->arena, csn_arena_dup(k->arena, csn_buf_str(&text)), answer, err);
  return csn_wrap(err, rc, "memory, phase %d", phase);
}

/* ---- the index ---- */

static int64_t
unix_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
write_rollouts(const csn_json *index, const struct change *ch, csn_jw *w)
{
  csn_jw_key(w, "rollouts");
  csn_jw_arr(w);
  csn_json_each (r, csn_json_get(index, "rollouts"))
    if (!ch->rollout.n || !csn_str_eq(csn_json_str(r, "id", CSN_STR("")), ch->id))
      csn_jw_value(w, r);
  if (ch->rollout.n)
    csn_jw_raw(w, ch->rollout);
  csn_jw_end(w);
}

static void
write_list(const csn_json *index, const char *key, csn_str instead, csn_jw *w)
{
  const csn_json *old = csn_json_get(index, key);
  csn_jw_key(w, key);
  if (instead.n)
    csn_jw_raw(w, instead);
  else if (old)
    csn_jw_value(w, old);
  else
    csn_jw_raw(w, CSN_STR("[]"));
}

static void
write_grown(const csn_json *index, const char *key, csn_str more, csn_jw *w)
{
  csn_jw_key(w, key);
  csn_jw_arr(w);
  csn_json_each (e, csn_json_get(index, key))
    csn_jw_value(w, e);
  if (more.n)
    csn_jw_raw(w, more);
  csn_jw_end(w);
}

/* Lock held. */
static int
rewrite(struct making *k, const csn_json *index, const struct change *ch, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX), run = CSN_BUF(100);
  csn_jw w;
  if (ch->run)
    csn_json_quote(&run, csn_cstr(ch->run));
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "version");
  csn_jw_int(&w, 1);
  write_rollouts(index, ch, &w);
  write_list(index, "summary", ch->summary, &w);
  write_list(index, "entries", ch->entries, &w);
  write_grown(index, "told", ch->told, &w);
  write_grown(index, "made_by", csn_buf_str(&run), &w);
  csn_jw_key(&w, "consolidated_ms");
  csn_jw_int(&w, ch->run ? unix_ms() : csn_json_int(index, "consolidated_ms", 0));
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_memory_write(&k->m, csn_buf_str(&text), err);
}

/* ---- phase one ---- */

struct due {
  csn_str id, lines;
  int64_t segments;
  csn_str updated_at, state, untrusted;
};

static void
look_at_lines(struct due *d, csn_arena *arena)
{
  csn_str rest = d->lines, line;
  while (csn_str_line(&rest, &line)) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    if (csn_json_parse(a, line, &v, NULL) < 0)
      continue; /* torn */
    d->segments++;
    d->updated_at = csn_arena_dup(arena, csn_json_str(v, "updated_at", CSN_STR("")));
    d->state = csn_arena_dup(
        arena, csn_json_str(csn_json_get(v, "terminal_metadata"), "terminal_state", CSN_STR("")));
    csn_str untrusted = csn_json_str(v, "untrusted", CSN_STR(""));
    if (untrusted.n)
      d->untrusted = csn_arena_dup(arena, untrusted);
  }
}

/* "Fix the tests!" -> "fix-the-tests" */
static csn_str
slug_of(struct making *k, csn_str text)
{
  csn_buf slug = CSN_BUF(SLUG_MAX);
  for (size_t i = 0; i < text.n && slug.n < SLUG_MAX - 1; i++) {
    char c = text.p[i];
    if (c >= 'A' && c <= 'Z')
      c = (char)(c | 0x20);
    bool is_good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (is_good || (slug.n && slug.p[slug.n - 1] != '-'))
      csn_buf_addc(&slug, is_good ? c : '-');
  }
  csn_str out = csn_arena_dup(k->arena, slug.n ? csn_buf_str(&slug) : CSN_STR("run"));
  csn_buf_fini(&slug);
  return out;
}

static int
write_note(struct making *k, const struct due *d, csn_str slug, const char *key, csn_str body,
           csn_err *err)
{
  bool is_raw = strcmp(key, "raw_memory") == 0;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
  char path[3 * CSN_ROLLOUT_ID_MAX];
  int n = (int)d->id.n;
  csn_buf_addf(&text, "%s: %.*s\nupdated_at: %.*s\nrollout_path: sessions/%.*s.jsonl\n",
               is_raw ? "rollout_id" : "session_id", n, d->id.p, (int)d->updated_at.n,
               d->updated_at.p, n, d->id.p);
  if (is_raw)
    csn_buf_addf(&text, "rollout_summary_file: rollout_summaries/%.*s_%.*s.md\n", n, d->id.p,
                 (int)slug.n, slug.p);
  csn_buf_addf(&text, "terminal_state: %.*s\n\n", (int)d->state.n, d->state.p);
  csn_text_clean(csn_str_trim(body), &text);
  csn_buf_addc(&text, '\n');
  if (is_raw)
    snprintf(path, sizeof path, "memories/raw_memories/%.*s.md", n, d->id.p);
  else
    snprintf(path, sizeof path, "memories/rollout_summaries/%.*s_%.*s.md", n, d->id.p, (int)slug.n,
             slug.p);
  int rc = csn_buf_done(&text, path, err);
  return rc < 0 ? rc : csn_file_write(k->m.dir, path, csn_buf_str(&text), 0600, true, err);
}

/* Its row of the index; slug empty: it taught nothing. */
static csn_str
row_of(struct making *k, const csn_json *old, const struct due *d, csn_str slug, csn_str run)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  member(&w, "id", d->id);
  csn_jw_key(&w, "updated_ms");
  csn_jw_int(&w, unix_ms());
  csn_jw_key(&w, "segments");
  csn_jw_int(&w, d->segments);
  member(&w, "slug", slug);
  if (d->untrusted.n)
    member(&w, "untrusted", d->untrusted);
  csn_jw_key(&w, "made_by");
  csn_jw_arr(&w);
  csn_json_each (r, csn_json_get(old, "made_by"))
    csn_jw_value(&w, r);
  csn_jw_str(&w, run);
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_arena_dup(k->arena, csn_buf_str(&text));
}

/* Files of an earlier drawing under another slug. */
static void
drop_summary(struct making *k, csn_str id, csn_str slug)
{
  char path[3 * CSN_ROLLOUT_ID_MAX];
  snprintf(path, sizeof path, "memories/rollout_summaries/%.*s_%.*s.md", (int)id.n, id.p,
           (int)slug.n, slug.p);
  if (slug.n)
    (void)!csn_remove_tree(k->m.dir, path, NULL);
}

/* Lock held. */
static int
take_notes(struct making *k, const struct due *d, const csn_json *answer, csn_str run, csn_err *err)
{
  csn_str summary = csn_str_trim(csn_json_str(answer, "rollout_summary", CSN_STR(""))),
          raw = csn_str_trim(csn_json_str(answer, "raw_memory", CSN_STR("")));
  csn_str slug =
      raw.n ? slug_of(k, csn_json_str(answer, "rollout_slug", CSN_STR(""))) : CSN_STR("");
  const csn_json *index;
  char path[CSN_ROLLOUT_ID_MAX + 20];
  snprintf(path, sizeof path, "sessions/%.*s.jsonl", (int)d->id.n, d->id.p);
  csn_auto(csn_closep) int there = csn_open_beneath(k->m.dir, path, O_PATH, 0, NULL);
  if (there < 0)
    return 0; /* forgotten meanwhile */
  int rc = csn_memory_index(&k->m, k->arena, &index, err);
  if (rc < 0)
    return rc;
  const csn_json *old = csn_memory_rollout(index, d->id);
  drop_summary(k, d->id, csn_json_str(old, "slug", CSN_STR("")));
  if (raw.n)
    rc = write_note(k, d, slug, "raw_memory", raw, err);
  if (rc == 0 && raw.n)
    rc = write_note(k, d, slug, "rollout_summary", summary, err);
  k->out->rollouts += raw.n > 0;
  return rc < 0
             ? rc
             : rewrite(k, index,
                       &(struct change){.rollout = row_of(k, old, d, slug, run), .id = d->id}, err);
}

static int
draw(struct making *k, const struct due *d, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf prompt = CSN_BUF(4 << 20);
  const csn_json *answer = NULL;
  csn_str run = CSN_STR("");
  csn_memory_ask_one(d->id, d->lines, &prompt);
  int rc = ask(k, 1, csn_buf_str(&prompt), &answer, &run, err);
  if (rc == 0)
    rc = csn_memory_lock(&k->m, err);
  if (rc == 0)
    rc = take_notes(k, d, answer, run, err);
  csn_memory_unlock(&k->m);
  return rc;
}

/* Rollouts that have grown; the first failure is told when all were tried. */
static int
draw_all(struct making *k, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names names = {0};
  csn_auto(csn_closep) int dir =
      csn_open_beneath(k->m.dir, "sessions", O_RDONLY | O_DIRECTORY, 0, err);
  const csn_json *index;
  csn_err why;
  int failed = 0, n = 0;
  int rc = dir < 0 ? dir : csn_names_read(&names, dir, 1 << 20, err);
  if (rc == 0)
    rc = csn_memory_index(&k->m, k->arena, &index, err);
  for (size_t i = 0; i < names.n && rc == 0 && n < DUE_MAX; i++) {
    csn_str name = csn_cstr(names.p[i]);
    struct due d = {.id = csn_strn(name.p, name.n > 6 ? name.n - 6 : 0)};
    csn_auto(csn_buf_finip) csn_buf lines = CSN_BUF(CSN_ROLLOUT_MAX);
    if (!csn_str_ends(name, CSN_STR(".jsonl")) || !csn_rollout_id_check(d.id) ||
        csn_file_read(dir, names.p[i], &lines, NULL) < 0)
      continue;
    d.lines = csn_buf_str(&lines);
    look_at_lines(&d, k->arena);
    if (d.segments <= csn_json_int(csn_memory_rollout(index, d.id), "segments", 0))
      continue;
    n++;
    int one = draw(k, &d, failed ? &why : err);
    failed = failed ? failed : one;
    rc = csn_scope_check(k->sc, NULL);
  }
  return rc < 0 ? rc : failed;
}

/* ---- phase two ---- */

static int
newest_first(const void *a, const void *b)
{
  int64_t x = csn_json_int(*(const csn_json *const *)a, "updated_ms", 0),
          y = csn_json_int(*(const csn_json *const *)b, "updated_ms", 0);
  return x < y ? 1 : x > y ? -1 : 0;
}

static void
collect_notes(struct making *k, const csn_json *index, csn_buf *out)
{
  const csn_json *rollouts = csn_json_get(index, "rollouts");
  size_t n = 0, most = (size_t)csn_json_int(k->config, "max_raw_memories_for_consolidation", 256);
  const csn_json **list =
      csn_arena_alloc(k->arena, ((rollouts ? rollouts->n : 0) + 1) * sizeof *list);
  csn_json_each (r, rollouts)
    if (csn_json_str(r, "slug", CSN_STR("")).n)
      list[n++] = r;
  if (n)
    qsort(list, n, sizeof *list, newest_first);
  for (size_t i = 0; i < n && i < most; i++) {
    char path[CSN_ROLLOUT_ID_MAX + 40];
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
    csn_str id = csn_json_str(list[i], "id", CSN_STR(""));
    snprintf(path, sizeof path, "memories/raw_memories/%.*s.md", (int)id.n, id.p);
    if (csn_rollout_id_check(id) && csn_file_read(k->m.dir, path, &text, NULL) == 0)
      csn_buf_addf(out, "%s\n", text.p ? text.p : "");
  }
}

/* Ids that the memory has; false when there is none among them. */
static bool
write_from(const csn_json *from, const csn_json *index, csn_jw *w)
{
  bool any = false;
  csn_jw_key(w, "from");
  csn_jw_arr(w);
  csn_json_each (id, from)
    if (csn_json_is(id, CSN_JSON_STRING) &&
        csn_json_str(csn_memory_rollout(index, id->text), "slug", CSN_STR("")).n) {
      csn_jw_str(w, id->text);
      any = true;
    }
  csn_jw_end(w);
  return any;
}

/* Entries whose sources are known, each on a line; how many. */
static int64_t
check_entries(struct making *k, const csn_json *list, const csn_json *index, csn_str *out)
{
  static const char *const keys[] = {"group", "kind", "text"};
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(CSN_MEMORY_FILE_MAX);
  int64_t n = 0;
  csn_buf_addc(&all, '[');
  csn_json_each (e, list) {
    csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(64 << 10), text = CSN_BUF((size_t)4 * TEXT_MAX);
    csn_jw w;
    csn_jw_init(&w, &one);
    csn_jw_obj(&w);
    for (size_t i = 0; i < CSN_COUNT(keys); i++) {
      csn_buf_clear(&text);
      csn_text_clean_line(csn_text_head(csn_json_str(e, keys[i], CSN_STR("")), TEXT_MAX), &text);
      if (text.n)
        member(&w, keys[i], csn_buf_str(&text));
    }
    bool is_sound = text.n && write_from(csn_json_get(e, "from"), index, &w) && n < ENTRIES_MAX;
    csn_jw_end(&w);
    if (!is_sound || csn_jw_done(&w, NULL) < 0)
      continue;
    csn_buf_addf(&all, "%s%s", n ? "," : "", one.p);
    n++;
  }
  csn_buf_addc(&all, ']');
  *out = csn_arena_dup(k->arena, all.over ? CSN_STR("[]") : csn_buf_str(&all));
  return n;
}

/* What a run will be told, by digest, with all rollouts that it comes from. */
static csn_str
told_of(struct making *k, csn_str summary)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX),
                                  clean = CSN_BUF((size_t)4 * CSN_MEMORY_TOLD_MAX),
                                  out = CSN_BUF(1 << 20), index = CSN_BUF(CSN_MEMORY_FILE_MAX);
  const csn_json *v;
  char hex[HEX];
  csn_jw w;
  csn_buf_addf(&index, "{\"summary\":%.*s}", (int)summary.n, summary.p);
  if (csn_json_parse(k->arena, csn_arena_dup(k->arena, csn_buf_str(&index)), &v, NULL) < 0)
    return CSN_STR("");
  csn_memory_summary(v, &text);
  csn_text_clean(csn_text_head(csn_buf_str(&text), CSN_MEMORY_TOLD_MAX), &clean);
  csn_digest d = csn_sha256_of(csn_buf_str(&clean));
  csn_digest_hex(&d, hex);
  csn_jw_init(&w, &out);
  csn_jw_obj(&w);
  member(&w, "sha256", csn_cstr(hex));
  csn_jw_key(&w, "from");
  csn_jw_arr(&w);
  csn_json_each (e, csn_json_get(v, "summary"))
    csn_json_each (id, csn_json_get(e, "from"))
      csn_jw_str(&w, id->text);
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_arena_dup(k->arena, csn_buf_str(&out));
}

/* Lock held. */
static int
take_memory(struct making *k, const csn_json *answer, csn_str run, csn_err *err)
{
  const csn_json *index;
  struct change ch = {.run = run.p};
  int rc = csn_memory_index(&k->m, k->arena, &index, err);
  if (rc < 0)
    return rc;
  k->out->entries = check_entries(k, csn_json_get(answer, "entries"), index, &ch.entries);
  int64_t told = check_entries(k, csn_json_get(answer, "summary"), index, &ch.summary);
  if (!k->out->entries && !told)
    return csn_fail(err, CSN_E_MODEL,
                    "memory, phase 2: no entry says which rollouts it comes from");
  ch.told = told_of(k, ch.summary);
  return rewrite(k, index, &ch, err);
}

static int
consolidate(struct making *k, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf prompt = CSN_BUF(4 << 20),
                                  notes = CSN_BUF((size_t)8 * CSN_MEMORY_FILE_MAX);
  const csn_json *index, *answer = NULL;
  csn_str run = CSN_STR("");
  int rc = csn_memory_index(&k->m, k->arena, &index, err);
  if (rc < 0)
    return rc;
  const csn_json *entries = csn_json_get(index, "entries");
  collect_notes(k, index, &notes);
  csn_memory_ask_two(entries ? entries->raw : CSN_STR(""), csn_buf_str(&notes), &prompt);
  rc = ask(k, 2, csn_buf_str(&prompt), &answer, &run, err);
  if (rc == 0)
    rc = csn_memory_lock(&k->m, err);
  if (rc == 0)
    rc = take_memory(k, answer, run, err);
  csn_memory_unlock(&k->m);
  return rc;
}

/* Notes that no memory was made of yet. */
static bool
has_fresh_notes(struct making *k)
{
  const csn_json *index;
  if (csn_memory_index(&k->m, k->arena, &index, NULL) < 0)
    return false;
  int64_t last = csn_json_int(index, "consolidated_ms", 0);
  csn_json_each (r, csn_json_get(index, "rollouts"))
    if (csn_json_str(r, "slug", CSN_STR("")).n && csn_json_int(r, "updated_ms", 0) >= last)
      return true;
  return false;
}

int
csn_memory_make(csn_rt *rt, csn_scope *sc, const csn_agent *a, const struct csn_redact *secrets,
                struct csn_memory_made *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf model = CSN_BUF(1 << 20);
  const csn_json *config = csn_json_get(a->memory, "generate"),
                 *limits = csn_json_get(config, "limits"), *v;
  struct making k = {.rt = rt,
                     .sc = sc,
                     .agent = a,
                     .secrets = secrets,
                     .m = {-1, -1, -1},
                     .arena = arena,
                     .config = config,
                     .out = out,
                     .tokens = csn_json_int(limits, "tokens", 0),
                     .cost_usd = csn_json_double(limits, "cost_usd", 0)};
  csn_jw w;
  *out = (struct csn_memory_made){0};
  if (!csn_memory_is_made(a))
    return 0;
  k.has_cost = k.cost_usd > 0;
  csn_jw_init(&w, &model);
  csn_jw_obj(&w);
  csn_agent_write_model(a, &w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(arena, csn_arena_dup(arena, csn_buf_str(&model)), &v, err);
  if (rc == 0)
    k.model = csn_json_get(v, "model")->raw;
  if (rc == 0)
    rc = csn_memory_open(&k.m, rt->state_fd,
                         csn_arena_dup(arena, csn_json_str(a->memory, "store", CSN_STR(""))).p,
                         false, err);
  if (rc == 0)
    rc = csn_memory_begin(&k.m, err);
  if (rc == 0) {
    rc = draw_all(&k, err);
    csn_err why;
    int made = has_fresh_notes(&k) ? consolidate(&k, rc < 0 ? &why : err) : 0;
    rc = rc < 0 ? rc : made;
  }
  csn_memory_close(&k.m);
  return rc;
}

int
csn_run_remember(csn_run *r, csn_scope *sc, csn_err *err)
{
  struct csn_memory_made made;
  int rc = csn_memory_note(r, err);
  if (rc < 0 || r->box_run || r->state.phase != CSN_PHASE_ENDED)
    return rc;
  return csn_memory_make(r->rt, sc, r->agent, csn_box_secrets(r), &made, err);
}
