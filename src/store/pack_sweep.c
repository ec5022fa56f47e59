/* SPDX-License-Identifier: Apache-2.0
 * pack_sweep.c - packs as a whole: looking through them, and dropping what
 * nobody needs; see pack.h. */
#include <fcntl.h>

#include "core/fd.h"
#include "store/pack_int.h"

static int
drop_bytes(void *user, csn_str bytes, csn_err *err)
{
  return 0;
}

int
csn_packs_verify(csn_packs *p, csn_scope *sc,
                 void (*fn)(void *user, const char *pack, const csn_digest *d), void *user,
                 csn_err *err)
{
  int bad = 0;
  for (size_t i = 0; i < p->room; i++) {
    const csn_pack_row *row = &p->rows[i];
    csn_err why;
    if (row->stored < 0)
      continue;
    int rc =
        row->pack < p->n ? csn_pack_read_row(p, sc, row, drop_bytes, NULL, &why) : CSN_E_NOT_FOUND;
    if (rc == CSN_E_PARSE || rc == CSN_E_NOT_FOUND) {
      fn(user, row->pack < p->n ? p->all[row->pack].name : "", &row->digest);
      bad++;
    } else if (rc < 0) {
      return csn_fail(err, (enum csn_code)rc, "%s", why.msg);
    }
  }
  return bad;
}

/* What of each pack is kept. */
struct kept {
  size_t n;
  int64_t bytes;
};

static struct kept *
count_kept(const csn_packs *p, bool (*keep)(void *user, const csn_digest *d), void *user)
{
  struct kept *kept = csn_alloc((p->n + 1) * sizeof *kept);
  for (size_t i = 0; i < p->room; i++) {
    const csn_pack_row *row = &p->rows[i];
    if (row->stored >= 0 && row->pack < p->n && keep(user, &row->digest)) {
      kept[row->pack].n++;
      kept[row->pack].bytes += row->stored + CSN_PACK_HEAD;
    }
  }
  return kept;
}

/* A kept record as it is, into the pack that is being written. */
static int
move_record(csn_packs *p, int from, const csn_pack_row *row, csn_err *err)
{
  csn_pack_row moved = *row;
  off_t in = row->offset, out = p->end;
  moved.offset = p->end;
  moved.pack = UINT32_MAX;
  for (int64_t left = row->stored + CSN_PACK_HEAD; left;) {
    ssize_t n = copy_file_range(from, &in, p->fd, &out, (size_t)left, 0);
    if (n <= 0)
      return csn_fail_errno(err, "copy content of a pack");
    left -= n;
  }
  p->end += row->stored + CSN_PACK_HEAD;
  if ((p->n_added & (p->n_added + 1)) == 0)
    p->added = csn_realloc(p->added, 2 * p->n_added + 2, sizeof *p->added);
  p->added[p->n_added++] = moved;
  return 0;
}

static int
move_kept(csn_packs *p, uint32_t pack, bool (*keep)(void *user, const csn_digest *d), void *user,
          csn_err *err)
{
  csn_auto(csn_closep) int from =
      openat(p->dir, p->all[pack].name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  int rc = from < 0 ? csn_fail_errno(err, "%s", p->all[pack].name) : csn_pack_begin(p, err);
  for (size_t i = 0; rc == 0 && i < p->room; i++)
    if (p->rows[i].stored >= 0 && p->rows[i].pack == pack && keep(user, &p->rows[i].digest))
      rc = move_record(p, from, &p->rows[i], err);
  return rc < 0 ? rc : csn_packs_commit(p, err);
}

int
csn_packs_sweep(csn_packs *p, csn_scope *sc, bool (*keep)(void *user, const csn_digest *d),
                void *user, int64_t *freed, csn_err *err)
{
  int64_t before = csn_packs_bytes(p), after = 0;
  size_t n = p->n; /* those that come meanwhile are new */
  csn_auto(csn_freep) struct kept *all = count_kept(p, keep, user);
  for (size_t i = 0; i < n; i++) {
    const struct kept *kept = &all[i];
    int rc = csn_scope_check(sc, err);
    /* What is damaged stays for verify to tell, as long as something in it is
     * needed. */
    bool stays = (kept->n && (p->all[i].is_damaged || kept->bytes * 2 >= p->all[i].bytes)) ||
                 p->all[i].is_foreign;
    if (rc == 0 && kept->n && !stays)
      rc = move_kept(p, (uint32_t)i, keep, user, err);
    if (rc < 0)
      return rc;
    if (stays)
      continue;
    if (unlinkat(p->dir, p->all[i].name, 0) < 0)
      return csn_fail_errno(err, "%s", p->all[i].name);
    p->all[i].bytes = 0;
  }
  after = csn_packs_bytes(p);
  *freed = before - after;
  return 0;
}
