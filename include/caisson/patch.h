/* SPDX-License-Identifier: Apache-2.0
 *
 * patch.h - the apply_patch format: parsed, checked against a folder as a
 * whole, then committed by rename, all or nothing.
 *
 * The order is: parse, plan (reads, changes nothing), stage (writes every new
 * file under a hidden name beside its target), then commit (renames).  The
 * plan has a JSON form with the hashes before and after, so that a caller can
 * record it before the first rename (or, to have a crash inside stage tidied up
 * too, before stage); after a crash csn_patch_recover() rolls the recorded plan
 * forward or back.
 */
#ifndef CAISSON_PATCH_H
#define CAISSON_PATCH_H

#include "files.h"
#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_patch csn_patch;

/* Patch text, or the JSON form.  The message of an error is for a model: what
 * is wrong, where, and what to write instead. */
CSN_API int csn_patch_parse(csn_patch **out, csn_str text, csn_err *err) CSN_MUST;
CSN_API void csn_patch_free(csn_patch *p);

/* Every path that its operations name, clean and relative to the folder whose
 * name is root, as in csn_patch_plan(); NULL-terminated, the patch's. */
CSN_API int csn_patch_paths(csn_patch *p, const char *root, const char *cwd,
                            const char *const **paths, csn_err *err) CSN_MUST;
/* Before the plan: paths that are not in the scope's `write` are refused.
 * Borrowed as long as the patch. */
CSN_API void csn_patch_scope(csn_patch *p, const csn_file_scope *files);
/* Checks every operation against the folder `dir`; cwd (relative, may be
 * NULL) is what relative paths start from; root (absolute, may be NULL) is the
 * name the folder has for the patch's author.  Nothing is written. */
CSN_API int csn_patch_plan(csn_patch *p, int dir, const char *root, const char *cwd,
                           csn_err *err) CSN_MUST;
/* Writes the new contents under hidden names.  uid/gid: owner of new files, -1
 * to leave them.  On failure everything staged is removed again. */
CSN_API int csn_patch_stage(csn_patch *p, int uid, int gid, csn_err *err) CSN_MUST;
/* After the plan: {"ops":[{"op","path","to"?}], "files":[{"path","stage",
 * "old_sha256"?,"new_sha256"?,"mode"?}], "dirs":[...]}: the operations as
 * written, what they come to per file, and the folders that are made.  A file
 * without new_sha256 goes away; an empty old_sha256 is a link or a huge file. */
CSN_API void csn_patch_to_json(const csn_patch *p, csn_jw *w);
/* Renames; a failure half-way is rolled back.  `at_fault`, when not NULL, is
 * called before each rename (tests kill the process there). */
CSN_API int csn_patch_commit(csn_patch *p, void (*at_fault)(void *user, int rename), void *user,
                             csn_err *err) CSN_MUST;
/* "Created P" / "Updated P" / "Deleted P" / "Updated P\nMoved P to Q", by lines. */
CSN_API void csn_patch_report(const csn_patch *p, csn_buf *out);

/* After a crash: brings the folder to the state after (*forward = true) or
 * before the recorded plan, whichever the staged files allow: forward when
 * every new content is still there. */
CSN_API int csn_patch_recover(int dir, const csn_json *plan, bool *forward, csn_buf *report,
                              csn_err *err) CSN_MUST;

/* For the tool's definition: the grammar (lark syntax) and the description. */
CSN_API const char *csn_patch_grammar(void);
CSN_API const char *csn_patch_description(void);

CSN_FREER(patch)

#ifdef __cplusplus
}
#endif
#endif
