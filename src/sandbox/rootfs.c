/* SPDX-License-Identifier: Apache-2.0
 *
 * rootfs.c - the root file system of a sandbox; see sandbox/rootfs.h. */
#include "sandbox/rootfs.h"

#include <fcntl.h>

#include "sandbox/layer_flatten.h"
#include "sandbox/rootfs_word.h"

void
csn_rootfs_free(csn_rootfs *r)
{
  if (!r)
    return;
  for (size_t i = 0; i < r->n; i++)
    close(r->layers[i]);
  free(r->layers);
  csn_image_free(r->image);
  free(r);
}

static int
open_folder(csn_rootfs *r, csn_str path, csn_err *err)
{
  csn_auto(csn_freep) char *z = csn_dupz(path);
  int fd = open(z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "%.200s", z);
  r->layers = csn_alloc(sizeof(int));
  r->layers[r->n++] = fd;
  return 0;
}

/* A layer that occurs again further up is left out: what it brings is decided
 * by its last place, and an overlay does not take a folder twice. */
static bool
comes_again(const csn_image_config *c, size_t at)
{
  for (size_t i = at + 1; i < c->n; i++)
    if (memcmp(&c->layers[at], &c->layers[i], sizeof(csn_digest)) == 0)
      return true;
  return false;
}

static int
open_layers(csn_rootfs *r, const csn_layer_store *s, csn_err *err)
{
  const csn_image_config *c = &r->image->config;
  r->layers = csn_alloc((c->n + 1) * sizeof(int));
  for (size_t i = 0; i < c->n; i++) {
    if (comes_again(c, i))
      continue;
    int fd = csn_layer_open(s, &c->layers[i], err);
    if (fd < 0)
      return fd;
    r->layers[r->n++] = fd;
  }
  return 0;
}

int
csn_rootfs_open(csn_rootfs **out, csn_scope *sc, const char *word,
                const csn_image_progress *progress, csn_err *err)
{
  csn_rootfs_word w;
  csn_auto(csn_rootfs_freep) csn_rootfs *r = csn_alloc(sizeof *r);
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  int rc = csn_rootfs_word_parse(csn_cstr(word), &w, err);
  if (rc == 0 && w.kind == CSN_ROOTFS_FOLDER)
    rc = open_folder(r, w.path, err);
  if (rc == 0 && w.kind != CSN_ROOTFS_FOLDER && w.kind != CSN_ROOTFS_HOST) {
    rc = csn_layer_store_open(&s, err);
    if (rc == 0 && w.kind == CSN_ROOTFS_IMAGE) {
      csn_auto(csn_freep) char *name = csn_dupz(w.path);
      rc = csn_image_find(s, name, &r->image, err);
    } else if (rc == 0) {
      rc = csn_image_cached(s, sc, word, progress, &r->image, err);
    }
    if (rc == 0)
      rc = open_layers(r, s, err);
    if (rc == 0 && r->image->must_merge && r->n > 1)
      rc = csn_rootfs_flatten(r, sc, err);
  }
  if (rc < 0)
    return csn_wrap(err, rc, "rootfs");
  *out = csn_steal(r);
  return 0;
}

int
csn_rootfs_flatten(csn_rootfs *r, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  int rc = csn_layer_store_open(&s, err);
  if (rc < 0)
    return rc;
  int fd =
      csn_layers_flatten(s, sc, r->image->config.layers, r->image->config.n, r->layers, r->n, err);
  if (fd < 0)
    return csn_wrap(err, fd,
                    "merging the layers of the image, because this machine has no overlay "
                    "file system for them");
  for (size_t i = 0; i < r->n; i++)
    close(r->layers[i]);
  r->layers[0] = fd;
  r->n = 1;
  return 0;
}
