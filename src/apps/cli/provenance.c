/* SPDX-License-Identifier: Apache-2.0
 *
 * provenance.c - see provenance.h.
 *
 * A patch names its files and their hashes in the journal.  What a command did
 * is not recorded file by file; but the kernel's change time of a file, which
 * nobody in the sandbox can set, lies inside the call that changed it last.
 */
#include "provenance.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/fd.h"
#include "core/hash.h"

/* The kernel's file times are those of its last tick. */
enum { COMMAND_SHOWN = 100, TICK_MS = 10 };

struct step {
  int64_t seq, from_ms, to_ms;
  csn_str what;          /* "copied", "patched", "changed", "collected" */
  csn_str tool;          /* and what it was called with */
  csn_str detail;        /* command or source */
  csn_str before, after; /* SHA-256 in hex; empty: no file, or not known */
  bool is_void;          /* it did not happen after all */
};

struct call {
  int64_t seq, from_ms, to_ms;
  csn_str tool, detail;
  bool is_elsewhere; /* in another sandbox of the run */
};

struct story {
  csn_arena *a;
  csn_str path;
  struct step *steps;
  size_t n_steps;
  struct call *calls;
  size_t n_calls;
  csn_str agent; /* record 0 */
  csn_str box;   /* of several sandboxes: the one that the path is in; else empty */
  bool is_first; /* which is the first of them */
};

static csn_str
keep(struct story *s, csn_str text)
{
  return csn_arena_dup(s->a, text);
}

static struct step *
add_step(struct story *s, const csn_record *r, const char *what)
{
  if ((s->n_steps & (s->n_steps - 1)) == 0)
    s->steps = csn_realloc(s->steps, s->n_steps ? s->n_steps * 2 : 1, sizeof *s->steps);
  struct step *t = &s->steps[s->n_steps++];
  *t = (struct step){.seq = r->seq, .from_ms = r->ts_ms, .to_ms = r->ts_ms, .what = csn_cstr(what)};
  return t;
}

static struct call *
find_call(struct story *s, int64_t seq)
{
  for (size_t i = s->n_calls; i-- > 0;)
    if (s->calls[i].seq == seq)
      return &s->calls[i];
  return NULL;
}

/* "/workspace/a", "./a" and "a" are the same. */
static csn_str
inside(csn_str path)
{
  static const csn_str root = CSN_STR_INIT("/workspace/"), here = CSN_STR_INIT("./");
  if (csn_str_starts(path, root))
    return csn_strn(path.p + root.n, path.n - root.n);
  return csn_str_starts(path, here) ? csn_strn(path.p + here.n, path.n - here.n) : path;
}

/* "NAME:PATH", or a path in the first of several sandboxes. */
static void
choose_box(struct story *s, const csn_json *zero)
{
  const csn_json *several = csn_json_get(csn_json_get(zero, "agent"), "sandboxes");
  if (!several || !several->child)
    return;
  s->box = keep(s, several->child->key);
  csn_json_each (b, several)
    if (csn_str_starts(s->path, b->key) && s->path.n > b->key.n && s->path.p[b->key.n] == ':') {
      s->box = keep(s, b->key);
      s->path = inside(csn_strn(s->path.p + b->key.n + 1, s->path.n - b->key.n - 1));
      break;
    }
  s->is_first = csn_str_eq(s->box, several->child->key);
}

/* By its arguments; a tool that is bound to one does not say so. */
static bool
is_elsewhere(const struct story *s, const csn_json *args, csn_str tool)
{
  static const char *const chosen[] = {"exec_command", "write_stdin", "apply_patch", NULL};
  csn_str box = csn_json_str(args, "sandbox", CSN_STR(""));
  if (csn_str_eq(tool, CSN_STR("copy_files")))
    box = csn_json_str(args, "to", CSN_STR(""));
  if (!s->box.n || (!box.n && !csn_str_is_one_of(tool, chosen)))
    return false;
  return box.n ? !csn_str_eq(box, s->box) : !s->is_first;
}

static void
on_call(struct story *s, const csn_record *r, const csn_json *v)
{
  if ((s->n_calls & (s->n_calls - 1)) == 0)
    s->calls = csn_realloc(s->calls, s->n_calls ? s->n_calls * 2 : 1, sizeof *s->calls);
  csn_str arguments = csn_json_str(v, "arguments", CSN_STR(""));
  const csn_json *args = NULL;
  csn_str tool = csn_json_str(v, "name", CSN_STR(""));
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  csn_str command = CSN_STR("");
  if (csn_json_parse(scratch, arguments, &args, NULL) == 0)
    command = csn_json_str(args, "cmd", csn_json_str(args, "chars", CSN_STR("")));
  s->calls[s->n_calls++] = (struct call){.seq = r->seq,
                                         .from_ms = r->ts_ms,
                                         .to_ms = INT64_MAX,
                                         .tool = keep(s, tool),
                                         .detail = keep(s, command),
                                         .is_elsewhere = is_elsewhere(s, args, tool)};
}

