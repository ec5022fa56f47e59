/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_int.h - what the files of apply_patch share: the parsed form, made by
 * patch_parse.c; the line matcher of patch_match.c; and the table of files
 * ("slots") that patch_plan.c works out and patch.c commits.
 */
#ifndef CSN_SANDBOX_PATCH_INT_H
#define CSN_SANDBOX_PATCH_INT_H

#include <sys/stat.h>

#include "caisson/patch.h"
#include "caisson/sandbox.h"
#include "core/hash.h"

#define CSN_PATCH_TEXT_MAX ((size_t)16 << 20)
#define CSN_PATCH_FILE_MAX ((size_t)64 << 20)
#define CSN_PATCH_PLAN_MAX ((size_t)512 << 20) /* new contents of one patch together */
#define CSN_PATCH_OPS_MAX 10000
#define CSN_PATCH_DIRS_MAX 100000
#define CSN_PATCH_LINES_MAX 2000000       /* lines of a patch; a file may have twice as many */
#define CSN_PATCH_STAGE ".caisson-patch-" /* hidden names start with it */
#define CSN_PATCH_WORK_MAX ((int64_t)500 * 1000 * 1000) /* lines looked at while matching */

enum csn_patch_kind { CSN_PATCH_ADD, CSN_PATCH_DELETE, CSN_PATCH_UPDATE };

/* One line of an update: op is ' ', '+' or '-'. */
typedef struct csn_patch_line {
  csn_str text;
  char op;
} csn_patch_line;

typedef struct csn_patch_hunk {
  csn_str anchor; /* of "@@ anchor" */
  bool has_anchor, at_end;
  uint32_t line;     /* where it starts in the patch, from 1 */
  uint32_t first, n; /* its lines in csn_patch.lines */
} csn_patch_hunk;

typedef struct csn_patch_op {
  enum csn_patch_kind kind;
  uint32_t line;
  csn_str path, to;      /* as written; `to` is empty without a move */
  csn_str name, name_to; /* as reported; set by the plan */
  csn_str content;       /* of an ADD */
  uint32_t first, n;     /* its hunks in csn_patch.hunks */
} csn_patch_op;

/* A file that the patch touches, by its path without links: what it was and
 * what it will be.  Slots that change nothing are neither staged nor renamed. */
typedef struct csn_patch_slot {
  csn_str path;  /* relative to the folder, NUL-terminated */
  csn_str stage; /* hidden name beside it, NUL-terminated; empty: nothing to do */
  struct stat was;
  mode_t mode; /* of the new file, with has_mode */
  bool existed, exists, is_link, is_loaded, is_new_content, has_mode;
  bool is_staged, is_done;
  csn_buf now;      /* contents at this point of the plan */
  csn_str from;     /* not empty: copied from there, beneath csn_patch.from_dir */
  bool is_new_link; /* becomes a symbolic link to `now` */
  csn_digest old_hash, new_hash;
  bool has_old_hash;
  size_t missing_from; /* length of the part of `path` whose folders exist */
} csn_patch_slot;

struct csn_patch {
  csn_arena *arena;
  csn_patch_line *lines;
  csn_patch_hunk *hunks;
  csn_patch_op *ops;
  size_t n_lines, n_hunks, n_ops, room_lines, room_hunks, room_ops;
  int dir;      /* own duplicate, -1 before the plan */
  int from_dir; /* borrowed; of slots with `from` */
  csn_str root, cwd;
  csn_patch_slot *slots;
  uint32_t *table; /* open addressing: index + 1 into slots */
  size_t n_slots, room_slots, table_size, planned_bytes;
  csn_str *made_dirs; /* folders to make, parents first */
  size_t n_dirs, room_dirs, dirs_made;
  uint64_t seed;
  int64_t work; /* left of CSN_PATCH_WORK_MAX */
  int uid, gid;
  const csn_file_scope *files; /* what of the folder may be looked at and changed */
  bool no_exchange;            /* the file system lacks RENAME_EXCHANGE (tests set it) */
};

/* patch_parse.c: without operations; for callers that fill the slots. */
csn_patch *csn_patch_new(void);

/* patch_plan.c: gives slot number i its hidden name and notes the folders it
 * needs; `tag` is random, one per patch. */
int csn_patch_settle(csn_patch *p, csn_patch_slot *s, size_t i, const char *tag,
                     csn_err *err) CSN_MUST;
/* Only the folders that the slot needs. */
int csn_patch_need_dirs(csn_patch *p, const csn_patch_slot *s, csn_err *err) CSN_MUST;

/* patch_recover.c: what the operations of a recorded plan did. */
void csn_patch_report_ops(const csn_json *ops, csn_buf *out);

/* patch.c */
/* Removes what stage wrote and did not become a file. */
void csn_patch_unstage(csn_patch *p);

/* patch_match.c */
/* The contents after an update's hunks; `work` counts down. */
int csn_patch_match(const csn_patch *p, const csn_patch_op *op, csn_str old, csn_buf *out,
                    int64_t *work, csn_err *err) CSN_MUST;
/* Without white space as Unicode defines it: sides 1 = end, 3 = both. */
csn_str csn_patch_trim(csn_str s, int sides);

/* patch_hint.c */
/* Adds s for a message: clipped, control characters replaced. */
void csn_patch_show(csn_buf *b, csn_str s, size_t max);
/* Why hunk `h` (number `nr`, from 1) does not match the file's lines. */
typedef struct csn_file_line {
  uint32_t at, n; /* offset and length without its line end */
  uint8_t end;    /* length of its line end: 0, 1 or 2 */
} csn_file_line;
int csn_patch_no_match(const csn_patch *p, const csn_patch_op *op, const csn_patch_hunk *h,
                       size_t nr, csn_str text, const csn_file_line *lines, size_t n, size_t from,
                       csn_err *err) CSN_MUST;
int csn_patch_no_anchor(const csn_patch_op *op, const csn_patch_hunk *h, size_t nr, csn_str text,
                        const csn_file_line *lines, size_t n, size_t from, csn_err *err) CSN_MUST;

/* patch_path.c */
/* A path of the patch, made relative to the folder: NUL-terminated, in the
 * arena; *shown is how reports name it. */
int csn_patch_normalise(csn_patch *p, csn_str path, csn_str *out, csn_str *shown,
                        csn_err *err) CSN_MUST;
/* The same path without symbolic links on the way (and, with `follow`, at its
 * end).  *existing is the length of the part whose folders exist,
 * or of the whole when the file does. */
int csn_patch_resolve(csn_patch *p, csn_str rel, bool follow, csn_str *out, size_t *existing,
                      csn_err *err) CSN_MUST;
/* The slot of a path without links, or NULL. */
csn_patch_slot *csn_patch_slot_find(csn_patch *p, csn_str path);
csn_patch_slot *csn_patch_slot_add(csn_patch *p, csn_str path);
/* Parent folder of a path beneath p->dir (a new descriptor) and the last
 * component. */
int csn_patch_parent(int dir, csn_str path, const char **base, csn_err *err) CSN_MUST;
/* The same in the patch's folder; where it has a scope, what was opened is in it
 * also when somebody changes names meanwhile. */
int csn_patch_enter(const csn_patch *p, csn_str path, const char **base, csn_err *err) CSN_MUST;

#endif
