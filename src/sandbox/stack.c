/* SPDX-License-Identifier: Apache-2.0
 *
 * stack.c - a workspace made of layers; see sandbox/stack.h.
 *
 * Freezing is a rename: upper/ gets a name in the store.  The list of layers is
 * written first, so whoever opens a workspace whose topmost layer is missing
 * finishes the rename.  Nothing here is written to the disk at once; what shall
 * survive a power cut is a snapshot (docs/snapshots.md).
 *
 * Files belong to the owner of the workspace's folder, whichever user ids a
 * jail has: it sees them through an id-mapped mount. */
#include "sandbox/stack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/layer_flatten.h"

enum { LIST_MAX = 1 << 16, LAYERS_MAX = 1000 };

/* ---- folders ---- */

/* Owner and mode of the workspace's folder, so that its mount shows them as
 * the jail's user. */
static int
make_folder(const csn_stack *s, const char *name, csn_err *err)
{
  struct stat st;
  if (mkdirat(s->dir, name, 0755) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "make %s/", name);
  if (geteuid() != 0)
    return 0;
  if (fstat(s->dir, &st) < 0 ||
      fchownat(s->dir, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "the owner of %s/", name);
  return 0;
}

static int
open_folder(int dir, const char *name, csn_err *err)
{
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "%.60s", name) : fd;
}

/* 1: there is nothing in it. */
static int
is_empty(int dir, const char *name, csn_err *err)
{
  int fd = open_folder(dir, name, err), rc = 1;
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return fd < 0 ? fd : csn_fail_errno(err, "%s", name);
  for (struct dirent *e; rc && (e = readdir(d));)
    rc = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
  closedir(d);
  return rc;
}

/* ---- the list ---- */

static bool
is_name(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9')))
      return false;
  return s.n == CSN_LAYER_NAME - 1;
}

/* Appends a layer; its descriptor, or -1 while it has none. */
static void
add(csn_stack *s, csn_str name, int fd)
{
  s->names = csn_realloc(s->names, s->n + 2, sizeof *s->names);
  s->fds = csn_realloc(s->fds, s->n + 1, sizeof *s->fds);
  s->names[s->n] = csn_dupz(name);
  s->names[s->n + 1] = NULL;
  s->fds[s->n++] = fd;
}

static void
clear(csn_stack *s)
{
  for (size_t i = 0; i < s->n; i++) {
    csn_closep(&s->fds[i]);
    free(s->names[i]);
  }
  s->n = 0;
  if (s->names)
    s->names[0] = NULL;
}

static int
write_list(const csn_stack *s, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  for (size_t i = 0; i < s->n; i++)
    csn_buf_addf(&text, "%s\n", s->names[i]);
  int rc = csn_buf_done(&text, "the list of layers", err);
  return rc < 0 ? rc : csn_file_write(s->dir, "layers", csn_buf_str(&text), 0600, false, err);
}

static int
take_names(csn_stack *s, csn_str text, csn_err *err)
{
  csn_str line;
  while (csn_str_line(&text, &line)) {
    if (!is_name(line))
      return csn_fail(err, CSN_E_PARSE, "\"%.*s\" is not the name of a layer",
                      (int)(line.n < 40 ? line.n : 40), line.p);
    if (s->n == LAYERS_MAX)
      return csn_fail(err, CSN_E_LIMIT, "more than %d layers", LAYERS_MAX);
    add(s, line, -1);
  }
  return 0;
}

/* The list of an existing workspace, or what a new one begins with. */
static int
read_list(csn_stack *s, const char *const *names, csn_err *err)
{
  csn_err why;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  int rc = csn_file_read(s->dir, "layers", &text, &why);
  if (rc == 0)
    return names ? csn_fail(err, CSN_E_EXISTS, "the workspace is there already and has layers")
                 : take_names(s, csn_buf_str(&text), err);
  if (rc != CSN_E_NOT_FOUND)
    return csn_fail(err, why.code, "%s", why.msg);
  for (size_t i = 0; names && names[i]; i++)
    csn_buf_addf(&text, "%s\n", names[i]);
  rc = csn_buf_done(&text, "the list of layers", err);
  if (rc == 0)
    rc = take_names(s, csn_buf_str(&text), err);
  return rc < 0 ? rc : write_list(s, err);
}

static int
open_layer(const csn_stack *s, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int fd = open_folder(s->store, name, err);
  if (fd >= 0 && flock(fd, LOCK_SH) < 0)
    return csn_fail_errno(err, "lock %s", name);
  int out = fd;
  fd = -1;
  return out;
}

