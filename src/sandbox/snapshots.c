/* SPDX-License-Identifier: Apache-2.0
 * snapshots.c - saved workspaces: names, saving and restoring; see
 * sandbox/snapshots.h. */
#include "sandbox/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "core/fd.h"
#include "sandbox/stack.h"

enum { RECORD_MAX = 4096, UNPACKED_MAX = 1 << 16, BOOT_MAX = 40 };

/* ---- the folder ---- */

static int
open_folder(int dir, const char *name, csn_err *err)
{
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "snapshots/%s", name) : fd;
}

int
csn_snapshots_open(csn_snapshots **out, int state_fd, csn_vault *vault, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = csn_alloc(sizeof *s);
  *s = (csn_snapshots){-1, -1, -1, -1, -1, -1, -1, csn_vault_share(vault), NULL};
  if (mkdirat(state_fd, "snapshots", 0700) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "make snapshots/");
  s->dir = openat(state_fd, "snapshots", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (s->dir < 0)
    return csn_fail_errno(err, "snapshots/");
  const struct {
    const char *name;
    int *fd;
  } folders[] = {{"names", &s->names},
                 {"layers", &s->layers},
                 {"unpacked", &s->unpacked},
                 {"work", &s->work},
                 {"packs", &s->packs_dir}};
  for (size_t i = 0; i < CSN_COUNT(folders); i++) {
    if (mkdirat(s->dir, folders[i].name, 0700) < 0 && errno != EEXIST)
      return csn_fail_errno(err, "make snapshots/%s", folders[i].name);
    if ((*folders[i].fd = open_folder(s->dir, folders[i].name, err)) < 0)
      return *folders[i].fd;
  }
  s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (s->lock < 0)
    return csn_fail_errno(err, "snapshots/lock");
  while (flock(s->lock, LOCK_SH) < 0) /* who drops things is soon done */
    if (errno != EINTR)
      return csn_fail_errno(err, "snapshots/lock");
  int rc = csn_snapshots_check_seal(s, err);
  if (rc == 0)
    rc = csn_packs_open(&s->packs, s->packs_dir, s->vault, err);
  if (rc == 0)
    *out = csn_steal(s);
  return rc;
}

void
csn_snapshots_free(csn_snapshots *s)
{
  if (!s)
    return;
  csn_packs_free(s->packs);
  csn_vault_free(s->vault);
  int *fds[] = {&s->names, &s->layers, &s->unpacked, &s->work, &s->packs_dir, &s->lock, &s->dir};
  for (size_t i = 0; i < CSN_COUNT(fds); i++)
    csn_closep(fds[i]);
  free(s);
}

/* ---- names ---- */

int
csn_snapshot_name_check(const char *name, csn_err *err)
{
  size_t n = strlen(name);
  bool good = n > 0 && n <= CSN_SNAPSHOT_NAME_MAX && name[0] != '.' && name[0] != '-';
  for (size_t i = 0; good && i < n; i++)
    good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
           (name[i] >= '0' && name[i] <= '9') || strchr("._-", name[i]);
  return good ? 0
              : csn_fail(err, CSN_E_INVALID,
                         "\"%.40s\" cannot name a snapshot: letters, digits, '.', '_' and '-', at "
                         "most %d, not '.' or '-' at the beginning",
                         name, CSN_SNAPSHOT_NAME_MAX);
}

static int
read_record(const csn_snapshots *s, const char *name, csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 16);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  const csn_json *v = NULL;
  *out = (csn_snapshot){0};
  int rc = csn_file_read(s->names, name, &text, err);
  if (rc == 0)
    rc = csn_snapshot_record_unseal(s, name, &text, err);
  csn_str json = csn_buf_str(&text);
  if (rc == 0)
    rc = csn_snapshot_record_open(&json, err);
  if (rc == 0)
    rc = csn_json_parse(a, json, &v, err);
  if (rc == 0)
    rc = csn_snapshot_record_read(v, out, err);
  snprintf(out->name, sizeof out->name, "%s", name);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, rc, "there is no snapshot %s", name);
  if (rc < 0 && rc != CSN_E_IO && rc != CSN_E_DENIED)
    return csn_wrap(err, CSN_E_PARSE, "snapshot %s", name);
  return csn_wrap(err, rc, "snapshot %s", name);
}

