/* SPDX-License-Identifier: Apache-2.0
 *
 * environment_build.c - makes an environment's image in a jail.
 *
 * The jail has the base's layers as its root file system and a new folder on
 * top, which takes all changes and is the new layer when the last command has
 * ended well.  Its name in the store is the hash of the base's layers and of
 * every command, so what was built once is found again, by whoever asks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "caisson/sandbox.h"
#include "core/fd.h"
#include "core/hash.h"
#include "core/poll.h"
#include "sandbox/environment.h"
#include "sandbox/jail.h"
#include "sandbox/rootfs.h"
#include "sandbox/stack.h"

enum { TAIL_BYTES = 2000, LIST_MAX = 4 << 20, PIECE = 16384 };

void
csn_environment_built_fini(csn_environment_built *b)
{
  csn_buf_fini(&b->resolved);
}

/* What a fill of the layer needs. */
struct building {
  csn_environment *e;
  const csn_environment_progress *progress;
  csn_sandbox *jail;
  csn_buf *resolved;
};

/* ---- commands ---- */

static void
tell(const struct building *b, const char *step, const csn_str *text)
{
  if (b->progress)
    b->progress->fn(b->progress->user, step, text);
}

/* Runs one command to its end; what it prints is told, and its end is kept in
 * `tail`. */
static int
run(const struct building *b, csn_scope *sc, const csn_environment_step *s, csn_err *err)
{
  const csn_exec x = {.argv = s->argv, .cwd = "/", .claim_fd = -1};
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(PIECE), tail = CSN_BUF(2 * TAIL_BYTES + PIECE);
  csn_exit end = {0};
  tell(b, s->what, NULL);
  int rc = csn_sandbox_spawn(b->jail, sc, &x, &p, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_wrap(err, rc, "`%.300s`: the base has none, and packages.apt brings none", s->what);
  while (rc == 0 && (rc = csn_proc_read(p, sc, &piece, PIECE, NULL, err)) > 0) {
    csn_str text = csn_buf_str(&piece);
    tell(b, s->what, &text);
    csn_buf_add(&tail, text);
    if (tail.n > TAIL_BYTES)
      csn_buf_drop(&tail, tail.n - TAIL_BYTES);
    csn_buf_clear(&piece);
    rc = 0;
  }
  if (rc == 0)
    rc = csn_proc_wait(p, sc, &end, err);
  if (rc == 0 && end.code)
    rc = csn_fail(err, CSN_E_SANDBOX, "`%.300s` ended with status %d; the last it printed:\n%.*s",
                  s->what, end.code, (int)tail.n, tail.p ? tail.p : "");
  return rc;
}

/* ---- versions ---- */

static const struct lister {
  const char *key;
  const char *script; /* prints NAME=VERSION or the like, a line each */
} listers[] = {
    {"apt", "command -v dpkg-query >/dev/null && dpkg-query -W -f '${Package}=${Version}\\n'"},
    {"pip", "command -v python3 >/dev/null && python3 -m pip freeze 2>/dev/null | grep '=='"},
    {"npm", "command -v npm >/dev/null && cd \"$(npm root -g 2>/dev/null)\" 2>/dev/null && "
            "for p in */package.json @*/*/package.json; do [ -e \"$p\" ] && node -e "
            "'const p=require(process.argv[1]);console.log(p.name+\"@\"+p.version)' \"$PWD/$p\"; "
            "done"},
};
enum { LISTERS = CSN_COUNT(listers) };

static bool
is_wanted(const csn_environment *e, size_t i)
{
  const char **const lists[LISTERS] = {e->apt, e->pip, e->npm};
  return lists[i][0] != NULL;
}

/* What is installed, as each lister tells it; one that cannot tells nothing. */
static int
look(const struct building *b, csn_scope *sc, csn_buf lists[LISTERS], csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < LISTERS; i++) {
    const csn_exec x = {.argv = (const char *const[]){"sh", "-c", listers[i].script, NULL},
                        .cwd = "/",
                        .claim_fd = -1};
    csn_exit end;
    csn_buf_clear(&lists[i]);
    if (is_wanted(b->e, i))
      rc = csn_sandbox_exec(b->jail, sc, &x, &lists[i], NULL, &end, err);
  }
  return rc;
}

static bool
has_line(csn_str text, csn_str want)
{
  csn_str line;
  while (csn_str_line(&text, &line))
    if (csn_str_eq(line, want))
      return true;
  return false;
}

