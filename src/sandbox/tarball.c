/* SPDX-License-Identifier: Apache-2.0
 * tarball.c - see tarball.h. */
#include "sandbox/tarball.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/layer_unpack.h"
#include "sandbox/snap_tree.h"
#include "wire/tar_write.h"

enum { CHUNK = 256 << 10, HEADS_MAX = 16 << 20 };

int
csn_tarball_file(int folder, csn_err *err)
{
  char name[40] = ".caisson-tar-";
  int fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
    return fd < 0 ? csn_fail_errno(err, "a file for an archive") : fd;
  csn_random_name(name + strlen(name), 20);
  fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "a file for an archive");
  unlinkat(folder, name, 0);
  return fd;
}

/* ---- out ---- */

struct packing {
  csn_scope *sc;
  const csn_tarball_out *how;
  csn_tar_writer writer;
  int fd;
  csn_buf pending; /* bytes of the archive not written yet */
  csn_buf path;    /* of the entry, from the folder that is packed */
  char *chunk;
};

static int
flush(struct packing *p, csn_err *err)
{
  int rc = csn_fd_write_all(p->fd, csn_buf_str(&p->pending), err);
  csn_buf_clear(&p->pending);
  return csn_wrap(err, rc, "write the archive");
}

static int
add_bytes(void *user, csn_str bytes, csn_err *err)
{
  struct packing *p = user;
  int rc = p->pending.n + bytes.n > p->pending.cap ? flush(p, err) : 0;
  if (rc == 0 && bytes.n > p->pending.cap)
    return csn_wrap(err, csn_fd_write_all(p->fd, bytes, err), "write the archive");
  csn_buf_add(&p->pending, bytes);
  return rc;
}

static csn_tar_entry
entry_of(const struct packing *p, const struct stat *st, enum csn_tar_kind kind)
{
  return (csn_tar_entry){.kind = kind,
                         .name = p->path.p,
                         .link = "",
                         .mode = kind == CSN_TAR_SYMLINK ? 0777 : st->st_mode & 0777,
                         .uid = p->how->uid,
                         .gid = p->how->gid,
                         .size = kind == CSN_TAR_FILE ? st->st_size : 0,
                         .mtime_s = st->st_mtim.tv_sec,
                         /* What was changed a moment ago must be newer than what was made of
                            it before, in the same second. */
                         .mtime_ns = p->how->paths ? (int32_t)st->st_mtim.tv_nsec : 0};
}

static int
pack_file(struct packing *p, int at, const char *name, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "open it");
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_CONFLICT, "it changed");
  csn_tar_entry e = entry_of(p, &st, CSN_TAR_FILE);
  int rc = csn_tar_put(&p->writer, &e, err);
  for (int64_t left = st.st_size; rc == 0 && left > 0;) {
    ssize_t n = read(fd, p->chunk, left < CHUNK ? (size_t)left : (size_t)CHUNK);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? csn_fail_errno(err, "read it") : csn_fail(err, CSN_E_CONFLICT, "it changed");
    rc = csn_scope_check(p->sc, err);
    if (rc == 0)
      rc = csn_tar_put_data(&p->writer, csn_strn(p->chunk, (size_t)n), err);
    left -= n;
  }
  return rc;
}

static int
pack_link(struct packing *p, int at, const char *name, const struct stat *st, csn_err *err)
{
  char target[CSN_TAR_NAME_MAX + 1];
  ssize_t n = readlinkat(at, name, target, sizeof target);
  if (n < 0 || n == sizeof target)
    return csn_fail_errno(err, "read the link");
  target[n] = '\0';
  csn_tar_entry e = entry_of(p, st, CSN_TAR_SYMLINK);
  e.link = target;
  return csn_tar_put(&p->writer, &e, err);
}

static int pack_folder(struct packing *p, int at, const char *name, int depth, csn_err *err);

/* The entry p->path, which is `name` in `at`; *deep: with what is in it. */
static int
pack_entry(struct packing *p, int at, const char *name, int depth, csn_err *err)
{
  struct stat st = {0};
  int rc = csn_scope_check(p->sc, err);
  if (rc == 0 && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    rc = csn_fail_errno(err, "look at it");
  if (rc < 0)
    return csn_wrap(err, rc, "%.300s", p->path.p);
  if (S_ISREG(st.st_mode))
    rc = pack_file(p, at, name, err);
  else if (S_ISLNK(st.st_mode))
    rc = pack_link(p, at, name, &st, err);
  else if (S_ISDIR(st.st_mode)) {
    csn_tar_entry e = entry_of(p, &st, CSN_TAR_DIR);
    rc = csn_tar_put(&p->writer, &e, err);
    if (rc == 0 && !p->how->paths)
      return pack_folder(p, at, name, depth + 1, err);
  }
  return csn_wrap(err, rc, "%.300s", p->path.p);
}

/* All that is in it, not itself. */
static int
pack_folder(struct packing *p, int at, const char *name, int depth, csn_err *err)
{
  csn_names list = {0};
  size_t was = p->path.n;
  if (depth > CSN_SNAP_DEPTH_MAX)
    return csn_fail(err, CSN_E_LIMIT, "%.300s: more than %d folders in each other", p->path.p,
                    CSN_SNAP_DEPTH_MAX);
  csn_auto(csn_closep) int dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int rc = dir < 0 ? csn_fail_errno(err, "%.300s", name)
                   : csn_names_read(&list, dir, CSN_SNAP_FILES_MAX, err);
  for (size_t i = 0; rc == 0 && i < list.n; i++) {
    csn_buf_addf(&p->path, "%s%s", was ? "/" : "", list.p[i]);
    rc = csn_buf_done(&p->path, "a path", err);
    if (rc == 0)
      rc = pack_entry(p, dir, list.p[i], depth, err);
    p->path.n = was;
    p->path.over = false;
  }
  csn_names_fini(&list);
  return rc;
}

static int
pack_some(struct packing *p, int folder, csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && p->how->paths[i]; i++) {
    csn_auto(csn_freep) char *name = NULL;
    struct stat st;
    csn_auto(csn_closep) int at = csn_open_parent(folder, p->how->paths[i], &name, err);
    if (at == CSN_E_NOT_FOUND)
      continue;
    if (at < 0)
      return at;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
      continue;
    csn_buf_clear(&p->path);
    csn_buf_addz(&p->path, p->how->paths[i]);
    rc = csn_buf_done(&p->path, "a path", err);
    if (rc == 0)
      rc = pack_entry(p, at, name, 0, err);
  }
  return rc;
}

