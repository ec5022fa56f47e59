/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.h - what must be in a workspace before work starts, in the JSON
 * form other sandbox-agent software reads and writes too.
 *
 * Entries: dir, file, local_file, local_dir, git_repo, archive, url, and mounts
 * of others' storage.  A parsed manifest is immutable and lives in the arena it
 * was parsed into.  docs/manifest.md says what each key means.
 */
#ifndef CAISSON_MANIFEST_H
#define CAISSON_MANIFEST_H

#include "callback.h"
#include "json.h"
#include "network.h"
#include "scope.h"

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_manifest csn_manifest;

/* Reads the JSON (or YAML-made) tree.  Every mistake names its path
 * ("entries.repo.src: ...") and, when known, the line; an unknown key or
 * entry type is an error. */
CSN_API int csn_manifest_from_json(csn_arena *a, const csn_json *v, csn_manifest **out,
                                   csn_err *err) CSN_MUST;
/* All keys, in the order of the common form. */
CSN_API void csn_manifest_to_json(const csn_manifest *m, csn_jw *w);
CSN_API const char *csn_manifest_root(const csn_manifest *m); /* "/workspace" */
/* NAME=VALUE, NULL-terminated: the values that stand in the manifest. */
CSN_API const char *const *csn_manifest_environment(const csn_manifest *m);

/* Where values come from that do not stand there: {"type": T, ...}. */
typedef struct csn_env_source {
  int source_fd; /* folder that relative paths start from; -1: none */
  /* The function that finds values of the type, or NULL: it gets {"for":
   * "environment", "name", "value": {"type": T, ...}} and answers {"value": TEXT}.
   * "str", "env" (a variable of this process) and "file" need none. */
  const csn_callback *(*find)(void *user, csn_str type);
  void *user;
} csn_env_source;
/* CSN_E_UNSUPPORTED, naming the variable, when nobody finds its value. */
CSN_API int csn_manifest_check_environment(const csn_manifest *m, const csn_env_source *from,
                                           csn_err *err) CSN_MUST;
/* All of it, values found now; NAME=VALUE in the arena, NULL-terminated. */
CSN_API int csn_manifest_resolve(const csn_manifest *m, csn_scope *sc, const csn_env_source *from,
                                 csn_arena *a, const char *const **out, csn_err *err) CSN_MUST;
/* The tree for the model's instructions: three levels, 5,000 characters. */
CSN_API void csn_manifest_describe(const csn_manifest *m, csn_buf *out);

/* The i-th local_dir entry with a source, for diff and apply: where it went
 * (relative to the workspace) and where it came from.  False past the last. */
CSN_API bool csn_manifest_local_dir(const csn_manifest *m, size_t i, const char **path,
                                    const char **src);
/* Opens a source folder: a descriptor, O_RDONLY.  It must lie beneath source_fd
 * or beneath one of the manifest's extra_path_grants, else CSN_E_DENIED. */
CSN_API int csn_manifest_open_source(const csn_manifest *m, int source_fd, const char *src,
                                     csn_err *err) CSN_MUST;

/* Where things come from and go to. */
typedef struct csn_materialize {
  int workspace_fd; /* target, empty */
  int base_fd;    /* second copy of what local_dir entries brought, for diff and apply; -1: none */
  int source_fd;  /* folder that relative `src` paths start from */
  int uid, gid;   /* owner of everything made; -1: leave */
  dev_t omit_dev; /* a file that local_dir entries leave out, wherever they find it */
  ino_t omit_ino; /* 0: none */
  int64_t max_files, max_bytes; /* of all entries together; 0: 1,000,000 and 64 GiB */
  void (*progress)(void *user, const char *what, int64_t files, int64_t bytes);
  void *user;
  /* Something that is not wrong and should be known: a download that nothing
   * was compared with.  One line; may be NULL. */
  void (*warn)(void *user, const char *text);
  /* The number that a group of an entry has on this machine; NULL: an entry with
   * a group is CSN_E_UNSUPPORTED. */
  int (*group)(void *user, const char *name, gid_t *gid, csn_err *err);
  int cache_fd; /* a folder of the caller's alone, kept for later: repositories that were
                   fetched; 0 or -1: none */
  const csn_network_secret *secrets; /* that git_repo entries may name */
  size_t n_secrets;
} csn_materialize;

/* One pass over all entries.  Host symbolic links inside a local_dir are
 * copied as links when they stay inside it and refused otherwise. */
CSN_API int csn_manifest_apply(const csn_manifest *m, csn_scope *sc, const csn_materialize *to,
                               csn_err *err) CSN_MUST;
/* The same for the ephemeral entries alone, into a workspace that a snapshot was
 * restored to: what is in their place is removed first. */
CSN_API int csn_manifest_apply_ephemeral(const csn_manifest *m, csn_scope *sc,
                                         const csn_materialize *to, csn_err *err) CSN_MUST;
/* Paths of those entries in the workspace, of mounts where they are mounted:
 * what a snapshot leaves out.  NULL-terminated, in the arena. */
CSN_API const char *const *csn_manifest_ephemeral(const csn_manifest *m, csn_arena *a);

#ifdef __cplusplus
}
#endif
#endif
