/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_tree.c - the declared files as a tree, for the instructions of the
 * model: three levels, sorted, each line with its full path and description,
 * and at most 5,000 characters. */
#include "sandbox/manifest_int.h"

#define LEVELS 3
#define MOST 5000
#define CUT_NOTE                                                                                   \
  "\n\nThe layout was too long to show in full; list folders with `ls` to see the rest.\n"

typedef struct node {
  csn_str name, path;     /* path from the root */
  const csn_entry *entry; /* NULL for a folder that is only implied */
  uint32_t level;         /* 1 for what stands directly below the root */
  bool has_children, is_last;
} node;

typedef struct nodes {
  node *p;
  size_t n, room;
} nodes;

/* Characters, not bytes. */
static size_t
width(csn_str s)
{
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++)
    n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
  return n;
}

/* Text of the manifest stays on its line. */
static void
put_text(csn_buf *out, csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    csn_buf_addc(out, (unsigned char)s.p[i] < 0x20 ? ' ' : s.p[i]);
}

static node *
add_node(nodes *l)
{
  if (l->n == l->room) {
    l->room = l->room ? l->room * 2 : 64;
    l->p = csn_realloc(l->p, l->room, sizeof *l->p);
  }
  l->p[l->n] = (node){.is_last = true};
  return &l->p[l->n++];
}

/* One node per shown component; `open` has the newest node of each level. */
static void
collect(const csn_manifest *m, nodes *l)
{
  size_t open[LEVELS + 2] = {0};
  uint32_t depth = 0;
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = m->sorted[i];
    uint32_t level = 0;
    for (size_t at = 0; at < e->path.n;) {
      size_t end = at;
      while (end < e->path.n && e->path.p[end] != '/')
        end++;
      csn_str path = csn_strn(e->path.p, end);
      if (level)
        l->p[open[level]].has_children = true;
      if (++level > LEVELS)
        break;
      bool is_known = level <= depth && csn_str_eq(l->p[open[level]].path, path);
      if (!is_known) {
        if (level <= depth)
          l->p[open[level]].is_last = false;
        node *n = add_node(l);
        n->name = csn_strn(e->path.p + at, end - at);
        n->path = path;
        n->level = level;
        open[level] = l->n - 1;
        depth = level;
      }
      if (end == e->path.n)
        l->p[open[level]].entry = e;
      at = end + 1;
    }
  }
}

/* "│   └── name/" of one node; last[k]: its ancestor at level k was the last. */
static void
put_name(const node *n, const bool *last, csn_buf *out)
{
  for (uint32_t k = 1; k < n->level; k++)
    csn_buf_addz(out, last[k] ? "    " : "│   ");
  csn_buf_addz(out, n->is_last ? "└── " : "├── ");
  put_text(out, n->name);
  if (n->has_children || (n->entry && csn_entry_is_dir(n->entry)))
    csn_buf_addc(out, '/');
}

static void
put_line(const csn_manifest *m, const node *n, const bool *last, size_t most, csn_buf *out)
{
  size_t from = out->n;
  put_name(n, last, out);
  size_t have = width(csn_strn(out->p + from, out->n - from));
  for (; have < most + 2; have++)
    csn_buf_addc(out, ' ');
  csn_buf_addz(out, "# ");
  if (n->entry && n->entry->kind == CSN_ENTRY_MOUNT) {
    put_text(out, n->entry->mount->place);
  } else {
    csn_buf_add(out, m->root);
    csn_buf_addc(out, '/');
    put_text(out, n->path);
  }
  if (n->entry && n->entry->description.n) {
    csn_buf_addz(out, " — ");
    put_text(out, n->entry->description);
  }
  csn_buf_addc(out, '\n');
}

/* Bytes of the first n characters. */
static size_t
prefix(csn_str s, size_t n)
{
  size_t i = 0;
  for (; i < s.n; i++) {
    if (((unsigned char)s.p[i] & 0xc0) == 0x80)
      continue;
    if (n == 0)
      break;
    n--;
  }
  return i;
}

/* At most MOST characters: the note says how many are missing, and its own
 * length depends on that number, so it is tried until both agree. */
static void
put_cut(csn_str text, csn_buf *out)
{
  size_t total = width(text), missing = total > MOST ? total - MOST : 0;
  csn_str kept = text;
  for (int tries = 0; missing && tries < 16; tries++) {
    csn_buf note = CSN_BUF(400);
    csn_buf_addf(&note, "\n... (truncated %zu chars)" CUT_NOTE, missing);
    size_t room = MOST - width(csn_buf_str(&note));
    kept = csn_strn(text.p, prefix(text, room));
    while (kept.n && strchr(" \n", kept.p[kept.n - 1]))
      kept.n--;
    size_t now = total - width(kept);
    bool is_stable = now == missing;
    missing = now;
    if (is_stable || tries == 15) {
      csn_buf_add(out, kept);
      csn_buf_add(out, csn_buf_str(&note));
      csn_buf_fini(&note);
      return;
    }
    csn_buf_fini(&note);
  }
  csn_buf_add(out, text);
}

void
csn_manifest_describe(const csn_manifest *m, csn_buf *out)
{
  nodes l = {0};
  collect(m, &l);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)1 << 30);
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(1 << 20);
  size_t most = 0;
  bool last[LEVELS + 1] = {0};
  for (size_t i = 0; i < l.n; i++) {
    csn_buf_clear(&one);
    put_name(&l.p[i], last, &one);
    size_t w = width(csn_buf_str(&one));
    most = w > most ? w : most;
  }
  csn_buf_add(&text, m->root);
  csn_buf_addc(&text, '\n');
  for (size_t i = 0; i < l.n; i++) {
    last[l.p[i].level] = l.p[i].is_last;
    put_line(m, &l.p[i], last, most, &text);
  }
  put_cut(csn_buf_str(&text), out);
  free(l.p);
}