int
csn_tarball_write(csn_scope *sc, int folder, const csn_tarball_out *how, int fd, csn_err *err)
{
  struct packing p = {.sc = sc,
                      .how = how,
                      .fd = fd,
                      .pending = CSN_BUF(CHUNK),
                      .path = CSN_BUF(CSN_SNAP_PATH_MAX),
                      .chunk = csn_alloc(CHUNK)};
  p.writer = (csn_tar_writer){.out = add_bytes, .user = &p};
  int rc = how->paths ? pack_some(&p, folder, err) : pack_folder(&p, folder, ".", 0, err);
  if (rc == 0)
    rc = csn_tar_put_end(&p.writer, err);
  if (rc == 0)
    rc = flush(&p, err);
  csn_buf_fini(&p.pending);
  csn_buf_fini(&p.path);
  free(p.chunk);
  return rc;
}

/* ---- in ---- */

struct csn_tar_gate {
  csn_unpacker *unpacker;
  csn_tar_sink next;
  bool is_strict;
  csn_buf name;
};

static int
refuse(const csn_tar_entry *e, const char *why, csn_err *err)
{
  return csn_fail(err, CSN_E_DENIED, "%.200s: %s; the archive is not unpacked", e->name, why);
}

/* 0: what a strict gate refuses is left out here. */
static int
leave_out(const csn_tar_gate *g, const csn_tar_entry *e, const char *why, csn_err *err)
{
  return g->is_strict ? refuse(e, why, err) : 0;
}

/* "./a//b/" as "a/b", in g->name; "" is the folder itself.  1, or 0: not to be
 * unpacked. */
static int
clean(csn_tar_gate *g, const csn_tar_entry *e, csn_err *err)
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
      return leave_out(g, e, "a name that layers of images give to what is gone", err);
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
  int rc = csn_buf_done(&g->name, "a name in the archive", err);
  return rc < 0 ? rc : 1;
}

static int
take_entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  csn_tar_gate *g = user;
  csn_tar_entry own = *e;
  int rc = clean(g, e, err);
  if (rc <= 0)
    return rc;
  if (e->kind == CSN_TAR_DEVICE || e->kind == CSN_TAR_FIFO)
    return leave_out(g, e, "a device or pipe", err);
  if (g->is_strict && e->kind == CSN_TAR_SYMLINK &&
      csn_snap_leads_out(csn_buf_str(&g->name), csn_cstr(e->link)))
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
  csn_tar_gate *g = user;
  return g->next.data(g->next.user, bytes, err);
}

static int
take_end(void *user, csn_err *err)
{
  csn_tar_gate *g = user;
  return g->next.end(g->next.user, err);
}

csn_tar_gate *
csn_tar_gate_new(int folder, bool is_strict, int64_t most_bytes)
{
  csn_tar_gate *g = csn_alloc(sizeof *g);
  g->unpacker = csn_unpacker_new(folder, (uint64_t)most_bytes, CSN_SNAP_FILES_MAX);
  g->next = csn_unpacker_sink(g->unpacker);
  g->is_strict = is_strict;
  g->name = CSN_BUF(CSN_TAR_NAME_MAX + 1);
  csn_buf_room(&g->name, 1)[0] = '\0';
  return g;
}

void
csn_tar_gate_free(csn_tar_gate *g)
{
  if (!g)
    return;
  csn_unpacker_free(g->unpacker);
  csn_buf_fini(&g->name);
  free(g);
}

csn_tar_sink
csn_tar_gate_sink(csn_tar_gate *g)
{
  return (csn_tar_sink){take_entry, take_data, take_end, g};
}

int
csn_tar_gate_end(csn_tar_gate *g, csn_err *err)
{
  return csn_unpacker_end(g->unpacker, err);
}

int
csn_tarball_read(csn_scope *sc, int fd, int folder, int64_t most, csn_err *err)
{
  csn_auto(csn_tar_gate_freep) csn_tar_gate *g = csn_tar_gate_new(folder, false, most);
  csn_tar_sink sink = csn_tar_gate_sink(g);
  csn_auto(csn_tar_freep) csn_tar *tar = csn_tar_new(&sink);
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  const int64_t heads = most / 4 + HEADS_MAX; /* what headers may take beside the contents */
  for (int64_t all = 0;;) {
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    ssize_t n = read(fd, chunk, CHUNK);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read the archive");
    if (n == 0)
      break;
    all += n;
    if (all > most + heads)
      return csn_fail(err, CSN_E_LIMIT, "the archive is longer than %lld bytes",
                      (long long)(most + heads));
    rc = csn_tar_feed(tar, csn_strn(chunk, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
  int rc = csn_tar_done(tar, err);
  return rc < 0 ? rc : csn_tar_gate_end(g, err);
}