static int
open_layers(csn_stack *s, csn_err *err)
{
  for (size_t i = 0; i < s->n; i++) {
    /* A freeze that was cut off had still to give the last one its name. */
    if (i + 1 == s->n && faccessat(s->store, s->names[i], F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      (void)!renameat(s->dir, "upper", s->store, s->names[i]);
    s->fds[i] = open_layer(s, s->names[i], err);
    if (s->fds[i] < 0)
      return csn_wrap(err, s->fds[i], "a layer of the workspace");
  }
  return 0;
}

/* ---- merging ---- */

/* A folder of the store while it is filled. */
struct making {
  char temporary[CSN_LAYER_NAME + 1], name[CSN_LAYER_NAME];
  int fd;
};

static int
begin(const csn_stack *s, struct making *m, csn_err *err)
{
  csn_random_name(m->name, CSN_LAYER_NAME - 1);
  m->temporary[0] = '.';
  memcpy(m->temporary + 1, m->name, sizeof m->name);
  if (mkdirat(s->store, m->temporary, 0700) < 0)
    return csn_fail_errno(err, "make a layer");
  return m->fd = open_folder(s->store, m->temporary, err);
}

/* Layers from `from` on become one, by hard links. 1: they cannot, because
 * what they hide cannot be marked here. */
static int
merge(csn_stack *s, csn_scope *sc, size_t from, csn_err *err)
{
  struct making m;
  int rc = begin(s, &m, err), foreign = 0;
  for (size_t i = from; rc >= 0 && i < s->n; i++) {
    rc = csn_layer_apply(m.fd, s->fds[i], from > 0, sc, err);
    foreign |= rc > 0;
  }
  csn_closep(&m.fd);
  if (rc >= 0 && !foreign && renameat(s->store, m.temporary, s->store, m.name) < 0)
    rc = csn_fail_errno(err, "name a layer");
  if (rc < 0 || foreign) {
    (void)!csn_remove_tree(s->store, m.temporary, NULL);
    return rc < 0 ? rc : 1;
  }
  int fd = open_layer(s, m.name, err);
  if (fd < 0)
    return fd;
  while (s->n > from) {
    csn_closep(&s->fds[--s->n]);
    free(s->names[s->n]);
  }
  add(s, csn_cstr(m.name), fd);
  return write_list(s, err);
}

/* The upper half costs what was changed in it; all of them, where that cannot
 * be, what there is. */
static int
compact(csn_stack *s, csn_scope *sc, csn_err *err)
{
  int rc = merge(s, sc, CSN_STACK_DEPTH / 2, err);
  if (rc > 0)
    rc = merge(s, sc, 0, err);
  return csn_wrap(err, rc, "merge the layers of the workspace");
}

/* ---- opening ---- */

void
csn_stack_free(csn_stack *s)
{
  if (!s)
    return;
  clear(s);
  csn_closep(&s->dir);
  csn_closep(&s->store);
  csn_closep(&s->none);
  free(s->names);
  free(s->fds);
  free(s);
}

int
csn_stack_open(csn_stack **out, csn_scope *sc, int dir, const csn_layers *l, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *s = csn_alloc(sizeof *s);
  *s = (csn_stack){.dir = -1, .store = -1, .none = -1};
  s->dir = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  s->store = openat(l->store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (s->dir < 0 || s->store < 0)
    return csn_fail_errno(err, s->dir < 0 ? "workspace_fd %d" : "layers: store_fd %d",
                          s->dir < 0 ? dir : l->store_fd);
  int rc = read_list(s, l->names, err);
  if (rc == 0)
    rc = open_layers(s, err);
  if (rc == 0)
    rc = make_folder(s, "upper", err);
  if (rc == 0 && s->n > CSN_STACK_DEPTH)
    rc = compact(s, sc, err);
  if (rc >= 0)
    *out = csn_steal(s);
  return rc;
}

/* An overlay's marks are user attributes: that a folder hides what is below. */
static int
check_marks(const csn_stack *s, csn_err *err)
{
  csn_auto(csn_closep) int fd = open_folder(s->dir, "work", err);
  if (fd < 0)
    return fd;
  if (fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) == 0 &&
      fremovexattr(fd, "user.overlay.opaque") == 0)
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "the file system of the workspace has no user attributes");
}

int
csn_stack_prepare(csn_stack *s, csn_err *err)
{
  int rc = csn_remove_tree(s->dir, "work", err);
  if (rc == 0)
    rc = make_folder(s, "work", err);
  if (rc == 0)
    rc = check_marks(s, err);
  if (rc < 0 || s->n)
    return rc;
  rc = make_folder(s, "none", err);
  if (rc == 0)
    rc = open_folder(s->dir, "none", err);
  if (rc < 0)
    return rc;
  csn_closep(&s->none);
  s->none = rc;
  return 0;
}

const int *
csn_stack_layers(const csn_stack *s, size_t *n)
{
  *n = s->n ? s->n : 1;
  return s->n ? s->fds : &s->none;
}

/* All layers and upper/ into whole/. */
static int
copy_all(const csn_stack *s, csn_scope *sc, csn_err *err)
{
  int rc = csn_remove_tree(s->dir, "whole", err);
  if (rc == 0)
    rc = make_folder(s, "whole", err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int to = open_folder(s->dir, "whole", err);
  if (to < 0)
    return to;
  csn_auto(csn_closep) int top = open_folder(s->dir, "upper", err);
  if (top < 0)
    return top;
  for (size_t i = 0; rc == 0 && i < s->n; i++)
    rc = csn_layer_copy(to, s->fds[i], sc, err);
  return rc == 0 ? csn_layer_copy(to, top, sc, err) : rc;
}

int
csn_stack_copy(csn_stack *s, csn_scope *sc, int *upper, csn_err *err)
{
  *upper = -1;
  s->is_copied = true;
  if (s->n) {
    int rc = copy_all(s, sc, err);
    if (rc == 0)
      rc = csn_remove_tree(s->dir, "upper", err);
    if (rc == 0 && renameat(s->dir, "whole", s->dir, "upper") < 0)
      rc = csn_fail_errno(err, "upper/");
    if (rc < 0)
      return csn_wrap(err, rc, "copy the layers of the workspace");
    clear(s);
    rc = write_list(s, err);
    if (rc < 0)
      return rc;
  }
  *upper = open_folder(s->dir, "upper", err);
  return *upper < 0 ? *upper : 0;
}

int
csn_stack_is_unchanged(int dir, csn_err *err)
{
  return is_empty(dir, "upper", err);
}

/* ---- few changes ---- */

static uint64_t
mix(uint64_t sum, const void *bytes, size_t n)
{
  const unsigned char *p = bytes;
  while (n--)
    sum = (sum ^ *p++) * 0x100000001b3; /* FNV-1a */
  return sum;
}

/* Entries in any order give the same mark; each way of changing one changes it. */
static uint64_t
mark_of(const char *name, const struct stat *st)
{
  uint64_t sum = mix(0xcbf29ce484222325, name, strlen(name));
  sum = mix(sum, &st->st_ino, sizeof st->st_ino);
  sum = mix(sum, &st->st_ctim, sizeof st->st_ctim);
  return mix(sum, &st->st_size, sizeof st->st_size) | 1;
}

static bool look_into(csn_stack_changes *c, int dir, int depth);

/* What a copy would lose is not for one: links between files, pipes, and owners
 * where we are not root. */
static bool
look_at(csn_stack_changes *c, int dir, const char *name, int depth)
{
  enum { FEW = 32, FEW_BYTES = 1 << 20, FEW_DEEP = 16 };
  struct stat st;
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || ++c->n > FEW)
    return false;
  c->bytes += st.st_size;
  c->mark += mark_of(name, &st);
  bool is_plain = S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode) || csn_layer_hides(dir, name, &st) ||
                  (S_ISREG(st.st_mode) && st.st_nlink == 1);
  if (!is_plain || c->bytes > FEW_BYTES || (geteuid() != 0 && st.st_uid != geteuid()))
    return false;
  if (!S_ISDIR(st.st_mode))
    return true;
  csn_auto(csn_closep) int below = open_folder(dir, name, NULL);
  return below >= 0 && depth < FEW_DEEP && look_into(c, below, depth + 1);
}

