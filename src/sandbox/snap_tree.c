/* SPDX-License-Identifier: Apache-2.0
 * snap_tree.c - what a snapshot holds; see sandbox/snap_tree.h. */
#include "sandbox/snap_tree.h"

#include <stdio.h>

static const char first_line[] = "caisson-tree 1\n";

void
csn_snap_tree_init(csn_snap_tree *t)
{
  *t = (csn_snap_tree){.arena = csn_arena_new(0)};
}

void
csn_snap_tree_fini(csn_snap_tree *t)
{
  csn_arena_free(t->arena);
  free(t->p);
  *t = (csn_snap_tree){0};
}

/* ---- paths ---- */

int
csn_snap_path_order(csn_str a, csn_str b)
{
  size_t n = a.n < b.n ? a.n : b.n;
  for (size_t i = 0; i < n; i++) {
    if (a.p[i] == b.p[i])
      continue;
    int x = a.p[i] == '/' ? 0 : (unsigned char)a.p[i];
    int y = b.p[i] == '/' ? 0 : (unsigned char)b.p[i];
    return x - y;
  }
  return (a.n > b.n) - (a.n < b.n);
}

bool
csn_snap_is_beneath(csn_str path, csn_str top)
{
  return path.n > top.n && path.p[top.n] == '/' && csn_str_starts(path, top);
}

/* Relative, without empty parts, "." and "..", not too deep. */
static bool
is_clean(csn_str path)
{
  int depth = 0;
  if (path.n == 0 || path.n > CSN_SNAP_PATH_MAX || memchr(path.p, '\0', path.n))
    return false;
  for (size_t at = 0; at <= path.n;) {
    const char *slash = memchr(path.p + at, '/', path.n - at);
    size_t n = slash ? (size_t)(slash - path.p) - at : path.n - at;
    const char *part = path.p + at;
    if (n == 0 || n > 255 || (n == 1 && part[0] == '.') ||
        (n == 2 && part[0] == '.' && part[1] == '.') || ++depth > CSN_SNAP_DEPTH_MAX)
      return false;
    at += n + 1;
  }
  return true;
}

bool
csn_snap_leads_out(csn_str path, csn_str target)
{
  int depth = -1;
  for (size_t i = 0; i < path.n; i++)
    depth += path.p[i] == '/';
  depth++; /* folders above the link */
  if (target.n == 0 || target.p[0] == '/')
    return true;
  for (size_t at = 0; at < target.n;) {
    const char *slash = memchr(target.p + at, '/', target.n - at);
    size_t n = slash ? (size_t)(slash - target.p) - at : target.n - at;
    if (n == 2 && target.p[at] == '.' && target.p[at + 1] == '.')
      depth--;
    else if (n && !(n == 1 && target.p[at] == '.'))
      depth++;
    if (depth < 0)
      return true;
    at += n + 1;
  }
  return false;
}

/* ---- the list ---- */

