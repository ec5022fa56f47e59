/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_unpack.c - makes a folder of files out of the entries of a hostile
 * tar archive; see sandbox/layer_unpack.h.
 *
 * Every name is resolved by the kernel from the layer's folder with links
 * forbidden, and its last part is made by a call that never follows one, so a
 * link that an earlier entry made is met as a link and refused.  What is in
 * the way is removed, never written through.  Folders get their modes last:
 * one that its owner may not write would stop its own content. */
#include "sandbox/layer_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/fd.h"

enum { PART_MAX = 255, IDS = 65536, NOBODY = 65534 };

/* A folder whose mode and time are still to be set. */
struct folder {
  struct folder *next;
  const char *path;
  mode_t mode;
  uid_t uid, gid;
  struct timespec time;
};

struct csn_unpacker {
  int root;
  bool owns_all; /* root: owners can be set */
  uint64_t bytes_max, files_max;
  csn_layer_stats stats;
  csn_arena *arena;
  struct folder *folders, **last;
  int parent; /* the folder of the last entry, -1: none */
  char parent_path[CSN_TAR_NAME_MAX + 1], path[CSN_TAR_NAME_MAX + 1];
  const char *name; /* the last part of `path` */
  int file;         /* being written; -1 */
  struct folder attributes;
};

/* ---- names ---- */

/* The entry's name without what means nothing ("./", "//"); an empty result
 * is the layer's folder itself. */
static int
clean_name(const char *name, char out[CSN_TAR_NAME_MAX + 1], csn_err *err)
{
  size_t n = 0;
  for (const char *p = name; *p;) {
    size_t part = strcspn(p, "/");
    if (part == 2 && p[0] == '.' && p[1] == '.')
      return csn_fail(err, CSN_E_DENIED, "%.200s: a name with \"..\" leads out of the layer", name);
    if (part > PART_MAX)
      return csn_fail(err, CSN_E_LIMIT, "%.200s: a part of the name has more than 255 bytes", name);
    if (part && !(part == 1 && p[0] == '.')) {
      if (n)
        out[n++] = '/';
      memcpy(out + n, p, part); /* never longer than the name was */
      n += part;
    }
    p += part;
    p += strspn(p, "/");
  }
  out[n] = '\0';
  return 0;
}

