/* SPDX-License-Identifier: Apache-2.0
 * caisson memory - the notes that agents keep between runs. */
#include <fcntl.h>
#include <time.h>

#include "commands.h"
#include "core/fd.h"
#include "depots.h"
#include "run/memory_store.h"
#include "stored.h"

enum { OUT_MAX = 64 << 20, STORES_MAX = 10000 };

struct memory_opts {
  const char *store;
  bool json;
};

static const cli_opt opts[] = {
    {"store", 0, "NAME", "The memory, where there are several", CLI_STR(struct memory_opts, store)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct memory_opts, json)},
    {0},
};

/* Names of memories; CSN_E_NOT_FOUND without any. */
static int
list_stores(int state, csn_names *names, csn_err *err)
{
  csn_auto(csn_closep) int dir = csn_open_beneath(state, "memory", O_RDONLY | O_DIRECTORY, 0, NULL);
  int rc = dir < 0 ? 0 : csn_names_read(names, dir, STORES_MAX, err);
  if (rc == 0 && !names->n)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "there are no memories yet; agents with the capability memory make them");
  return rc;
}

static int
open_memory(cli *c, const char *name, int *state, csn_memory_store *m, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names names = {0};
  int rc = cli_state_open(c, false, state, NULL, err);
  if (rc == 0)
    rc = list_stores(*state, &names, err);
  if (rc == 0 && !name && names.n > 1)
    rc = csn_fail(err, CSN_E_INVALID,
                  "there are several memories; say --store NAME (`caisson memory ls` lists them)");
  return rc < 0 ? rc
                : csn_memory_open(m, *state,
                                  name      ? name
                                  : names.n ? names.p[0]
                                            : "",
                                  false, err);
}

/* ---- ls ---- */

static void
print_rollout(const char *store, const csn_json *r, csn_buf *out)
{
  time_t t = (time_t)(csn_json_int(r, "updated_ms", 0) / 1000);
  struct tm tm;
  csn_str id = csn_json_str(r, "id", CSN_STR("")), slug = csn_json_str(r, "slug", CSN_STR("")),
          why = csn_json_str(r, "untrusted", CSN_STR(""));
  localtime_r(&t, &tm);
  csn_buf_addf(out, "%-16s %-24.*s %04d-%02d-%02d %02d:%02d  %.*s%s%.*s%s\n", store, (int)id.n,
               id.p, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
               slug.n ? (int)slug.n : 16, slug.n ? slug.p : "(taught nothing)",
               why.n ? "  untrusted (" : "", (int)why.n, why.p, why.n ? ")" : "");
}

static int
list_one(int state, const char *store, csn_jw *w, csn_buf *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_memory_close) csn_memory_store m = {-1, -1, -1};
  const csn_json *index;
  int rc = csn_memory_open(&m, state, store, false, err);
  if (rc == 0)
    rc = csn_memory_index(&m, a, &index, err);
  csn_json_each (r, rc == 0 ? csn_json_get(index, "rollouts") : NULL) {
    if (!w) {
      print_rollout(store, r, out);
      continue;
    }
    csn_jw_obj(w);
    csn_jw_key(w, "store");
    csn_jw_strz(w, store);
    csn_json_each (m2, r) {
      csn_jw_keyn(w, m2->key);
      csn_jw_value(w, m2);
    }
    csn_jw_end(w);
  }
  return rc;
}

static int
ls_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct memory_opts *o = opt;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_auto(csn_names_fini) csn_names names = {0};
  csn_auto(csn_closep) int state = -1;
  csn_jw w;
  int rc = cli_state_open(c, false, &state, NULL, err);
  if (rc == 0)
    rc = list_stores(state, &names, err);
  csn_jw_init(&w, &out);
  if (o->json)
    csn_jw_arr(&w);
  for (size_t i = 0; i < names.n && rc == 0; i++)
    if (!o->store || strcmp(o->store, names.p[i]) == 0)
      rc = list_one(state, names.p[i], o->json ? &w : NULL, &out, err);
  if (o->json) {
    csn_jw_end(&w);
    csn_buf_addc(&out, '\n');
  }
  if (rc == 0)
    cli_print(csn_buf_str(&out));
  return rc;
}

/* ---- show ---- */

static int
add_file(const csn_memory_store *m, const char *path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
  int rc = csn_file_read(m->dir, path, &text, err);
  if (rc == 0)
    csn_buf_addf(out, "%s%s", out->n ? "\n" : "", text.p ? text.p : "");
  return rc;
}

