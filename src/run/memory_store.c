/* SPDX-License-Identifier: Apache-2.0
 * memory_store.c - see memory_store.h; memory_forget.c takes a rollout out. */
#include "run/memory_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/clean_text.h"

bool
csn_rollout_id_check(csn_str id)
{
  bool is_good = id.n > 0 && id.n <= CSN_ROLLOUT_ID_MAX;
  for (size_t i = 0; i < id.n && is_good; i++) {
    unsigned char c = (unsigned char)id.p[i];
    bool is_plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    is_good = is_plain || (i > 0 && c && strchr("._-", c));
  }
  return is_good;
}

int
csn_memory_open(csn_memory_store *m, int state_fd, const char *name, bool make, csn_err *err)
{
  char path[CSN_ROLLOUT_ID_MAX + 20];
  *m = (csn_memory_store){-1, -1, -1};
  if (!csn_rollout_id_check(csn_cstr(name)))
    return csn_fail(err, CSN_E_INVALID,
                    "'%.80s' is no name of a memory: expected letters, digits and . _ -", name);
  snprintf(path, sizeof path, "memory/%s", name);
  int rc = make ? csn_mkdirs(state_fd, path, 0700, err) : 0;
  if (rc == 0)
    rc = m->dir = csn_open_beneath(state_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
  static const char *const folders[] = {"sessions", "memories/raw_memories",
                                        "memories/rollout_summaries"};
  for (size_t i = 0; i < CSN_COUNT(folders) && rc >= 0 && make; i++)
    rc = csn_mkdirs(m->dir, folders[i], 0700, err);
  return rc < 0 ? csn_wrap(err, rc, "memory %s", name) : 0;
}

void
csn_memory_close(csn_memory_store *m)
{
  csn_closep(&m->lock);
  csn_closep(&m->making);
  csn_closep(&m->dir);
}

static int
take(int dir, const char *name, int how, int *fd, csn_err *err)
{
  csn_auto(csn_closep) int got = csn_open_beneath(dir, name, O_RDWR | O_CREAT, 0600, err);
  if (got < 0)
    return got;
  while (flock(got, how) < 0) {
    if (errno == EWOULDBLOCK)
      return csn_fail(err, CSN_E_CONFLICT, "another process makes memories of it");
    if (errno != EINTR)
      return csn_fail_errno(err, "lock of the memory");
  }
  *fd = got;
  got = -1;
  return 0;
}

int
csn_memory_lock(csn_memory_store *m, csn_err *err)
{
  return take(m->dir, "lock", LOCK_EX, &m->lock, err);
}

void
csn_memory_unlock(csn_memory_store *m)
{
  csn_closep(&m->lock);
}

int
csn_memory_begin(csn_memory_store *m, csn_err *err)
{
  return take(m->dir, "making", LOCK_EX | LOCK_NB, &m->making, err);
}

/* ---- rollouts ---- */

int
csn_memory_append(csn_memory_store *m, csn_str id, csn_str line, csn_err *err)
{
  char path[CSN_ROLLOUT_ID_MAX + 20], last = '\n';
  struct stat st;
  snprintf(path, sizeof path, "sessions/%.*s.jsonl", (int)id.n, id.p);
  csn_auto(csn_closep) int fd =
      csn_open_beneath(m->dir, path, O_RDWR | O_APPEND | O_CREAT, 0600, err);
  if (fd < 0)
    return fd;
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "rollout %s", path);
  if (st.st_size + (off_t)line.n > CSN_ROLLOUT_MAX)
    return csn_fail(err, CSN_E_LIMIT,
                    "rollout %.*s has more than %d MiB; `caisson memory forget` it", (int)id.n,
                    id.p, CSN_ROLLOUT_MAX >> 20);
  if (st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) != 1)
    return csn_fail_errno(err, "rollout %s", path);
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(CSN_ROLLOUT_MAX + 16);
  if (last != '\n') /* its writer died: what it began is no line */
    csn_buf_addc(&bytes, '\n');
  csn_buf_add(&bytes, line);
  csn_buf_addc(&bytes, '\n');
  int rc = csn_fd_write_all(fd, csn_buf_str(&bytes), err);
  if (rc == 0 && fsync(fd) < 0)
    rc = csn_fail_errno(err, "rollout %s", path);
  return rc;
}

/* ---- the index and what is written from it ---- */

int
csn_memory_index(const csn_memory_store *m, csn_arena *a, const csn_json **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
  int rc = csn_file_read(m->dir, "index.json", &text, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_json_parse(a, CSN_STR("{}"), out, err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&text)), out, err);
  return csn_wrap(err, rc, "index.json of the memory");
}

const csn_json *
csn_memory_rollout(const csn_json *index, csn_str id)
{
  csn_json_each (r, csn_json_get(index, "rollouts"))
    if (csn_str_eq(csn_json_str(r, "id", CSN_STR("")), id))
      return r;
  return NULL;
}

bool
csn_memory_is_from(const csn_json *from, csn_str id)
{
  csn_json_each (one, from)
    if (csn_str_eq(one->text, id))
      return true;
  return false;
}

