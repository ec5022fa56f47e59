/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_tar.c - saved workspaces as tar archives; see sandbox/snapshots.h.
 *
 * An archive that comes is anybody's: it passes a strict gate and is unpacked in
 * a folder that nobody else sees. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/snapshots.h"
#include "sandbox/tarball.h"
#include "wire/tar_write.h"
#include "wire/unzip.h"

enum { CHUNK = 256 << 10, RATIO_MAX = 200 };
#define FREE_BYTES ((uint64_t)1 << 30)

/* ---- out ---- */

static int
write_out(void *user, csn_str bytes, csn_err *err)
{
  return csn_fd_write_all(*(int *)user, bytes, err);
}

static int
write_data(void *user, csn_str bytes, csn_err *err)
{
  return csn_tar_put_data(user, bytes, err);
}

static int
export_entry(csn_snapshots *s, csn_scope *sc, csn_tar_writer *w, const csn_snap_entry *e,
             csn_err *err)
{
  static const enum csn_tar_kind kinds[] = {[CSN_SNAP_DIR] = CSN_TAR_DIR,
                                            [CSN_SNAP_FILE] = CSN_TAR_FILE,
                                            [CSN_SNAP_LINK] = CSN_TAR_SYMLINK};
  const csn_tar_entry entry = {.kind = kinds[e->kind],
                               .name = e->path.p,
                               .link = e->kind == CSN_SNAP_LINK ? e->target.p : "",
                               .mode = e->kind == CSN_SNAP_LINK ? 0777 : e->mode,
                               .size = e->kind == CSN_SNAP_FILE ? e->size : 0,
                               .mtime_s = e->mtime_s};
  int rc = csn_tar_put(w, &entry, err);
  if (rc == 0 && e->kind == CSN_SNAP_FILE)
    rc = csn_packs_read(s->packs, sc, &e->digest, write_data, w, err);
  return csn_wrap(err, rc, "%.300s", e->path.p);
}

int
csn_snapshot_export(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, int fd, csn_err *err)
{
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_tar_writer w = {.out = write_out, .user = &fd};
  csn_snap_tree_init(&t);
  int rc = csn_snapshot_tree(s, sc, &r->tree, &t, err);
  for (size_t i = 0; rc == 0 && i < t.n; i++)
    rc = export_entry(s, sc, &w, &t.p[i], err);
  if (rc == 0)
    rc = csn_tar_put_end(&w, err);
  return csn_wrap(err, rc, "snapshot %s", r->name);
}

/* ---- in ---- */

static int
pump(csn_unzip *zip, csn_tar *tar, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  for (uint64_t unpacked = 0;;) {
    int rc = csn_scope_check(sc, err);
    ssize_t n = rc < 0 ? rc : csn_unzip_read(zip, chunk, CHUNK, err);
    if (n <= 0)
      return n < 0 ? (int)n : csn_tar_done(tar, err);
    unpacked += (uint64_t)n;
    if (unpacked > FREE_BYTES && unpacked / RATIO_MAX > csn_unzip_taken(zip))
      return csn_fail(err, CSN_E_LIMIT, "it unpacks to more than %d times its size", RATIO_MAX);
    rc = csn_tar_feed(tar, csn_strn(chunk, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
}

static int
unpack(csn_scope *sc, int fd, int folder, csn_err *err)
{
  struct stat st;
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "the archive");
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "the archive is not a regular file");
  csn_auto(csn_tar_gate_freep) csn_tar_gate *g = csn_tar_gate_new(folder, true, CSN_SNAP_BYTES_MAX);
  csn_tar_sink sink = csn_tar_gate_sink(g);
  csn_auto(csn_unzip_freep) csn_unzip *zip = NULL;
  csn_auto(csn_tar_freep) csn_tar *tar = csn_tar_new(&sink);
  int rc = csn_unzip_open(&zip, fd, 0, st.st_size, err);
  if (rc == 0)
    rc = pump(zip, tar, sc, err);
  if (rc == 0)
    rc = csn_tar_gate_end(g, err);
  return rc;
}

int
csn_snapshot_import(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how, int fd,
                    csn_snapshot *out, csn_err *err)
{
  char name[25];
  csn_random_name(name, 24);
  if (mkdirat(s->work, name, 0755) < 0)
    return csn_fail_errno(err, "make a folder to unpack to");
  csn_auto(csn_closep) int folder =
      openat(s->work, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int rc =
      folder < 0 ? csn_fail_errno(err, "the folder to unpack to") : unpack(sc, fd, folder, err);
  if (rc == 0)
    rc = csn_snapshot_save(s, sc, how, folder, out, err);
  (void)!csn_remove_tree(s->work, name, NULL); /* or gc does */
  return rc;
}
