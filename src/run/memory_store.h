/* SPDX-License-Identifier: Apache-2.0
 *
 * memory_store.h - the files of a memory, in memory/NAME of the state folder:
 *
 *   sessions/ID.jsonl                    a rollout: a line for each run of it
 *   memories/raw_memories/ID.md          the notes drawn from it
 *   memories/rollout_summaries/ID_SLUG.md
 *   memories/raw_memories.md             all notes
 *   memories/MEMORY.md, memory_summary.md   what was made of them
 *   memories/phase_two_selection.json    of which notes
 *   index.json                           what the last five are written from
 *   lock, making
 *
 * ID is the session's name, or the run's id.  Lines are appended (O_APPEND, flock,
 * fsync); all other files are replaced whole.  index.json says of each entry from
 * which rollouts it comes, so that one can be forgotten without asking a model:
 *   {version: 1, rollouts: [{id, updated_ms, segments, slug, untrusted?, made_by: [RUN]}],
 *    summary: [{text, from: [ID]}], entries: [{group, kind, text, from: [ID]}],
 *    told: [{sha256, from: [ID]}], made_by: [RUN]}
 */
#ifndef CSN_RUN_MEMORY_STORE_H
#define CSN_RUN_MEMORY_STORE_H

#include "caisson/json.h"
#include "core/hash.h"

enum {
  CSN_MEMORY_TOLD_MAX = 60000,   /* bytes of memory_summary.md that are told */
  CSN_MEMORY_FILE_MAX = 8 << 20, /* of each file but rollouts */
  CSN_ROLLOUT_MAX = 64 << 20,
  CSN_ROLLOUT_ID_MAX = 128
};

typedef struct csn_memory_store {
  int dir, lock, making; /* lock and making: -1 unless held */
} csn_memory_store;

/* [A-Za-z0-9][A-Za-z0-9._-]{0,127} */
bool csn_rollout_id_check(csn_str id);
/* memory/NAME, made when `make`; else CSN_E_NOT_FOUND when there is none. */
int csn_memory_open(csn_memory_store *m, int state_fd, const char *name, bool make,
                    csn_err *err) CSN_MUST;
void csn_memory_close(csn_memory_store *m);
/* The exclusive lock, waited for; what is written is written under it. */
int csn_memory_lock(csn_memory_store *m, csn_err *err) CSN_MUST;
void csn_memory_unlock(csn_memory_store *m);
/* Who makes memories; not waited for: CSN_E_CONFLICT. */
int csn_memory_begin(csn_memory_store *m, csn_err *err) CSN_MUST;

/* A line of JSON behind those that are there; a torn one before it stays alone. */
int csn_memory_append(csn_memory_store *m, csn_str id, csn_str line, csn_err *err) CSN_MUST;
/* The index; an empty object when there is none yet. */
int csn_memory_index(const csn_memory_store *m, csn_arena *a, const csn_json **out,
                     csn_err *err) CSN_MUST;
/* Lock held: replaces the index, and writes anew what is made of it. */
int csn_memory_write(csn_memory_store *m, csn_str index, csn_err *err) CSN_MUST;
/* memories/memory_summary.md as it is told. */
void csn_memory_summary(const csn_json *index, csn_buf *out);
/* The rollout of that id in the index; NULL: none. */
const csn_json *csn_memory_rollout(const csn_json *index, csn_str id);
/* Whether a list of ids holds it. */
bool csn_memory_is_from(const csn_json *from, csn_str id);

/* What stands of a rollout is gone: its files, and every entry that comes from it
 * (alone or with others).  Appends to out what index.json said of it: {told: [SHA],
 * made_by: [RUN], runs: [RUN], digests: [SHA of each file that went or changed]}.
 * CSN_E_NOT_FOUND: there is none. */
int csn_memory_forget(csn_memory_store *m, csn_str id, csn_buf *out, csn_err *err) CSN_MUST;

#endif