int
csn_snapshot_find(const csn_snapshots *s, const char *name, csn_snapshot *out, csn_err *err)
{
  int rc = csn_snapshot_name_check(name, err);
  return rc < 0 ? rc : read_record(s, name, out, err);
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(((const csn_snapshot *)a)->name, ((const csn_snapshot *)b)->name);
}

void
csn_snapshot_sort(csn_snapshot *list, size_t n)
{
  if (n)
    qsort(list, n, sizeof *list, by_name);
}

int
csn_snapshot_list(const csn_snapshots *s, csn_snapshot **list, size_t *n, csn_err *err)
{
  int fd = openat(s->names, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return csn_fail_errno(err, "snapshots/names");
  *list = NULL;
  *n = 0;
  for (struct dirent *e; (e = readdir(d));) {
    csn_snapshot r;
    if (csn_snapshot_find(s, e->d_name, &r, NULL) < 0)
      continue;
    *list = csn_realloc(*list, *n + 1, sizeof **list);
    (*list)[(*n)++] = r;
  }
  closedir(d);
  csn_snapshot_sort(*list, *n);
  return 0;
}

int
csn_snapshot_tree(const csn_snapshots *s, csn_scope *sc, const csn_digest *tree, csn_snap_tree *out,
                  csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_SNAP_TEXT_MAX);
  int rc = csn_packs_get(s->packs, sc, tree, &text, err);
  if (rc == 0)
    rc = csn_snap_tree_parse(out, csn_buf_str(&text), err);
  return csn_wrap(err, rc, "the list of files");
}

/* ---- unpacked trees ---- */

/* Names this start of the machine. */
static csn_str
boot_id(char to[BOOT_MAX])
{
  csn_auto(csn_closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, to, BOOT_MAX);
  return csn_str_trim(csn_strn(to, n > 0 ? (size_t)n : 0));
}

static int
note_unpacked(const csn_snapshots *s, const csn_digest *tree, const char *const *layers,
              csn_err *err)
{
  char hex[65], boot[BOOT_MAX];
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(UNPACKED_MAX);
  csn_unpacked_name(s, tree, hex);
  csn_buf_add(&text, boot_id(boot));
  csn_buf_addc(&text, '\n');
  for (; *layers; layers++)
    csn_buf_addf(&text, "%s\n", *layers);
  int rc = csn_buf_done(&text, "the list of layers", err);
  return rc < 0 ? rc : csn_file_write(s->unpacked, hex, csn_buf_str(&text), 0600, false, err);
}

