/* SPDX-License-Identifier: Apache-2.0
 * memory_forget.c - a rollout taken out of a memory.
 *
 * First the index, from which everything else is written: from then on nothing of
 * it is told, whatever dies.  Then the files of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "run/memory_store.h"

struct forgetting {
  csn_str id;
  csn_jw index;                         /* what stays */
  csn_buf told, made_by, runs, digests; /* of what goes, JSON lists without brackets */
};

static void
add_to(csn_buf *list, csn_str text)
{
  if (list->n)
    csn_buf_addc(list, ',');
  csn_json_quote(list, text);
}

static void
add_digest(struct forgetting *f, csn_str bytes)
{
  char hex[65];
  csn_digest d = csn_sha256_of(bytes);
  csn_digest_hex(&d, hex);
  if (bytes.n)
    add_to(&f->digests, csn_cstr(hex));
}

/* A list of the index without what comes from the rollout. */
static void
keep_others(struct forgetting *f, const csn_json *list)
{
  csn_jw_arr(&f->index);
  csn_json_each (e, list) {
    csn_str sha = csn_json_str(e, "sha256", CSN_STR(""));
    if (!csn_memory_is_from(csn_json_get(e, "from"), f->id))
      csn_jw_value(&f->index, e);
    else if (sha.n)
      add_to(&f->told, sha);
  }
  csn_jw_end(&f->index);
}

/* The runs in which it was made a part of the memory go, with what they read. */
static void
keep_runs(struct forgetting *f, const csn_json *list)
{
  csn_json_each (run, list)
    add_to(&f->made_by, run->text);
  csn_jw_arr(&f->index);
  csn_jw_end(&f->index);
}

static void
keep_rollouts(struct forgetting *f, const csn_json *list)
{
  csn_jw_arr(&f->index);
  csn_json_each (r, list) {
    if (!csn_str_eq(csn_json_str(r, "id", CSN_STR("")), f->id)) {
      csn_jw_value(&f->index, r);
      continue;
    }
    csn_json_each (run, csn_json_get(r, "made_by"))
      add_to(&f->made_by, run->text);
  }
  csn_jw_end(&f->index);
}

static void
write_index(struct forgetting *f, const csn_json *index)
{
  csn_jw_obj(&f->index);
  csn_json_each (m, index) {
    csn_jw_keyn(&f->index, m->key);
    if (csn_str_eq(m->key, CSN_STR("rollouts")))
      keep_rollouts(f, m);
    else if (csn_str_eq(m->key, CSN_STR("made_by")))
      keep_runs(f, m);
    else if (m->kind == CSN_JSON_ARRAY)
      keep_others(f, m);
    else
      csn_jw_value(&f->index, m);
  }
  csn_jw_end(&f->index);
}

/* Which runs are in the rollout. */
static void
read_runs(struct forgetting *f, csn_str lines)
{
  csn_str line;
  while (csn_str_line(&lines, &line)) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v = NULL;
    if (csn_json_parse(a, line, &v, NULL) == 0)
      add_to(&f->runs, csn_json_str(v, "run", CSN_STR("")));
  }
}

/* Removes one file; its content is told by its digest. */
static int
remove_file(csn_memory_store *m, struct forgetting *f, const char *path, bool is_rollout,
            csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_ROLLOUT_MAX + 1);
  int rc = csn_file_head(m->dir, path, &text, err);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  add_digest(f, csn_buf_str(&text));
  if (is_rollout)
    read_runs(f, csn_buf_str(&text));
  return csn_remove_tree(m->dir, path, err);
}

