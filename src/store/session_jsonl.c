/* SPDX-License-Identifier: Apache-2.0
 *
 * session_jsonl.c - sessions as plain files: a folder with NAME.jsonl for each
 * session, an item a line.
 *
 * The first line is {"type":"caisson.session","parent","created","runs":[...]}.
 * Then come groups, one for each append: a line {"type":"caisson.append","run",
 * "items":N,"bytes":B,"time"}, and N items in B bytes.  Items are counted and
 * never looked at, so no item can pass for a line of ours.  A group that is cut
 * off at the end was never appended; the next append removes it.  Who writes
 * holds the folder's lock file; who reads needs none, since files grow at the
 * end or are replaced whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "store/backend.h"
#include "store/session_backend.h"

enum { FILE_MAX = 256 << 20, LOCK_WAIT_MS = 10000 };

struct jsonl {
  csn_sessions base;
  int dir;
};

static struct jsonl *
jsonl_of(csn_sessions *s)
{
  return (struct jsonl *)s; /* base is the first member */
}

/* A session's file, read. */
struct text {
  csn_buf bytes;
  csn_arena *arena;
  csn_session_stat stat;
  size_t good; /* bytes up to the end of the last whole group */
  csn_str *items, *runs;
  size_t n, n_runs;
};

static void
text_fini(struct text *t)
{
  csn_buf_fini(&t->bytes);
  csn_arena_free(t->arena);
  free(t->items);
  free(t->runs);
}

/* '/' and a '.' at the beginning are what a file's name cannot have. */
static void
file_name(csn_str name, char out[CSN_SESSION_NAME_MAX + 8])
{
  snprintf(out, CSN_SESSION_NAME_MAX + 8, "%.*s.jsonl", (int)name.n, name.p);
  if (*out == '.')
    *out = '=';
  for (char *c = out; *c; c++)
    if (*c == '/')
      *c = '+';
}

/* False: it is no session's file. */
static bool
session_name(const char *file, char out[CSN_SESSION_NAME_MAX + 1])
{
  csn_str f = csn_cstr(file);
  if (!csn_str_ends(f, CSN_STR(".jsonl")) || f.n - 6 > CSN_SESSION_NAME_MAX)
    return false;
  snprintf(out, CSN_SESSION_NAME_MAX + 1, "%.*s", (int)(f.n - 6), f.p);
  if (*out == '=')
    *out = '.';
  for (char *c = out; *c; c++)
    if (*c == '+')
      *c = '/';
  return csn_session_check(csn_cstr(out), NULL) == 0;
}

static void
push(csn_str **list, size_t *n, csn_str s)
{
  if ((*n & (*n - 1)) == 0)
    *list = csn_realloc(*list, *n ? *n * 2 : 1, sizeof **list);
  (*list)[(*n)++] = s;
}

static int
damaged(csn_str name, csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "session '%.*s': its file was changed by another program",
                  (int)name.n, name.p);
}

static int
take_head(struct text *t, csn_str line)
{
  const csn_json *v;
  if (csn_json_parse(t->arena, line, &v, NULL) < 0 ||
      !csn_str_eq(csn_json_str(v, "type", CSN_STR("")), CSN_STR("caisson.session")))
    return -1;
  csn_str parent = csn_json_str(v, "parent", CSN_STR(""));
  snprintf(t->stat.parent, sizeof t->stat.parent, "%.*s", (int)parent.n, parent.n ? parent.p : "");
  t->stat.created_ms = t->stat.updated_ms = csn_json_int(v, "created", 0);
  csn_json_each (run, csn_json_get(v, "runs"))
    push(&t->runs, &t->n_runs, run->text);
  return 0;
}

