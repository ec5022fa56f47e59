/* SPDX-License-Identifier: Apache-2.0
 *
 * image_source.c - reads an image from where it lies; see
 * sandbox/image_source.h.
 *
 * From the index down everything is checked against the digest that names it:
 * manifest, config, the packed layer, and the archive in it. */
#include "sandbox/image_source.h"

#include <stdio.h>
#include <sys/stat.h>

#include "sandbox/image_members.h"

enum { NESTED_MAX = 4 };

/* Everything that reading an image needs. */
struct reading {
  csn_layer_store *store;
  csn_scope *sc;
  csn_arena *arena;
  const csn_members *members;
  const csn_image_progress *progress;
  csn_image_found *out;
};

static int
add_layer(const struct reading *r, const csn_layer_source *from, csn_digest *digest, csn_err *err)
{
  csn_layer_stats stats;
  int rc = csn_layer_add(r->store, r->sc, from, r->progress, digest, &stats, err);
  if (rc < 0)
    return csn_wrap(err, rc, "layer %zu of %zu", from->index + 1, from->count);
  r->out->bytes += stats.bytes;
  r->out->files += stats.files;
  r->out->must_merge |= stats.must_merge;
  return 0;
}

/* ---- tar ---- */

int
csn_image_read_tar(csn_layer_store *s, csn_scope *sc, csn_arena *a, int fd,
                   const csn_image_progress *progress, csn_image_found *out, csn_err *err)
{
  struct stat st;
  struct reading r = {s, sc, a, NULL, progress, out};
  csn_digest *digest = csn_arena_alloc(a, sizeof *digest);
  const char **none = csn_arena_alloc(a, sizeof *none);
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "stat");
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "not a file with a tar archive");
  csn_layer_source from = {.fd = fd, .size = st.st_size, .count = 1};
  out->config = (csn_image_config){.environment = none,
                                   .entrypoint = none,
                                   .command = none,
                                   .user = CSN_STR(""),
                                   .folder = CSN_STR(""),
                                   .architecture = CSN_STR(""),
                                   .os = CSN_STR(""),
                                   .layers = digest,
                                   .n = 1};
  out->name = CSN_STR("");
  int rc = add_layer(&r, &from, digest, err);
  if (rc == 0 && out->files == 0)
    return csn_fail(err, CSN_E_INVALID, "the archive is empty");
  return rc;
}

/* ---- json ---- */

/* Text that stays in the arena. */
static int
read_text(const struct reading *r, const char *name, const csn_digest *digest, csn_str *out,
          csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_OCI_JSON_MAX);
  int rc = csn_piece_read(r->members, name, CSN_OCI_JSON_MAX, digest, &text, err);
  if (rc == 0)
    *out = csn_arena_dup(r->arena, csn_buf_str(&text));
  return rc;
}

static const char *
blob_name(char to[80], const csn_digest *digest)
{
  char hex[65];
  csn_digest_hex(digest, hex);
  snprintf(to, 80, "blobs/sha256/%s", hex);
  return to;
}

static int
read_blob(const struct reading *r, const csn_digest *digest, csn_str *out, csn_err *err)
{
  char name[80];
  return read_text(r, blob_name(name, digest), digest, out, err);
}

/* Its config, which must be for this machine and have `n` layers. */
static int
take_config(const struct reading *r, csn_str json, size_t n, csn_err *err)
{
  csn_image_config *c = &r->out->config;
  int rc = csn_image_config_parse(r->arena, json, c, err);
  if (rc < 0)
    return csn_wrap(err, rc, "the image's config");
  if ((c->os.n && !csn_str_eq(c->os, CSN_STR("linux"))) ||
      (c->architecture.n && !csn_str_eq(c->architecture, csn_cstr(csn_oci_architecture()))))
    return csn_fail(err, CSN_E_UNSUPPORTED, "the image is for %.20s on %.20s, this is linux on %s",
                    c->os.n ? c->os.p : "linux", c->architecture.p, csn_oci_architecture());
  if (c->n != n)
    return csn_fail(err, CSN_E_PARSE, "the image has %zu layers, its config names %zu", n, c->n);
  if (n == 0)
    return csn_fail(err, CSN_E_INVALID, "the image has no layers, so no files");
  return 0;
}

