/* SPDX-License-Identifier: Apache-2.0
 *
 * linediff.c - Myers' O(ND) difference, linear space, over interned lines. */
#include "sandbox/linediff.h"

#include "core/hash.h"

#define LINES_MAX 4000000
#define CONTEXT 3
#define COST_MAX 256 /* edits sought from each side before a part is split where it is */
#define NOWHERE (-((int64_t)1 << 40))

typedef struct table {
  uint32_t *slot; /* index + 1 into lines */
  csn_str *lines;
  size_t n, size;
  uint64_t seed;
} table;

typedef struct work {
  const uint32_t *a, *b;      /* line numbers */
  unsigned char *gone, *made; /* per line of a and of b */
  int64_t *down, *up;         /* furthest points, by diagonal + offset */
  int64_t offset;
} work;

static int
split(csn_str text, csn_str **out, size_t *n, csn_err *err)
{
  size_t room = 0;
  for (size_t i = 0; i < text.n;) {
    const char *nl = memchr(text.p + i, '\n', text.n - i);
    size_t end = nl ? (size_t)(nl - text.p) + 1 : text.n;
    if (*n == LINES_MAX)
      return csn_fail(err, CSN_E_LIMIT, "a text of more than %d lines cannot be compared",
                      LINES_MAX);
    if (*n == room) {
      room = room ? room * 2 : 128;
      *out = csn_realloc(*out, room, sizeof **out);
    }
    (*out)[(*n)++] = csn_strn(text.p + i, end - i);
    i = end;
  }
  return 0;
}