/* 1: a whole group; 0: the file ends in the middle of one. */
static int
take_group(struct text *t, csn_str *rest)
{
  csn_str at = *rest, line;
  const csn_json *v;
  if (!memchr(at.p, '\n', at.n))
    return 0;
  (void)csn_str_line(&at, &line);
  if (csn_json_parse(t->arena, line, &v, NULL) < 0 ||
      !csn_str_eq(csn_json_str(v, "type", CSN_STR("")), CSN_STR("caisson.append")))
    return -1;
  int64_t items = csn_json_int(v, "items", -1), bytes = csn_json_int(v, "bytes", -1);
  if (items < 0 || bytes < 0)
    return -1;
  if ((size_t)bytes > at.n)
    return 0;
  csn_str group = csn_strn(at.p, (size_t)bytes);
  for (int64_t i = 0; i < items; i++) {
    if (!group.n || !memchr(group.p, '\n', group.n))
      return -1;
    (void)csn_str_line(&group, &line);
    push(&t->items, &t->n, line);
  }
  csn_str run = csn_json_str(v, "run", CSN_STR(""));
  if (run.n)
    push(&t->runs, &t->n_runs, run);
  t->stat.updated_ms = csn_json_int(v, "time", t->stat.updated_ms);
  *rest = csn_strn(at.p + bytes, at.n - (size_t)bytes);
  return group.n ? -1 : 1;
}

/* 1, or 0 when there is no such session. */
static int
text_read(struct jsonl *j, csn_str name, struct text *t, csn_err *err)
{
  char file[CSN_SESSION_NAME_MAX + 8];
  file_name(name, file);
  *t = (struct text){.bytes = CSN_BUF(FILE_MAX), .arena = csn_arena_new(0)};
  csn_err why;
  int rc = csn_file_read(j->dir, file, &t->bytes, &why);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  if (rc < 0) {
    if (err)
      *err = why;
    return csn_wrap(err, rc, "session '%.*s'", (int)name.n, name.p);
  }
  csn_str rest = csn_buf_str(&t->bytes), line;
  if (!rest.n || !memchr(rest.p, '\n', rest.n))
    return 0; /* died while it was made */
  (void)csn_str_line(&rest, &line);
  rc = take_head(t, line) < 0 ? -1 : 1;
  while (rc > 0 && rest.n)
    rc = take_group(t, &rest);
  if (rc < 0)
    return damaged(name, err);
  t->good = t->bytes.n - rest.n;
  t->stat.items = (int64_t)t->n;
  return 1;
}

/* ---- writing ---- */

static int
lock(struct jsonl *j, csn_err *err)
{
  int fd = csn_open_beneath(j->dir, "lock", O_RDWR | O_CREAT, 0600, err);
  if (fd < 0)
    return fd;
  int64_t until = csn_now_ns() + LOCK_WAIT_MS * INT64_C(1000000);
  while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    struct timespec t = {.tv_nsec = 1000000};
    if (errno == EWOULDBLOCK && csn_now_ns() < until) {
      clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
      continue;
    }
    int rc = errno == EWOULDBLOCK
                 ? csn_fail(err, CSN_E_UNAVAILABLE,
                            "sessions: another process has kept their folder locked for %d s",
                            LOCK_WAIT_MS / 1000)
                 : csn_fail_errno(err, "sessions: the lock of their folder");
    close(fd);
    return rc;
  }
  return fd;
}

static void
add_head(csn_buf *b, csn_str parent, int64_t created_ms, const csn_str *runs, size_t n_runs)
{
  csn_jw w;
  csn_jw_init(&w, b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "caisson.session");
  csn_jw_key(&w, "parent");
  csn_jw_str(&w, parent);
  csn_jw_key(&w, "created");
  csn_jw_int(&w, created_ms);
  csn_jw_key(&w, "runs");
  csn_jw_arr(&w);
  for (size_t i = 0; i < n_runs; i++)
    csn_jw_str(&w, runs[i]);
  csn_jw_end(&w);
  csn_jw_end(&w);
  csn_buf_addc(b, '\n');
}

/* An item as one line. */
static int
add_item(csn_buf *b, csn_str item, csn_err *err)
{
  if (!memchr(item.p, '\n', item.n) && !memchr(item.p, '\r', item.n)) {
    csn_buf_add(b, item);
    csn_buf_addc(b, '\n');
    return 0;
  }
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(FILE_MAX);
  const csn_json *v;
  int rc = csn_json_parse(a, item, &v, err);
  if (rc < 0)
    return rc;
  /* Line breaks can only stand between the parts of a value: blanks will do. */
  csn_buf_add(&one, item);
  for (size_t i = 0; i < one.n; i++)
    if (one.p[i] == '\n' || one.p[i] == '\r')
      one.p[i] = ' ';
  csn_buf_add(b, csn_buf_str(&one));
  csn_buf_addc(b, '\n');
  return 0;
}

