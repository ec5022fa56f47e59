/* SPDX-License-Identifier: Apache-2.0
 *
 * images.c - the images of a user; see sandbox/images.h.
 *
 * A record is the image's own config, cut down to what is used, with an object
 * "caisson" beside it, so one parser reads both. */
#include "sandbox/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "core/fd.h"
#include "sandbox/image_source.h"
#include "sandbox/rootfs_word.h"
#include "sandbox/strings.h"

enum { RECORD_MAX = 1 << 20, NAME_MAX_BYTES = 200, IMAGES_MAX = 4096 };

void
csn_image_free(csn_image *i)
{
  if (!i)
    return;
  csn_arena *a = i->arena;
  free(i);
  csn_arena_free(a);
}

static csn_image *
image_new(void)
{
  csn_image *i = csn_alloc(sizeof *i);
  i->arena = csn_arena_new((size_t)64 << 20);
  i->name = i->source = i->stamp = CSN_STR("");
  return i;
}

/* ---- names ---- */

static bool
is_name(csn_str name)
{
  static const char more[] = "._:/@-";
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && (i == 0 || !memchr(more, c, sizeof more - 1)))
      return false;
  }
  return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

/* Where a record is: by name, with "%" for the slashes that a file cannot have
 * in its name, or by the digest of the source's word. */
static void
record_path(char to[NAME_MAX_BYTES + 16], const char *name)
{
  if (is_name(csn_cstr(name)) && strncmp(name, "oci:", 4) != 0 && strncmp(name, "tar:", 4) != 0) {
    snprintf(to, NAME_MAX_BYTES + 16, "images/%s", name);
    for (char *p = to + 7; (p = strchr(p, '/'));)
      *p = '%';
    return;
  }
  char hex[65];
  csn_digest d = csn_sha256_of(csn_cstr(name));
  csn_digest_hex(&d, hex);
  snprintf(to, NAME_MAX_BYTES + 16, "sources/%s", hex);
}

/* "debian" of "/x/debian.tar.gz". */
static csn_str
name_of_file(csn_str path)
{
  static const csn_str tails[] = {CSN_STR_INIT(".gz"),  CSN_STR_INIT(".xz"),  CSN_STR_INIT(".zst"),
                                  CSN_STR_INIT(".bz2"), CSN_STR_INIT(".tgz"), CSN_STR_INIT(".txz"),
                                  CSN_STR_INIT(".tar")};
  while (path.n > 1 && path.p[path.n - 1] == '/')
    path.n--;
  for (size_t i = path.n; i > 0; i--)
    if (path.p[i - 1] == '/') {
      path = csn_strn(path.p + i, path.n - i);
      break;
    }
  for (size_t i = 0; i < CSN_COUNT(tails); i++)
    if (csn_str_ends(path, tails[i]))
      path.n -= tails[i].n;
  return path;
}

/* ---- records ---- */

static void
write_str(csn_jw *w, const char *key, csn_str text)
{
  csn_jw_key(w, key);
  csn_jw_str(w, text);
}