static int
take_layer(const struct reading *r, size_t i, const char *name, const csn_digest *blob,
           csn_err *err)
{
  csn_digest digest;
  csn_image_config *c = &r->out->config;
  csn_layer_source from = {.blob = blob, .digest = &c->layers[i], .index = i, .count = c->n};
  csn_auto(csn_piece_close) csn_piece p = {0};
  /* What is stored already need not be in the source any more. */
  int rc =
      csn_layer_exists(r->store, &c->layers[i]) ? 0 : csn_piece_open(r->members, name, &p, err);
  if (rc < 0)
    return csn_wrap(err, rc, "layer %zu of %zu", i + 1, c->n);
  from.fd = p.fd;
  from.offset = p.offset;
  from.size = p.size;
  return add_layer(r, &from, &digest, err);
}

/* ---- OCI ---- */

static int
read_layout(const struct reading *r, csn_str tag, csn_err *err)
{
  csn_str text;
  csn_oci_choice choice = {.is_index = true};
  csn_oci_manifest m;
  int rc = read_text(r, "index.json", NULL, &text, err);
  r->out->name = CSN_STR("");
  for (int depth = 0; rc == 0 && choice.is_index; depth++) {
    if (depth == NESTED_MAX)
      return csn_fail(err, CSN_E_LIMIT, "an index in an index, %d deep", NESTED_MAX);
    rc = csn_oci_index_choose(r->arena, text, tag, csn_oci_architecture(), &choice, err);
    tag = CSN_STR(""); /* an inner index has one image for each machine */
    if (rc == 0 && choice.name.n)
      r->out->name = choice.name;
    if (rc == 0)
      rc = read_blob(r, &choice.blob.digest, &text, err);
  }
  if (rc == 0)
    rc = csn_wrap(err, csn_oci_manifest_parse(r->arena, text, &m, err), "the image's manifest");
  if (rc == 0)
    rc = read_blob(r, &m.config.digest, &text, err);
  if (rc == 0)
    rc = take_config(r, text, m.n, err);
  for (size_t i = 0; rc == 0 && i < m.n; i++) {
    char name[80];
    rc = take_layer(r, i, blob_name(name, &m.layers[i].digest), &m.layers[i].digest, err);
  }
  return rc;
}

/* ---- docker save ---- */

/* The digest that a member's name promises: blobs/sha256/HEX or HEX.json. */
static const csn_digest *
promised(csn_str name, csn_digest *out)
{
  csn_str head = CSN_STR("blobs/sha256/"), tail = CSN_STR(".json");
  if (csn_str_starts(name, head))
    name = csn_strn(name.p + head.n, name.n - head.n);
  else if (csn_str_ends(name, tail))
    name.n -= tail.n;
  return csn_digest_from_hex(name, out) ? out : NULL;
}

static int
read_docker(const struct reading *r, csn_str tag, csn_err *err)
{
  csn_str text;
  csn_docker_image image = {0};
  csn_digest digest;
  int rc = read_text(r, "manifest.json", NULL, &text, err);
  if (rc == 0)
    rc = csn_wrap(err, csn_docker_manifest_choose(r->arena, text, tag, &image, err),
                  "manifest.json");
  if (rc == 0)
    rc = read_text(r, csn_arena_dup(r->arena, image.config).p, promised(image.config, &digest),
                   &text, err);
  if (rc != 0)
    return rc;
  r->out->name = image.name;
  rc = take_config(r, text, image.n, err);
  for (size_t i = 0; rc == 0 && i < image.n; i++)
    rc = take_layer(r, i, csn_arena_dup(r->arena, image.layers[i]).p,
                    promised(image.layers[i], &digest), err);
  return rc;
}

int
csn_image_read_oci(csn_layer_store *s, csn_scope *sc, csn_arena *a, int fd, csn_str tag,
                   const csn_image_progress *progress, csn_image_found *out, csn_err *err)
{
  csn_auto(csn_members_freep) csn_members *m = NULL;
  int rc = csn_members_open(&m, s, sc, fd, err);
  if (rc < 0)
    return rc;
  struct reading r = {s, sc, a, m, progress, out};
  if (csn_members_has(m, "manifest.json"))
    return read_docker(&r, tag, err);
  if (csn_members_has(m, "index.json"))
    return read_layout(&r, tag, err);
  return csn_fail(err, CSN_E_INVALID,
                  "neither an OCI image layout (no index.json) nor an archive of docker save (no "
                  "manifest.json)");
}

int
csn_image_is_oci(csn_layer_store *s, csn_scope *sc, int fd, csn_err *err)
{
  csn_auto(csn_members_freep) csn_members *m = NULL;
  int rc = csn_members_open(&m, s, sc, fd, err);
  if (rc == CSN_E_LIMIT) /* too many members */
    return 0;
  if (rc < 0)
    return rc;
  return csn_members_has(m, "manifest.json") ||
         (csn_members_has(m, "index.json") && csn_members_has(m, "oci-layout"));
}