static int
add_group(csn_buf *b, csn_str run, const csn_str *items, size_t n, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf lines = CSN_BUF(FILE_MAX);
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++)
    rc = add_item(&lines, items[i], err);
  if (rc < 0)
    return rc;
  csn_jw w;
  csn_jw_init(&w, b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "caisson.append");
  csn_jw_key(&w, "run");
  csn_jw_str(&w, run);
  csn_jw_key(&w, "items");
  csn_jw_int(&w, (int64_t)n);
  csn_jw_key(&w, "bytes");
  csn_jw_int(&w, (int64_t)lines.n);
  csn_jw_key(&w, "time");
  csn_jw_int(&w, csn_unix_ms());
  csn_jw_end(&w);
  csn_buf_addc(b, '\n');
  csn_buf_add(b, csn_buf_str(&lines));
  return lines.over ? csn_buf_done(&lines, "a session", err) : csn_buf_done(b, "a session", err);
}

/* Behind the last whole group, and on the disk when it returns. */
static int
write_at(struct jsonl *j, csn_str name, size_t at, csn_str bytes, csn_err *err)
{
  char file[CSN_SESSION_NAME_MAX + 8];
  file_name(name, file);
  csn_auto(csn_closep) int fd = csn_open_beneath(j->dir, file, O_WRONLY, 0, err);
  if (fd < 0)
    return fd;
  if (ftruncate(fd, (off_t)at) < 0 || lseek(fd, (off_t)at, SEEK_SET) < 0)
    return csn_fail_errno(err, "session file %s", file);
  int rc = csn_fd_write_all(fd, bytes, err);
  if (rc == 0 && fdatasync(fd) < 0)
    rc = csn_fail_errno(err, "session file %s", file);
  if (rc < 0 && ftruncate(fd, (off_t)at) < 0)
    return rc; /* the next append does it */
  return rc;
}

static int
replace(struct jsonl *j, csn_str name, csn_str bytes, csn_err *err)
{
  char file[CSN_SESSION_NAME_MAX + 8];
  file_name(name, file);
  return csn_file_write(j->dir, file, bytes, 0600, true, err);
}

/* A file's beginning with the first items of the one that is there. */
static int
add_kept(csn_buf *b, const struct text *t, int64_t keep, csn_err *err)
{
  add_head(b, csn_cstr(t->stat.parent), t->stat.created_ms, t->runs, t->n_runs);
  return add_group(b, CSN_STR(""), t->items, (size_t)keep, err);
}

static int
append_locked(struct jsonl *j, const csn_session_add *a, struct text *t, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(FILE_MAX);
  int found = text_read(j, a->name, t, err);
  if (found < 0)
    return found;
  if (found && a->is_new)
    return csn_session_exists(a->name, err);
  for (size_t i = 0; a->run.n && i < t->n_runs; i++)
    if (csn_str_eq(t->runs[i], a->run))
      return 0;
  if (a->at >= 0 && a->at != t->stat.items)
    return csn_session_conflict(a->name, err);
  int rc = 0;
  if (!found)
    add_head(&b, a->parent, csn_unix_ms(), NULL, 0);
  else if (a->replaces)
    rc = add_kept(&b, t, a->keep, err);
  if (rc == 0)
    rc = add_group(&b, a->run, a->items, a->n, err);
  if (rc == 0 && t->good + b.n > FILE_MAX)
    rc = csn_fail(err, CSN_E_LIMIT, "session '%.*s' is full: a file has %d MiB at most",
                  (int)a->name.n, a->name.p, FILE_MAX >> 20);
  if (rc == 0)
    rc = found && !a->replaces ? write_at(j, a->name, t->good, csn_buf_str(&b), err)
                               : replace(j, a->name, csn_buf_str(&b), err);
  return rc < 0 ? rc : 1;
}

static int
jsonl_append(csn_sessions *s, const csn_session_add *a, csn_err *err)
{
  struct text t = {0};
  csn_auto(csn_closep) int held = lock(jsonl_of(s), err);
  if (held < 0)
    return held;
  int rc = append_locked(jsonl_of(s), a, &t, err);
  text_fini(&t);
  return rc;
}

static int
cut_locked(struct jsonl *j, csn_str name, int64_t items, int64_t keep, struct text *t, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(FILE_MAX);
  int rc = text_read(j, name, t, err);
  if (rc < 0)
    return rc;
  if (rc == 0 || t->stat.items != items || keep > items)
    return csn_session_conflict(name, err);
  rc = add_kept(&b, t, keep, err);
  return rc < 0 ? rc : replace(j, name, csn_buf_str(&b), err);
}

