/* SPDX-License-Identifier: Apache-2.0
 *
 * stage.c - see stage.h.
 *
 * What changed is seen by comparing two looks at the folder: whoever replaces a
 * file by a rename gives it another inode, whoever writes it another time.
 * Folders are not sent: unpacking makes them, and those that exist keep their
 * modes. */
#include "sandbox/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/snap_tree.h"
#include "sandbox/tarball.h"

enum { REMOVED_AT_ONCE = 1000 };
#define LIST_MAX ((size_t)256 << 20)

/* A file or link as it was seen. */
struct seen {
  char *path;
  struct stat st;
};
struct look {
  struct seen *p;
  size_t n, room;
};

struct csn_stage {
  csn_sandbox *sb;
  int parent, dir, files;
  char *name;
  struct look before;
  bool is_sealed;
};

/* ---- looks ---- */

static void
look_fini(struct look *l)
{
  for (size_t i = 0; i < l->n; i++)
    free(l->p[i].path);
  free(l->p);
  *l = (struct look){0};
}

static int
look_below(struct look *l, int dir, csn_buf *path, int depth, csn_err *err)
{
  csn_names names = {0};
  size_t was = path->n;
  int rc = depth > CSN_SNAP_DEPTH_MAX ? csn_fail(err, CSN_E_LIMIT, "too many folders in each other")
                                      : csn_names_read(&names, dir, CSN_SNAP_FILES_MAX, err);
  for (size_t i = 0; rc == 0 && i < names.n; i++) {
    struct stat st;
    csn_buf_addf(path, "%s%s", was ? "/" : "", names.p[i]);
    rc = csn_buf_done(path, "a path", err);
    if (rc == 0 && fstatat(dir, names.p[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
      rc = csn_fail_errno(err, "%.200s", path->p);
    if (rc == 0 && S_ISDIR(st.st_mode)) {
      csn_auto(csn_closep) int sub =
          openat(dir, names.p[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      rc = sub < 0 ? csn_fail_errno(err, "%.200s", path->p)
                   : look_below(l, sub, path, depth + 1, err);
    } else if (rc == 0) {
      if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->p = csn_realloc(l->p, l->room, sizeof *l->p);
      }
      l->p[l->n++] = (struct seen){csn_dupz(csn_buf_str(path)), st};
    }
    path->n = was;
  }
  csn_names_fini(&names);
  return rc;
}

static int
look(struct look *l, int dir, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(CSN_SNAP_PATH_MAX);
  return look_below(l, dir, &path, 0, err);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
  return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void
add_word(csn_buf *list, char sign, const char *path)
{
  csn_buf_addc(list, sign);
  csn_buf_addz(list, path);
  csn_buf_addc(list, '\0');
}

/* "+PATH" for what has to be put, "-PATH" for what has to go, each with its NUL. */
static void
compare(const struct look *was, const struct look *now, csn_buf *list)
{
  size_t i = 0, k = 0;
  while (i < was->n || k < now->n) {
    int order = i == was->n ? 1
                : k == now->n
                    ? -1
                    : csn_snap_path_order(csn_cstr(was->p[i].path), csn_cstr(now->p[k].path));
    if (order < 0)
      add_word(list, '-', was->p[i].path);
    else if (order > 0 || !is_same(&was->p[i].st, &now->p[k].st))
      add_word(list, '+', now->p[k].path);
    i += order <= 0;
    k += order >= 0;
  }
}

/* ---- between folders and sandboxes ---- */

static int
put_files(csn_scope *sc, csn_sandbox *sb, int folder, int scratch, const char *const *paths,
          csn_err *err)
{
  const csn_tarball_out how = {
      .uid = sb->uid > 0 ? sb->uid : 0, .gid = sb->gid > 0 ? sb->gid : 0, .paths = paths};
  csn_auto(csn_closep) int tar = csn_tarball_file(scratch, err);
  int rc = tar < 0 ? tar : csn_tarball_write(sc, folder, &how, tar, err);
  if (rc == 0 && lseek(tar, 0, SEEK_SET) < 0)
    rc = csn_fail_errno(err, "an archive on its way");
  return rc < 0 ? rc : csn_sandbox_put(sb, sc, tar, err);
}

/* Unpacks while the archive comes, so that no more of it is kept than may be. */
struct arrival {
  csn_scope sc; /* of the sandbox's side; cancelled when this one has enough */
  int from, folder, rc;
  int64_t most;
  csn_err err;
};

static void *
unpack(void *user)
{
  struct arrival *a = user;
  char rest[4096];
  a->rc = csn_tarball_read(NULL, a->from, a->folder, a->most, &a->err);
  if (a->rc < 0) {
    csn_scope_cancel(&a->sc);
    while (read(a->from, rest, sizeof rest) > 0) /* a pipe that breaks would be a signal */
      continue;
  }
  return NULL;
}

static int
get_files(csn_scope *sc, csn_sandbox *sb, int folder, const char *const *paths, int64_t most,
          csn_err *err)
{
  int ends[2];
  pthread_t thread;
  if (pipe2(ends, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  struct arrival a = {.from = ends[0], .folder = folder, .most = most};
  csn_scope_init(&a.sc, sc, -1);
  errno = pthread_create(&thread, NULL, unpack, &a);
  int rc = errno ? csn_fail_errno(err, "a thread that unpacks") : 0;
  bool is_running = rc == 0;
  if (rc == 0)
    rc = csn_sandbox_get(sb, &a.sc, paths, ends[1], err);
  close(ends[1]);
  if (is_running)
    pthread_join(thread, NULL);
  close(ends[0]);
  csn_scope_fini(&a.sc);
  bool is_ours = is_running && a.rc < 0 && (rc == 0 || rc == CSN_E_CANCELLED) &&
                 csn_scope_check(sc, NULL) == 0;
  if (is_ours && err)
    *err = a.err;
  return is_ours ? csn_wrap(err, a.rc, "files of the sandbox") : rc;
}

int
csn_stage_push(csn_scope *sc, csn_sandbox *sb, int folder, csn_err *err)
{
  return put_files(sc, sb, folder, folder, NULL, err);
}

int
csn_stage_pull(csn_scope *sc, csn_sandbox *sb, int folder, csn_err *err)
{
  return get_files(sc, sb, folder, NULL, CSN_SNAP_BYTES_MAX, err);
}

/* ---- a stage ---- */

static csn_stage *
stage_new(csn_sandbox *sb, int dir, const char *name)
{
  csn_stage *s = csn_alloc(sizeof *s);
  *s = (csn_stage){.sb = sb,
                   .parent = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                   .dir = -1,
                   .files = -1,
                   .name = csn_dupz(csn_cstr(name))};
  return s;
}

static int
stage_enter(csn_stage *s, csn_err *err)
{
  s->dir = csn_open_beneath(s->parent, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
  if (s->dir < 0)
    return s->dir;
  s->files = csn_open_beneath(s->dir, "files", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
  return s->files < 0 ? s->files : 0;
}

/* Lets go of it; the folder stays. */
static void
stage_leave(csn_stage *s)
{
  csn_closep(&s->files);
  csn_closep(&s->dir);
  csn_closep(&s->parent);
  look_fini(&s->before);
  free(s->name);
  free(s);
}

void
csn_stage_free(csn_stage *s)
{
  if (!s)
    return;
  if (s->parent >= 0)
    (void)!csn_remove_tree(s->parent, s->name, NULL); /* or whoever comes next with that name */
  stage_leave(s);
}

int
csn_stage_open(csn_stage **out, csn_scope *sc, csn_sandbox *sb, int dir, const char *name,
               const char *const *paths, int64_t most, csn_err *err)
{
  csn_auto(csn_stage_freep) csn_stage *s = stage_new(sb, dir, name);
  int rc = s->parent < 0 ? csn_fail_errno(err, "the folder for %s", name)
                         : csn_remove_tree(s->parent, name, err);
  if (rc == 0)
    rc = csn_mkdirs(s->parent, name, 0700, err);
  if (rc == 0 && (s->dir = csn_open_beneath(s->parent, name, O_RDONLY | O_DIRECTORY, 0, err)) < 0)
    rc = s->dir;
  if (rc == 0)
    rc = csn_mkdirs(s->dir, "files", 0700, err);
  csn_closep(&s->dir);
  if (rc == 0)
    rc = stage_enter(s, err);
  if (rc == 0)
    rc = get_files(sc, sb, s->files, paths, most, err);
  if (rc == 0)
    rc = look(&s->before, s->files, err);
  if (rc < 0)
    return rc;
  *out = csn_steal(s);
  return 0;
}

int
csn_stage_fd(const csn_stage *s)
{
  return s->files;
}

int
csn_stage_seal(csn_stage *s, csn_err *err)
{
  struct look now = {0};
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(LIST_MAX);
  int rc = look(&now, s->files, err);
  if (rc == 0)
    compare(&s->before, &now, &list);
  look_fini(&now);
  if (rc == 0)
    rc = csn_buf_done(&list, "the list of changed files", err);
  if (rc == 0)
    rc = csn_file_write(s->dir, "sealed", csn_buf_str(&list), 0600, false, err);
  s->is_sealed = rc == 0;
  return rc;
}

/* The paths of the list with that sign, in the arena. */
static const char *const *
words(csn_arena *a, csn_str list, char sign, size_t *n)
{
  size_t most = 0;
  for (size_t i = 0; i < list.n; i++)
    most += list.p[i] == '\0';
  const char **to = csn_arena_alloc(a, (most + 1) * sizeof *to);
  *n = 0;
  for (size_t at = 0; at < list.n;) {
    size_t len = strnlen(list.p + at, list.n - at);
    if (len > 1 && list.p[at] == sign)
      to[(*n)++] = csn_arena_dup(a, csn_strn(list.p + at + 1, len - 1)).p;
    at += len + 1;
  }
  return to;
}

static int
send_sealed(csn_stage *s, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(LIST_MAX);
  size_t n_put = 0, n_gone = 0;
  int rc = csn_file_read(s->dir, "sealed", &list, err);
  if (rc < 0)
    return rc;
  const char *const *put = words(a, csn_buf_str(&list), '+', &n_put);
  const char *const *gone = words(a, csn_buf_str(&list), '-', &n_gone);
  for (size_t i = 0; rc == 0 && i < n_gone; i += REMOVED_AT_ONCE) {
    const char *some[REMOVED_AT_ONCE + 1] = {NULL};
    for (size_t k = 0; k < REMOVED_AT_ONCE && i + k < n_gone; k++)
      some[k] = gone[i + k];
    rc = csn_sandbox_remove(s->sb, sc, some, err);
  }
  if (rc == 0 && n_put)
    rc = put_files(sc, s->sb, s->files, s->dir, put, err);
  return rc;
}

int
csn_stage_send(csn_stage *s, csn_scope *sc, csn_err *err)
{
  int rc = s->is_sealed ? 0 : csn_stage_seal(s, err);
  return rc < 0 ? rc : send_sealed(s, sc, err);
}

int
csn_stage_recover(csn_scope *sc, csn_sandbox *sb, int dir, const char *name, csn_err *err)
{
  csn_stage *s = stage_new(sb, dir, name);
  struct stat st;
  int rc = s->parent < 0 ? csn_fail_errno(err, "the folder of %s", name) : stage_enter(s, err);
  bool is_sealed = rc == 0 && fstatat(s->dir, "sealed", &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (rc == CSN_E_NOT_FOUND)
    rc = 0;
  if (is_sealed)
    rc = send_sealed(s, sc, err);
  if (rc < 0) { /* to be tried again */
    stage_leave(s);
    return rc;
  }
  csn_stage_free(s);
  return is_sealed;
}
