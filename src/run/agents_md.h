/* SPDX-License-Identifier: Apache-2.0
 *
 * agents_md.h - AGENTS.md of a workspace: found in each folder from its top down
 * to the one where commands start, and put into one text.
 *
 * The files are the workspace's data: whoever wrote into it wrote them.  They are
 * read by the harness before any command has run, through the reader that the
 * caller has for this workspace, capped, and cleaned of what only a model sees.
 */
#ifndef CSN_RUN_AGENTS_MD_H
#define CSN_RUN_AGENTS_MD_H

#include "caisson/mem.h"

/* Of all of them together; the nearest has its room first. */
enum { CSN_AGENTS_MD_MAX = 32 << 10, CSN_AGENTS_MD_DEPTH = 32 };

/* Reads a regular file of the workspace up to out's cap: CSN_E_LIMIT when there
 * is more, which fills out all the same; any other failure: there is none. */
typedef int csn_file_reader(void *user, const char *path, csn_buf *out, csn_err *err);

/* Appends the text, with a line before each part that says where it stands; nothing
 * when there is none.  cwd: relative, NULL for its top. */
void csn_agents_md_read(csn_file_reader *read, void *user, const char *cwd, csn_buf *out);

#endif
