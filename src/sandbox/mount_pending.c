/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_pending.c - see mount_pending.h.
 *
 * vfsMeta/REMOTE/PATH of a cache is JSON about the file PATH; "Dirty" says that the
 * storage has not got what is in the cache.  Names there are whatever commands
 * called their files. */
#include "sandbox/mount_pending.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "caisson/json.h"
#include "core/fd.h"

enum { DEEPEST = 100, NOTE_MAX = 1 << 20 };

static bool
is_dirty(int folder, const char *name)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(NOTE_MAX);
  const csn_json *v;
  /* One that is being written or does not fit is not clean. */
  return csn_file_read(folder, name, &text, NULL) == 0 &&
         (csn_json_parse(a, csn_buf_str(&text), &v, NULL) < 0 || csn_json_bool(v, "Dirty", false));
}

/* Takes the descriptor. */
static bool
look(int fd, int depth, csn_buf *path) /* NOLINT(misc-no-recursion) */
{
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  bool found = false;
  if (!folder) {
    csn_closep(&fd);
    return false;
  }
  size_t n = path->n;
  for (struct dirent *d; !found && (d = readdir(folder));) {
    struct stat st;
    if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
        fstatat(dirfd(folder), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    csn_buf_addc(path, '/');
    csn_buf_addz(path, d->d_name);
    if (S_ISDIR(st.st_mode) && depth < DEEPEST)
      found =
          look(openat(dirfd(folder), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
               depth + 1, path);
    else if (S_ISREG(st.st_mode))
      found = is_dirty(dirfd(folder), d->d_name);
    if (!found) {
      path->n = n;
      path->p[n] = '\0';
    }
  }
  closedir(folder);
  return found;
}

bool
csn_mount_is_pending(int cache_fd, char **name)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(1 << 16);
  bool found =
      look(openat(cache_fd, "vfsMeta", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), 0, &path);
  if (found && name) /* without the remote's name */
    *name = csn_dupz(csn_strn(path.p, path.n));
  return found;
}