/* What came, with its versions. */
static int
write_new(const csn_buf before[LISTERS], const csn_buf after[LISTERS], csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  for (size_t i = 0; i < LISTERS; i++) {
    csn_str text = csn_buf_str(&after[i]), line;
    csn_jw_key(&w, listers[i].key);
    csn_jw_arr(&w);
    while (csn_str_line(&text, &line))
      if (line.n && !has_line(csn_buf_str(&before[i]), line))
        csn_jw_str(&w, line);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* ---- the layer ---- */

static int
run_all(struct building *b, csn_scope *sc, csn_err *err)
{
  const csn_environment_step *steps;
  csn_buf before[LISTERS], after[LISTERS];
  for (size_t i = 0; i < LISTERS; i++)
    before[i] = after[i] = CSN_BUF(LIST_MAX);
  size_t n = csn_environment_steps(b->e, &steps);
  int rc = look(b, sc, before, err);
  for (size_t i = 0; rc == 0 && i < n; i++)
    rc = run(b, sc, &steps[i], err);
  if (rc == 0)
    rc = look(b, sc, after, err);
  if (rc == 0)
    rc = write_new(before, after, b->resolved, err);
  for (size_t i = 0; i < LISTERS; i++) {
    csn_buf_fini(&before[i]);
    csn_buf_fini(&after[i]);
  }
  return rc;
}

/* The entries of a folder move one up; it goes. */
static int
lift(int dir, const char *name, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names l = {0};
  csn_auto(csn_closep) int from = csn_open_beneath(dir, name, O_RDONLY | O_DIRECTORY, 0, err);
  if (from < 0)
    return from;
  int rc = csn_names_read(&l, from, 1000, err);
  for (size_t i = 0; rc == 0 && i < l.n; i++)
    if (renameat(from, l.p[i], dir, l.p[i]) < 0)
      rc = csn_fail_errno(err, "%s", l.p[i]);
  if (rc == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
    rc = csn_fail_errno(err, "%s", name);
  return rc;
}

/* The folder of the layer holds two others meanwhile; nothing at the top of a
 * root file system is changed, but these may be named alike. */
#define UPPER "upper"
#define WORK "work"

/* dpkg gives files to others, whom a jail with one user id has not. */
static int
check_machine(const csn_environment *e, csn_err *err)
{
  csn_jail_about about;
  int rc = e->apt[0] ? csn_jail_ask_about(&about, err) : 0;
  if (rc < 0 || !e->apt[0] || about.ranged)
    return rc;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "packages.apt needs more than one user id: %s; as root it works, too", about.why);
}

static int
fill(void *user, int dir, csn_scope *sc, csn_err *err)
{
  struct building *b = user;
  csn_auto(csn_freep) char *base = csn_dupz(b->e->base);
  const csn_sandbox_spec spec = {.backend = "jail",
                                 .workspace_fd = -1,
                                 .lock_fd = -1,
                                 .rootfs = base,
                                 .environment = csn_environment_variables,
                                 .network = b->e->network,
                                 .own = &(struct csn_sandbox_own){.build = &dir}};
  if (mkdirat(dir, UPPER, 0755) < 0 || mkdirat(dir, WORK, 0700) < 0)
    return csn_fail_errno(err, "make folders of a layer");
  int rc = check_machine(b->e, err);
  if (rc == 0)
    rc = csn_sandbox_open(&b->jail, sc, &spec, err);
  if (rc == 0)
    rc = run_all(b, sc, err);
  csn_sandbox_close(csn_steal(b->jail));
  /* Others than we may own what is in them. */
  if (rc == 0)
    rc = csn_jail_remove(dir, WORK, err);
  else
    (void)!csn_jail_remove(dir, WORK, NULL);
  if (rc < 0)
    (void)!csn_jail_remove(dir, UPPER, NULL);
  return rc < 0 ? rc : lift(dir, UPPER, err);
}

static csn_digest
name_of(csn_environment *e, const csn_image_config *base)
{
  const csn_environment_step *steps;
  csn_sha256 sum;
  size_t n = csn_environment_steps(e, &steps);
  csn_sha256_init(&sum);
  csn_sha256_add(&sum, CSN_STR("built 1:"));
  for (size_t i = 0; i < base->n; i++)
    csn_sha256_add(&sum, csn_strn((const char *)base->layers[i].b, sizeof base->layers[i].b));
  for (size_t i = 0; i < n; i++) {
    for (const char *const *p = steps[i].argv; *p; p++)
      csn_sha256_add(&sum, csn_strn(*p, strlen(*p) + 1));
    csn_sha256_add(&sum, csn_strn("", 1));
  }
  return csn_sha256_end(&sum);
}

static int
keep_record(const csn_layer_store *s, const csn_environment *e, const csn_image *base,
            const csn_digest *layer, const csn_environment_built *built, csn_err *err)
{
  csn_image i = *base;
  csn_auto(csn_freep) csn_digest *layers = csn_alloc((base->config.n + 1) * sizeof *layers);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  memcpy(layers, base->config.layers, base->config.n * sizeof *layers);
  layers[base->config.n] = *layer;
  i.config.layers = layers;
  i.config.n++;
  i.name = csn_cstr(built->image + strlen("image:"));
  i.source = e->base;
  i.stamp = CSN_STR("");
  i.created_ms = (int64_t)now.tv_sec * 1000;
  i.resolved = csn_buf_str(&built->resolved);
  return csn_image_keep(s, &i, err);
}

/* One process at a time builds what has this name. */
static int
lock_name(const csn_layer_store *s, csn_scope *sc, const csn_digest *name, int *fd, csn_err *err)
{
  struct flock one = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  *fd = csn_open_beneath(s->dir, "building", O_RDWR | O_CREAT, 0600, err);
  if (*fd < 0)
    return *fd;
  memcpy(&one.l_start, name->b, sizeof one.l_start);
  one.l_start = (one.l_start & INT64_MAX) >> 1;
  while (fcntl(*fd, F_OFD_SETLK, &one) < 0) {
    struct timespec pause = {.tv_nsec = 20000000};
    int rc = errno == EAGAIN || errno == EACCES || errno == EINTR
                 ? csn_scope_check(sc, err)
                 : csn_fail_errno(err, "lock the build");
    if (rc < 0)
      return csn_wrap(err, rc, "another process builds this environment");
    nanosleep(&pause, NULL); /* the kernel offers no wait with a deadline here */
  }
  return 0;
}

/* 1: it is there. */
static int
find(const csn_layer_store *s, csn_environment_built *built, csn_err *err)
{
  csn_err why;
  csn_auto(csn_image_freep) csn_image *i = NULL;
  int rc = csn_image_find(s, built->image + strlen("image:"), &i, &why);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  if (rc < 0)
    return csn_fail(err, why.code, "%s", why.msg);
  csn_buf_add(&built->resolved, i->resolved.n ? i->resolved : CSN_STR("{}"));
  built->was_there = true;
  return 1;
}

static int
build(csn_environment *e, csn_layer_store *s, const csn_image *base, csn_scope *sc,
      const csn_environment_progress *progress, csn_environment_built *built, csn_err *err)
{
  char hex[65];
  csn_digest name = name_of(e, &base->config);
  csn_auto(csn_closep) int lock = -1;
  csn_digest_hex(&name, hex);
  snprintf(built->image, sizeof built->image, "image:env-%.32s", hex);
  int rc = find(s, built, err);
  if (rc == 0)
    rc = lock_name(s, sc, &name, &lock, err);
  if (rc == 0)
    rc = find(s, built, err);
  if (rc != 0)
    return rc < 0 ? rc : 0;
  struct building b = {.e = e, .progress = progress, .resolved = &built->resolved};
  rc = csn_layer_make(s, sc, &name, fill, &b, err);
  if (rc == 0 && built->resolved.n == 0)
    csn_buf_addz(&built->resolved, "{}"); /* the layer outlived its record */
  return rc < 0 ? rc : keep_record(s, e, base, &name, built, err);
}

int
csn_environment_build(csn_environment *e, csn_scope *sc, const csn_environment_progress *progress,
                      csn_environment_built *built, csn_err *err)
{
  csn_auto(csn_freep) char *word = csn_dupz(e->base);
  csn_auto(csn_rootfs_freep) csn_rootfs *base = NULL;
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  *built = (csn_environment_built){.resolved = CSN_BUF(LIST_MAX)};
  int rc = csn_rootfs_open(&base, sc, word, NULL, err);
  if (rc == 0)
    rc = csn_layer_store_open(&s, err);
  if (rc == 0)
    rc = build(e, s, base->image, sc, progress, built, err);
  if (rc < 0)
    csn_environment_built_fini(built);
  return csn_wrap(err, rc, "environment");
}
