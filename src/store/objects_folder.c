/* SPDX-License-Identifier: Apache-2.0
 *
 * objects_folder.c - objects as files below a folder, such as a disk that is
 * mounted from elsewhere.  A file has its name once it is whole and flushed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "store/objects_backend.h"

enum { ID_BYTES = 24, PATH_BYTES = 1200 };

struct folder {
  csn_objects base;
  int fd;
};

static int
fd_of(csn_objects *o)
{
  return ((struct folder *)o)->fd; /* base is the first member */
}

static const char *
path_of(csn_str key, char path[PATH_BYTES])
{
  snprintf(path, PATH_BYTES, "%.*s", (int)key.n, key.p);
  return path;
}

static int
folder_get(csn_objects *o, csn_scope *sc, csn_str key, int64_t from, int64_t n, csn_buf *out,
           csn_err *err)
{
  char path[PATH_BYTES];
  if (n < 0)
    return csn_file_read(fd_of(o), path_of(key, path), out, err);
  csn_auto(csn_closep) int fd =
      csn_open_beneath(fd_of(o), path_of(key, path), O_RDONLY | O_NONBLOCK, 0, err);
  if (fd < 0)
    return fd;
  while (n > 0) {
    char *room = csn_buf_room(out, (size_t)n);
    ssize_t got = room ? pread(fd, room, (size_t)n, from) : 0;
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return csn_fail_errno(err, "read");
    if (got == 0)
      return csn_fail(err, CSN_E_PARSE, "it is shorter than expected");
    out->n += (size_t)got;
    from += got;
    n -= got;
  }
  return csn_scope_check(sc, err);
}

static int
make_folders(csn_objects *o, const char *path, csn_err *err)
{
  char folder[PATH_BYTES];
  const char *slash = strrchr(path, '/');
  if (!slash)
    return 0;
  snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
  return csn_mkdirs(fd_of(o), folder, 0700, err);
}

static int
folder_put(csn_objects *o, csn_scope *sc, csn_str key, csn_str bytes, bool is_new, csn_err *err)
{
  char path[PATH_BYTES];
  path_of(key, path);
  csn_auto(csn_closep) int there =
      is_new ? csn_open_beneath(fd_of(o), path, O_PATH | O_NOFOLLOW, 0, NULL) : -1;
  if (there >= 0)
    return csn_fail(err, CSN_E_EXISTS, "it is there already");
  int rc = make_folders(o, path, err);
  if (rc == 0)
    rc = csn_scope_check(sc, err);
  return rc < 0 ? rc : csn_file_write(fd_of(o), path, bytes, 0600, true, err);
}

static int
folder_remove(csn_objects *o, csn_scope *sc, csn_str key, csn_err *err)
{
  char path[PATH_BYTES];
  (void)sc;
  return csn_remove_tree(fd_of(o), path_of(key, path), err);
}

/* One folder; what begins with a dot is being written. */
static int
folder_list(csn_objects *o, csn_scope *sc, csn_str head, csn_buf *next, csn_object_fn *fn,
            void *user, csn_err *err)
{
  char path[PATH_BYTES], name[PATH_BYTES + 300];
  path_of(head, path);
  char *slash = strrchr(path, '/');
  const char *begins = slash ? slash + 1 : path;
  csn_buf_clear(next);
  if (slash)
    *slash = '\0';
  int fd = csn_open_beneath(fd_of(o), slash ? path : ".", O_RDONLY | O_DIRECTORY, 0, err);
  if (fd == CSN_E_NOT_FOUND)
    return 0;
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return fd < 0 ? fd : csn_fail_errno(err, "a folder of the store");
  int rc = csn_scope_check(sc, err);
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    struct stat st;
    if (e->d_name[0] == '.' || strncmp(e->d_name, begins, strlen(begins)) != 0 ||
        fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
      continue;
    snprintf(name, sizeof name, "%s%s%s", slash ? path : "", slash ? "/" : "", e->d_name);
    csn_object object = {name, st.st_size, (int64_t)st.st_mtim.tv_sec * 1000};
    rc = fn(user, &object, err);
  }
  closedir(d);
  return rc;
}

