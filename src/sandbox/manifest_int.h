/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_int.h - the parsed manifest: read by manifest.c and the files of
 * manifest_read.h, written by manifest_json.c, shown by manifest_tree.c, made
 * real by manifest_apply.c with manifest_copy.c (host files), manifest_git.c
 * (repositories), manifest_fetch.c (addresses) and manifest_unpack.c (archives).
 */
#ifndef CSN_SANDBOX_MANIFEST_INT_H
#define CSN_SANDBOX_MANIFEST_INT_H

#include <sys/stat.h>

#include "caisson/manifest.h"
#include "core/hash.h"
#include "sandbox/manifest_mount.h"

#define CSN_MANIFEST_FILES_MAX 1000000
#define CSN_MANIFEST_BYTES_MAX ((int64_t)64 << 30)
#define CSN_MANIFEST_DEPTH 64 /* components of a path */

enum csn_entry_kind {
  CSN_ENTRY_DIR,
  CSN_ENTRY_FILE,
  CSN_ENTRY_LOCAL_FILE,
  CSN_ENTRY_LOCAL_DIR,
  CSN_ENTRY_GIT_REPO,
  CSN_ENTRY_ARCHIVE,
  CSN_ENTRY_URL,
  CSN_ENTRY_MOUNT,
};

/* How much may come out of one archive, or of one address. */
typedef struct csn_archive_limits {
  int64_t input_bytes, extracted_bytes, members; /* never 0 */
} csn_archive_limits;

/* Of a git_repo: where the value comes from that its host wants to see. */
typedef struct csn_git_secret {
  csn_str name;                /* of the sandbox's secrets, or */
  csn_str from_env, from_file; /* one of these of the harness */
} csn_git_secret;

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
  csn_str src;                      /* of local_file, local_dir and archive */
  bool has_src;
  csn_str *exclude; /* patterns of a local_dir */
  size_t n_exclude;
  csn_str host, repo, ref, subpath; /* of git_repo; subpath empty: all */
  bool has_subpath, has_submodules;
  csn_git_secret *secret;
  csn_str url; /* of url; the rest of archive, too */
  const char **allow;
  csn_digest digest;
  bool has_digest, extracts, has_limits;
  int64_t strip; /* leading parts of a member's name that are taken off */
  csn_archive_limits limits;
  csn_mount *mount;
  struct csn_entry *child, *next; /* as written */
} csn_entry;

enum csn_env_shape { CSN_ENV_PLAIN, CSN_ENV_SHORT, CSN_ENV_TYPED, CSN_ENV_RESOLVED };

typedef struct csn_env {
  csn_str name, value, description;
  enum csn_env_shape shape; /* "v", {"value"}, {"type","value"}, {"type",...} */
  csn_str type;             /* of a RESOLVED one: who finds the value, from: */
  const csn_json *spec;
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
  csn_entry **mounts; /* the deepest first */
  size_t n_mounts;
  csn_env *env;
  size_t n_env;
  const char **environment;
  bool has_resolved; /* some of its values are found when it is applied */
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
  return e->kind != CSN_ENTRY_FILE && e->kind != CSN_ENTRY_LOCAL_FILE &&
         (e->kind != CSN_ENTRY_URL || e->extracts);
}
static inline mode_t
csn_entry_mode(const csn_entry *e)
{
  return (mode_t)(e->owner << 6 | e->group_bits << 3 | e->other);
}
/* "git_repo", "s3_mount" */
const char *csn_entry_word(const csn_entry *e);
/* Whether a local_dir leaves this path of it out, with all beneath: patterns as
 * of fnmatch(3), with a '/' for the whole path, else for its last part. */
bool csn_entry_excludes(const csn_entry *e, const char *path);
/* Why that address is none to fetch from, or NULL. */
const char *csn_entry_bad_url(const csn_entry *e, csn_str url);

/* manifest_copy.c */
typedef struct csn_copy {
  const csn_manifest *m;
  const csn_materialize *to;
  csn_scope *sc;
  const csn_entry *entry; /* for messages */
  struct csn_loop *loop;  /* of downloads; NULL until the first */
  struct csn_http *http;
  int64_t files, bytes, max_files, max_bytes;
} csn_copy;

/* A host path of the manifest: beneath the source folder or a grant. */
int csn_source_open(const csn_manifest *m, int source_fd, csn_str src, int flags, csn_err *err);
/* manifest_secret.c: where a value is that does not stand in the manifest; one of them. */
typedef struct csn_secret_place {
  csn_str from_env, from_file;
} csn_secret_place;
/* Adds the value, without blanks at its ends; one that is not set, empty or
 * longer than the buffer's cap is an error that names the place. */
int csn_secret_find(const csn_manifest *m, int source_fd, const csn_secret_place *place,
                    csn_buf *out, csn_err *err) CSN_MUST;
/* The open regular file `in` as the new file `to`, with its mode. */
int csn_copy_open_file(csn_copy *c, int in, int to_dir, const char *to, csn_err *err) CSN_MUST;
/* Fills the empty folder `to` (and `base`, unless -1) from the folder `from`. */
int csn_copy_tree(csn_copy *c, int from, int to, int base, csn_err *err) CSN_MUST;
/* Gives everything beneath the folder to the owner of the materialisation. */
int csn_copy_own(csn_copy *c, int dir, csn_err *err) CSN_MUST;
/* Gives a new file or folder to the owner of the materialisation, and the entry's
 * own to its group. */
int csn_copy_chown(const csn_copy *c, int fd, csn_err *err) CSN_MUST;
/* Counts n bytes, checks the caps and the scope. */
int csn_copy_count(csn_copy *c, int64_t files, int64_t bytes, csn_err *err) CSN_MUST;
/* "entries.a (line 3)" in front of the message. */
int csn_entry_wrap(const csn_entry *e, int rc, csn_err *err);

/* manifest_fetch.c: what an address gives, checked, in a file without a name. */
int csn_fetch_file(csn_copy *c, const csn_entry *e, csn_err *err) CSN_MUST;
void csn_fetch_end(csn_copy *c);

/* manifest_unpack.c: the members of an archive into the empty folder `to`. */
int csn_unpack_file(csn_copy *c, const csn_entry *e, int archive, int to, csn_err *err) CSN_MUST;
/* CSN_E_DENIED when a file is not what the entry says, CSN_E_LIMIT when it is too large. */
int csn_unpack_check(csn_copy *c, const csn_entry *e, int archive, csn_err *err) CSN_MUST;

/* manifest_git.c: makes the folder `name` in `at` and fills it. */
int csn_git_fill(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err) CSN_MUST;
/* Reasons, for a model or a user, or NULL when the value is fine. */
const char *csn_git_bad_host(csn_str host);
const char *csn_git_bad_repo(csn_str repo);
const char *csn_git_bad_ref(csn_str ref);
const char *csn_git_bad_subpath(csn_str subpath);

#endif
