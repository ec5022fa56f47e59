/* SPDX-License-Identifier: Apache-2.0
 *
 * git_keep.c - see git_keep.h.  When one was used last is the time of the file
 * `used` in it; removing one begins with a rename, under its lock. */
#include "sandbox/git_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/disk_watch.h"

enum { LOCK_PAUSE_NS = 5000000, MOST = 1 << 16, DIGITS = 40 };

static const char used[] = "used", gone[] = ".gone-git-";

static int
steal_fd(int *fd)
{
  int taken = *fd;
  *fd = -1;
  return taken;
}

static int
lock(csn_scope *sc, int dir, csn_err *err)
{
  while (flock(dir, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return csn_fail_errno(err, "lock a kept repository");
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    nanosleep(&pause, NULL); /* the kernel offers no wait with a deadline here */
  }
  return 0;
}

static int
open_one(int cache, const char *name, csn_err *err)
{
  int dir = openat(cache, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return dir < 0 ? csn_fail_errno(err, "open a kept repository") : dir;
}

/* Locked, and still the one of that name: it may have been let go of meanwhile. */
static int
take(csn_scope *sc, int cache, const char *name, csn_err *err)
{
  for (;;) {
    struct stat own, there;
    if (mkdirat(cache, name, 0700) < 0 && errno != EEXIST)
      return csn_fail_errno(err, "make a folder for a kept repository");
    csn_auto(csn_closep) int dir = open_one(cache, name, err);
    int rc = dir < 0 ? dir : lock(sc, dir, err);
    if (rc < 0)
      return rc;
    if (fstat(dir, &own) == 0 && fstatat(cache, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        own.st_ino == there.st_ino && own.st_dev == there.st_dev)
      return steal_fd(&dir);
  }
}

int
csn_git_kept_open(csn_git *g, csn_str url, int cache, csn_err *err)
{
  static const char *const init[] = {"init", "--quiet", "--bare", "--template=", ".", NULL};
  char name[65];
  csn_git_trimmed trimmed;
  csn_digest d = csn_sha256_of(url);
  csn_digest_hex(&d, name);
  snprintf(name + DIGITS, sizeof name - DIGITS, ".git");
  csn_auto(csn_closep) int dir = take(g->sc, cache, name, err);
  if (dir < 0)
    return dir;
  int rc = csn_file_write(dir, used, CSN_STR(""), 0600, false, err);
  if (rc == 0 && faccessat(dir, "HEAD", F_OK, 0) < 0) {
    rc = csn_git_run(g, dir, init, NULL, err);
    if (rc == 0) /* what cannot be let go of now is by the next */
      (void)!csn_git_kept_trim(g->sc, cache, CSN_GIT_KEEP_BYTES, 0, &trimmed, NULL);
  }
  return rc < 0 ? rc : steal_fd(&dir);
}

/* ---- letting go of them ---- */

struct kept {
  const char *name;
  int64_t used_ns, bytes;
};

static int
by_use(const void *a, const void *b)
{
  int64_t x = ((const struct kept *)a)->used_ns, y = ((const struct kept *)b)->used_ns;
  return x < y ? -1 : x > y;
}

/* "DIGITS.git" */
static bool
is_kept(const char *name)
{
  size_t n = strspn(name, "0123456789abcdef");
  return n == DIGITS && strcmp(name + n, ".git") == 0;
}

/* Whoever has it now keeps it. */
static bool
let_go(int cache, const char *name)
{
  char away[40];
  csn_auto(csn_closep) int dir = open_one(cache, name, NULL);
  if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
    return false;
  memcpy(away, gone, sizeof gone);
  csn_random_name(away + sizeof gone - 1, 24);
  return renameat(cache, name, cache, away) == 0 && csn_remove_tree(cache, away, NULL) == 0;
}

int
csn_git_kept_trim(csn_scope *sc, int cache, int64_t most_bytes, int64_t since_s,
                  csn_git_trimmed *out, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names names = {0};
  int64_t all = 0;
  size_t n = 0;
  *out = (csn_git_trimmed){0};
  int rc = csn_names_read(&names, cache, MOST, err);
  csn_auto(csn_freep) struct kept *list = csn_alloc((names.n + 1) * sizeof *list);
  for (size_t i = 0; rc == 0 && i < names.n; i++) {
    char path[300];
    struct stat st = {0};
    if (strncmp(names.p[i], gone, sizeof gone - 1) == 0) /* of one who died meanwhile */
      (void)!csn_remove_tree(cache, names.p[i], NULL);
    if (!is_kept(names.p[i])) /* the folder may hold more */
      continue;
    csn_auto(csn_closep) int dir = open_one(cache, names.p[i], NULL);
    snprintf(path, sizeof path, "%.255s/%s", names.p[i], used);
    if (dir < 0)
      continue;
    (void)!fstatat(cache, path, &st, AT_SYMLINK_NOFOLLOW); /* older ones have no such file */
    list[n] =
        (struct kept){names.p[i], (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
                      csn_disk_used(sc, dir)};
    all += list[n++].bytes;
    rc = csn_scope_check(sc, err);
  }
  if (n)
    qsort(list, n, sizeof *list, by_use);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    bool is_old = list[i].used_ns / 1000000000 < since_s;
    if ((!is_old && all <= most_bytes) || !let_go(cache, list[i].name))
      continue;
    all -= list[i].bytes;
    out->bytes += list[i].bytes;
    out->repositories++;
  }
  return rc;
}
