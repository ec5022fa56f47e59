/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_store.c - where unpacked layers of images are kept; see
 * sandbox/layer_store.h.
 *
 * A layer is made in tmp/, written to the disk, and renamed into its place:
 * what has a name is whole.  Two that make the same layer at once both work,
 * and the second one's rename fails, which is fine. */
#include "sandbox/layer_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "caisson/json.h"
#include "core/fd.h"
#include "sandbox/jail.h"
#include "wire/unzip.h"

/* A small file may unpack to this much; beyond, to so many times its size. */
#define FREE_BYTES ((uint64_t)1 << 30)
enum { RATIO_MAX = 200, CHUNK = 256 << 10, INFO_MAX = 4096 };
#define STEP_NS ((int64_t)100000000)

/* ---- the folder ---- */

static int
store_path(csn_buf *out, csn_err *err)
{
  const char *own = secure_getenv("CAISSON_IMAGES"), *data = secure_getenv("XDG_DATA_HOME"),
             *home = secure_getenv("HOME");
  if (own && *own) {
    if (*own != '/')
      return csn_fail(err, CSN_E_INVALID, "CAISSON_IMAGES is \"%.100s\", not an absolute path",
                      own);
    csn_buf_addz(out, own);
  } else if (data && *data == '/') { /* a relative one is to be ignored, says its standard */
    csn_buf_addf(out, "%s/caisson/images", data);
  } else if (home && *home == '/') {
    csn_buf_addf(out, "%s/.local/share/caisson/images", home);
  } else {
    return csn_fail(err, CSN_E_INVALID,
                    "there is no HOME to keep images in; set CAISSON_IMAGES to a folder");
  }
  return csn_buf_done(out, "the path of the image store", err);
}

static int
open_folder(const char *path, csn_err *err)
{
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  if (top < 0)
    return csn_fail_errno(err, "/");
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    /* Links in the path above are the user's own choice. */
    csn_auto(csn_freep) char *copy = csn_dupz(csn_cstr(path));
    for (char *p = copy + 1; (p = strchr(p, '/')); *p++ = '/') {
      *p = '\0';
      if (mkdir(copy, 0755) < 0 && errno != EEXIST)
        break;
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
      return csn_fail_errno(err,
                            "cannot make the image store %.200s (CAISSON_IMAGES chooses "
                            "another folder)",
                            path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "the image store %.200s", path);
  if (st.st_uid != geteuid() || (st.st_mode & 077 && fchmod(fd, 0700) < 0)) {
    close(fd);
    return csn_fail(err, CSN_E_DENIED,
                    "the image store %.200s belongs to another user; set CAISSON_IMAGES to a "
                    "folder of your own",
                    path);
  }
  return fd;
}

int
csn_layer_store_open(csn_layer_store **out, csn_err *err)
{
  static const char *const folders[] = {"layers", "images", "sources", "tmp"};
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(3000);
  int rc = store_path(&path, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_layer_store_freep) csn_layer_store *s = csn_alloc(sizeof *s);
  *s = (csn_layer_store){.path = csn_dupz(csn_buf_str(&path)), .lock = -1};
  s->dir = open_folder(s->path, err);
  if (s->dir < 0)
    return s->dir;
  for (size_t i = 0; i < CSN_COUNT(folders); i++)
    if (mkdirat(s->dir, folders[i], 0700) < 0 && errno != EEXIST)
      return csn_fail_errno(err, "%s/%s", s->path, folders[i]);
  s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (s->lock < 0)
    return csn_fail_errno(err, "%s/lock", s->path);
  while (flock(s->lock, LOCK_SH) < 0) /* who owns it only renames meanwhile: soon over */
    if (errno != EINTR)
      return csn_fail_errno(err, "%s/lock", s->path);
  *out = csn_steal(s);
  return 0;
}

void
csn_layer_store_free(csn_layer_store *s)
{
  if (!s)
    return;
  csn_closep(&s->dir);
  csn_closep(&s->lock);
  free(s->path);
  free(s);
}

int
csn_layer_store_own(csn_layer_store *s, csn_err *err)
{
  if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
    return 0;
  return csn_fail(err, CSN_E_CONFLICT,
                  "the image store %s is in use: an image is being imported or a sandbox starts; "
                  "try again",
                  s->path);
}

/* ---- layers ---- */

/* "layers/HEX/WHAT" */
static const char *
layer_path(char to[88], const csn_digest *digest, const char *what)
{
  char hex[65];
  csn_digest_hex(digest, hex);
  snprintf(to, 88, "layers/%s%s", hex, what);
  return to;
}

int
csn_layer_open(const csn_layer_store *s, const csn_digest *digest, csn_err *err)
{
  char path[88];
  layer_path(path, digest, "/fs");
  int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "%s/%s", s->path, path);
  if (flock(fd, LOCK_SH) == 0)
    return fd;
  close(fd);
  return csn_fail_errno(err, "lock %s/%s", s->path, path);
}

bool
csn_layer_exists(const csn_layer_store *s, const csn_digest *digest)
{
  char path[88];
  return faccessat(s->dir, layer_path(path, digest, "/fs"), F_OK, 0) == 0;
}

