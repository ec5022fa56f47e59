/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.c - holds a command to parts of the workspace; see scope.h.
 *
 * Landlock only allows: so all that is not the workspace is allowed, folder by
 * folder on the way to it (the jail's own rules and mounts still hold there),
 * and of the workspace what is listed.  A path is walked part by part and never
 * through a link, which another command could have put there; one that is
 * missing allows nothing.  The process shares its memory with the warden until
 * it executes: nothing here allocates. */
#include "jail/scope.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "jail/landlock.h"
#include "jail/sys.h"

enum { ENTRIES_BYTES = 8192 };

struct entry64 {
  uint64_t ino, off;
  uint16_t length;
  uint8_t type;
  char name[];
};

static bool
is_dots(const char *name)
{
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* What is in the folder beside `but` may be used. */
static bool
allow_others(int rules, int folder, const char *but, size_t but_n, uint64_t handled)
{
  _Alignas(struct entry64) char entries[ENTRIES_BYTES];
  int list = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  long n = list < 0 ? -1 : syscall(SYS_getdents64, list, entries, sizeof entries);
  for (; n > 0; n = syscall(SYS_getdents64, list, entries, sizeof entries))
    for (long at = 0; at < n;) {
      const struct entry64 *e = (const struct entry64 *)(entries + at);
      struct stat st;
      at += e->length;
      if (is_dots(e->name) || e->type == DT_LNK ||
          (strlen(e->name) == but_n && memcmp(e->name, but, but_n) == 0))
        continue;
      int fd = openat(folder, e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
      bool good = fd >= 0 && fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode);
      if (good) /* what cannot be is not allowed */
        csn_landlock_allow(rules, fd, S_ISDIR(st.st_mode) ? handled : handled & LL_OF_FILES);
      if (fd >= 0)
        close(fd);
    }
  int e = errno;
  if (list >= 0)
    close(list);
  errno = e;
  return n == 0;
}

/* The next part of a path, or NULL at its end. */
static const char *
next_part(const char *path, size_t *n)
{
  while (*path == '/')
    path++;
  *n = strcspn(path, "/");
  return *n ? path : NULL;
}

static int
open_part(int folder, const char *part, size_t n, int flags)
{
  char name[NAME_MAX + 1];
  if (n > NAME_MAX) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(name, part, n);
  name[n] = '\0';
  return openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC | flags);
}

/* A descriptor of the workspace; on the way all beside it is allowed. */
static int
go_to_workspace(int rules, const char *workspace, uint64_t handled)
{
  int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  size_t n;
  for (const char *p = workspace; at >= 0 && (p = next_part(p, &n)); p += n) {
    bool good = allow_others(rules, at, p, n, handled);
    int next = good ? open_part(at, p, n, O_DIRECTORY) : -1, e = errno;
    close(at);
    errno = e;
    at = next;
  }
  return at;
}

static void
allow_path(int rules, int workspace, const char *path, uint64_t access)
{
  struct stat st;
  size_t n;
  int at = openat(workspace, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const char *p = path; at >= 0 && (p = next_part(p, &n)); p += n) {
    int next = open_part(at, p, n, 0);
    close(at);
    at = next;
  }
  if (at >= 0 && fstat(at, &st) == 0 && !S_ISLNK(st.st_mode))
    csn_landlock_allow(rules, at, S_ISDIR(st.st_mode) ? access : access & LL_OF_FILES);
  if (at >= 0)
    close(at);
}

bool
csn_jail_scope(const struct csn_scope_words *s, const char *workspace)
{
  uint64_t all, nodes = LL_MAKE_CHAR | LL_MAKE_BLOCK;
  if (!s->reads && !s->writes)
    return true;
  if (csn_landlock_version(&all) == 0) {
    errno = ENOSYS;
    return false;
  }
  uint64_t reads = s->reads ? (uint64_t)LL_READS : 0;
  uint64_t writes = s->writes ? all & ~(uint64_t)LL_READS : 0;
  int rules = csn_landlock_new(reads | writes);
  int at = rules < 0 ? -1 : go_to_workspace(rules, workspace, reads | writes);
  if (at < 0)
    return false;
  for (char **p = s->reads; p && *p; p++)
    allow_path(rules, at, *p, reads);
  for (char **p = s->writes; p && *p; p++)
    allow_path(rules, at, *p, reads | (writes & ~nodes));
  bool good = csn_landlock_apply(rules);
  int e = errno;
  close(at);
  close(rules);
  errno = e;
  return good;
}