int
csn_unpacked_read(const csn_snapshots *s, const csn_digest *tree, csn_buf *text, csn_err *err)
{
  char hex[65], boot[BOOT_MAX];
  csn_str line, rest;
  csn_unpacked_name(s, tree, hex);
  int rc = csn_file_read(s->unpacked, hex, text, err);
  rest = csn_buf_str(text);
  if (rc == 0 && (!csn_str_line(&rest, &line) || !csn_str_eq(line, boot_id(boot))))
    rc = csn_fail(err, CSN_E_NOT_FOUND, "the machine was started again since it was unpacked");
  for (csn_str left = rest; rc == 0 && csn_str_line(&left, &line);) {
    csn_auto(csn_freep) char *name = csn_dupz(line);
    if (line.n != CSN_LAYER_NAME - 1 || faccessat(s->layers, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      rc = csn_fail(err, CSN_E_NOT_FOUND, "a layer of it is gone");
  }
  if (rc == 0)
    csn_buf_drop(text, text->n - rest.n);
  return rc;
}

bool
csn_unpacked_next(csn_str *text, csn_str *layer)
{
  return csn_str_line(text, layer);
}

/* The list as an array in the arena. */
static const char *const *
split(csn_str text, csn_arena *a)
{
  size_t n = 0;
  csn_str line;
  for (csn_str left = text; csn_unpacked_next(&left, &line);)
    n++;
  const char **list = csn_arena_alloc(a, (n + 1) * sizeof *list);
  for (n = 0; csn_unpacked_next(&text, &line);)
    list[n++] = csn_arena_dup(a, line).p;
  return list;
}

int
csn_snapshot_layers(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, csn_arena *a,
                    const char *const **layers, csn_err *err)
{
  char temporary[CSN_LAYER_NAME + 1] = ".", *name = temporary + 1;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(UNPACKED_MAX);
  if (csn_unpacked_read(s, &r->tree, &text, NULL) == 0) {
    *layers = split(csn_buf_str(&text), a);
    return 0;
  }
  csn_random_name(name, CSN_LAYER_NAME - 1);
  if (mkdirat(s->layers, temporary, 0755) < 0)
    return csn_fail_errno(err, "make a layer");
  csn_auto(csn_closep) int fd = open_folder(s->layers, temporary, err);
  int rc = fd < 0 ? fd : csn_snapshot_restore(s, sc, r, fd, err);
  if (rc == 0 && renameat(s->layers, temporary, s->layers, name) < 0)
    rc = csn_fail_errno(err, "name a layer");
  if (rc < 0) {
    (void)!csn_remove_tree(s->layers, temporary, NULL);
    return rc;
  }
  const char **list = csn_arena_alloc(a, 2 * sizeof *list);
  list[0] = csn_arena_dup(a, csn_cstr(name)).p;
  *layers = list;
  return note_unpacked(s, &r->tree, list, err);
}

int
csn_snapshot_restore(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, int folder,
                     csn_err *err)
{
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_snap_tree_init(&t);
  int rc = csn_snapshot_tree(s, sc, &r->tree, &t, err);
  if (rc == 0)
    rc = csn_snap_unpack(&t, s->packs, sc, folder, err);
  return csn_wrap(err, rc, "snapshot %s", r->name);
}

/* ---- saving ---- */

static int
check_new(const csn_snapshots *s, const char *name, csn_err *err)
{
  int rc = csn_snapshot_name_check(name, err);
  if (rc == 0 && faccessat(s->names, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    rc = csn_fail(err, CSN_E_EXISTS, "there is a snapshot %s already", name);
  return rc;
}

static int
write_record(const csn_snapshots *s, const csn_snapshot *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_snapshot_record_write(r, &w);
  csn_jw_end(&w);
  csn_snapshot_record_close(&text);
  int rc = csn_buf_done(&text, "the snapshot's record", err);
  if (rc == 0)
    rc = csn_snapshot_record_seal(s, r->name, &text, err);
  return rc < 0 ? rc : csn_file_write(s->names, r->name, csn_buf_str(&text), 0600, true, err);
}

int
csn_snapshot_add(csn_snapshots *s, const csn_snapshot *r, csn_err *err)
{
  int rc = check_new(s, r->name, err);
  return rc < 0 ? rc : write_record(s, r, err);
}

int
csn_snapshot_tag(csn_snapshots *s, const char *name, const char *tag, csn_err *err)
{
  csn_snapshot r;
  int rc = *tag ? csn_snapshot_name_check(tag, err) : 0;
  if (rc == 0)
    rc = csn_snapshot_find(s, name, &r, err);
  if (rc < 0)
    return rc;
  snprintf(r.tag, sizeof r.tag, "%s", tag);
  return write_record(s, &r, err);
}

/* The packs first: a name never stands for what is not on the disk. */
static int
commit(csn_snapshots *s, const char *name, const csn_snap_tree *t, const csn_snap_walk *w,
       csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_SNAP_TEXT_MAX);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = (csn_snapshot){.created_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
                        .files = (int64_t)t->n,
                        .bytes = t->bytes,
                        .left_out = (int64_t)w->left_out,
                        .links_out = (int64_t)w->links_out};
  snprintf(out->name, sizeof out->name, "%s", name);
  int rc = csn_snap_tree_write(t, &text, err);
  if (rc == 0)
    rc = csn_packs_add(s->packs, csn_buf_str(&text), &out->tree, err);
  if (rc == 0)
    rc = csn_packs_commit(s->packs, err);
  return rc < 0 ? rc : write_record(s, out, err);
}

int
csn_snapshot_save(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how, int folder,
                  csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_snap_walk w = {.packs = s->packs, .sc = sc, .omit = how->omit, .told = how->told};
  csn_snap_tree_init(&t);
  int rc = check_new(s, how->name, err);
  if (rc == 0)
    rc = csn_snap_take(&w, NULL, folder, &t, err);
  if (rc == 0)
    rc = commit(s, how->name, &t, &w, out, err);
  return csn_wrap(err, rc, "save a snapshot");
}

/* How many of the layers are the unpacked form of `base`, and its tree. */
static size_t
begin_with(const csn_snapshots *s, csn_scope *sc, const csn_snapshot *base,
           const char *const *layers, csn_snap_tree *t)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(UNPACKED_MAX);
  csn_str rest, line;
  size_t n = 0;
  if (!base || csn_unpacked_read(s, &base->tree, &text, NULL) < 0)
    return 0;
  for (rest = csn_buf_str(&text); csn_unpacked_next(&rest, &line); n++)
    if (!layers[n] || !csn_str_eq(line, csn_cstr(layers[n])))
      return 0;
  if (csn_snapshot_tree(s, sc, &base->tree, t, NULL) == 0)
    return n;
  csn_snap_tree_fini(t);
  csn_snap_tree_init(t);
  return 0;
}

int
csn_snapshot_save_layers(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how,
                         const csn_snapshot *base, const char *const *layers, csn_snapshot *out,
                         csn_err *err)
{
  csn_snap_tree t, next;
  csn_snap_walk w = {
      .packs = s->packs, .sc = sc, .is_layer = true, .omit = how->omit, .told = how->told};
  csn_snap_tree_init(&t);
  int rc = check_new(s, how->name, err);
  size_t n = rc < 0 ? 0 : begin_with(s, sc, base, layers, &t);
  for (; rc == 0 && layers[n]; n++) {
    csn_auto(csn_closep) int fd = open_folder(s->layers, layers[n], err);
    csn_snap_tree_init(&next);
    rc = fd < 0 ? fd : csn_snap_take(&w, &t, fd, &next, err);
    csn_snap_tree_fini(&t);
    t = next;
  }
  if (rc == 0)
    rc = commit(s, how->name, &t, &w, out, err);
  csn_snap_tree_fini(&t);
  /* Layers with more than that are not this snapshot. */
  if (rc == 0 && w.omitted == 0 && w.left_out == 0)
    rc = note_unpacked(s, &out->tree, layers, err);
  return csn_wrap(err, rc, "save a snapshot");
}

int
csn_snapshot_save_stack(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how,
                        const csn_snapshot *base, int folder, csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *stack = NULL;
  const csn_layers l = {.store_fd = s->layers};
  int rc = csn_stack_open(&stack, sc, folder, &l, err);
  if (rc == 0)
    rc = csn_stack_freeze(stack, err);
  return rc < 0 ? rc
                : csn_snapshot_save_layers(s, sc, how, base, (const char *const *)stack->names, out,
                                           err);
}

int
csn_snapshot_remove(csn_snapshots *s, const char *name, csn_err *err)
{
  int rc = csn_snapshot_name_check(name, err);
  if (rc == 0 && unlinkat(s->names, name, 0) < 0)
    rc = errno == ENOENT ? csn_fail(err, CSN_E_NOT_FOUND, "there is no snapshot %s", name)
                         : csn_fail_errno(err, "snapshot %s", name);
  return rc;
}
