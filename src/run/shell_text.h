/* SPDX-License-Identifier: Apache-2.0
 *
 * shell_text.h - what of a shell command a pattern is compared with.
 *
 * A command is cut into the simple commands that it may run.  To ask or deny,
 * one that may match is enough, so cutting is generous: also inside quotes,
 * with quotes and backslashes taken away, without what may stand before a
 * program's name.  To allow, all of them must match as they stand, and nothing
 * may be there whose effect cannot be read off: substitutions, redirections.
 *
 * A shell can hide any command from any reader ($(echo Z2l0...|base64 -d)), so
 * the first is help for honest mistakes and no boundary; the sandbox is.
 */
#ifndef CSN_RUN_SHELL_TEXT_H
#define CSN_RUN_SHELL_TEXT_H

#include "caisson/str.h"

/* Some simple command of the text may match. */
bool csn_shell_text_any(csn_str command, csn_str pattern);
/* Every simple command of the text matches, and there is nothing else. */
bool csn_shell_text_all(csn_str command, csn_str pattern);

#endif
