/* SPDX-License-Identifier: Apache-2.0
 *
 * oci.h - the JSON of container images: OCI image index, manifest and config,
 * and the manifest.json of `docker save`.  Text in, values out, no I/O.
 */
#ifndef CSN_SANDBOX_OCI_H
#define CSN_SANDBOX_OCI_H

#include "caisson/json.h"
#include "core/hash.h"

/* Caps; more is CSN_E_LIMIT. */
enum { CSN_OCI_JSON_MAX = 4 << 20, CSN_OCI_LAYERS_MAX = 127, CSN_OCI_STRINGS_MAX = 1024 };

/* A blob that another names. */
typedef struct csn_oci_blob {
  csn_digest digest;
  int64_t size; /* -1: not told */
} csn_oci_blob;

/* One entry of an index. */
typedef struct csn_oci_choice {
  csn_oci_blob blob;
  bool is_index;
  csn_str name; /* the annotation that names it; may be empty */
} csn_oci_choice;

typedef struct csn_oci_manifest {
  csn_oci_blob config;
  csn_oci_blob *layers; /* lowest first */
  size_t n;
} csn_oci_manifest;

/* What an image says about how its commands run. */
typedef struct csn_image_config {
  const char **environment, **entrypoint, **command; /* NULL-terminated */
  csn_str user, folder, architecture, os;            /* "" when not told; user as it is written */
  csn_digest *layers;                                /* of the unpacked archives, lowest first */
  size_t n;
} csn_image_config;

/* One image of a `docker save`. */
typedef struct csn_docker_image {
  csn_str config, name; /* a member of the archive; its first tag, or "" */
  csn_str *layers;      /* members, lowest first */
  size_t n;
} csn_docker_image;

/* All of these keep the values in the arena.  CSN_E_PARSE for what is no JSON
 * or lacks a member, CSN_E_LIMIT past a cap. */

/* Which of the index's images is meant: the one named `tag` ("" for any), for
 * this machine's architecture.  CSN_E_NOT_FOUND says what there is. */
int csn_oci_index_choose(csn_arena *a, csn_str json, csn_str tag, const char *architecture,
                         csn_oci_choice *out, csn_err *err) CSN_MUST;
int csn_oci_manifest_parse(csn_arena *a, csn_str json, csn_oci_manifest *out,
                           csn_err *err) CSN_MUST;
int csn_image_config_parse(csn_arena *a, csn_str json, csn_image_config *out,
                           csn_err *err) CSN_MUST;
int csn_docker_manifest_choose(csn_arena *a, csn_str json, csn_str tag, csn_docker_image *out,
                               csn_err *err) CSN_MUST;

/* "sha256:HEX"; CSN_E_PARSE for anything else. */
int csn_oci_digest(csn_str text, csn_digest *out, csn_err *err) CSN_MUST;
/* The name that images have for this machine: "amd64", "arm64". */
const char *csn_oci_architecture(void);

#endif