static int
jsonl_cut(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err)
{
  struct text t = {0};
  csn_auto(csn_closep) int held = lock(jsonl_of(s), err);
  if (held < 0)
    return held;
  int rc = cut_locked(jsonl_of(s), name, items, keep, &t, err);
  text_fini(&t);
  return rc;
}

static int
jsonl_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  char file[CSN_SESSION_NAME_MAX + 8];
  file_name(name, file);
  csn_auto(csn_closep) int held = lock(jsonl_of(s), err);
  if (held < 0)
    return held;
  if (unlinkat(jsonl_of(s)->dir, file, 0) == 0)
    return 1;
  return errno == ENOENT ? 0 : csn_fail_errno(err, "session file %s", file);
}

/* ---- reading ---- */

static int
jsonl_find(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  struct text t = {0};
  int rc = text_read(jsonl_of(s), name, &t, err);
  *out = t.stat;
  text_fini(&t);
  return rc;
}

static int
jsonl_read(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
           void *user, csn_err *err)
{
  struct text t = {0};
  int rc = text_read(jsonl_of(s), name, &t, err);
  for (int64_t i = from; rc >= 0 && i < to && i < (int64_t)t.n; i++)
    rc = fn(user, i, t.items[i]);
  text_fini(&t);
  return rc;
}

struct listed {
  char name[CSN_SESSION_NAME_MAX + 1];
  csn_session_stat stat;
};

static int
newest_first(const void *a, const void *b)
{
  const struct listed *x = a, *y = b;
  int by_time =
      (y->stat.updated_ms > x->stat.updated_ms) - (y->stat.updated_ms < x->stat.updated_ms);
  return by_time ? by_time : strcmp(x->name, y->name);
}

static void
closedirp(DIR **d)
{
  if (*d)
    closedir(*d);
}

static int
jsonl_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
           csn_err *err)
{
  int fd = openat(jsonl_of(s)->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
  csn_auto(csn_freep) struct listed *all = NULL;
  size_t n = 0;
  int rc = 0;
  if (!d) {
    csn_closep(&fd);
    return csn_fail_errno(err, "the folder of sessions");
  }
  for (const struct dirent *e; rc >= 0 && (e = readdir(d));) {
    struct listed one = {0};
    if (!session_name(e->d_name, one.name))
      continue;
    rc = jsonl_find(s, csn_cstr(one.name), &one.stat, err);
    if (rc <= 0)
      continue;
    all = csn_realloc(all, n + 1, sizeof *all);
    all[n++] = one;
  }
  if (n)
    qsort(all, n, sizeof *all, newest_first);
  for (size_t i = 0; rc >= 0 && i < n; i++) {
    csn_session_row r = {.name = csn_cstr(all[i].name),
                         .parent = csn_cstr(all[i].stat.parent),
                         .created_ms = all[i].stat.created_ms,
                         .updated_ms = all[i].stat.updated_ms,
                         .items = all[i].stat.items};
    rc = fn(user, &r);
  }
  return rc;
}

static void
jsonl_close(csn_sessions *s)
{
  csn_closep(&jsonl_of(s)->dir);
  free(s);
}

static const csn_session_ops jsonl_ops = {
    .name = "jsonl",
    .close = jsonl_close,
    .find = jsonl_find,
    .read = jsonl_read,
    .append = jsonl_append,
    .cut = jsonl_cut,
    .remove = jsonl_remove,
    .list = jsonl_list,
};

int
csn_sessions_jsonl(const char *folder, csn_sessions **out, csn_err *err)
{
  if (mkdir(folder, 0700) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "cannot make the folder of sessions %s", folder);
  int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  if (dir < 0 || fstat(dir, &st) < 0) {
    csn_closep(&dir);
    return csn_fail_errno(err, "cannot open the folder of sessions %s", folder);
  }
  if (st.st_uid != geteuid() || (st.st_mode & 022)) {
    csn_closep(&dir);
    return csn_fail(err, CSN_E_DENIED,
                    "the folder of sessions %s may be written by others: choose one of your own",
                    folder);
  }
  struct jsonl *j = csn_alloc(sizeof *j);
  *j = (struct jsonl){.base.ops = &jsonl_ops, .dir = dir};
  *out = &j->base;
  return 0;
}
