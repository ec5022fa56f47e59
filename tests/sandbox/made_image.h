/* SPDX-License-Identifier: Apache-2.0
 * made_image.h - small container images for tests, written by hand: a folder with
 * an OCI image layout, or an archive as `docker save` of old wrote it. */
#ifndef CSN_TESTS_MADE_IMAGE_H
#define CSN_TESTS_MADE_IMAGE_H

#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/oci.h"
#include "tarball.h"

/* One layer: an archive, and how it is packed ("" for not at all). */
struct image_layer {
  csn_buf tar;
  csn_digest digest; /* of the archive */
  char hex[65];
};

static inline void
layer_begin(struct image_layer *l)
{
  l->tar = CSN_BUF(64 << 20);
}

static inline void
layer_end(struct image_layer *l)
{
  tar_end(&l->tar);
  l->digest = csn_sha256_of(csn_buf_str(&l->tar));
  csn_digest_hex(&l->digest, l->hex);
}

/* The config of an image of these layers; `own`: members of "config". */
static inline void
image_config(csn_buf *out, const struct image_layer *layers, size_t n, const char *own)
{
  csn_buf_addf(out,
               "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{%s},\"rootfs\":{"
               "\"type\":\"layers\",\"diff_ids\":[",
               csn_oci_architecture(), own);
  for (size_t i = 0; i < n; i++)
    csn_buf_addf(out, "%s\"sha256:%s\"", i ? "," : "", layers[i].hex);
  csn_buf_addz(out, "]}}");
}

static inline void
put_blob(int dir, csn_str bytes, char hex[65])
{
  char path[90];
  csn_digest d = csn_sha256_of(bytes);
  csn_digest_hex(&d, hex);
  snprintf(path, sizeof path, "blobs/sha256/%s", hex);
  if (csn_mkdirs(dir, "blobs/sha256", 0755, NULL) < 0 ||
      csn_file_write(dir, path, bytes, 0644, false, NULL) < 0)
    abort();
}

/* An OCI layout in the folder `dir`. */
static inline void
write_layout(int dir, const struct image_layer *layers, size_t n, const char *own, const char *tag)
{
  csn_auto(csn_buf_finip) csn_buf config = CSN_BUF(1 << 20), manifest = CSN_BUF(1 << 20),
                                  index = CSN_BUF(1 << 20);
  char hex[65];
  image_config(&config, layers, n, own);
  put_blob(dir, csn_buf_str(&config), hex);
  csn_buf_addf(&manifest,
               "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
               "vnd.oci.image.config.v1+json\",\"digest\":\"sha256:%s\",\"size\":%zu},"
               "\"layers\":[",
               hex, config.n);
  for (size_t i = 0; i < n; i++) {
    put_blob(dir, csn_buf_str(&layers[i].tar), hex);
    csn_buf_addf(&manifest,
                 "%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":"
                 "\"sha256:%s\",\"size\":%zu}",
                 i ? "," : "", hex, layers[i].tar.n);
  }
  csn_buf_addz(&manifest, "]}");
  put_blob(dir, csn_buf_str(&manifest), hex);
  csn_buf_addf(&index,
               "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/"
               "vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:%s\",\"size\":%zu,"
               "\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}}]}",
               hex, manifest.n, tag);
  if (csn_file_write(dir, "oci-layout", CSN_STR("{\"imageLayoutVersion\":\"1.0.0\"}"), 0644, false,
                     NULL) < 0 ||
      csn_file_write(dir, "index.json", csn_buf_str(&index), 0644, false, NULL) < 0)
    abort();
}

/* `docker save`: HEX.json, ID/layer.tar, manifest.json. */
static inline void
write_docker(csn_buf *out, const struct image_layer *layers, size_t n, const char *own,
             const char *tag)
{
  csn_auto(csn_buf_finip) csn_buf config = CSN_BUF(1 << 20), list = CSN_BUF(1 << 20);
  char hex[65], name[100];
  image_config(&config, layers, n, own);
  csn_digest d = csn_sha256_of(csn_buf_str(&config));
  csn_digest_hex(&d, hex);
  csn_buf_addf(&list, "[{\"Config\":\"%s.json\",\"RepoTags\":[\"%s\"],\"Layers\":[", hex, tag);
  for (size_t i = 0; i < n; i++) {
    snprintf(name, sizeof name, "layer%zu/layer.tar", i);
    struct tar_item item = {.type = '0', .name = name, .content = layers[i].tar.p};
    tar_add_n(out, &item, layers[i].tar.n);
    csn_buf_addf(&list, "%s\"layer%zu/%s\"", i ? "," : "", i, i == 1 ? "link.tar" : "layer.tar");
    if (i == 1) /* as it does for a layer that it has written already */
      tar_add(out, (struct tar_item){
                       .type = '2', .name = "layer1/link.tar", .link = "../layer1/layer.tar"});
  }
  csn_buf_addz(&list, "]}]");
  snprintf(name, sizeof name, "%s.json", hex);
  struct tar_item item = {.type = '0', .name = name, .content = config.p};
  tar_add_n(out, &item, config.n);
  item = (struct tar_item){.type = '0', .name = "manifest.json", .content = list.p};
  tar_add_n(out, &item, list.n);
  tar_end(out);
}

#endif
