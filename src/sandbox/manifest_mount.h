/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_mount.h - mount entries of a manifest: storage of others that is to
 * be seen in the workspace.
 *
 * They are checked, kept and written back whole, whoever mounts them.  All own
 * fields, the strategy and its pattern are tables (manifest_mount.c): a value
 * is asked for by its key and is the default when the manifest says nothing.
 */
#ifndef CSN_SANDBOX_MANIFEST_MOUNT_H
#define CSN_SANDBOX_MANIFEST_MOUNT_H

#include "caisson/json.h"
#include "caisson/manifest.h"

enum csn_mount_kind {
  CSN_MOUNT_S3,
  CSN_MOUNT_R2,
  CSN_MOUNT_GCS,
  CSN_MOUNT_AZURE_BLOB,
  CSN_MOUNT_BOX,
  CSN_MOUNT_S3_FILES,
  CSN_MOUNT_KINDS
};

enum csn_mount_pattern {
  CSN_MOUNT_NO_PATTERN, /* another strategy than in_container */
  CSN_MOUNT_RCLONE,
  CSN_MOUNT_MOUNTPOINT,
  CSN_MOUNT_FUSE,
  CSN_MOUNT_S3FILES,
};

enum { CSN_MOUNT_FIELDS_MAX = 14, CSN_MOUNTS_MAX = 64 };

typedef struct csn_mount {
  enum csn_mount_kind kind;
  csn_str place;      /* where it is inside, absolute: "/workspace/data" */
  csn_str inside;     /* the same relative to the workspace; empty: it is elsewhere */
  csn_str mount_path; /* as written */
  bool has_mount_path, is_read_only;
  csn_str strategy; /* "in_container", "docker_volume", or one of a hosted back-end */
  enum csn_mount_pattern pattern;
  const csn_json *strategy_json; /* as given */
  const csn_json *pattern_json;  /* of in_container, else NULL */
  const csn_json
      *fields[CSN_MOUNT_FIELDS_MAX]; /* own ones, in the table's order; NULL: the default */
  int cache_fd; /* a folder of the harness for what was written and is not stored yet; 0: none */
} csn_mount;

/* "s3_mount" */
const char *csn_mount_word(const csn_mount *m);
/* An own field as text: "bucket"; empty for null and for what it has not. */
csn_str csn_mount_text(const csn_mount *m, const char *key);
/* An own field as it was given, or NULL: `extra_options` is an object. */
const csn_json *csn_mount_value(const csn_mount *m, const char *key);

/* Of the i-th own field its name, NULL past the last; whether it is a credential,
 * which may be {from_env} or {from_file} instead of text. */
const char *csn_mount_field(const csn_mount *m, size_t i);
bool csn_mount_field_is_secret(const csn_mount *m, size_t i);

/* csn_manifest_to_json() without the secrets of mounts that stand in it: a run
 * which is made of that later finds those that are elsewhere. */
void csn_manifest_to_journal(const csn_manifest *m, csn_jw *w);
/* Copies of all mounts of a manifest with every credential found, in the arena
 * and NULL-terminated: those that contain others first.  source_fd: where paths
 * of from_file start. */
int csn_manifest_mounts(const csn_manifest *m, int source_fd, csn_arena *a, csn_mount ***out,
                        csn_err *err) CSN_MUST;
/* Overwrites the credentials of such copies; NULL is fine. */
void csn_mounts_wipe(csn_mount *const *list);
/* The i-th mount of a manifest, those deepest inside first; NULL past the last.
 * *where, when not NULL: "entries.data", for messages. */
const csn_mount *csn_manifest_mount(const csn_manifest *m, size_t i, const char **where);
/* Before a run: CSN_E_UNSUPPORTED, naming the first mount that nothing mounts for
 * sandboxes of that back-end and level (NULL: its own). */
int csn_manifest_check_mounts(const csn_manifest *m, const char *backend, const char *level,
                              csn_err *err) CSN_MUST;
/* Whether mounts are made inside of sandboxes of that back-end: their credentials
 * enter, then. */
bool csn_mount_enters(const char *backend);

#endif