static int
read_info(const csn_layer_store *s, const csn_digest *digest, csn_layer_stats *stats, csn_err *err)
{
  char path[88];
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 16);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INFO_MAX);
  const csn_json *v = NULL;
  int rc = csn_file_read(s->dir, layer_path(path, digest, "/info"), &text, err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&text), &v, err);
  *stats = (csn_layer_stats){.bytes = (uint64_t)csn_json_int(v, "bytes", 0),
                             .files = (uint64_t)csn_json_int(v, "files", 0),
                             .must_merge = csn_json_bool(v, "must_merge", false)};
  return csn_wrap(err, rc, "%s", s->path);
}

static int
write_info(int dir, const csn_layer_stats *stats, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INFO_MAX);
  csn_buf_addf(&text, "{\"bytes\":%llu,\"files\":%llu%s}\n", (unsigned long long)stats->bytes,
               (unsigned long long)stats->files, stats->must_merge ? ",\"must_merge\":true" : "");
  return csn_file_write(dir, "info", csn_buf_str(&text), 0600, false, err);
}

/* ---- unpacking ---- */

struct pump {
  csn_unzip *zip;
  csn_tar *tar;
  csn_sha256 sum;
  uint64_t unpacked;
  int64_t said_ns;
};

static void
say(struct pump *p, const csn_layer_source *from, const csn_image_progress *progress)
{
  int64_t now = csn_now_ns();
  if (!progress || now - p->said_ns < STEP_NS)
    return;
  p->said_ns = now;
  progress->fn(progress->user, from->index, from->count, csn_unzip_taken(p->zip),
               (uint64_t)from->size);
}

static int
pump(struct pump *p, csn_scope *sc, const csn_layer_source *from,
     const csn_image_progress *progress, csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  for (;;) {
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    ssize_t n = csn_unzip_read(p->zip, chunk, CHUNK, err);
    if (n <= 0)
      return (int)n;
    p->unpacked += (uint64_t)n;
    uint64_t packed = csn_unzip_taken(p->zip);
    if (p->unpacked > FREE_BYTES && p->unpacked / RATIO_MAX > packed)
      return csn_fail(err, CSN_E_LIMIT,
                      "the layer unpacks to more than %d times its size: not an honest one",
                      RATIO_MAX);
    /* With holes and header blocks an archive is hardly larger than its files. */
    if (p->unpacked > 2 * CSN_LAYER_BYTES_MAX)
      return csn_fail(err, CSN_E_LIMIT, "the layer has more than %llu bytes",
                      (unsigned long long)CSN_LAYER_BYTES_MAX);
    csn_str bytes = csn_strn(chunk, (size_t)n);
    csn_sha256_add(&p->sum, bytes);
    rc = csn_tar_feed(p->tar, bytes, err);
    if (rc < 0)
      return rc;
    say(p, from, progress);
  }
}

static int
differs(const char *what, const csn_digest *want, const csn_digest *got, csn_err *err)
{
  char a[65], b[65];
  if (memcmp(want, got, sizeof *want) == 0)
    return 0;
  csn_digest_hex(want, a);
  csn_digest_hex(got, b);
  return csn_fail(err, CSN_E_PARSE,
                  "%s is not what its image says (sha256 %s, expected %s): the file is damaged or "
                  "was changed",
                  what, b, a);
}

static int
unpack(int dir, csn_scope *sc, const csn_layer_source *from, const csn_image_progress *progress,
       csn_digest *digest, csn_layer_stats *stats, csn_err *err)
{
  csn_auto(csn_unpacker_freep) csn_unpacker *u = csn_unpacker_new(dir, 0, 0);
  csn_tar_sink sink = csn_unpacker_sink(u);
  csn_auto(csn_unzip_freep) csn_unzip *zip = NULL;
  csn_auto(csn_tar_freep) csn_tar *tar = csn_tar_new(&sink);
  csn_digest blob;
  int rc = csn_unzip_open(&zip, from->fd, from->offset, from->size, err);
  if (rc < 0)
    return rc;
  struct pump p = {.zip = zip, .tar = tar};
  csn_sha256_init(&p.sum);
  rc = pump(&p, sc, from, progress, err);
  if (rc == 0)
    rc = csn_tar_done(tar, err);
  if (rc == 0)
    rc = csn_unpacker_end(u, err);
  if (rc == 0)
    rc = csn_unzip_digest(zip, &blob, err);
  if (rc == 0 && from->blob)
    rc = differs("the packed layer", from->blob, &blob, err);
  *digest = csn_sha256_end(&p.sum);
  if (rc == 0 && from->digest)
    rc = differs("the layer", from->digest, digest, err);
  *stats = csn_unpacker_stats(u);
  return rc;
}

/* A folder tmp/NAME/fs while it is filled. */
struct place {
  char name[24];
  int tmp, fs;
};

