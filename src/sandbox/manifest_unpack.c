/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_unpack.c - the members of a hostile archive into a new folder.
 *
 * Names that lead out, or that mean something else elsewhere, are refused, and
 * so is everything but files, folders and links that stay inside.  Links are
 * made when all else is there: until then no name can lead through one, and
 * nobody else is in the folder.  What counts is what comes out, not what the
 * archive says about itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/manifest_int.h"
#include "sandbox/snap_tree.h"
#include "wire/unzip.h"
#include "wire/zip.h"

enum { PIECE = 64 << 10, DEPTH_MAX = 200 };

/* What is made at the end: a folder's mode, or a link. */
struct later {
  struct later *next;
  csn_str path, target; /* target empty: a folder */
  mode_t mode;
};

struct unpack {
  csn_copy *c;
  const csn_entry *e;
  int to, file;     /* file: being written, or -1 */
  int parent;       /* the folder of the last member, or -1 */
  csn_buf in, path; /* that folder's path; the member's */
  int64_t bytes, members;
  mode_t mode;
  csn_arena *arena;
  struct later *folders, *links;
};

static int
bad_name(const char *name, const char *why, csn_err *err)
{
  return csn_fail(err, CSN_E_DENIED, "the archive's member %.200s: %s", name, why);
}

/* The member's place in u->path; an empty one is left out. */
static int
find_place(struct unpack *u, const char *name, csn_err *err)
{
  csn_str s = csn_cstr(name);
  const char *why = csn_git_bad_subpath(s);
  csn_buf_clear(&u->path);
  if (why || !csn_path_add(&u->path, s))
    return bad_name(name, why ? why : "leads out", err);
  size_t depth = 0;
  for (size_t i = 0; i < u->path.n; i++)
    depth += u->path.p[i] == '/';
  if (u->path.over || depth >= DEPTH_MAX)
    return bad_name(name, "the path is too long", err);
  for (int64_t i = 0; i < u->e->strip && u->path.n; i++) {
    size_t end = csn_str_find(csn_buf_str(&u->path), CSN_STR("/"), 0);
    csn_buf_drop(&u->path, end == SIZE_MAX ? u->path.n : end + 1);
  }
  return 0;
}