static void
add_from(csn_buf *out, const csn_json *from)
{
  csn_buf_addz(out, " (from");
  csn_json_each (id, from)
    csn_buf_addf(out, " %.*s", (int)id->text.n, id->text.p);
  csn_buf_addz(out, ")\n");
}

void
csn_memory_summary(const csn_json *index, csn_buf *out)
{
  csn_json_each (e, csn_json_get(index, "summary")) {
    csn_str text = csn_json_str(e, "text", CSN_STR(""));
    csn_buf_addf(out, "- %.*s\n", (int)text.n, text.p);
  }
}

/* Entries of a group stand together, and in it those of a kind. */
static void
write_entries(const csn_json *index, csn_buf *out)
{
  const csn_json *entries = csn_json_get(index, "entries");
  csn_str group = CSN_STR(""), kind = CSN_STR("");
  csn_json_each (e, entries) {
    csn_str of = csn_json_str(e, "group", CSN_STR("")), is = csn_json_str(e, "kind", CSN_STR("")),
            text = csn_json_str(e, "text", CSN_STR(""));
    bool is_new = !csn_str_eq(of, group);
    if (is_new)
      csn_buf_addf(out, "%s# Task Group: %.*s\n", out->n ? "\n" : "", (int)of.n, of.p);
    if (is_new || !csn_str_eq(is, kind))
      csn_buf_addf(out, "\n## %.*s\n\n", (int)is.n, is.p);
    group = of;
    kind = is;
    csn_buf_addf(out, "- %.*s", (int)text.n, text.p);
    add_from(out, csn_json_get(e, "from"));
  }
}

static void
write_selection(const csn_json *index, csn_buf *out)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "version");
  csn_jw_int(&w, 1);
  csn_jw_key(&w, "selected");
  csn_jw_arr(&w);
  csn_json_each (r, csn_json_get(index, "rollouts")) {
    csn_str slug = csn_json_str(r, "slug", CSN_STR("")), id = csn_json_str(r, "id", CSN_STR(""));
    if (!slug.n)
      continue;
    csn_auto(csn_buf_finip) csn_buf file = CSN_BUF(1000);
    csn_jw_obj(&w);
    csn_jw_key(&w, "rollout_id");
    csn_jw_str(&w, id);
    csn_jw_key(&w, "updated_ms");
    csn_jw_int(&w, csn_json_int(r, "updated_ms", 0));
    csn_buf_addf(&file, "sessions/%.*s.jsonl", (int)id.n, id.p);
    csn_jw_key(&w, "rollout_path");
    csn_jw_str(&w, csn_buf_str(&file));
    csn_buf_clear(&file);
    csn_buf_addf(&file, "rollout_summaries/%.*s_%.*s.md", (int)id.n, id.p, (int)slug.n, slug.p);
    csn_jw_key(&w, "rollout_summary_file");
    csn_jw_str(&w, csn_buf_str(&file));
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
}

static void
write_raw(const csn_memory_store *m, const csn_json *index, csn_buf *out)
{
  csn_json_each (r, csn_json_get(index, "rollouts")) {
    char path[CSN_ROLLOUT_ID_MAX + 40];
    csn_str id = csn_json_str(r, "id", CSN_STR(""));
    if (!csn_json_str(r, "slug", CSN_STR("")).n || !csn_rollout_id_check(id))
      continue;
    snprintf(path, sizeof path, "memories/raw_memories/%.*s.md", (int)id.n, id.p);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_MEMORY_FILE_MAX);
    if (csn_file_read(m->dir, path, &text, NULL) == 0)
      csn_buf_addf(out, "%s%s", out->n ? "\n" : "", text.p ? text.p : "");
  }
}

static int
put(const csn_memory_store *m, const char *path, const csn_buf *text, csn_err *err)
{
  int rc = csn_buf_done(text, path, err);
  return rc < 0 ? rc : csn_file_write(m->dir, path, csn_buf_str(text), 0600, true, err);
}

int
csn_memory_write(csn_memory_store *m, csn_str json, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf summary = CSN_BUF(CSN_MEMORY_FILE_MAX);
  csn_auto(csn_buf_finip) csn_buf memory = CSN_BUF(CSN_MEMORY_FILE_MAX);
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF((size_t)8 * CSN_MEMORY_FILE_MAX);
  csn_auto(csn_buf_finip) csn_buf selection = CSN_BUF(CSN_MEMORY_FILE_MAX);
  const csn_json *index;
  int rc = csn_json_parse(a, json, &index, err);
  if (rc == 0)
    rc = csn_file_write(m->dir, "index.json", json, 0600, true, err);
  if (rc < 0)
    return rc;
  csn_memory_summary(index, &summary);
  write_entries(index, &memory);
  write_selection(index, &selection);
  write_raw(m, index, &raw);
  rc = put(m, "memories/memory_summary.md", &summary, err);
  if (rc == 0)
    rc = put(m, "memories/MEMORY.md", &memory, err);
  if (rc == 0)
    rc = put(m, "memories/phase_two_selection.json", &selection, err);
  return rc < 0 ? rc : put(m, "memories/raw_memories.md", &raw, err);
}
