/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_tree.h - what a snapshot holds: a list of files, folders and links.
 *
 * Its text is one line for each, in one order and one spelling, so that equal
 * workspaces have equal lists; the digest of the text names the snapshot:
 *
 *   caisson-tree 1
 *   d MODE MTIME PATH
 *   f MODE MTIME SIZE SHA256 PATH
 *   l MTIME TARGET PATH
 *
 * MODE is octal, at most 777; MTIME seconds and nine digits.  In paths and
 * targets '%' and bytes up to the blank are %XX.  '/' sorts before all other
 * bytes, so that a folder stands right before what it holds.
 */
#ifndef CSN_SANDBOX_SNAP_TREE_H
#define CSN_SANDBOX_SNAP_TREE_H

#include "core/hash.h"

/* What a tree may be; more is CSN_E_LIMIT. */
enum { CSN_SNAP_FILES_MAX = 2 << 20, CSN_SNAP_DEPTH_MAX = 200, CSN_SNAP_PATH_MAX = 4095 };
#define CSN_SNAP_BYTES_MAX ((int64_t)64 << 30)
#define CSN_SNAP_TEXT_MAX ((size_t)1 << 30)

enum csn_snap_kind { CSN_SNAP_DIR, CSN_SNAP_FILE, CSN_SNAP_LINK };

typedef struct csn_snap_entry {
  enum csn_snap_kind kind;
  uint32_t mode;
  int64_t mtime_s;
  int32_t mtime_ns;
  int64_t size;      /* of a file */
  csn_digest digest; /* of a file */
  csn_str path;      /* NUL-terminated, relative, clean */
  csn_str target;    /* of a link; NUL-terminated */
} csn_snap_entry;

typedef struct csn_snap_tree {
  csn_arena *arena;
  csn_snap_entry *p;
  size_t n, room;
  int64_t bytes; /* of all files */
} csn_snap_tree;

void csn_snap_tree_init(csn_snap_tree *t);
void csn_snap_tree_fini(csn_snap_tree *t);
static inline void
csn_snap_tree_finip(csn_snap_tree *t)
{
  csn_snap_tree_fini(t);
}

/* < 0, 0 or > 0, in the order of trees. */
int csn_snap_path_order(csn_str a, csn_str b);
/* Whether `path` is beneath the folder `top`. */
bool csn_snap_is_beneath(csn_str path, csn_str top);

/* Appends a copy; entries come in order.  CSN_E_LIMIT past a cap. */
int csn_snap_tree_add(csn_snap_tree *t, const csn_snap_entry *e, csn_err *err) CSN_MUST;
const csn_snap_entry *csn_snap_tree_find(const csn_snap_tree *t, csn_str path);

int csn_snap_tree_write(const csn_snap_tree *t, csn_buf *out, csn_err *err) CSN_MUST;
/* Strict: whatever csn_snap_tree_write() would not write is CSN_E_PARSE. */
int csn_snap_tree_parse(csn_snap_tree *t, csn_str text, csn_err *err) CSN_MUST;

/* What differs, in order: fn gets NULL for what one of them lacks. */
typedef void csn_snap_diff_fn(void *user, const csn_snap_entry *old, const csn_snap_entry *now);
void csn_snap_tree_diff(const csn_snap_tree *a, const csn_snap_tree *b, csn_snap_diff_fn *fn,
                        void *user);

/* Whether a link's target leads out of the workspace. */
bool csn_snap_leads_out(csn_str path, csn_str target);

#endif