static void
on_intent(struct story *s, const csn_record *r, const csn_json *v)
{
  csn_json_each (file, csn_json_get(csn_json_get(v, "data"), "files")) {
    if (!csn_str_eq(csn_json_str(file, "path", CSN_STR("")), s->path))
      continue;
    const struct call *c = find_call(s, csn_json_int(v, "effect", -1));
    if (c && c->is_elsewhere)
      continue;
    struct step *t = add_step(s, r, "patched");
    t->seq = c ? c->seq : r->seq;
    t->tool = c ? c->tool : CSN_STR("");
    t->before = keep(s, csn_json_str(file, "old_sha256", CSN_STR("")));
    t->after = keep(s, csn_json_str(file, "new_sha256", CSN_STR("")));
  }
}

static void
on_outputs(struct story *s, const csn_record *r, const csn_json *v)
{
  csn_json_each (o, csn_json_get(v, "outputs"))
    if (csn_str_eq(csn_json_str(o, "path", CSN_STR("")), s->path) &&
        csn_str_eq(csn_json_str(o, "sandbox", s->is_first ? s->box : CSN_STR("")), s->box)) {
      struct step *t = add_step(s, r, "collected");
      t->detail = keep(s, csn_json_str(o, "to", CSN_STR("")));
      t->after = keep(s, csn_json_str(o, "sha256", CSN_STR("")));
    }
}

/* The entry of the manifest that brought the path, if one did. */
static void
on_ready(struct story *s, const csn_record *r)
{
  const csn_json *zero;
  if (csn_json_parse(s->a, s->agent, &zero, NULL) < 0)
    return;
  const csn_json *of = csn_json_get(zero, "agent");
  if (s->box.n && !s->is_first) {
    csn_auto(csn_freep) char *name = csn_dupz(s->box);
    of = csn_json_get(csn_json_get(of, "sandboxes"), name);
  }
  const csn_json *entries = csn_json_get(csn_json_get(of, "manifest"), "entries");
  csn_json_each (e, entries) {
    bool is_it =
        csn_str_starts(s->path, e->key) && (s->path.n == e->key.n || (s->path.p[e->key.n] == '/'));
    if (!is_it)
      continue;
    struct step *t = add_step(s, r, "copied");
    t->tool = keep(s, csn_json_str(e, "type", CSN_STR("")));
    t->detail = keep(s, csn_json_str(e, "src", csn_json_str(e, "repo", CSN_STR(""))));
  }
}

static int
on_record(void *user, const csn_record *r, csn_err *err)
{
  struct story *s = user;
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  const csn_json *v;
  int rc = csn_json_parse(scratch, r->data, &v, err);
  if (rc < 0)
    return rc;
  if (r->seq == 0) {
    s->agent = keep(s, r->data);
    choose_box(s, v);
  }
  if (csn_str_eq(r->kind, CSN_STR("tool_call"))) {
    on_call(s, r, v);
  } else if (csn_str_eq(r->kind, CSN_STR("tool_returned"))) {
    struct call *c = find_call(s, csn_json_int(v, "effect", -1));
    if (c)
      c->to_ms = r->ts_ms;
  } else if (csn_str_eq(r->kind, CSN_STR("note")) &&
             csn_str_eq(csn_json_str(v, "note", CSN_STR("")), CSN_STR("intent"))) {
    on_intent(s, r, v);
  } else if (csn_str_eq(r->kind, CSN_STR("checkpointed"))) {
    on_outputs(s, r, v);
  } else if (csn_str_eq(r->kind, CSN_STR("sandbox_ready"))) {
    on_ready(s, r);
  }
  return 0;
}

/* ---- the file as it is now ---- */

/* side: "workspace", or "base", which keeps what was copied. */
static int
open_file(cli_stored *st, const struct story *s, const char *run, const char *side)
{
  char top[120];
  bool is_other = s->box.n && !s->is_first;
  snprintf(top, sizeof top, "sandboxes/%s%s%.*s/%s", run, is_other ? "." : "",
           is_other ? (int)s->box.n : 0, is_other ? s->box.p : "", side);
  csn_auto(csn_closep) int dir = csn_open_beneath(st->fd, top, O_PATH | O_DIRECTORY, 0, NULL);
  csn_auto(csn_freep) char *name = csn_dupz(s->path);
  return dir < 0 ? -1 : csn_open_beneath(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, NULL);
}

/* In hex, in the arena; empty when it is no file that can be read. */
static csn_str
hash_file(csn_arena *a, int fd, struct stat *st)
{
  csn_sha256 h;
  char block[4096], hex[65];
  ssize_t n;
  if (fd < 0 || fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
    return CSN_STR("");
  csn_sha256_init(&h);
  while ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0)
      csn_sha256_add(&h, csn_strn(block, (size_t)n));
  csn_digest d = csn_sha256_end(&h);
  csn_digest_hex(&d, hex);
  return n < 0 ? CSN_STR("") : csn_arena_dup(a, csn_cstr(hex));
}

/* What the base keeps is what was copied; other entries of a folder came later. */
static void
check_copies(struct story *s, csn_str copied)
{
  for (size_t i = 0; i < s->n_steps; i++)
    if (csn_str_eq(s->steps[i].tool, CSN_STR("local_dir"))) {
      s->steps[i].after = copied;
      s->steps[i].is_void = !copied.n;
    }
}

