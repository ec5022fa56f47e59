/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_place.c - which entry has which place in the workspace.
 *
 * All entries are put in one array, sorted by the parts of their paths, so that
 * a folder stands right before what it contains: that makes the check of
 * overlaps, the tree for the model and the materialisation one linear pass
 * each.  Case counts: README and readme are two files. */
#include "sandbox/manifest_read.h"

/* By components: a folder comes right before what it contains. */
static int
by_path(const void *a, const void *b)
{
  const csn_entry *x = *(csn_entry *const *)a, *y = *(csn_entry *const *)b;
  size_t n = x->path.n < y->path.n ? x->path.n : y->path.n, i = 0;
  while (i < n && x->path.p[i] == y->path.p[i])
    i++;
  if (i == n)
    return x->path.n < y->path.n ? -1 : x->path.n > y->path.n;
  unsigned c = (unsigned char)x->path.p[i], d = (unsigned char)y->path.p[i];
  return c == '/' ? -1 : d == '/' ? 1 : c < d ? -1 : 1;
}

static int
refuse(csn_reader *r, const csn_entry *e, const csn_entry *other, const char *how)
{
  const char *what = other->kind == CSN_ENTRY_MOUNT ? "mount" : "file";
  csn_mr_leave(r, (csn_mark){0, e->line});
  csn_buf_add(&r->path, e->where);
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(64);
  if (other->line)
    csn_buf_addf(&at, " (line %u)", other->line);
  if (how[0] == 't')
    return csn_mr_fail(r, CSN_E_CONFLICT, "%s %.150s%s", how, other->where.p, at.n ? at.p : "");
  return csn_mr_fail(r, CSN_E_CONFLICT, "%s %.150s%s, which is a %s", how, other->where.p,
                     at.n ? at.p : "", what);
}

/* Nothing lies in what is no folder, nor in storage of others. */
static bool
is_closed(const csn_entry *e)
{
  return !csn_entry_is_dir(e) || e->kind == CSN_ENTRY_MOUNT;
}

static bool
is_within(csn_str path, csn_str top)
{
  return path.n > top.n && path.p[top.n] == '/' && memcmp(path.p, top.p, top.n) == 0;
}

static int
check_overlaps(csn_reader *r)
{
  csn_manifest *m = r->m;
  const csn_entry *up[CSN_MANIFEST_DEPTH + 1]; /* entries that contain the current one */
  size_t depth = 0;
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = m->sorted[i];
    if (i && csn_str_eq(m->sorted[i - 1]->path, e->path))
      return refuse(r, e, m->sorted[i - 1], "the same place as");
    while (depth && !is_within(e->path, up[depth - 1]->path))
      depth--;
    if (depth && is_closed(up[depth - 1]))
      return refuse(r, e, up[depth - 1], "lies inside");
    up[depth++] = e;
  }
  return 0;
}

/* Of a mount whose place is not its entry's. */
static int
check_mount(csn_reader *r, const csn_entry *mount)
{
  csn_str at = mount->mount->inside;
  for (size_t i = 0; i < r->m->n_sorted; i++) {
    const csn_entry *e = r->m->sorted[i];
    csn_str path = e->kind == CSN_ENTRY_MOUNT ? e->mount->inside : e->path;
    if (e == mount || !at.n || !path.n)
      continue;
    if (csn_str_eq(path, at))
      return refuse(r, mount, e, "the same place as");
    if (is_within(path, at))
      return refuse(r, e, mount, "lies inside");
    if (is_closed(e) && is_within(at, path))
      return refuse(r, mount, e, "lies inside");
  }
  return 0;
}

static size_t
depth_of(csn_str path)
{
  size_t n = 0;
  for (size_t i = 0; i < path.n; i++)
    n += path.p[i] == '/';
  return n;
}

static int
deepest_first(const void *a, const void *b)
{
  const csn_entry *x = *(csn_entry *const *)a, *y = *(csn_entry *const *)b;
  size_t m = depth_of(x->mount->place), n = depth_of(y->mount->place);
  return m != n ? (m < n) - (m > n) : strcmp(x->mount->place.p, y->mount->place.p);
}

int
csn_mr_places(csn_reader *r)
{
  csn_manifest *m = r->m;
  m->sorted = csn_mr_room(r, r->n_all, sizeof *m->sorted);
  m->mounts = csn_mr_room(r, r->n_mounts, sizeof(csn_entry *));
  if (r->is_full || !r->n_all)
    return 0;
  memcpy(m->sorted, r->all, r->n_all * sizeof *m->sorted);
  m->n_sorted = r->n_all;
  qsort(m->sorted, m->n_sorted, sizeof *m->sorted, by_path);
  for (size_t i = 0; i < m->n_sorted; i++)
    if (m->sorted[i]->kind == CSN_ENTRY_MOUNT)
      m->mounts[m->n_mounts++] = m->sorted[i];
  int rc = check_overlaps(r);
  for (size_t i = 0; rc == 0 && i < m->n_mounts; i++)
    rc = m->mounts[i]->mount->has_mount_path ? check_mount(r, m->mounts[i]) : 0;
  if (m->n_mounts)
    qsort(m->mounts, m->n_mounts, sizeof *m->mounts, deepest_first);
  return rc;
}

const char *const *
csn_manifest_ephemeral(const csn_manifest *m, csn_arena *a)
{
  const char **list = csn_arena_alloc(a, (m->n_sorted + 1) * sizeof *list);
  size_t n = 0;
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = m->sorted[i];
    if (e->is_ephemeral && e->kind == CSN_ENTRY_MOUNT && e->mount->inside.n)
      list[n++] = csn_arena_dup(a, e->mount->inside).p;
    else if (e->is_ephemeral && e->kind != CSN_ENTRY_MOUNT)
      list[n++] = e->path.p;
  }
  return list;
}