static int
begin(const csn_layer_store *s, struct place *p, csn_err *err)
{
  *p = (struct place){.name = "tmp/", .tmp = -1, .fs = -1};
  csn_random_name(p->name + 4, 16);
  if (mkdirat(s->dir, p->name, 0700) < 0 ||
      (p->tmp = openat(s->dir, p->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
      mkdirat(p->tmp, "fs", 0755) < 0 ||
      (p->fs = openat(p->tmp, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
      fchmod(p->fs, 0755) < 0)
    return csn_fail_errno(err, "%s/%s", s->path, p->name);
  return 0;
}

/* Gives it its name when rc is 0, or removes it; the result of both. */
static int
finish(const csn_layer_store *s, struct place *p, int rc, const csn_digest *digest,
       const csn_layer_stats *stats, csn_err *err)
{
  char path[88];
  bool placed = false;
  if (rc == 0)
    rc = write_info(p->tmp, stats, err);
  /* One call for all of its files: what has a name must survive a crash. */
  if (rc == 0 && syncfs(s->dir) < 0)
    rc = csn_fail_errno(err, "write %s to the disk", s->path);
  if (rc == 0) {
    placed = renameat(s->dir, p->name, s->dir, layer_path(path, digest, "")) == 0;
    if (!placed && errno != EEXIST && errno != ENOTEMPTY)
      rc = csn_fail_errno(err, "%s/%s", s->path, path);
  }
  csn_closep(&p->fs);
  csn_closep(&p->tmp);
  if (!placed)
    (void)!csn_remove_tree(s->dir, p->name, NULL); /* or the next sweep does */
  return rc;
}

int
csn_layer_add(csn_layer_store *s, csn_scope *sc, const csn_layer_source *from,
              const csn_image_progress *progress, csn_digest *digest, csn_layer_stats *stats,
              csn_err *err)
{
  struct place p;
  if (from->digest && csn_layer_exists(s, from->digest)) {
    *digest = *from->digest;
    return read_info(s, digest, stats, err);
  }
  int rc = begin(s, &p, err);
  if (rc == 0)
    rc = unpack(p.fs, sc, from, progress, digest, stats, err);
  return finish(s, &p, rc, digest, stats, err);
}

int
csn_layer_make(csn_layer_store *s, csn_scope *sc, const csn_digest *name,
               int (*fill)(void *user, int dir, csn_scope *sc, csn_err *err), void *user,
               csn_err *err)
{
  struct place p;
  csn_layer_stats none = {0}; /* its files are those of its layers */
  if (csn_layer_exists(s, name))
    return 0;
  int rc = begin(s, &p, err);
  if (rc == 0)
    rc = fill(user, p.fs, sc, err);
  return finish(s, &p, rc, name, &none, err);
}

/* ---- removing ---- */

static bool
is_kept(const char *hex, const csn_digest *keep, size_t n)
{
  csn_digest d;
  if (!csn_digest_from_hex(csn_cstr(hex), &d))
    return false;
  for (size_t i = 0; i < n; i++)
    if (memcmp(&keep[i], &d, sizeof d) == 0)
      return true;
  return false;
}

/* Moves a layer into tmp/, unless somebody uses it. 1: done. */
static int
retire(const csn_layer_store *s, const char *hex, uint64_t *bytes, csn_err *err)
{
  char path[88], to[24] = "tmp/";
  csn_digest d;
  csn_layer_stats stats = {0};
  csn_random_name(to + 4, 16);
  snprintf(path, sizeof path, "layers/%.64s/fs", hex);
  csn_auto(csn_closep) int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
    return 0;
  if (csn_digest_from_hex(csn_cstr(hex), &d) && read_info(s, &d, &stats, NULL) == 0)
    *bytes += stats.bytes;
  snprintf(path, sizeof path, "layers/%.64s", hex);
  if (renameat(s->dir, path, s->dir, to) < 0)
    return csn_fail_errno(err, "%s/%s", s->path, path);
  return 1;
}

static int
each_name(const csn_layer_store *s, const char *folder, DIR **out, csn_err *err)
{
  int fd = openat(s->dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  *out = fd < 0 ? NULL : fdopendir(fd);
  return *out ? 0 : csn_fail_errno(err, "%s/%s", s->path, folder);
}

int
csn_layer_store_sweep(csn_layer_store *s, const csn_digest *keep, size_t n, uint64_t *bytes,
                      csn_err *err)
{
  DIR *d = NULL;
  int removed = 0, rc = each_name(s, "layers", &d, err);
  if (rc < 0)
    return rc;
  *bytes = 0;
  for (struct dirent *e; rc >= 0 && (e = readdir(d));) {
    if (e->d_name[0] == '.' || is_kept(e->d_name, keep, n))
      continue;
    rc = retire(s, e->d_name, bytes, err);
    removed += rc > 0;
  }
  closedir(d);
  if (rc >= 0)
    rc = each_name(s, "tmp", &d, err);
  if (rc < 0)
    return rc;
  for (struct dirent *e; rc >= 0 && (e = readdir(d));)
    if (e->d_name[0] != '.')
      rc = csn_jail_remove(dirfd(d), e->d_name, err); /* builds leave files of lent ids */
  closedir(d);
  return rc < 0 ? rc : removed;
}
