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

#include "core/fd.h"
#include "core/hash.h"
#include "core/poll.h"
#include "sandbox/environment_remote.h"
#include "sandbox/jail.h"
#include "sandbox/rootfs.h"
#include "sandbox/stack.h"

enum { LIST_MAX = 4 << 20 };

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

/* ---- the layer ---- */

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
                                 .network = b->e->network,
                                 .own = &(struct csn_sandbox_own){.build = &dir}};
  if (mkdirat(dir, UPPER, 0755) < 0 || mkdirat(dir, WORK, 0700) < 0)
    return csn_fail_errno(err, "make folders of a layer");
  int rc = check_machine(b->e, err);
  if (rc == 0)
    rc = csn_sandbox_open(&b->jail, sc, &spec, err);
  if (rc == 0)
    rc = csn_environment_run(b->e, b->jail, sc, b->progress, b->resolved, err);
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
  csn_str under = csn_strn((const char *)base->config.layers, base->config.n * sizeof(csn_digest));
  csn_digest name = csn_environment_hash(e, under);
  csn_auto(csn_closep) int lock = -1;
  csn_digest_hex(&name, hex);
  snprintf(built->image, sizeof built->image, "image:env-%.32s", hex);
  int rc = find(s, built, err);
  if (rc == 0)
    rc = csn_environment_own(&lock, sc, &name, err);
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