int
csn_snap_tree_add(csn_snap_tree *t, const csn_snap_entry *e, csn_err *err)
{
  if (!is_clean(e->path))
    return csn_fail(err, CSN_E_LIMIT,
                    "%.*s: the path is longer than %d bytes, or more than %d folders deep",
                    (int)(e->path.n < 200 ? e->path.n : 200), e->path.p ? e->path.p : "",
                    CSN_SNAP_PATH_MAX, CSN_SNAP_DEPTH_MAX);
  if (t->n == CSN_SNAP_FILES_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d files", CSN_SNAP_FILES_MAX);
  t->bytes += e->kind == CSN_SNAP_FILE ? e->size : 0;
  if (t->bytes > CSN_SNAP_BYTES_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %lld bytes", (long long)CSN_SNAP_BYTES_MAX);
  if (t->n == t->room) {
    t->room = t->room ? t->room * 2 : 256;
    t->p = csn_realloc(t->p, t->room, sizeof *t->p);
  }
  t->p[t->n] = *e;
  t->p[t->n].path = csn_arena_dup(t->arena, e->path);
  t->p[t->n++].target = e->kind == CSN_SNAP_LINK ? csn_arena_dup(t->arena, e->target) : e->target;
  return 0;
}

const csn_snap_entry *
csn_snap_tree_find(const csn_snap_tree *t, csn_str path)
{
  size_t from = 0, to = t->p ? t->n : 0;
  while (from < to) {
    size_t middle = from + (to - from) / 2;
    int order = csn_snap_path_order(path, t->p[middle].path);
    if (order == 0)
      return &t->p[middle];
    if (order < 0)
      to = middle;
    else
      from = middle + 1;
  }
  return NULL;
}

/* ---- its text ---- */

static void
put_word(csn_buf *out, csn_str word)
{
  for (size_t i = 0; i < word.n; i++) {
    unsigned char c = (unsigned char)word.p[i];
    if (c <= ' ' || c == '%' || c == 0x7f)
      csn_buf_addf(out, "%%%02X", c);
    else
      csn_buf_addc(out, (char)c);
  }
}

static void
put_entry(csn_buf *out, const csn_snap_entry *e)
{
  char hex[65];
  csn_buf_addc(out, "dfl"[e->kind]);
  if (e->kind != CSN_SNAP_LINK)
    csn_buf_addf(out, " %03o", e->mode);
  csn_buf_addf(out, " %lld.%09d ", (long long)e->mtime_s, e->mtime_ns);
  if (e->kind == CSN_SNAP_FILE) {
    csn_digest_hex(&e->digest, hex);
    csn_buf_addf(out, "%lld %s ", (long long)e->size, hex);
  } else if (e->kind == CSN_SNAP_LINK) {
    put_word(out, e->target);
    csn_buf_addc(out, ' ');
  }
  put_word(out, e->path);
  csn_buf_addc(out, '\n');
}

int
csn_snap_tree_write(const csn_snap_tree *t, csn_buf *out, csn_err *err)
{
  csn_buf_addz(out, first_line);
  for (size_t i = 0; i < t->n; i++)
    put_entry(out, &t->p[i]);
  return csn_buf_done(out, "the list of files", err);
}

/* The next word of a line; false when there is none. */
static bool
take_word(csn_str *line, csn_str *word)
{
  const char *blank = line->n ? memchr(line->p, ' ', line->n) : NULL;
  size_t n = blank ? (size_t)(blank - line->p) : line->n;
  *word = csn_strn(line->p, n);
  *line = blank ? csn_strn(blank + 1, line->n - n - 1) : csn_strn(NULL, 0);
  return n > 0;
}

static int
hex_digit(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
plain_word(csn_buf *out, csn_str word)
{
  csn_buf_clear(out);
  for (size_t i = 0; i < word.n; i++) {
    if (word.p[i] != '%') {
      csn_buf_addc(out, word.p[i]);
      continue;
    }
    int high = i + 2 < word.n ? hex_digit(word.p[i + 1]) : -1;
    int low = i + 2 < word.n ? hex_digit(word.p[i + 2]) : -1;
    if (high < 0 || low < 0)
      return false;
    csn_buf_addc(out, (char)(high << 4 | low));
    i += 2;
  }
  return !out->over;
}

static bool
take_mode(csn_str *line, uint32_t *mode)
{
  csn_str word;
  if (!take_word(line, &word) || word.n != 3)
    return false;
  *mode = 0;
  for (size_t i = 0; i < 3; i++) {
    if (word.p[i] < '0' || word.p[i] > '7')
      return false;
    *mode = *mode * 8 + (uint32_t)(word.p[i] - '0');
  }
  return true;
}

static bool
take_time(csn_str *line, csn_snap_entry *e)
{
  csn_str word;
  int64_t ns;
  if (!take_word(line, &word) || word.n < 11 || word.p[word.n - 10] != '.')
    return false;
  csn_str whole = csn_strn(word.p, word.n - 10), part = csn_strn(word.p + word.n - 9, 9);
  if (!csn_str_int(whole, &e->mtime_s) || !csn_str_int(part, &ns) || part.p[0] == '-')
    return false;
  e->mtime_ns = (int32_t)ns;
  return true;
}

struct parsing {
  csn_snap_tree *t;
  csn_buf path, target, again;
};

static bool
parse_entry(struct parsing *p, csn_str line, csn_snap_entry *e)
{
  csn_str word;
  *e = (csn_snap_entry){0};
  if (!take_word(&line, &word) || word.n != 1)
    return false;
  if (word.p[0] != 'd' && word.p[0] != 'f' && word.p[0] != 'l')
    return false;
  e->kind = word.p[0] == 'd' ? CSN_SNAP_DIR : word.p[0] == 'f' ? CSN_SNAP_FILE : CSN_SNAP_LINK;
  if (e->kind != CSN_SNAP_LINK && !take_mode(&line, &e->mode))
    return false;
  if (!take_time(&line, e))
    return false;
  if (e->kind == CSN_SNAP_FILE &&
      (!take_word(&line, &word) || !csn_str_int(word, &e->size) || e->size < 0 ||
       !take_word(&line, &word) || !csn_digest_from_hex(word, &e->digest)))
    return false;
  if (e->kind == CSN_SNAP_LINK && (!take_word(&line, &word) || !plain_word(&p->target, word)))
    return false;
  if (!take_word(&line, &word) || !plain_word(&p->path, word) || line.p)
    return false;
  e->path = csn_buf_str(&p->path);
  e->target = e->kind == CSN_SNAP_LINK ? csn_buf_str(&p->target) : csn_strn(NULL, 0);
  return true;
}

/* Every entry follows the one before, in a folder that stands before it. */
static bool
is_in_order(const csn_snap_tree *t, const csn_snap_entry *e)
{
  const csn_snap_entry *last = t->n ? &t->p[t->n - 1] : NULL;
  if (last && csn_snap_path_order(last->path, e->path) >= 0)
    return false;
  const char *slash = memrchr(e->path.p, '/', e->path.n);
  if (!slash)
    return true;
  csn_str parent = csn_strn(e->path.p, (size_t)(slash - e->path.p));
  const csn_snap_entry *above = csn_snap_tree_find(t, parent);
  return above && above->kind == CSN_SNAP_DIR;
}

static int
parse_lines(struct parsing *p, csn_str text, csn_err *err)
{
  csn_snap_entry e;
  for (size_t n = 2; text.n; n++) {
    const char *end = memchr(text.p, '\n', text.n);
    size_t length = end ? (size_t)(end - text.p) : text.n;
    csn_str line = csn_strn(text.p, length);
    csn_buf_clear(&p->again);
    if (!end || !parse_entry(p, line, &e))
      return csn_fail(err, CSN_E_PARSE, "the list of files is damaged, in line %zu", n);
    put_entry(&p->again, &e);
    if (p->again.n != length + 1 || memcmp(p->again.p, line.p, length) != 0 || !is_clean(e.path) ||
        !is_in_order(p->t, &e))
      return csn_fail(err, CSN_E_PARSE, "the list of files is damaged, in line %zu", n);
    int rc = csn_snap_tree_add(p->t, &e, err);
    if (rc < 0)
      return rc;
    text = csn_strn(end + 1, text.n - length - 1);
  }
  return 0;
}

int
csn_snap_tree_parse(csn_snap_tree *t, csn_str text, csn_err *err)
{
  struct parsing p = {.t = t,
                      .path = CSN_BUF(CSN_SNAP_PATH_MAX + 1),
                      .target = CSN_BUF(CSN_SNAP_PATH_MAX + 1),
                      .again = CSN_BUF(8 * (CSN_SNAP_PATH_MAX + 100))};
  csn_str head = CSN_STR("caisson-tree 1\n");
  if (!csn_str_starts(text, head))
    return csn_fail(err, CSN_E_PARSE, "not a list of files that this version knows");
  int rc = parse_lines(&p, csn_strn(text.p + head.n, text.n - head.n), err);
  csn_buf_fini(&p.path);
  csn_buf_fini(&p.target);
  csn_buf_fini(&p.again);
  return rc;
}

/* ---- differences ---- */

static bool
differ(const csn_snap_entry *a, const csn_snap_entry *b)
{
  if (a->kind != b->kind || (a->kind != CSN_SNAP_LINK && a->mode != b->mode))
    return true;
  if (a->kind == CSN_SNAP_FILE)
    return memcmp(&a->digest, &b->digest, sizeof a->digest) != 0;
  return a->kind == CSN_SNAP_LINK && !csn_str_eq(a->target, b->target);
}

void
csn_snap_tree_diff(const csn_snap_tree *a, const csn_snap_tree *b, csn_snap_diff_fn *fn, void *user)
{
  for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
    int order = i == a->n ? 1 : k == b->n ? -1 : csn_snap_path_order(a->p[i].path, b->p[k].path);
    const csn_snap_entry *old = order <= 0 ? &a->p[i++] : NULL;
    const csn_snap_entry *now = order >= 0 ? &b->p[k++] : NULL;
    if (!old || !now || differ(old, now))
      fn(user, old, now);
  }
}