static bool
look_into(csn_stack_changes *c, int dir, int depth)
{
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  bool is_few = d != NULL;
  if (!d)
    csn_closep(&fd);
  for (struct dirent *e; is_few && (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      is_few = look_at(c, dir, e->d_name, depth);
  if (d)
    closedir(d);
  return is_few;
}

void
csn_stack_look(const csn_stack *s, csn_stack_changes *out)
{
  csn_auto(csn_closep) int upper = open_folder(s->dir, "upper", NULL);
  *out = (csn_stack_changes){0};
  out->is_few = upper >= 0 && look_into(out, upper, 0);
}

int
csn_stack_copy_changes(csn_stack *s, csn_scope *sc, char name[CSN_LAYER_NAME], csn_err *err)
{
  struct making m;
  csn_err why;
  csn_auto(csn_closep) int upper = open_folder(s->dir, "upper", err);
  int rc = upper < 0 ? upper : begin(s, &m, err);
  if (rc < 0)
    return rc;
  rc = csn_layer_duplicate(m.fd, upper, sc, &why);
  csn_closep(&m.fd);
  if (rc == 0 && renameat(s->store, m.temporary, s->store, m.name) < 0)
    rc = csn_fail_errno(&why, "name a layer");
  memcpy(name, m.name, sizeof m.name);
  if (rc == 0)
    return 0;
  (void)!csn_remove_tree(s->store, m.temporary, NULL);
  return rc == CSN_E_CANCELLED || rc == CSN_E_TIMEOUT
             ? csn_fail(err, (enum csn_code)rc, "%s", why.msg)
             : 1;
}

/* ---- freezing ---- */

int
csn_stack_freeze(csn_stack *s, csn_err *err)
{
  char name[CSN_LAYER_NAME];
  int empty = is_empty(s->dir, "upper", err);
  if (empty < 0 || (empty && s->n))
    return empty < 0 ? empty : 0;
  csn_random_name(name, CSN_LAYER_NAME - 1);
  add(s, csn_cstr(name), -1);
  int rc = write_list(s, err);
  if (rc == 0 && renameat(s->dir, "upper", s->store, name) < 0)
    rc = csn_fail_errno(err, "give the layer its name");
  if (rc == 0)
    rc = s->fds[s->n - 1] = open_layer(s, name, err);
  if (rc >= 0)
    return make_folder(s, "upper", err);
  free(s->names[--s->n]);
  s->names[s->n] = NULL;
  (void)!write_list(s, NULL);
  return rc;
}
