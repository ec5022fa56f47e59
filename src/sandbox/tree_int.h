/* SPDX-License-Identifier: Apache-2.0
 * tree_int.h - the list of changes that diff and apply share (tree_walk.c). */
#ifndef CSN_SANDBOX_TREE_INT_H
#define CSN_SANDBOX_TREE_INT_H

#include <sys/stat.h>

#include "caisson/mem.h"
#include "sandbox/tree.h"

#define CSN_TREE_TEXT_MAX ((size_t)64 << 20) /* larger files count as binary */

enum csn_tree_kind { CSN_TREE_NONE, CSN_TREE_FILE, CSN_TREE_LINK, CSN_TREE_DIR };

typedef struct csn_tree_side {
  enum csn_tree_kind kind;
  bool is_exec;
  off_t size;
} csn_tree_side;

typedef struct csn_tree_change {
  csn_str path; /* NUL-terminated */
  csn_tree_side old, now;
} csn_tree_change;

typedef struct csn_tree_changes {
  csn_arena *arena;
  csn_tree_change *p;
  size_t n, room;
} csn_tree_changes;

/* All changes, folders included (added before, removed after what they hold). */
int csn_tree_changes_init(csn_tree_changes *l, csn_scope *sc, int base_fd, int work_fd,
                          csn_err *err) CSN_MUST;
void csn_tree_changes_fini(csn_tree_changes *l);

/* What stands at a path: never follows a link at its end. */
csn_tree_side csn_tree_look(int dir, const char *path);
/* The text of a file or the target of a link; CSN_E_LIMIT past out's cap. */
int csn_tree_read(int dir, const char *path, enum csn_tree_kind kind, csn_buf *out,
                  csn_err *err) CSN_MUST;
/* 1 when both files hold the same bytes, else 0. */
int csn_tree_same(int a_dir, int b_dir, const char *path, csn_err *err) CSN_MUST;
/* A NUL among the first bytes, or too large for a text. */
bool csn_tree_is_binary(csn_str text);

#endif
