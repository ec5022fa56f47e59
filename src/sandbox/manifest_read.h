/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_read.h - reading a manifest's tree: where the reader is, so that
 * every message names its place, and the parts that are not entries.
 */
#ifndef CSN_SANDBOX_MANIFEST_READ_H
#define CSN_SANDBOX_MANIFEST_READ_H

#include "sandbox/manifest_int.h"

typedef struct csn_reader {
  csn_arena *a;
  csn_err *err;
  csn_buf path;  /* where we are: "entries.a.src" */
  uint32_t line; /* of the innermost value that has one */
  bool is_full;  /* the arena's limit was reached */
  csn_manifest *m;
  csn_entry **all; /* heap, in the order they were read */
  size_t n_all, room, n_mounts;
} csn_reader;

/* The place before a member was entered. */
typedef struct csn_mark {
  size_t n;
  uint32_t line;
} csn_mark;

csn_mark csn_mr_enter(csn_reader *r, csn_str key, const csn_json *v);
void csn_mr_leave(csn_reader *r, csn_mark k);
/* "entries.a.src (line 7): what". */
int csn_mr_fail(csn_reader *r, enum csn_code code, const char *fmt, ...) CSN_PRINTF(3, 4);
/* A copy in the arena, and room there for n + 1 of a kind; both note when the
 * arena is full. */
csn_str csn_mr_keep(csn_reader *r, csn_str s);
void *csn_mr_room(csn_reader *r, size_t n, size_t size);
/* A deep copy of a value in the arena. */
int csn_mr_keep_json(csn_reader *r, const csn_json *v, const csn_json **out);
int csn_mr_kind(csn_reader *r, const csn_json *v, enum csn_json_kind kind);
bool csn_mr_is_null(const csn_json *v);
/* A member's value: what is missing or null leaves *out alone. */
int csn_mr_get_str(csn_reader *r, const csn_json *obj, const char *key, csn_str *out, bool *has);
int csn_mr_get_bool(csn_reader *r, const csn_json *obj, const char *key, bool *out);
int csn_mr_need_str(csn_reader *r, const csn_json *obj, const char *key, csn_str *out);
/* Keys that are not in the list are mistakes, not extensions. */
int csn_mr_check_keys(csn_reader *r, const csn_json *obj, const char *const *known, size_t n);
#define CSN_MR_CHECK_KEYS(r, obj, list) csn_mr_check_keys(r, obj, list, CSN_COUNT(list))

/* A list of strings, at most `most`; what is missing leaves *out alone. */
int csn_mr_strings(csn_reader *r, const csn_json *obj, const char *key, size_t most, csn_str **out,
                   size_t *n);

/* manifest_kinds.c: what an entry has beside the common keys. */
enum { CSN_ENTRY_KEYS_MAX = 24 };
/* False: there is no such type.  Sets kind, and for a mount which. */
bool csn_entry_kind_find(csn_str word, csn_entry *e, enum csn_mount_kind *mount);
size_t csn_entry_kind_keys(const csn_entry *e, enum csn_mount_kind mount, const char **keys);
int csn_entry_kind_read(csn_reader *r, const csn_json *v, csn_entry *e, enum csn_mount_kind mount);
/* {from_env} or {from_file}, an object; otherwise: what else may stand there. */
int csn_mr_secret(csn_reader *r, const csn_json *v, const char *otherwise, csn_str *from_env,
                  csn_str *from_file);

/* manifest_mount.c */
bool csn_mount_find(csn_str word, enum csn_mount_kind *kind);
size_t csn_mount_keys(enum csn_mount_kind kind, const char **keys);
int csn_mount_read(csn_reader *r, const csn_json *obj, csn_entry *e, enum csn_mount_kind kind);
/* Without secrets: those that stand in it are {"not_kept": true}. */
void csn_mount_write(const csn_mount *m, csn_jw *w, bool with_secrets);

/* manifest_place.c: puts all entries in the order of their paths and refuses
 * those that claim one place. */
int csn_mr_places(csn_reader *r);

/* manifest_env.c: the members of the top beside `entries`. */
int csn_mr_group(csn_reader *r, const csn_json *v, csn_group *out);
int csn_mr_groups(csn_reader *r, const csn_json *top, const char *key, csn_group **out, size_t *n,
                  bool is_group);
int csn_mr_environment(csn_reader *r, const csn_json *top);
/* manifest_resolve.c: a {"type", ...} that is no plain text. */
int csn_env_read_resolved(csn_reader *r, const csn_json *v, csn_env *e);
int csn_mr_grants(csn_reader *r, const csn_json *top);
int csn_mr_allowlist(csn_reader *r, const csn_json *top);
/* "/a/b": absolute, without dots, "//" and an end of "/", and not "/". */
bool csn_mr_is_clean_absolute(csn_str p);

#endif