static uint64_t
hash(uint64_t seed, csn_str s)
{
  uint64_t h = seed ^ s.n, w;
  size_t i = 0;
  for (; i + 8 <= s.n; i += 8) {
    memcpy(&w, s.p + i, 8);
    unsigned __int128 m = (unsigned __int128)(h ^ w) * 0x9e3779b97f4a7c15u;
    h = (uint64_t)m ^ (uint64_t)(m >> 64);
  }
  w = 0;
  if (i < s.n)
    memcpy(&w, s.p + i, s.n - i);
  unsigned __int128 m = (unsigned __int128)(h ^ w) * 0xd6e8feb86659fd93u;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static void
intern(table *t, const csn_str *lines, size_t n, uint32_t *out)
{
  for (size_t k = 0; k < n; k++) {
    size_t i = hash(t->seed, lines[k]) & (t->size - 1);
    while (t->slot[i] && !csn_str_eq(t->lines[t->slot[i] - 1], lines[k]))
      i = (i + 1) & (t->size - 1);
    if (!t->slot[i]) {
      t->lines[t->n] = lines[k];
      t->slot[i] = (uint32_t)++t->n;
    }
    out[k] = t->slot[i] - 1;
  }
}

/* The furthest x on diagonal k after d edits, from the values for d - 1; `v` is
 * one of the fronts.  Negative: outside of the box of n by m lines. */
static int64_t
advance(const int64_t *v, int64_t k, int64_t d, int64_t n, int64_t m)
{
  if (d == 0)
    return 0;
  int64_t left = k - 1 >= -(d - 1) && k - 1 >= -m ? v[k - 1] + 1 : NOWHERE;
  int64_t right = k + 1 <= d - 1 && k + 1 <= n ? v[k + 1] : NOWHERE;
  if (left > n)
    left = NOWHERE;
  if (right - k > m)
    right = NOWHERE;
  return left > right ? left : right;
}

/* A point on a short path through the box: where the fronts from both corners
 * meet or, when that takes too many edits, the furthest point that was seen. */
static void
middle(work *w, int64_t a, int64_t a_end, int64_t b, int64_t b_end, int64_t *x_out, int64_t *y_out)
{
  int64_t n = a_end - a, m = b_end - b, delta = n - m, best = -1;
  int64_t *down = w->down + w->offset, *up = w->up + w->offset;
  for (int64_t d = 0; d < COST_MAX; d++) {
    for (int64_t k = -d; k <= d; k += 2) {
      if (k < -m || k > n)
        continue;
      int64_t x = advance(down, k, d, n, m);
      while (x >= 0 && x < n && x - k < m && w->a[a + x] == w->b[b + x - k])
        x++;
      down[k] = x;
      if (x >= 0 && 2 * x - k > best) {
        best = 2 * x - k;
        *x_out = a + x, *y_out = b + x - k;
      }
      int64_t back = delta - k;
      if ((delta & 1) && x >= 0 && back >= -(d - 1) && back <= d - 1 && up[back] >= 0 &&
          x + up[back] >= n) {
        *x_out = a + x, *y_out = b + x - k;
        return;
      }
    }
    for (int64_t k = -d; k <= d; k += 2) {
      if (k < -m || k > n)
        continue;
      int64_t x = advance(up, k, d, n, m);
      while (x >= 0 && x < n && x - k < m && w->a[a_end - 1 - x] == w->b[b_end - 1 - (x - k)])
        x++;
      up[k] = x;
      int64_t fore = delta - k;
      if (!(delta & 1) && x >= 0 && fore >= -d && fore <= d && down[fore] >= 0 &&
          x + down[fore] >= n) {
        *x_out = a_end - x, *y_out = b_end - (x - k);
        return;
      }
    }
  }
}

static void
compare(work *w, int64_t a, int64_t a_end, int64_t b, int64_t b_end)
{
  for (;;) {
    while (a < a_end && b < b_end && w->a[a] == w->b[b])
      a++, b++;
    while (a < a_end && b < b_end && w->a[a_end - 1] == w->b[b_end - 1])
      a_end--, b_end--;
    int64_t x = a, y = b;
    bool is_one_sided = a == a_end || b == b_end;
    if (!is_one_sided)
      middle(w, a, a_end, b, b_end, &x, &y);
    if (is_one_sided || (x == a && y == b) || (x == a_end && y == b_end)) {
      memset(w->gone + a, 1, (size_t)(a_end - a));
      memset(w->made + b, 1, (size_t)(b_end - b));
      return;
    }
    /* The smaller half by recursion, so the depth is logarithmic. */
    if (x - a + y - b < a_end - x + b_end - y) {
      compare(w, a, x, b, y);
      a = x, b = y;
    } else {
      compare(w, x, a_end, y, b_end);
      a_end = x, b_end = y;
    }
  }
}

static void
collect(csn_linediff *d, const work *w)
{
  size_t room = 0;
  for (size_t i = 0, j = 0; i < d->n_a || j < d->n_b;) {
    if (i < d->n_a && j < d->n_b && !w->gone[i] && !w->made[j]) {
      i++, j++;
      continue;
    }
    csn_change_range r = {.a = i, .b = j};
    while (i < d->n_a && w->gone[i])
      i++;
    while (j < d->n_b && w->made[j])
      j++;
    r.a_end = i, r.b_end = j;
    if (d->n == room) {
      room = room ? room * 2 : 32;
      d->ranges = csn_realloc(d->ranges, room, sizeof *d->ranges);
    }
    d->ranges[d->n++] = r;
  }
}

int
csn_linediff_init(csn_linediff *d, csn_str a, csn_str b, csn_err *err)
{
  *d = (csn_linediff){0};
  int rc = split(a, &d->a_lines, &d->n_a, err);
  if (rc == 0)
    rc = split(b, &d->b_lines, &d->n_b, err);
  if (rc < 0) {
    csn_linediff_fini(d);
    return rc;
  }
  size_t all = d->n_a + d->n_b, size = 64;
  while (size < all * 2)
    size *= 2;
  table t = {.slot = csn_alloc(size * sizeof(uint32_t)),
             .lines = csn_realloc(NULL, all + 1, sizeof(csn_str)),
             .size = size};
  csn_random_bytes(&t.seed, sizeof t.seed);
  uint32_t *numbers = csn_realloc(NULL, all + 1, sizeof *numbers);
  intern(&t, d->a_lines, d->n_a, numbers);
  intern(&t, d->b_lines, d->n_b, numbers + d->n_a);
  free(t.slot);
  free(t.lines);
  size_t most = all + 3 < 2 * COST_MAX + 3 ? all + 3 : 2 * COST_MAX + 3;
  work w = {.a = numbers,
            .b = numbers + d->n_a,
            .gone = csn_alloc(d->n_a + 1),
            .made = csn_alloc(d->n_b + 1),
            .offset = (int64_t)(most + 1)};
  w.down = csn_alloc((2 * most + 4) * sizeof *w.down);
  w.up = csn_alloc((2 * most + 4) * sizeof *w.up);
  compare(&w, 0, (int64_t)d->n_a, 0, (int64_t)d->n_b);
  collect(d, &w);
  free(numbers);
  free(w.gone);
  free(w.made);
  free(w.down);
  free(w.up);
  return 0;
}

void
csn_linediff_fini(csn_linediff *d)
{
  free(d->a_lines);
  free(d->b_lines);
  free(d->ranges);
  *d = (csn_linediff){0};
}

static void
put_line(csn_buf *out, char mark, csn_str line)
{
  csn_buf_addc(out, mark);
  csn_buf_add(out, line);
  if (line.n == 0 || line.p[line.n - 1] != '\n')
    csn_buf_addz(out, "\n\\ No newline at end of file\n");
}

/* "3,7", or "3" for one line; an empty range is given as the line before. */
static void
put_range(csn_buf *out, size_t from, size_t end)
{
  size_t n = end - from;
  csn_buf_addf(out, "%zu", n ? from + 1 : from);
  if (n != 1)
    csn_buf_addf(out, ",%zu", n);
}

void
csn_linediff_print(const csn_linediff *d, csn_buf *out)
{
  for (size_t i = 0; i < d->n && !out->over;) {
    size_t last = i;
    while (last + 1 < d->n && d->ranges[last + 1].a - d->ranges[last].a_end <= 2 * CONTEXT)
      last++;
    const csn_change_range *f = &d->ranges[i], *l = &d->ranges[last];
    size_t before = f->a < CONTEXT ? f->a : CONTEXT;
    size_t after = d->n_a - l->a_end < CONTEXT ? d->n_a - l->a_end : CONTEXT;
    csn_buf_addz(out, "@@ -");
    put_range(out, f->a - before, l->a_end + after);
    csn_buf_addz(out, " +");
    put_range(out, f->b - before, l->b_end + after);
    csn_buf_addz(out, " @@\n");
    size_t a = f->a - before;
    for (; i <= last; i++) {
      const csn_change_range *r = &d->ranges[i];
      for (; a < r->a; a++)
        put_line(out, ' ', d->a_lines[a]);
      for (; a < r->a_end; a++)
        put_line(out, '-', d->a_lines[a]);
      for (size_t b = r->b; b < r->b_end; b++)
        put_line(out, '+', d->b_lines[b]);
    }
    for (; a < l->a_end + after; a++)
      put_line(out, ' ', d->a_lines[a]);
  }
}

static bool
same_range(const csn_linediff *x, const csn_change_range *r, const csn_linediff *y,
           const csn_change_range *s)
{
  if (r->a != s->a || r->a_end != s->a_end || r->b_end - r->b != s->b_end - s->b)
    return false;
  for (size_t i = 0; i < r->b_end - r->b; i++)
    if (!csn_str_eq(x->b_lines[r->b + i], y->b_lines[s->b + i]))
      return false;
  return true;
}

static void
put_lines(csn_buf *out, const csn_str *lines, size_t from, size_t end)
{
  for (; from < end; from++)
    csn_buf_add(out, lines[from]); /* NOLINT(clang-analyzer-core.NullDereference): not empty here */
}

int
csn_merge3(csn_str base, csn_str ours, csn_str theirs, csn_buf *out, size_t *line, csn_err *err)
{
  csn_auto(csn_linediff_fini) csn_linediff x = {0}, y = {0};
  int rc = csn_linediff_init(&x, base, ours, err);
  if (rc == 0)
    rc = csn_linediff_init(&y, base, theirs, err);
  if (rc < 0)
    return rc;
  size_t i = 0, j = 0, at = 0;
  while (i < x.n || j < y.n) {
    const csn_change_range *r = i < x.n ? &x.ranges[i] : NULL, *s = j < y.n ? &y.ranges[j] : NULL;
    bool touch = r && s && r->a <= s->a_end && s->a <= r->a_end;
    if (touch && !same_range(&x, r, &y, s)) {
      *line = r->b + 1;
      return 0;
    }
    bool is_ours = r && (!s || r->a < s->a || touch);
    const csn_change_range *t = is_ours ? r : s;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): i or j is in range, so r or s is */
    put_lines(out, x.a_lines, at, t->a);
    put_lines(out, is_ours ? x.b_lines : y.b_lines, t->b, t->b_end);
    at = t->a_end;
    i += is_ours;
    j += !is_ours || touch;
  }
  put_lines(out, x.a_lines, at, x.n_a);
  rc = csn_buf_done(out, "the merged file", err);
  return rc < 0 ? rc : 1;
}
