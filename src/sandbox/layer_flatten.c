/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_flatten.c - one folder out of several layers; see
 * sandbox/layer_flatten.h.
 *
 * Files are linked, not copied: layers never change, and neither does what is
 * made here.  Folders get the attributes of the topmost layer that has them. */
#include "sandbox/layer_flatten.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/copy_entry.h"

enum { DEPTH_MAX = 2048 };

struct merge {
  csn_scope *sc;
  bool keep_whiteouts, copies;
  bool is_foreign; /* a mark was made that is not the overlay's */
  int depth;
};

static int merge_folder(struct merge *m, int to, int from, csn_err *err);

static int
open_in(int dir, const char *name, csn_err *err)
{
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "%.200s", name) : fd;
}

static int
copy_attributes(int to, const struct stat *st, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
  if ((geteuid() == 0 && fchown(to, st->st_uid, st->st_gid) < 0) ||
      fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0)
    return csn_fail_errno(err, "attributes");
  return 0;
}

static int
marked(struct merge *m, int rc)
{
  m->is_foreign |= rc > 0;
  return rc < 0 ? rc : 0;
}

/* A folder: it is merged with the one there, unless it hides that one. */
static int
apply_folder(struct merge *m, int to, int from, const char *name, const struct stat *st,
             csn_err *err)
{
  struct stat there;
  csn_auto(csn_closep) int source = open_in(from, name, err);
  if (source < 0)
    return source;
  bool exists = fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW) == 0;
  bool opaque = csn_layer_is_opaque(source);
  bool was_hidden = exists && csn_layer_hides(to, name, &there);
  int rc = 0;
  if (exists && (opaque || !S_ISDIR(there.st_mode)))
    rc = csn_remove_tree(to, name, err);
  if (rc == 0 && mkdirat(to, name, 0700) < 0 && errno != EEXIST)
    rc = csn_fail_errno(err, "%.200s", name);
  csn_auto(csn_closep) int target = rc < 0 ? -1 : open_in(to, name, err);
  if (target < 0)
    return rc < 0 ? rc : target;
  if (m->keep_whiteouts && (opaque || was_hidden))
    rc = marked(m, csn_layer_make_opaque(target, err));
  if (rc >= 0)
    rc = merge_folder(m, target, source, err);
  return rc < 0 ? rc : copy_attributes(target, st, err);
}

static int
apply_entry(struct merge *m, int to, int from, const char *name, csn_err *err)
{
  struct stat st;
  if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%.200s", name);
  if (S_ISDIR(st.st_mode))
    return apply_folder(m, to, from, name, &st, err);
  int rc = csn_remove_tree(to, name, err);
  if (rc < 0)
    return rc;
  if (csn_layer_hides(from, name, &st))
    return m->keep_whiteouts ? marked(m, csn_layer_hide(to, name, err)) : 0;
  if (m->copies)
    return csn_copy_entry(to, from, name, &st, err);
  return linkat(from, name, to, name, 0) < 0 ? csn_fail_errno(err, "link %.200s", name) : 0;
}

static int
merge_folder(struct merge *m, int to, int from, csn_err *err)
{
  int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return csn_fail_errno(err, "open a folder of a layer");
  int rc = ++m->depth > DEPTH_MAX
               ? csn_fail(err, CSN_E_LIMIT, "folders more than %d deep", DEPTH_MAX)
               : csn_scope_check(m->sc, err);
  for (struct dirent *e; rc >= 0 && (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      rc = apply_entry(m, to, from, e->d_name, err);
  m->depth--;
  closedir(d);
  return rc < 0 ? rc : 0;
}

static int
apply(struct merge *m, int to, int layer, csn_err *err)
{
  struct stat st;
  int rc = merge_folder(m, to, layer, err);
  if (rc == 0 && fstat(layer, &st) == 0)
    rc = copy_attributes(to, &st, err);
  return rc < 0 ? rc : m->is_foreign;
}

int
csn_layer_apply(int to, int layer, bool keep_whiteouts, csn_scope *sc, csn_err *err)
{
  struct merge m = {.sc = sc, .keep_whiteouts = keep_whiteouts};
  return apply(&m, to, layer, err);
}

int
csn_layer_copy(int to, int layer, csn_scope *sc, csn_err *err)
{
  struct merge m = {.sc = sc, .copies = true};
  return apply(&m, to, layer, err);
}

int
csn_layer_duplicate(int to, int layer, csn_scope *sc, csn_err *err)
{
  struct merge m = {.sc = sc, .keep_whiteouts = true, .copies = true};
  return apply(&m, to, layer, err);
}

/* Its name in the store, which no layer has: made of the digests of all. */
static csn_digest
name_of(const csn_digest *digests, size_t n)
{
  csn_sha256 sum;
  csn_sha256_init(&sum);
  csn_sha256_add(&sum, CSN_STR("merged:"));
  for (size_t i = 0; i < n; i++)
    csn_sha256_add(&sum, csn_strn((const char *)digests[i].b, sizeof digests[i].b));
  return csn_sha256_end(&sum);
}

struct merging {
  const int *fds;
  size_t n;
};

static int
fill(void *user, int dir, csn_scope *sc, csn_err *err)
{
  const struct merging *m = user;
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < m->n; i++)
    rc = csn_layer_apply(dir, m->fds[i], false, sc, err);
  return rc;
}

int
csn_layers_flatten(csn_layer_store *s, csn_scope *sc, const csn_digest *digests, size_t n,
                   const int *fds, size_t n_fds, csn_err *err)
{
  csn_digest name = name_of(digests, n);
  struct merging m = {fds, n_fds};
  int rc = csn_layer_make(s, sc, &name, fill, &m, err);
  return rc < 0 ? rc : csn_layer_open(s, &name, err);
}
