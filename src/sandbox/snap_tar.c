/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_tar.c - saved workspaces as tar archives; see sandbox/snapshots.h.
 *
 * An archive that comes is anybody's.  What it names is looked at before the
 * unpacker of layers makes files of it, in a folder that nobody else sees. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/layer_unpack.h"
#include "sandbox/snapshots.h"
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

/* Stands before the unpacker. */
struct gate {
  csn_tar_sink next;
  csn_buf name;
};

static int
refuse(const csn_tar_entry *e, const char *why, csn_err *err)
{
  return csn_fail(err, CSN_E_DENIED, "%.200s: %s; the archive is not imported", e->name, why);
}

/* "./a//b/" as "a/b"; "" is the workspace itself. */
static int
clean(struct gate *g, const csn_tar_entry *e, csn_err *err)
{
  int depth = 0;
  csn_buf_clear(&g->name);
  if (e->name[0] == '/')
    return refuse(e, "an absolute name", err);
  for (const char *p = e->name; *p;) {
    size_t n = strcspn(p, "/");
    if (n == 2 && p[0] == '.' && p[1] == '.')
      return refuse(e, "a name with \"..\"", err);
    if (n > 4 && strncmp(p, ".wh.", 4) == 0)
      return refuse(e, "a name that layers of images give to what is gone", err);
    if (n && !(n == 1 && p[0] == '.')) {
      if (g->name.n)
        csn_buf_addc(&g->name, '/');
      csn_buf_add(&g->name, csn_strn(p, n));
      depth++;
    }
    p += n;
    p += strspn(p, "/");
  }
  if (depth > CSN_SNAP_DEPTH_MAX)
    return csn_fail(err, CSN_E_LIMIT, "%.200s: more than %d folders in each other", e->name,
                    CSN_SNAP_DEPTH_MAX);
  return csn_buf_done(&g->name, "a name in the archive", err);
}

static int
take_entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  struct gate *g = user;
  csn_tar_entry own = *e;
  int rc = clean(g, e, err);
  if (rc < 0)
    return rc;
  if (e->kind == CSN_TAR_DEVICE || e->kind == CSN_TAR_FIFO)
    return refuse(e, "a device or pipe", err);
  if (e->kind == CSN_TAR_SYMLINK && csn_snap_leads_out(csn_buf_str(&g->name), csn_cstr(e->link)))
    return refuse(e, "a link that leads out of the workspace", err);
  if (e->kind == CSN_TAR_HARDLINK && e->link[0] == '/')
    return refuse(e, "a link that leads out of the workspace", err);
  own.name = g->name.n ? g->name.p : ".";
  own.mode = e->mode & 0777;
  own.uid = geteuid();
  own.gid = getegid();
  return g->next.entry(g->next.user, &own, err);
}

static int
take_data(void *user, csn_str bytes, csn_err *err)
{
  struct gate *g = user;
  return g->next.data(g->next.user, bytes, err);
}

static int
take_end(void *user, csn_err *err)
{
  struct gate *g = user;
  return g->next.end(g->next.user, err);
}

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
  csn_auto(csn_unpacker_freep) csn_unpacker *u =
      csn_unpacker_new(folder, CSN_SNAP_BYTES_MAX, CSN_SNAP_FILES_MAX);
  struct gate g = {.next = csn_unpacker_sink(u), .name = CSN_BUF(CSN_TAR_NAME_MAX + 1)};
  csn_tar_sink sink = {take_entry, take_data, take_end, &g};
  csn_auto(csn_unzip_freep) csn_unzip *zip = NULL;
  csn_auto(csn_tar_freep) csn_tar *tar = csn_tar_new(&sink);
  csn_buf_room(&g.name, 1)[0] = '\0';
  int rc = csn_unzip_open(&zip, fd, 0, st.st_size, err);
  if (rc == 0)
    rc = pump(zip, tar, sc, err);
  if (rc == 0)
    rc = csn_unpacker_end(u, err);
  csn_buf_fini(&g.name);
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