/* Opens the folder that u->path is in, made when missing; *name: its last part. */
static int
enter(struct unpack *u, const char **name, csn_err *err)
{
  const char *slash = memrchr(u->path.p, '/', u->path.n);
  csn_str dir = csn_strn(u->path.p, slash ? (size_t)(slash - u->path.p) : 0);
  *name = slash ? slash + 1 : u->path.p;
  if (u->parent >= 0 && csn_str_eq(dir, csn_buf_str(&u->in)))
    return 0;
  csn_closep(&u->parent);
  csn_buf_clear(&u->in);
  csn_buf_add(&u->in, dir);
  if (!dir.n) {
    u->parent = openat(u->to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return u->parent < 0 ? csn_fail_errno(err, "open the folder") : 0;
  }
  int rc = csn_mkdirs(u->to, u->in.p, 0755, err);
  if (rc == 0)
    u->parent = rc = csn_open_beneath(u->to, u->in.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
  return rc < 0 ? csn_wrap(err, rc, "the archive's member %.200s", u->path.p) : 0;
}

static void
remember(struct unpack *u, struct later **list, mode_t mode, const char *target)
{
  struct later *l = csn_arena_alloc(u->arena, sizeof *l);
  *l = (struct later){.next = *list,
                      .path = csn_arena_dup(u->arena, csn_buf_str(&u->path)),
                      .target = csn_arena_dup(u->arena, csn_cstr(target)),
                      .mode = mode & 0777};
  *list = l;
}

static int
begin_file(struct unpack *u, const csn_tar_entry *t, csn_err *err)
{
  const char *name;
  int rc = enter(u, &name, err);
  if (rc < 0)
    return rc;
  u->file = openat(u->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (u->file < 0 && errno == EEXIST)
    return bad_name(t->name, "is there twice", err);
  u->mode = t->mode & 0777;
  return u->file < 0 ? csn_fail_errno(err, "%.200s", u->path.p) : 1;
}

static int
take_link(struct unpack *u, const csn_tar_entry *t, csn_err *err)
{
  const char *name;
  if (csn_snap_leads_out(csn_buf_str(&u->path), csn_cstr(t->link)))
    return csn_fail(err, CSN_E_DENIED,
                    "the archive's member %.150s is a link to %.150s, which leads out of the "
                    "folder it is unpacked to",
                    t->name, t->link);
  int rc = enter(u, &name, err); /* so that its folder is one */
  if (rc == 0)
    remember(u, &u->links, 0, t->link);
  return rc;
}

static int
on_entry(void *user, const csn_tar_entry *t, csn_err *err)
{
  struct unpack *u = user;
  if (++u->members > u->e->limits.members)
    return csn_fail(err, CSN_E_LIMIT,
                    "the archive has more than %lld members; raise max_members of archive_limits "
                    "if that is right",
                    (long long)u->e->limits.members);
  int rc = csn_copy_count(u->c, 1, 0, err);
  if (rc == 0)
    rc = find_place(u, t->name, err);
  if (rc < 0)
    return rc;
  if (t->kind != CSN_TAR_FILE && t->kind != CSN_TAR_DIR && t->kind != CSN_TAR_SYMLINK)
    return bad_name(t->name,
                    t->kind == CSN_TAR_HARDLINK ? "hard links are not unpacked; pack copies"
                                                : "devices and pipes are not unpacked",
                    err);
  if (!u->path.n && t->kind != CSN_TAR_DIR)
    return u->e->strip ? 0 : bad_name(t->name, "takes the place of the folder itself", err);
  if (t->kind == CSN_TAR_FILE)
    return begin_file(u, t, err);
  if (t->kind == CSN_TAR_SYMLINK)
    return take_link(u, t, err);
  if (!u->path.n)
    return 0;
  rc = csn_mkdirs(u->to, u->path.p, 0755, err);
  remember(u, &u->folders, t->mode, "");
  return csn_wrap(err, rc, "the archive's member %.200s", u->path.p);
}

static int
on_data(void *user, csn_str bytes, csn_err *err)
{
  struct unpack *u = user;
  u->bytes += (int64_t)bytes.n;
  if (u->bytes > u->e->limits.extracted_bytes)
    return csn_fail(err, CSN_E_LIMIT,
                    "more than %lld bytes come out of the archive; raise max_extracted_bytes of "
                    "archive_limits if that is right",
                    (long long)u->e->limits.extracted_bytes);
  int rc = csn_copy_count(u->c, 0, (int64_t)bytes.n, err);
  return rc < 0 ? rc : csn_fd_write_all(u->file, bytes, err);
}

static int
on_end(void *user, csn_err *err)
{
  struct unpack *u = user;
  int rc = fchmod(u->file, u->mode) < 0 ? csn_fail_errno(err, "set the mode") : 0;
  csn_closep(&u->file);
  return rc;
}

/* ---- the end ---- */

static int
make_links(struct unpack *u, csn_err *err)
{
  for (const struct later *l = u->links; l; l = l->next) {
    csn_auto(csn_freep) char *name = NULL;
    csn_auto(csn_closep) int at = csn_open_parent(u->to, l->path.p, &name, err);
    if (at < 0)
      return csn_wrap(err, at, "the archive's link %.200s", l->path.p);
    if (symlinkat(l->target.p, at, name) < 0)
      return errno == EEXIST ? bad_name(l->path.p, "is there twice", err)
                             : csn_fail_errno(err, "the archive's link %.200s", l->path.p);
  }
  for (const struct later *l = u->links; l; l = l->next) { /* by the kernel's reading, too */
    csn_err why = {0};
    csn_auto(csn_closep) int fd = csn_open_beneath(u->to, l->path.p, O_PATH, 0, &why);
    if (fd < 0 && why.code == CSN_E_DENIED)
      return bad_name(l->path.p, "is a link that leads out", err);
  }
  return 0;
}

static int
finish(struct unpack *u, csn_err *err)
{
  int rc = make_links(u, err);
  if (rc < 0)
    return rc;
  int64_t files = u->c->files, bytes = u->c->bytes;
  rc = csn_copy_own(u->c, u->to, err);
  u->c->files = files, u->c->bytes = bytes;                             /* they were counted */
  for (const struct later *l = u->folders; rc == 0 && l; l = l->next) { /* the last first */
    csn_auto(csn_closep) int fd =
        csn_open_beneath(u->to, l->path.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
    rc = fd < 0 ? fd : fchmod(fd, l->mode | 0700) < 0 ? csn_fail_errno(err, "set the mode") : 0;
  }
  return rc;
}

static int
read_tar(struct unpack *u, int archive, int64_t size, const csn_tar_sink *sink, csn_err *err)
{
  csn_auto(csn_unzip_freep) csn_unzip *z = NULL;
  csn_auto(csn_tar_freep) csn_tar *t = csn_tar_new(sink);
  csn_auto(csn_freep) char *piece = csn_alloc(PIECE);
  int rc = csn_unzip_open(&z, archive, 0, size, err);
  while (rc == 0 && !csn_tar_ended(t)) {
    ssize_t n = csn_unzip_read(z, piece, PIECE, err);
    if (n < 0)
      return (int)n;
    if (n == 0)
      break;
    rc = csn_scope_check(u->c->sc, err);
    if (rc == 0)
      rc = csn_tar_feed(t, csn_strn(piece, (size_t)n), err);
  }
  return rc < 0 ? rc : csn_tar_done(t, err);
}

int
csn_unpack_file(csn_copy *c, const csn_entry *e, int archive, int to, csn_err *err)
{
  struct unpack u = {.c = c,
                     .e = e,
                     .to = to,
                     .file = -1,
                     .parent = -1,
                     .in = CSN_BUF(CSN_TAR_NAME_MAX + 1),
                     .path = CSN_BUF(CSN_TAR_NAME_MAX + 1),
                     .arena = csn_arena_new(0)};
  const csn_tar_sink sink = {on_entry, on_data, on_end, &u};
  struct stat st;
  char head[4];
  csn_buf_room(&u.path, 1)[0] = '\0';
  int rc = fstat(archive, &st) < 0 ? csn_fail_errno(err, "the archive") : 0;
  ssize_t n = rc == 0 ? pread(archive, head, sizeof head, 0) : 0;
  if (rc == 0 && n < 0)
    rc = csn_fail_errno(err, "the archive");
  if (rc == 0)
    rc = csn_zip_is(csn_strn(head, (size_t)n))
             ? csn_zip_read(archive, st.st_size, c->sc, &sink, err)
             : read_tar(&u, archive, st.st_size, &sink, err);
  if (rc == 0)
    rc = finish(&u, err);
  csn_closep(&u.file);
  csn_closep(&u.parent);
  csn_buf_fini(&u.in);
  csn_buf_fini(&u.path);
  csn_arena_free(u.arena);
  return rc;
}

int
csn_unpack_check(csn_copy *c, const csn_entry *e, int archive, csn_err *err)
{
  struct stat st;
  if (fstat(archive, &st) < 0)
    return csn_fail_errno(err, "the archive");
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "src: not a regular file");
  if (st.st_size > e->limits.input_bytes)
    return csn_fail(err, CSN_E_LIMIT,
                    "src has %lld bytes, more than the %lld of max_input_bytes in archive_limits",
                    (long long)st.st_size, (long long)e->limits.input_bytes);
  if (!e->has_digest)
    return 0;
  csn_auto(csn_freep) char *piece = csn_alloc(PIECE);
  csn_sha256 sum;
  csn_sha256_init(&sum);
  for (off_t at = 0;;) {
    ssize_t n = pread(archive, piece, PIECE, at);
    int rc = n < 0 ? csn_fail_errno(err, "read src") : csn_scope_check(c->sc, err);
    if (rc < 0)
      return rc;
    if (n == 0)
      break;
    csn_sha256_add(&sum, csn_strn(piece, (size_t)n));
    at += n;
  }
  csn_digest got = csn_sha256_end(&sum);
  char hex[65], wanted[65];
  csn_digest_hex(&got, hex);
  csn_digest_hex(&e->digest, wanted);
  if (!csn_digest_same(&got, &e->digest))
    return csn_fail(err, CSN_E_DENIED, "src has the sha256 %s, not %s", hex, wanted);
  return 0;
}