static int
show_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct memory_opts *o = opt;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_auto(csn_memory_close) csn_memory_store m = {-1, -1, -1};
  csn_auto(csn_closep) int state = -1;
  const csn_json *index = NULL, *r = NULL;
  int rc = open_memory(c, o->store, &state, &m, err);
  if (rc == 0)
    rc = csn_memory_index(&m, a, &index, err);
  if (rc == 0 && argc) {
    r = csn_memory_rollout(index, csn_cstr(argv[0]));
    if (!r || !csn_json_str(r, "slug", CSN_STR("")).n)
      rc = csn_fail(err, CSN_E_NOT_FOUND,
                    "there are no notes of %s; `caisson memory ls` lists them", argv[0]);
  }
  if (rc == 0 && o->json) {
    csn_buf_add(&out, r ? r->raw : index->raw);
    csn_buf_addc(&out, '\n');
  } else if (rc == 0 && r) {
    csn_str slug = csn_json_str(r, "slug", CSN_STR(""));
    csn_str file =
        csn_arena_printf(a, "memories/rollout_summaries/%s_%.*s.md", argv[0], (int)slug.n, slug.p);
    rc = add_file(&m, file.p, &out, err);
    if (rc == 0)
      rc = add_file(&m, csn_arena_printf(a, "memories/raw_memories/%s.md", argv[0]).p, &out, err);
  } else if (rc == 0) {
    rc = add_file(&m, "memories/memory_summary.md", &out, err);
    if (rc == 0)
      rc = add_file(&m, "memories/MEMORY.md", &out, err);
  }
  if (rc == 0 && !out.n)
    cli_note(c, "nothing is remembered yet");
  if (rc == 0)
    cli_print(csn_buf_str(&out));
  return rc;
}

/* ---- forget ---- */

/* A copy of one of the files, or one of their names. */
static bool
is_of_rollout(const csn_snap_entry *e, const char *id, const csn_json *digests)
{
  char hex[65];
  if (e->kind != CSN_SNAP_FILE)
    return false;
  csn_digest_hex(&e->digest, hex);
  csn_json_each (d, digests)
    if (csn_str_eq(d->text, csn_cstr(hex)))
      return true;
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF(400), rollout = CSN_BUF(400),
                                  summary = CSN_BUF(400);
  csn_buf_addf(&raw, "raw_memories/%s.md", id);
  csn_buf_addf(&rollout, "sessions/%s.jsonl", id);
  csn_buf_addf(&summary, "rollout_summaries/%s_", id);
  return csn_str_ends(e->path, csn_buf_str(&raw)) || csn_str_ends(e->path, csn_buf_str(&rollout)) ||
         csn_str_find(e->path, csn_buf_str(&summary), 0) != SIZE_MAX;
}

static bool
holds_any(const csn_snap_tree *t, const char *id, const csn_json *digests)
{
  for (size_t k = 0; k < t->n; k++)
    if (is_of_rollout(&t->p[k], id, digests))
      return true;
  return false;
}

/* Of one store: those that hold it are told.  They may be others' as well, and stay. */
static int
look_in_store(cli *c, const char *store, const char *id, const csn_json *digests, csn_err *err)
{
  csn_auto(csn_freep) csn_snapshot *list = NULL;
  cli_depot d = {0};
  size_t n = 0;
  int rc = cli_depot_open(c, &d, store, err);
  if (rc == 0)
    rc = csn_depot_list(d.depot, &c->scope, &list, &n, err);
  if (rc == CSN_E_NOT_FOUND && d.depot)
    rc = 0; /* nothing was ever pushed there */
  for (size_t i = 0; rc == 0 && i < n; i++) {
    csn_auto(csn_snap_tree_finip) csn_snap_tree t = {0};
    csn_snap_tree_init(&t);
    rc = csn_depot_tree(d.depot, &c->scope, &list[i], &t, err);
    if (rc == 0 && holds_any(&t, id, digests))
      cli_note(c,
               "snapshot %s in the store %s holds it; `caisson snapshot rm %s --store %s` and "
               "`caisson snapshot gc --store %s` take it away there",
               list[i].name, store, list[i].name, store, store);
  }
  cli_depot_close(&d);
  return rc;
}

static int
look_in_stores(cli *c, const char *id, const csn_json *digests, csn_err *err)
{
  csn_auto(csn_project_freep) struct csn_project *p = NULL;
  csn_err why;
  int rc = csn_project_load(&p, err);
  csn_json_each (store, rc == 0 ? csn_project_stores(p) : NULL) {
    csn_auto(csn_freep) char *name = csn_dupz(store->key);
    int looked = look_in_store(c, name, id, digests, &why);
    if (looked < 0)
      cli_note(c,
               "the store %s was not looked into: %s. Snapshots there hold it that have a file "
               "raw_memories/%s.md, sessions/%s.jsonl or rollout_summaries/%s_...",
               name, why.msg, id, id, id);
    rc = csn_scope_check(&c->scope, err);
    if (rc < 0)
      break;
  }
  return rc;
}