/* ---- uploads: a file with a dot before its name */

static const char *
part_path(csn_str key, csn_str id, char path[PATH_BYTES])
{
  const char *slash = memrchr(key.p, '/', key.n);
  int top = slash ? (int)(slash - key.p) + 1 : 0;
  snprintf(path, PATH_BYTES, "%.*s.%.*s.part", top, key.p, (int)id.n, id.p);
  return path;
}

static bool
is_id(csn_str id)
{
  for (size_t i = 0; i < id.n; i++)
    if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z')))
      return false;
  return id.n == ID_BYTES;
}

static int
open_part(csn_objects *o, csn_str key, csn_str id, int flags, csn_err *err)
{
  char path[PATH_BYTES];
  if (!is_id(id))
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no such upload");
  return csn_open_beneath(fd_of(o), part_path(key, id, path), flags | O_NOFOLLOW, 0600, err);
}

static int
folder_upload_begin(csn_objects *o, csn_scope *sc, csn_str key, csn_buf *id, csn_err *err)
{
  char name[ID_BYTES + 1], path[PATH_BYTES];
  (void)sc;
  csn_random_name(name, ID_BYTES);
  csn_buf_addz(id, name);
  int rc = make_folders(o, path_of(key, path), err);
  csn_auto(csn_closep) int fd =
      rc < 0 ? rc : open_part(o, key, csn_cstr(name), O_WRONLY | O_CREAT | O_EXCL, err);
  return fd < 0 ? fd : 0;
}

static int
folder_upload_put(csn_objects *o, csn_scope *sc, csn_str key, const csn_upload_part *part,
                  csn_buf *tag, csn_err *err)
{
  csn_auto(csn_closep) int fd = open_part(o, key, part->id, O_WRONLY, err);
  int64_t at = (int64_t)part->number * CSN_OBJECT_PART;
  (void)sc;
  if (fd < 0)
    return fd;
  for (csn_str left = part->bytes; left.n;) {
    ssize_t put = pwrite(fd, left.p, left.n, at);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return csn_fail_errno(err, "write");
    at += put;
    left = csn_strn(left.p + put, left.n - (size_t)put);
  }
  csn_buf_addz(tag, "written");
  return 0;
}

static int
folder_upload_end(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, const csn_str *tags,
                  int n, csn_err *err)
{
  char from[PATH_BYTES], to[PATH_BYTES];
  csn_auto(csn_closep) int fd = open_part(o, key, id, O_WRONLY, err);
  (void)sc;
  (void)tags;
  (void)n;
  if (fd < 0)
    return fd;
  if (fsync(fd) < 0 || renameat(fd_of(o), part_path(key, id, from), fd_of(o), path_of(key, to)) < 0)
    return csn_fail_errno(err, "write it to the disk");
  return 0;
}

static int
folder_upload_drop(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, csn_err *err)
{
  char path[PATH_BYTES];
  (void)sc;
  return is_id(id) ? csn_remove_tree(fd_of(o), part_path(key, id, path), err) : 0;
}

static void
folder_close(csn_objects *o)
{
  struct folder *f = (struct folder *)o;
  csn_closep(&f->fd);
  csn_arena_free(o->arena);
  free(f);
}

static const csn_objects_ops folder_ops = {
    .type = "folder",
    .is_parallel = true,
    .close = folder_close,
    .get = folder_get,
    .put = folder_put,
    .remove = folder_remove,
    .list = folder_list,
    .upload_begin = folder_upload_begin,
    .upload_put = folder_upload_put,
    .upload_end = folder_upload_end,
    .upload_drop = folder_upload_drop,
};

int
csn_objects_open_folder(csn_objects **out, const csn_objects_spec *spec, csn_err *err)
{
  int fd = open(spec->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "the folder of a store: %s", spec->folder);
  struct folder *f = csn_alloc(sizeof *f);
  f->base = (csn_objects){.ops = &folder_ops, .arena = csn_arena_new(0)};
  f->fd = fd;
  *out = &f->base;
  return 0;
}