/* The calls during which the file was changed last: more than one when calls
 * ran beside each other.  None when it is as the copy or the last patch left
 * it. */
static void
add_last_change(struct story *s, const struct stat *st, csn_str hash)
{
  int64_t at_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
  for (size_t i = s->n_steps; i-- > 0;) {
    if (csn_str_eq(s->steps[i].what, CSN_STR("collected")))
      continue;
    if (csn_str_eq(s->steps[i].after, hash))
      return;
    break;
  }
  for (size_t i = 0; i < s->n_calls; i++) {
    const struct call *c = &s->calls[i];
    if (at_ms + TICK_MS < c->from_ms || at_ms > c->to_ms)
      continue;
    if (c->is_elsewhere || csn_str_eq(c->tool, CSN_STR("apply_patch")))
      continue;
    csn_record r = {.seq = c->seq, .ts_ms = at_ms};
    struct step *t = add_step(s, &r, "changed");
    t->tool = c->tool;
    t->detail = c->detail;
    t->after = hash;
  }
}

static int
by_seq(const void *a, const void *b)
{
  const struct step *x = a, *y = b;
  return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* ---- printing ---- */

static void
member(csn_jw *w, const char *key, csn_str value)
{
  if (!value.n)
    return;
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

static int
print_json(const struct story *s, csn_str now, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 20);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  member(&w, "path", s->path);
  member(&w, "sha256", now);
  csn_jw_key(&w, "steps");
  csn_jw_arr(&w);
  for (size_t i = 0; i < s->n_steps; i++) {
    const struct step *t = &s->steps[i];
    csn_jw_obj(&w);
    csn_jw_key(&w, "seq");
    csn_jw_int(&w, t->seq);
    csn_jw_key(&w, "ts");
    csn_jw_int(&w, t->from_ms);
    member(&w, "what", t->what);
    member(&w, "tool", t->tool);
    member(&w, "detail", t->detail);
    member(&w, "before", t->before);
    member(&w, "after", t->after);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    puts(b.p);
  return rc;
}

static void
print_lines(const struct story *s, csn_str now)
{
  for (size_t i = 0; i < s->n_steps; i++) {
    const struct step *t = &s->steps[i];
    csn_str detail = t->detail;
    detail.n = detail.n > COMMAND_SHOWN ? COMMAND_SHOWN : detail.n;
    detail.n = csn_utf8_valid(detail);
    time_t at = (time_t)(t->from_ms / 1000);
    struct tm tm;
    localtime_r(&at, &tm);
    printf("%5lld %02d:%02d:%02d.%03d  %-9.*s %.*s", (long long)t->seq, tm.tm_hour, tm.tm_min,
           tm.tm_sec, (int)(t->from_ms % 1000), (int)t->what.n, t->what.p, (int)t->tool.n,
           t->tool.n ? t->tool.p : "");
    if (detail.n) {
      csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(COMMAND_SHOWN + 16);
      csn_buf_addf(&line, " %.*s%s", (int)detail.n, detail.p, detail.n < t->detail.n ? "..." : "");
      for (size_t k = 0; k < line.n; k++)
        if (line.p[k] == '\n')
          line.p[k] = ' ';
      cli_put(stdout, csn_buf_str(&line));
    }
    if (csn_str_eq(t->what, CSN_STR("patched")))
      printf("  %.12s -> %.12s", t->before.n ? t->before.p : "nothing",
             t->after.n ? t->after.p : "nothing");
    else if (t->after.n)
      printf("  -> %.12s", t->after.p);
    putchar('\n');
  }
  if (now.n)
    printf("  now                %.12s\n", now.p);
  else
    puts("  now                it is not in the workspace");
}

int
cli_provenance(cli *c, cli_stored *st, csn_journal *j, csn_str path, bool json, csn_err *err)
{
  struct story s = {.a = c->arena, .path = inside(path)};
  struct stat info;
  csn_str now = {NULL, 0};
  int rc = csn_journal_read(j, 0, on_record, &s, err);
  csn_auto(csn_closep) int base = open_file(st, &s, csn_journal_id(j), "base");
  csn_auto(csn_closep) int work = open_file(st, &s, csn_journal_id(j), "workspace");
  check_copies(&s, hash_file(c->arena, base, &info));
  now = hash_file(c->arena, work, &info);
  if (now.n)
    add_last_change(&s, &info, now);
  size_t n = 0;
  for (size_t i = 0; i < s.n_steps; i++)
    if (!s.steps[i].is_void)
      s.steps[n++] = s.steps[i];
  s.n_steps = n;
  if (rc == 0 && !n)
    rc = csn_fail(err, CSN_E_NOT_FOUND,
                  "run %s knows nothing about %.200s; paths are those inside the workspace",
                  csn_journal_id(j), s.path.p);
  if (rc == 0) {
    qsort(s.steps, s.n_steps, sizeof *s.steps, by_seq);
    if (json)
      rc = print_json(&s, now, err);
    else
      print_lines(&s, now);
  }
  free(s.steps);
  free(s.calls);
  return rc;
}