/* Snapshots that hold any of it: those without a tag go, the others are told. */
static int
forget_in_snapshots(cli *c, int state, const char *id, const csn_json *digests, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_freep) csn_snapshot *list = NULL;
  csn_auto(csn_closep) int there = csn_open_beneath(state, "snapshots", O_PATH, 0, NULL);
  size_t n = 0, gone = 0;
  int rc = there < 0 ? 0 : cli_snapshots_at(state, &s, err);
  if (rc == 0 && s)
    rc = csn_snapshot_list(s, &list, &n, err);
  for (size_t i = 0; i < n && rc == 0; i++) {
    csn_auto(csn_snap_tree_finip) csn_snap_tree t = {0};
    csn_snap_tree_init(&t);
    rc = csn_snapshot_tree(s, &c->scope, &list[i].tree, &t, err);
    if (rc < 0 || !holds_any(&t, id, digests))
      continue;
    if (*list[i].tag) {
      cli_note(c,
               "snapshot %s still holds it: it is kept by its tag %s; `caisson snapshot rm %s` "
               "forgets it",
               list[i].name, list[i].tag, list[i].name);
      continue;
    }
    rc = csn_snapshot_remove(s, list[i].name, err);
    gone += rc == 0;
    if (rc == 0)
      cli_note(c, "snapshot %s held it and is forgotten, too", list[i].name);
  }
  csn_snapshots_swept swept;
  csn_err why;
  csn_retention keep = {0};
  if (rc == 0 && gone && csn_snapshots_gc(s, &c->scope, &keep, &swept, &why) < 0)
    cli_note(c, "what they held is on the disk until `caisson snapshot gc`: %s", why.msg);
  return rc;
}

static void
forget_in_runs(cli *c, cli_stored *s, const csn_json *gone)
{
  csn_err why;
  csn_json_each (sha, csn_json_get(gone, "told")) {
    csn_digest d;
    if (csn_digest_from_hex(sha->text, &d) && csn_blob_drop(s->store, &d, &why) < 0 &&
        why.code != CSN_E_NOT_FOUND)
      cli_note(c, "what runs were told of it: %s", why.msg);
  }
  csn_json_each (run, csn_json_get(gone, "made_by"))
    if (csn_store_remove_run(s->store, run->text, &why) < 0 && why.code != CSN_E_NOT_FOUND)
      cli_note(c, "run %.*s, in which notes were made: %s", (int)run->text.n, run->text.p, why.msg);
  csn_json_each (run, csn_json_get(gone, "runs"))
    cli_note(c, "what was said stays in the journal of run %.*s; `caisson runs rm` removes it",
             (int)run->text.n, run->text.p);
}

static int
forget_one(cli *c, cli_stored *s, int state, csn_memory_store *m, const char *id, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(OUT_MAX);
  const csn_json *gone = NULL;
  int rc = csn_memory_lock(m, err);
  if (rc == 0)
    rc = csn_memory_forget(m, csn_cstr(id), &said, err);
  csn_memory_unlock(m);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&said), &gone, err);
  if (rc < 0)
    return rc;
  forget_in_runs(c, s, gone);
  rc = forget_in_snapshots(c, state, id, csn_json_get(gone, "digests"), err);
  return rc < 0 ? rc : look_in_stores(c, id, csn_json_get(gone, "digests"), err);
}

static int
forget_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct memory_opts *o = opt;
  csn_auto(csn_memory_close) csn_memory_store m = {-1, -1, -1};
  csn_auto(csn_closep) int state = -1;
  cli_stored s = {.fd = -1};
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = open_memory(c, o->store, &state, &m, err);
  if (rc == 0)
    rc = cli_stored_open(c, &s, err);
  for (int i = 0; i < argc && rc == 0; i++)
    rc = forget_one(c, &s, state, &m, argv[i], err);
  cli_stored_close(&s);
  return rc;
}

/* ---- the table ---- */

static const cli_cmd memory_ls = {
    .name = "ls",
    .brief = "List what memories are made of",
    .help = "A line for each rollout: a run, or the runs of a session.",
    .size = sizeof(struct memory_opts),
    .opts = opts,
    .main = ls_main,
};

static const cli_cmd memory_show = {
    .name = "show",
    .args = "[ROLLOUT]",
    .brief = "Print a memory, or the notes of one rollout",
    .size = sizeof(struct memory_opts),
    .opts = opts,
    .main = show_main,
};

static const cli_cmd memory_forget = {
    .name = "forget",
    .args = "ROLLOUT...",
    .brief = "Take rollouts out of a memory",
    .help =
        "Their files go, and every entry that comes from one of them, alone or with others; the "
        "text that later runs were told of it is erased in their journals, and the runs in which "
        "notes and memory were made are removed. Snapshots that hold a copy are forgotten, those "
        "with a tag and those in stores of caisson.yaml are named and stay. The runs themselves "
        "keep their journals.",
    .size = sizeof(struct memory_opts),
    .opts = opts,
    .main = forget_main,
};

static const cli_cmd *const subs[] = {&memory_ls, &memory_show, &memory_forget, NULL};

const cli_cmd cmd_memory = {
    .name = "memory",
    .brief = "List, print and forget what agents remember",
    .sub = subs,
};
