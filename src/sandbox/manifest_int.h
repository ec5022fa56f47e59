/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_int.h - the parsed manifest: read by manifest.c, written by
 * manifest_json.c, shown by manifest_tree.c, made real by manifest_apply.c with
 * manifest_copy.c (host files) and manifest_git.c (repositories).
 */
#ifndef CSN_SANDBOX_MANIFEST_INT_H
#define CSN_SANDBOX_MANIFEST_INT_H

#include <sys/stat.h>

#include "caisson/manifest.h"

#define CSN_MANIFEST_FILES_MAX 1000000
#define CSN_MANIFEST_BYTES_MAX ((int64_t)64 << 30)
#define CSN_MANIFEST_DEPTH 64 /* components of a path */

enum csn_entry_kind {
  CSN_ENTRY_DIR,
  CSN_ENTRY_FILE,
  CSN_ENTRY_LOCAL_FILE,
  CSN_ENTRY_LOCAL_DIR,
  CSN_ENTRY_GIT_REPO,
};

/* A name with its members; a user has none. */
typedef struct csn_group {
  csn_str name;
  csn_str *users;
  size_t n_users;
  bool is_group;
} csn_group;

typedef struct csn_entry {
  enum csn_entry_kind kind;
  uint32_t line; /* 0: unknown */
  csn_str key;   /* as written, for the JSON form and for messages */
  csn_str path;  /* from the root: "a/b", NUL-terminated */
  csn_str where; /* "entries.a.children.b" */
  csn_str description;
  bool has_description, is_ephemeral, has_group;
  csn_group group;
  uint8_t owner, group_bits, other; /* permissions */
  bool has_mode;                    /* they differ from the default */
  csn_str content;                  /* of a file */
  csn_str src;                      /* of local_file and local_dir */
  bool has_src;
  csn_str host, repo, ref, subpath; /* of git_repo; subpath empty: all */
  bool has_subpath;
  struct csn_entry *child, *next; /* as written */
} csn_entry;

enum csn_env_shape { CSN_ENV_PLAIN, CSN_ENV_SHORT, CSN_ENV_TYPED };

typedef struct csn_env {
  csn_str name, value, description;
  enum csn_env_shape shape; /* "v", {"value"}, {"type","value"} */
  bool is_wrapped, has_description, is_ephemeral;
} csn_env;

typedef struct csn_grant {
  csn_str path, description, host_path;
  bool is_read_only, has_description, has_host_path;
} csn_grant;

struct csn_manifest {
  csn_str root;
  csn_entry *entries; /* as written */
  csn_entry **sorted; /* all of them, parents right before what they contain */
  size_t n_sorted;
  csn_env *env;
  size_t n_env;
  const char **environment;
  csn_group *users, *groups;
  size_t n_users, n_groups;
  csn_grant *grants;
  size_t n_grants;
  csn_str *allowlist;
  size_t n_allowlist;
};

static inline bool
csn_entry_is_dir(const csn_entry *e)
{
  return e->kind != CSN_ENTRY_FILE && e->kind != CSN_ENTRY_LOCAL_FILE;
}
static inline mode_t
csn_entry_mode(const csn_entry *e)
{
  return (mode_t)(e->owner << 6 | e->group_bits << 3 | e->other);
}
extern const char *const csn_entry_words[5];

/* manifest_copy.c */
typedef struct csn_copy {
  const csn_manifest *m;
  const csn_materialize *to;
  csn_scope *sc;
  const csn_entry *entry; /* for messages */
  int64_t files, bytes, max_files, max_bytes;
} csn_copy;

/* A host path of the manifest: beneath the source folder or a grant. */
int csn_source_open(const csn_manifest *m, int source_fd, csn_str src, int flags, csn_err *err);
/* The open regular file `in` as the new file `to`, with its mode. */
int csn_copy_open_file(csn_copy *c, int in, int to_dir, const char *to, csn_err *err) CSN_MUST;
/* Fills the empty folder `to` (and `base`, unless -1) from the folder `from`. */
int csn_copy_tree(csn_copy *c, int from, int to, int base, csn_err *err) CSN_MUST;
/* Gives everything beneath the folder to the owner of the materialisation. */
int csn_copy_own(csn_copy *c, int dir, csn_err *err) CSN_MUST;
/* Counts n bytes, checks the caps and the scope. */
int csn_copy_count(csn_copy *c, int64_t files, int64_t bytes, csn_err *err) CSN_MUST;
/* "entries.a (line 3)" in front of the message. */
int csn_entry_wrap(const csn_entry *e, int rc, csn_err *err);

/* manifest_git.c: makes the folder `name` in `at` and fills it. */
int csn_git_fill(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err) CSN_MUST;
/* Reasons, for a model or a user, or NULL when the value is fine. */
const char *csn_git_bad_host(csn_str host);
const char *csn_git_bad_repo(csn_str repo);
const char *csn_git_bad_ref(csn_str ref);
const char *csn_git_bad_subpath(csn_str subpath);

#endif