/* Opens a folder of the layer through no link; -1 with errno. */
static int
open_folder(const csn_unpacker *u, const char *path)
{
  struct open_how how = {
      .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
  };
  if (!*path)
    return openat(u->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int fd = (int)syscall(SYS_openat2, u->root, path, &how, sizeof how);
  if (fd >= 0 || errno != ENOSYS)
    return fd;
  fd = openat(u->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  while (fd >= 0 && *path) { /* the same, part by part */
    char part[PART_MAX + 1];
    size_t n = strcspn(path, "/");
    memcpy(part, path, n);
    part[n] = '\0';
    int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int e = errno;
    close(fd);
    errno = e;
    fd = next;
    path += n + (path[n] == '/');
  }
  return fd;
}

static int
not_there(const char *path, csn_err *err)
{
  if (errno == ELOOP || errno == ENOTDIR)
    return csn_fail(err, CSN_E_DENIED,
                    "%.200s leads through a link or a file that an earlier entry made", path);
  return csn_fail_errno(err, "%.200s", path);
}

static int
count_file(csn_unpacker *u, csn_err *err)
{
  if (++u->stats.files > u->files_max)
    return csn_fail(err, CSN_E_LIMIT, "the layer has more than %llu files",
                    (unsigned long long)u->files_max);
  return 0;
}

/* Makes the folders that no entry announced. */
static int
make_folders(csn_unpacker *u, char *path, csn_err *err)
{
  for (size_t n = 0;; n++) {
    char c = path[n];
    if (c != '/' && c != '\0')
      continue;
    path[n] = '\0';
    char *name = strrchr(path, '/');
    int at = -1, rc = 0;
    if (name)
      *name = '\0';
    at = open_folder(u, name ? path : "");
    if (name)
      *name = '/';
    if (at >= 0 && mkdirat(at, name ? name + 1 : path, 0755) == 0)
      rc = count_file(u, err);
    else if (at < 0 || errno != EEXIST)
      rc = not_there(path, err);
    if (at >= 0)
      close(at);
    path[n] = c;
    if (rc < 0 || c == '\0')
      return rc;
  }
}

/* Lets u->parent be the folder of u->path and u->name its last part. */
static int
enter_parent(csn_unpacker *u, csn_err *err)
{
  char *slash = strrchr(u->path, '/');
  u->name = slash ? slash + 1 : u->path;
  size_t n = slash ? (size_t)(slash - u->path) : 0;
  if (u->parent >= 0 && strncmp(u->parent_path, u->path, n) == 0 && u->parent_path[n] == '\0')
    return 0;
  csn_closep(&u->parent);
  memcpy(u->parent_path, u->path, n);
  u->parent_path[n] = '\0';
  u->parent = open_folder(u, u->parent_path);
  if (u->parent < 0 && errno == ENOENT) {
    int rc = make_folders(u, u->parent_path, err);
    if (rc < 0)
      return rc;
    u->parent = open_folder(u, u->parent_path);
  }
  return u->parent < 0 ? not_there(u->path, err) : 0;
}

/* Removes what an earlier entry made under this name. 1: it was a whiteout. */
static int
clear_place(csn_unpacker *u, csn_err *err)
{
  struct stat st;
  if (fstatat(u->parent, u->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : csn_fail_errno(err, "%.200s", u->path);
  if (S_ISDIR(st.st_mode)) {
    int rc = csn_remove_tree(u->parent, u->name, err);
    csn_closep(&u->parent); /* it may have been below */
    u->parent = -1;
    return rc < 0 ? rc : enter_parent(u, err);
  }
  bool was_hidden = csn_layer_hides(u->parent, u->name, &st);
  if (unlinkat(u->parent, u->name, 0) < 0)
    return csn_fail_errno(err, "%.200s", u->path);
  return was_hidden;
}

/* ---- attributes ---- */

static struct folder
attributes_of(const csn_unpacker *u, const csn_tar_entry *e)
{
  /* Set-user-id bits would mean nothing in a jail, and in the store they would
   * be a trap for whoever makes it readable. */
  struct folder a = {.mode = e->mode & 01777,
                     .uid = e->uid < IDS ? (uid_t)e->uid : NOBODY,
                     .gid = e->gid < IDS ? (gid_t)e->gid : NOBODY,
                     .time = {.tv_sec = (time_t)e->mtime_s, .tv_nsec = e->mtime_ns}};
  if (!u->owns_all) /* the jail's only user must be able to read it, and we to remove it */
    a.mode |= e->kind == CSN_TAR_DIR ? 0700 : 0400;
  return a;
}

static int
set_attributes(const csn_unpacker *u, int fd, const struct folder *a, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, a->time};
  if ((u->owns_all && fchown(fd, a->uid, a->gid) < 0) || fchmod(fd, a->mode) < 0 ||
      futimens(fd, times) < 0)
    return csn_fail_errno(err, "mode, owner or time of %.200s", u->path);
  return 0;
}

static void
remember_folder(csn_unpacker *u, const csn_tar_entry *e)
{
  struct folder *f = csn_arena_alloc(u->arena, sizeof *f);
  *f = attributes_of(u, e);
  f->path = csn_arena_dup(u->arena, csn_cstr(u->path)).p;
  *u->last = f;
  u->last = &f->next;
}

/* ---- kinds of entries ---- */

/* The result of making a mark. */
static int
marked(csn_unpacker *u, int rc, csn_err *err)
{
  u->stats.must_merge |= rc > 0;
  return rc > 0 ? 0 : csn_wrap(err, rc, "%.200s", u->path);
}

/* `.wh.NAME`: NAME of the layers below is gone, or for `.wh..wh..opq` all that
 * they have in this folder. */
static int
add_whiteout(csn_unpacker *u, csn_err *err)
{
  struct stat st;
  const char *hidden = u->name + 4;
  if (strcmp(u->name, ".wh..wh..opq") == 0)
    return marked(u, csn_layer_make_opaque(u->parent, err), err);
  if (strncmp(hidden, ".wh.", 4) == 0)
    return 0; /* notes of aufs to itself */
  if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
    return csn_fail(err, CSN_E_INVALID, "%.200s hides no file", u->path);
  if (fstatat(u->parent, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    /* The layer has one of its own already, which hides the one below; a
     * folder's content would shine through. */
    if (!S_ISDIR(st.st_mode))
      return 0;
    csn_auto(csn_closep) int fd =
        openat(u->parent, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? csn_fail_errno(err, "%.200s", u->path)
                  : marked(u, csn_layer_make_opaque(fd, err), err);
  }
  return marked(u, csn_layer_hide(u->parent, hidden, err), err);
}

static int
add_folder(csn_unpacker *u, const csn_tar_entry *e, csn_err *err)
{
  struct stat st;
  if (*u->path) {
    bool there = fstatat(u->parent, u->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    int was_hidden = there ? 0 : clear_place(u, err);
    if (was_hidden < 0)
      return was_hidden;
    if (!there && mkdirat(u->parent, u->name, 0700) < 0)
      return csn_fail_errno(err, "%.200s", u->path);
    if (was_hidden) {
      csn_auto(csn_closep) int fd =
          openat(u->parent, u->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      int rc = fd < 0 ? csn_fail_errno(err, "%.200s", u->path)
                      : marked(u, csn_layer_make_opaque(fd, err), err);
      if (rc < 0)
        return rc;
    }
  }
  remember_folder(u, e);
  return 0;
}

static int
add_symlink(csn_unpacker *u, const csn_tar_entry *e, csn_err *err)
{
  struct folder a = attributes_of(u, e);
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, a.time};
  int rc = clear_place(u, err);
  if (rc < 0)
    return rc;
  if (symlinkat(e->link, u->parent, u->name) < 0 ||
      (u->owns_all && fchownat(u->parent, u->name, a.uid, a.gid, AT_SYMLINK_NOFOLLOW) < 0) ||
      utimensat(u->parent, u->name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%.200s", u->path);
  return 0;
}

static int
add_hardlink(csn_unpacker *u, const csn_tar_entry *e, csn_err *err)
{
  char target[CSN_TAR_NAME_MAX + 1];
  struct stat st;
  int rc = clean_name(e->link, target, err);
  if (rc < 0)
    return rc;
  if (strcmp(target, u->path) == 0)
    return csn_fail(err, CSN_E_INVALID, "%.200s is a link to itself", u->path);
  rc = clear_place(u, err);
  if (rc < 0)
    return rc;
  char *slash = strrchr(target, '/');
  if (slash)
    *slash = '\0';
  csn_auto(csn_closep) int dir = open_folder(u, slash ? target : "");
  const char *name = slash ? slash + 1 : target;
  if (dir < 0)
    return csn_wrap(err, not_there(e->link, err), "the target of %.200s", u->path);
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
      !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) || csn_layer_hides(dir, name, &st))
    return csn_fail(err, CSN_E_INVALID, "%.200s is a link to %.200s, which this layer lacks",
                    u->path, e->link);
  if (linkat(dir, name, u->parent, u->name, 0) < 0)
    return csn_fail_errno(err, "link %.200s", u->path);
  return 0;
}

static int
add_file(csn_unpacker *u, const csn_tar_entry *e, csn_err *err)
{
  if ((uint64_t)e->size > u->bytes_max - u->stats.bytes)
    return csn_fail(err, CSN_E_LIMIT, "%.200s: the layer has more than %llu bytes", u->path,
                    (unsigned long long)u->bytes_max);
  u->stats.bytes += (uint64_t)e->size;
  const int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  u->attributes = attributes_of(u, e);
  u->file = openat(u->parent, u->name, how, 0600);
  if (u->file < 0 && errno == EEXIST) {
    int rc = clear_place(u, err);
    if (rc < 0)
      return rc;
    u->file = openat(u->parent, u->name, how, 0600);
  }
  return u->file < 0 ? csn_fail_errno(err, "%.200s", u->path) : 1;
}

/* ---- the sink ---- */

static int
take_entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  csn_unpacker *u = user;
  int rc = clean_name(e->name, u->path, err);
  if (rc == 0)
    rc = count_file(u, err);
  if (rc < 0)
    return rc;
  if (!*u->path && e->kind != CSN_TAR_DIR)
    return csn_fail(err, CSN_E_INVALID, "the layer's folder is an entry that is no folder");
  if (e->kind == CSN_TAR_DEVICE || e->kind == CSN_TAR_FIFO) {
    u->stats.dropped++;
    return 0;
  }
  rc = *u->path ? enter_parent(u, err) : 0;
  if (rc < 0)
    return rc;
  if (*u->path && strncmp(u->name, ".wh.", 4) == 0)
    return add_whiteout(u, err);
  switch (e->kind) {
  case CSN_TAR_DIR:
    return add_folder(u, e, err);
  case CSN_TAR_SYMLINK:
    return add_symlink(u, e, err);
  case CSN_TAR_HARDLINK:
    return add_hardlink(u, e, err);
  case CSN_TAR_FILE:
  case CSN_TAR_DEVICE:
  case CSN_TAR_FIFO:
    break;
  }
  return add_file(u, e, err);
}

static int
take_data(void *user, csn_str bytes, csn_err *err)
{
  csn_unpacker *u = user;
  int rc = csn_fd_write_all(u->file, bytes, err);
  return csn_wrap(err, rc, "%.200s", u->path);
}

static int
end_file(void *user, csn_err *err)
{
  csn_unpacker *u = user;
  int rc = set_attributes(u, u->file, &u->attributes, err);
  csn_closep(&u->file);
  u->file = -1;
  return rc;
}

csn_tar_sink
csn_unpacker_sink(csn_unpacker *u)
{
  return (csn_tar_sink){take_entry, take_data, end_file, u};
}

csn_layer_stats
csn_unpacker_stats(const csn_unpacker *u)
{
  return u->stats;
}

int
csn_unpacker_end(csn_unpacker *u, csn_err *err)
{
  for (const struct folder *f = u->folders; f; f = f->next) {
    csn_auto(csn_closep) int fd = open_folder(u, f->path);
    if (fd < 0)
      continue; /* a later entry took its place */
    int rc = set_attributes(u, fd, f, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

csn_unpacker *
csn_unpacker_new(int dir, uint64_t bytes_max, uint64_t files_max)
{
  csn_unpacker *u = csn_alloc(sizeof *u);
  *u = (csn_unpacker){.root = dir,
                      .owns_all = geteuid() == 0,
                      .bytes_max = bytes_max ? bytes_max : CSN_LAYER_BYTES_MAX,
                      .files_max = files_max ? files_max : CSN_LAYER_FILES_MAX,
                      .arena = csn_arena_new(0),
                      .parent = -1,
                      .file = -1};
  u->last = &u->folders;
  return u;
}

void
csn_unpacker_free(csn_unpacker *u)
{
  if (!u)
    return;
  csn_closep(&u->parent);
  csn_closep(&u->file);
  csn_arena_free(u->arena);
  free(u);
}
