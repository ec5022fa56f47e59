/* SPDX-License-Identifier: Apache-2.0
 *
 * outputs.h - declared results out of a workspace into a folder of the host.
 *
 * Nothing in a workspace can be trusted: paths are opened beneath it without
 * following links, only regular files are taken (a folder is taken with the
 * regular files in it), sizes and counts are capped while copying, and each
 * file is hashed as it is written.
 */
#ifndef CSN_SANDBOX_OUTPUTS_H
#define CSN_SANDBOX_OUTPUTS_H

#include "caisson/json.h"
#include "caisson/scope.h"

/* What to collect: {path, to?}; `to` is relative to the target folder and the
 * path itself when it is empty. */
typedef struct csn_output {
  csn_str path, to;
} csn_output;

enum csn_output_status {
  CSN_OUTPUT_OK,
  CSN_OUTPUT_MISSING,
  CSN_OUTPUT_REFUSED,
  CSN_OUTPUT_TOO_LARGE
};

/* What came of it: one for each file, and one for each path that gave none. */
typedef struct csn_collected {
  csn_str path, to; /* in the workspace; in the target folder */
  int64_t size;
  char sha256[65]; /* empty unless OK */
  enum csn_output_status status;
  csn_str reason; /* unless OK */
} csn_collected;

typedef struct csn_outputs {
  csn_arena *arena;
  csn_collected *items;
  size_t n, room;
} csn_outputs;

typedef struct csn_output_limits {
  int64_t max_files, max_bytes; /* of all together; 0: 10,000 files, 1 GiB */
} csn_output_limits;

/* [{path, to?}] or ["path"], from configuration.  In the arena. */
int csn_outputs_from_json(csn_arena *a, const csn_json *v, csn_output **out, size_t *n,
                          csn_err *err) CSN_MUST;
/* Collects.  What is missing or refused is an item, not an error; errors are
 * those of the target folder and of the scope.  An existing file is replaced
 * in one rename. */
int csn_outputs_collect(csn_outputs *o, csn_scope *sc, int work_fd, int target_fd,
                        const csn_output *want, size_t n, const csn_output_limits *limits,
                        csn_err *err) CSN_MUST;
/* [{path,to,size,sha256,status,reason?}] */
void csn_outputs_to_json(const csn_outputs *o, csn_jw *w);
void csn_outputs_fini(csn_outputs *o);

#endif