static void
write_config(csn_jw *w, const csn_image_config *c)
{
  write_str(w, "architecture", c->architecture);
  write_str(w, "os", c->os);
  csn_jw_key(w, "config");
  csn_jw_obj(w);
  csn_strings_to_json(w, "Env", c->environment);
  csn_strings_to_json(w, "Entrypoint", c->entrypoint);
  csn_strings_to_json(w, "Cmd", c->command);
  write_str(w, "User", c->user);
  write_str(w, "WorkingDir", c->folder);
  csn_jw_end(w);
  csn_jw_key(w, "rootfs");
  csn_jw_obj(w);
  csn_jw_key(w, "diff_ids");
  csn_jw_arr(w);
  for (size_t i = 0; i < c->n; i++) {
    char text[80] = "sha256:";
    csn_digest_hex(&c->layers[i], text + 7);
    csn_jw_strz(w, text);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

int
csn_image_keep(const csn_layer_store *s, const csn_image *i, csn_err *err)
{
  char path[NAME_MAX_BYTES + 16];
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "caisson");
  csn_jw_obj(&w);
  csn_jw_key(&w, "format");
  csn_jw_int(&w, 1);
  write_str(&w, "name", i->name);
  write_str(&w, "source", i->source);
  write_str(&w, "stamp", i->stamp);
  csn_jw_key(&w, "created_ms");
  csn_jw_int(&w, i->created_ms);
  csn_jw_key(&w, "bytes");
  csn_jw_int(&w, (int64_t)i->bytes);
  csn_jw_key(&w, "files");
  csn_jw_int(&w, (int64_t)i->files);
  csn_jw_key(&w, "must_merge");
  csn_jw_bool(&w, i->must_merge);
  if (i->resolved.n)
    write_str(&w, "resolved", i->resolved);
  csn_jw_end(&w);
  write_config(&w, &i->config);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  record_path(path, i->name.n ? i->name.p : i->source.p);
  if (rc == 0)
    rc = csn_file_write(s->dir, path, csn_buf_str(&text), 0600, true, err);
  return csn_wrap(err, rc, "the record of the image in %s", s->path);
}

static int
read_record(const csn_layer_store *s, const char *path, csn_image **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(RECORD_MAX);
  csn_auto(csn_image_freep) csn_image *i = image_new();
  const csn_json *root = NULL;
  int rc = csn_file_read(s->dir, path, &text, err);
  if (rc < 0)
    return rc;
  csn_str json = csn_arena_dup(i->arena, csn_buf_str(&text));
  rc = csn_image_config_parse(i->arena, json, &i->config, err);
  if (rc == 0)
    rc = csn_json_parse(i->arena, json, &root, err);
  const csn_json *own = csn_json_get(root, "caisson");
  if (rc == 0 && csn_json_int(own, "format", 0) != 1)
    rc = csn_fail(err, CSN_E_INVALID, "it was written by another version; remove it");
  if (rc < 0)
    return csn_wrap(err, rc, "%s/%s", s->path, path);
  i->name = csn_arena_dup(i->arena, csn_json_str(own, "name", CSN_STR("")));
  i->source = csn_arena_dup(i->arena, csn_json_str(own, "source", CSN_STR("")));
  i->stamp = csn_arena_dup(i->arena, csn_json_str(own, "stamp", CSN_STR("")));
  i->resolved = csn_arena_dup(i->arena, csn_json_str(own, "resolved", CSN_STR("")));
  i->created_ms = csn_json_int(own, "created_ms", 0);
  i->bytes = (uint64_t)csn_json_int(own, "bytes", 0);
  i->files = (uint64_t)csn_json_int(own, "files", 0);
  i->must_merge = csn_json_bool(own, "must_merge", false);
  *out = csn_steal(i);
  return 0;
}

/* ---- sources ---- */

/* What is read, opened. */
struct origin {
  enum csn_rootfs_kind kind; /* TAR or OCI */
  int fd;
  csn_str path, tag;
  char *word; /* absolute, with its scheme: the name of its record */
};

static void
origin_fini(struct origin *o)
{
  csn_closep(&o->fd);
  free(o->word);
}

static int
open_path(csn_str path)
{
  csn_auto(csn_freep) char *z = csn_dupz(path);
  return open(z, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void
make_word(struct origin *o)
{
  csn_auto(csn_freep) char *z = csn_dupz(o->path);
  csn_auto(csn_freep) char *real = realpath(z, NULL);
  csn_buf word = CSN_BUF(10000);
  csn_buf_addf(&word, "%s:%s", o->kind == CSN_ROOTFS_TAR ? "tar" : "oci", real ? real : z);
  if (o->tag.n)
    csn_buf_addf(&word, "@%.*s", (int)o->tag.n, o->tag.p);
  o->word = word.p;
}

/* A path that exists is one, whatever is in its name; otherwise the tag stands
 * behind its last "@". */
static int
open_origin(struct origin *o, const char *source, csn_err *err)
{
  csn_rootfs_word w;
  struct stat st;
  bool bare = strncmp(source, "tar:", 4) != 0 && strncmp(source, "oci:", 4) != 0;
  *o = (struct origin){.fd = -1};
  if (bare)
    w = (csn_rootfs_word){CSN_ROOTFS_OCI, csn_cstr(source)};
  else if (csn_rootfs_word_parse(csn_cstr(source), &w, err) < 0)
    return CSN_E_INVALID;
  o->kind = w.kind;
  o->path = w.path;
  o->tag = CSN_STR("");
  o->fd = open_path(o->path);
  for (size_t at = o->path.n; o->fd < 0 && errno == ENOENT && at > 1; at--)
    if (o->path.p[at - 1] == '@' && w.kind == CSN_ROOTFS_OCI) {
      o->tag = csn_strn(o->path.p + at, o->path.n - at);
      o->path.n = at - 1;
      o->fd = open_path(o->path);
      break;
    }
  if (o->fd < 0 || fstat(o->fd, &st) < 0)
    return csn_fail_errno(err, "%.300s", source);
  if (S_ISDIR(st.st_mode) && o->kind == CSN_ROOTFS_TAR)
    return csn_fail(err, CSN_E_INVALID,
                    "%.300s is a folder: a root file system in a folder is dir:PATH, an OCI layout "
                    "oci:PATH",
                    source);
  return bare ? 1 : 0;
}

/* Tells whether it has changed since: of a layout its index, since all else
 * has its digest for a name. */
static int
stamp_of(const struct origin *o, char to[160], csn_err *err)
{
  struct stat st;
  if (fstat(o->fd, &st) < 0)
    return csn_fail_errno(err, "stat");
  if (S_ISDIR(st.st_mode) && fstatat(o->fd, "manifest.json", &st, 0) < 0)
    (void)!fstatat(o->fd, "index.json", &st, 0); /* missing: the reading says so */
  snprintf(to, 160, "%llx:%llx:%llx:%llx.%lx:%llx.%lx", (unsigned long long)st.st_dev,
           (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
           (unsigned long long)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec,
           (unsigned long long)st.st_ctim.tv_sec, (unsigned long)st.st_ctim.tv_nsec);
  return 0;
}

/* Reads the origin into a new image; its record is not written yet. */
static int
read_origin(csn_layer_store *s, csn_scope *sc, const struct origin *o,
            const csn_image_progress *progress, csn_image **out, csn_err *err)
{
  char before[160], after[160];
  struct timespec now;
  csn_image_found found = {0};
  csn_auto(csn_image_freep) csn_image *i = image_new();
  int rc = stamp_of(o, before, err);
  if (rc == 0 && o->kind == CSN_ROOTFS_TAR)
    rc = csn_image_read_tar(s, sc, i->arena, o->fd, progress, &found, err);
  else if (rc == 0)
    rc = csn_image_read_oci(s, sc, i->arena, o->fd, o->tag, progress, &found, err);
  if (rc == 0)
    rc = stamp_of(o, after, err);
  if (rc == 0 && strcmp(before, after) != 0)
    rc = csn_fail(err, CSN_E_CONFLICT, "it was changed while it was read; try again");
  if (rc < 0)
    return csn_wrap(err, rc, "%.300s", o->word);
  clock_gettime(CLOCK_REALTIME, &now);
  i->config = found.config;
  i->name = found.name;
  i->bytes = found.bytes;
  i->files = found.files;
  i->must_merge = found.must_merge;
  i->source = csn_arena_dup(i->arena, csn_cstr(o->word));
  i->stamp = csn_arena_dup(i->arena, csn_cstr(before));
  i->created_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
  *out = csn_steal(i);
  return 0;
}

/* ---- what callers do ---- */

static int
find_out_kind(csn_layer_store *s, csn_scope *sc, struct origin *o, csn_err *err)
{
  struct stat st;
  if (fstat(o->fd, &st) < 0)
    return csn_fail_errno(err, "stat");
  if (S_ISDIR(st.st_mode)) {
    if (faccessat(o->fd, "index.json", F_OK, 0) == 0 ||
        faccessat(o->fd, "manifest.json", F_OK, 0) == 0)
      return 0;
    return csn_fail(err, CSN_E_INVALID,
                    "the folder is no OCI image layout; a folder with a root file system needs no "
                    "import: rootfs dir:%.*s",
                    (int)(o->path.n < 200 ? o->path.n : 200), o->path.p);
  }
  int rc = csn_image_is_oci(s, sc, o->fd, err);
  o->kind = rc == 0 ? CSN_ROOTFS_TAR : CSN_ROOTFS_OCI;
  return rc < 0 ? rc : 0;
}

int
csn_image_import(csn_layer_store *s, csn_scope *sc, const char *source, const char *name,
                 const csn_image_progress *progress, csn_image **out, csn_err *err)
{
  csn_auto(origin_fini) struct origin o = {.fd = -1};
  csn_auto(csn_image_freep) csn_image *i = NULL;
  if (name && !is_name(csn_cstr(name)))
    return csn_fail(err, CSN_E_INVALID,
                    "\"%.100s\" cannot name an image: letters, digits and . _ : / @ - only, a "
                    "letter or digit first, at most %d",
                    name, NAME_MAX_BYTES);
  int rc = open_origin(&o, source, err);
  if (rc > 0)
    rc = csn_wrap(err, find_out_kind(s, sc, &o, err), "%.300s", source);
  if (rc < 0)
    return rc;
  make_word(&o);
  rc = read_origin(s, sc, &o, progress, &i, err);
  if (rc < 0)
    return rc;
  if (name)
    i->name = csn_arena_dup(i->arena, csn_cstr(name));
  else if (!is_name(i->name))
    i->name = name_of_file(o.path);
  i->name = csn_arena_dup(i->arena, i->name);
  if (!is_name(i->name))
    return csn_fail(err, CSN_E_INVALID, "%.300s has no fit name of its own; give one with --name",
                    o.word);
  rc = csn_image_keep(s, i, err);
  if (rc == 0)
    *out = csn_steal(i);
  return rc;
}

static bool
is_complete(const csn_layer_store *s, const csn_image *i)
{
  for (size_t n = 0; n < i->config.n; n++)
    if (!csn_layer_exists(s, &i->config.layers[n]))
      return false;
  return true;
}

int
csn_image_cached(csn_layer_store *s, csn_scope *sc, const char *source,
                 const csn_image_progress *progress, csn_image **out, csn_err *err)
{
  char path[NAME_MAX_BYTES + 16], stamp[160];
  csn_auto(origin_fini) struct origin o = {.fd = -1};
  csn_auto(csn_image_freep) csn_image *i = NULL;
  int rc = open_origin(&o, source, err);
  if (rc < 0)
    return rc;
  make_word(&o);
  rc = stamp_of(&o, stamp, err);
  if (rc < 0)
    return csn_wrap(err, rc, "%.300s", o.word);
  record_path(path, o.word);
  if (read_record(s, path, &i, NULL) == 0 && csn_str_eq(i->stamp, csn_cstr(stamp)) &&
      is_complete(s, i)) {
    *out = csn_steal(i);
    return 0;
  }
  csn_image_free(csn_steal(i));
  rc = read_origin(s, sc, &o, progress, &i, err);
  if (rc < 0)
    return rc;
  i->name = CSN_STR("");
  rc = csn_image_keep(s, i, err);
  if (rc == 0)
    *out = csn_steal(i);
  return rc;
}

int
csn_image_find(const csn_layer_store *s, const char *name, csn_image **out, csn_err *err)
{
  char path[NAME_MAX_BYTES + 16];
  record_path(path, name);
  int rc = read_record(s, path, out, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, rc,
                    "no image is named %.200s; `caisson image ls` lists them, `caisson image "
                    "import` makes one",
                    name);
  if (rc == 0 && !is_complete(s, *out)) {
    csn_image_free(*out);
    *out = NULL;
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "layers of image %.200s are gone from %s; import it again", name, s->path);
  }
  return rc;
}

static int
by_name(const void *a, const void *b)
{
  const csn_image *x = *(csn_image *const *)a, *y = *(csn_image *const *)b;
  return strcmp(x->name.n ? x->name.p : x->source.p, y->name.n ? y->name.p : y->source.p);
}

static int
list_folder(const csn_layer_store *s, const char *folder, csn_image **list, size_t *n, csn_err *err)
{
  int fd = openat(s->dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    return csn_fail_errno(err, "%s/%s", s->path, folder);
  int rc = 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    char path[NAME_MAX_BYTES + 280];
    if (e->d_name[0] == '.')
      continue;
    if (*n == IMAGES_MAX) {
      rc = csn_fail(err, CSN_E_LIMIT, "more than %d images in %s", IMAGES_MAX, s->path);
      break;
    }
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    rc = read_record(s, path, &list[*n], err);
    *n += rc == 0;
  }
  closedir(d);
  return rc;
}

int
csn_image_list(const csn_layer_store *s, csn_image ***list, size_t *n, csn_err *err)
{
  csn_image **all = csn_alloc(IMAGES_MAX * sizeof(csn_image *));
  *n = 0;
  int rc = list_folder(s, "images", all, n, err);
  if (rc == 0)
    rc = list_folder(s, "sources", all, n, err);
  if (rc < 0) {
    while (*n)
      csn_image_free(all[--*n]);
    free(all);
    return rc;
  }
  qsort(all, *n, sizeof(csn_image *), by_name);
  *list = all;
  return 0;
}

/* Sweeps all layers but those that the remaining records name. */
static int
sweep(csn_layer_store *s, uint64_t *bytes, csn_err *err)
{
  csn_image **list = NULL;
  size_t n = 0, kept = 0;
  int rc = csn_image_list(s, &list, &n, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_freep) csn_digest *keep =
      csn_alloc((n * CSN_OCI_LAYERS_MAX + 1) * sizeof(csn_digest));
  for (size_t i = 0; i < n; i++) {
    for (size_t l = 0; l < list[i]->config.n; l++)
      keep[kept++] = list[i]->config.layers[l];
    csn_image_free(list[i]);
  }
  free(list);
  rc = csn_layer_store_sweep(s, keep, kept, bytes, err);
  return rc < 0 ? rc : 0;
}

int
csn_image_remove(csn_layer_store *s, const char *name, uint64_t *bytes, csn_err *err)
{
  char path[NAME_MAX_BYTES + 16];
  *bytes = 0;
  int rc = csn_layer_store_own(s, err);
  if (rc < 0)
    return rc;
  record_path(path, name);
  if (unlinkat(s->dir, path, 0) < 0 && errno == ENOENT)
    return csn_fail(err, CSN_E_NOT_FOUND, "no image is named %.200s; `caisson image ls` lists them",
                    name);
  if (faccessat(s->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return csn_fail_errno(err, "%s/%s", s->path, path);
  return sweep(s, bytes, err);
}