static int
remove_files(csn_memory_store *m, struct forgetting *f, csn_err *err)
{
  char path[3 * CSN_ROLLOUT_ID_MAX];
  csn_auto(csn_names_fini) csn_names names = {0};
  csn_auto(csn_buf_finip) csn_buf head = CSN_BUF(CSN_ROLLOUT_ID_MAX + 2);
  int n = (int)f->id.n;
  snprintf(path, sizeof path, "sessions/%.*s.jsonl", n, f->id.p);
  int rc = remove_file(m, f, path, true, err);
  snprintf(path, sizeof path, "memories/raw_memories/%.*s.md", n, f->id.p);
  if (rc == 0)
    rc = remove_file(m, f, path, false, err);
  csn_auto(csn_closep) int dir =
      csn_open_beneath(m->dir, "memories/rollout_summaries", O_RDONLY | O_DIRECTORY, 0, NULL);
  if (rc == 0 && dir >= 0)
    rc = csn_names_read(&names, dir, 1 << 20, err);
  csn_buf_addf(&head, "%.*s_", n, f->id.p);
  for (size_t i = 0; i < names.n && rc == 0; i++) {
    if (!csn_str_starts(csn_cstr(names.p[i]), csn_buf_str(&head)) || strlen(names.p[i]) > 250)
      continue;
    snprintf(path, sizeof path, "memories/rollout_summaries/%s", names.p[i]);
    rc = remove_file(m, f, path, false, err);
  }
  return rc;
}

/* Files that are written anew: what they were. */
static void
note_old(csn_memory_store *m, struct forgetting *f)
{
  static const char *const files[] = {"index.json", "memories/MEMORY.md",
                                      "memories/memory_summary.md", "memories/raw_memories.md"};
  for (size_t i = 0; i < CSN_COUNT(files); i++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)8 * CSN_MEMORY_FILE_MAX);
    if (csn_file_read(m->dir, files[i], &text, NULL) == 0)
      add_digest(f, csn_buf_str(&text));
  }
}

static int
is_there(csn_memory_store *m, const csn_json *index, csn_str id, csn_err *err)
{
  char path[CSN_ROLLOUT_ID_MAX + 20];
  snprintf(path, sizeof path, "sessions/%.*s.jsonl", (int)id.n, id.p);
  csn_auto(csn_closep) int fd = csn_open_beneath(m->dir, path, O_PATH, 0, NULL);
  if (fd >= 0 || csn_memory_rollout(index, id))
    return 0;
  return csn_fail(err, CSN_E_NOT_FOUND,
                  "the memory has nothing of %.*s; `caisson memory ls` lists "
                  "what it has",
                  (int)id.n, id.p);
}

int
csn_memory_forget(csn_memory_store *m, csn_str id, csn_buf *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
  const csn_json *index;
  enum { LIST_MAX = 4 << 20 };
  struct forgetting f = {.id = id,
                         .told = CSN_BUF(LIST_MAX),
                         .made_by = CSN_BUF(LIST_MAX),
                         .runs = CSN_BUF(LIST_MAX),
                         .digests = CSN_BUF(LIST_MAX)};
  if (!csn_rollout_id_check(id))
    return csn_fail(err, CSN_E_INVALID,
                    "that is no name of a rollout; `caisson memory ls` lists them");
  int rc = csn_memory_index(m, a, &index, err);
  if (rc == 0)
    rc = is_there(m, index, id, err);
  csn_jw_init(&f.index, &text);
  if (rc == 0) {
    note_old(m, &f);
    write_index(&f, index);
    rc = csn_jw_done(&f.index, err);
  }
  if (rc == 0)
    rc = csn_file_write(m->dir, "index.json", csn_buf_str(&text), 0600, true, err);
  if (rc == 0)
    rc = remove_files(m, &f, err);
  if (rc == 0)
    rc = csn_memory_write(m, csn_buf_str(&text), err);
  csn_buf_addf(out, "{\"told\":[%s],\"made_by\":[%s],\"runs\":[%s],\"digests\":[%s]}",
               f.told.p ? f.told.p : "", f.made_by.p ? f.made_by.p : "", f.runs.p ? f.runs.p : "",
               f.digests.p ? f.digests.p : "");
  csn_buf_fini(&f.told);
  csn_buf_fini(&f.made_by);
  csn_buf_fini(&f.runs);
  csn_buf_fini(&f.digests);
  return rc;
}
