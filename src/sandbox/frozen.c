/* SPDX-License-Identifier: Apache-2.0
 * frozen.c - names of frozen workspaces, and what runs still need; see
 * sandbox/frozen.h. */
#include "sandbox/frozen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

enum { LIST_MAX = 1 << 16 };
static const char is_copy[] = " copy"; /* behind a layer */

/* Takes it off the line. */
static bool
take_copy(csn_str *line)
{
  bool has = csn_str_ends(*line, csn_cstr(is_copy));
  line->n -= has ? sizeof is_copy - 1 : 0;
  return has;
}

/* A folder of snapshots/. */
static int
open_in(int state_fd, const char *name, csn_err *err)
{
  char path[40];
  snprintf(path, sizeof path, "snapshots/%s", name);
  int rc = csn_mkdirs(state_fd, path, 0700, err);
  return rc < 0 ? rc : csn_open_beneath(state_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
}

int
csn_frozen_layers_open(int state_fd, csn_err *err)
{
  return open_in(state_fd, "layers", err);
}

int
csn_frozen_put(int state_fd, const char *name, const char *const *layers, csn_err *err)
{
  return csn_frozen_put_copy(state_fd, name, layers, NULL, err);
}

int
csn_frozen_put_copy(int state_fd, const char *name, const char *const *layers, const char *copy,
                    csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  int rc = csn_snapshot_name_check(name, err);
  csn_auto(csn_closep) int dir = rc < 0 ? rc : open_in(state_fd, "frozen", err);
  if (dir < 0)
    return dir;
  for (; layers && *layers; layers++)
    csn_buf_addf(&text, "%s\n", *layers);
  if (copy)
    csn_buf_addf(&text, "%s%s\n", copy, is_copy);
  rc = csn_buf_done(&text, "the list of layers", err);
  return rc < 0 ? rc : csn_file_write(dir, name, csn_buf_str(&text), 0600, false, err);
}

int
csn_frozen_get(int state_fd, const char *name, csn_arena *a, const char *const **layers,
               csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  csn_auto(csn_closep) int dir = open_in(state_fd, "frozen", err);
  csn_auto(csn_closep) int store = open_in(state_fd, "layers", err);
  csn_str line;
  size_t n = 0;
  if (dir < 0 || store < 0)
    return dir < 0 ? dir : store;
  int rc = csn_file_read(dir, name, &text, err);
  if (rc < 0)
    return csn_wrap(err, rc, "the frozen workspace %s", name);
  const char **list = csn_arena_alloc(a, (text.n / CSN_LAYER_NAME + 2) * sizeof *list);
  for (csn_str rest = csn_buf_str(&text); csn_str_line(&rest, &line);) {
    (void)take_copy(&line);
    const char *layer = csn_arena_dup(a, line).p;
    if (line.n != CSN_LAYER_NAME - 1 || faccessat(store, layer, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      return csn_fail(err, CSN_E_NOT_FOUND, "a layer of the frozen workspace %s is gone", name);
    list[n++] = layer;
  }
  list[n] = NULL;
  *layers = list;
  return 0;
}

/* A layer that nobody has open. */
static void
remove_layer(int layers, csn_str name)
{
  csn_auto(csn_freep) char *z = csn_dupz(name);
  csn_auto(csn_closep) int fd = openat(layers, z, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
    (void)!csn_jail_remove(layers, z, NULL);
}

/* The run's workspace may have begun with it since: "RUN.SEQ" names the run. */
static bool
has_begun_with(int state_fd, const char *name, csn_str layer)
{
  csn_auto(csn_buf_finip) csn_buf own = CSN_BUF(LIST_MAX);
  char path[CSN_SNAPSHOT_NAME_MAX + 40];
  const char *dot = strrchr(name, '.');
  snprintf(path, sizeof path, "sandboxes/%.*s/stack/layers", dot ? (int)(dot - name) : 0, name);
  int rc = dot ? csn_file_read(state_fd, path, &own, NULL) : CSN_E_NOT_FOUND;
  return rc == 0 ? csn_str_find(csn_buf_str(&own), layer, 0) != SIZE_MAX : rc != CSN_E_NOT_FOUND;
}

void
csn_frozen_drop(int state_fd, const char *name)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  csn_auto(csn_closep) int dir = open_in(state_fd, "frozen", NULL);
  csn_str line;
  if (dir < 0 || csn_file_read(dir, name, &text, NULL) < 0 || unlinkat(dir, name, 0) < 0)
    return;
  csn_auto(csn_closep) int layers = open_in(state_fd, "layers", NULL);
  for (csn_str rest = csn_buf_str(&text); layers >= 0 && csn_str_line(&rest, &line);)
    if (take_copy(&line) && line.n == CSN_LAYER_NAME - 1 && !has_begun_with(state_fd, name, line))
      remove_layer(layers, line);
}

void
csn_frozen_drop_snapshot(int state_fd, const char *name)
{
  csn_auto(csn_closep) int dir = open_in(state_fd, "names", NULL);
  if (dir >= 0)
    (void)!unlinkat(dir, name, 0);
}

/* ---- what runs began with ---- */

int
csn_began_with_read(int dir, csn_digest *tree, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_BEGAN_MAX);
  int rc = csn_file_read(dir, "base.tree", &text, err);
  if (rc == 0 && !csn_digest_from_hex(csn_str_trim(csn_buf_str(&text)), tree))
    rc = csn_fail(err, CSN_E_PARSE, "base.tree holds no SHA-256");
  return rc;
}

int
csn_began_with_write(int dir, const csn_digest *tree, csn_err *err)
{
  char hex[65];
  csn_digest_hex(tree, hex);
  return csn_file_write(dir, "base.tree", csn_cstr(hex), 0600, false, err);
}

/* ---- for gc ---- */

bool
csn_frozen_is_of_run(const csn_snapshots *s, const char *name)
{
  char path[CSN_SNAPSHOT_NAME_MAX + 20];
  const char *dot = strrchr(name, '.');
  if (!dot || dot == name || name[0] == '.')
    return false;
  snprintf(path, sizeof path, "../sandboxes/%.*s", (int)(dot - name), name);
  return faccessat(s->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Adds the text of a file to the list, when it is there. */
static int
add_list(int dir, const char *path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LIST_MAX);
  int rc = csn_file_read(dir, path, &text, err);
  if (rc == 0)
    csn_buf_add(out, csn_buf_str(&text));
  return rc == CSN_E_NOT_FOUND ? 0 : rc;
}

/* Calls fn for each name in `path` of the folder; none when there is no such. */
static int
each_in(int top, const char *path, int (*fn)(void *user, int dir, const char *name, csn_err *err),
        void *user, csn_err *err)
{
  int fd = openat(top, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
  if (fd < 0)
    return errno == ENOENT ? 0 : csn_fail_errno(err, "%s", path);
  DIR *d = fdopendir(fd);
  for (struct dirent *e; rc == 0 && d && (e = readdir(d));)
    if (e->d_name[0] != '.')
      rc = fn(user, fd, e->d_name, err);
  if (d)
    closedir(d);
  return d ? rc : csn_fail_errno(err, "%s", path);
}

struct kept {
  csn_buf *layers;
  void (*fn)(void *user, const csn_digest *tree);
  void *user;
};

static int
keep_named(void *user, int dir, const char *name, csn_err *err)
{
  const struct kept *k = user;
  return add_list(dir, name, k->layers, err);
}

static int
keep_of_run(void *user, int dir, const char *name, csn_err *err)
{
  const struct kept *k = user;
  csn_digest tree;
  csn_auto(csn_closep) int box = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (box < 0)
    return 0; /* it was removed meanwhile */
  int rc = add_list(box, "stack/layers", k->layers, err);
  if (rc == 0 && csn_began_with_read(box, &tree, NULL) == 0)
    k->fn(k->user, &tree);
  return rc;
}

int
csn_frozen_kept(const csn_snapshots *s, csn_buf *layers,
                void (*fn)(void *user, const csn_digest *tree), void *user, csn_err *err)
{
  struct kept k = {layers, fn, user};
  csn_auto(csn_closep) int state = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (state < 0)
    return csn_fail_errno(err, "the state folder");
  int rc = each_in(s->dir, "frozen", keep_named, &k, err);
  return rc < 0 ? rc : each_in(state, "sandboxes", keep_of_run, &k, err);
}

/* ---- at the end of a run ---- */

struct dropping {
  int state_fd;
  const char *top;
  void (*drop)(int state_fd, const char *name);
};

static int
drop_beneath(void *user, int dir, const char *name, csn_err *err)
{
  const struct dropping *d = user;
  size_t n = strlen(d->top);
  if (strncmp(name, d->top, n) == 0 && name[n] == '.')
    d->drop(d->state_fd, name);
  return 0;
}

void
csn_frozen_drop_of(int state_fd, const char *top)
{
  struct dropping d = {state_fd, top, csn_frozen_drop};
  (void)!each_in(state_fd, "snapshots/frozen", drop_beneath, &d, NULL);
  d.drop = csn_frozen_drop_snapshot;
  (void)!each_in(state_fd, "snapshots/names", drop_beneath, &d, NULL);
}

static void
ignore_tree(void *user, const csn_digest *tree)
{
}

void
csn_frozen_drop_layers(int state_fd, csn_str layers)
{
  csn_auto(csn_closep) int dir = open_in(state_fd, "layers", NULL);
  csn_auto(csn_closep) int top =
      csn_open_beneath(state_fd, "snapshots", O_RDONLY | O_DIRECTORY, 0, NULL);
  csn_auto(csn_buf_finip) csn_buf kept = CSN_BUF(64u << 20);
  const csn_snapshots s = {.dir = top};
  struct kept k = {.layers = &kept};
  csn_str line;
  if (dir < 0 || top < 0 || !layers.n || csn_frozen_kept(&s, &kept, ignore_tree, NULL, NULL) < 0 ||
      each_in(top, "unpacked", keep_named, &k, NULL) < 0 || kept.over)
    return;
  while (csn_str_line(&layers, &line)) {
    if (line.n == CSN_LAYER_NAME - 1 && csn_str_find(csn_buf_str(&kept), line, 0) == SIZE_MAX)
      remove_layer(dir, line);
  }
}
