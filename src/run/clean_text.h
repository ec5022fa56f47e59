/* SPDX-License-Identifier: Apache-2.0
 * clean_text.h - text of files that nobody vouches for, before a model reads it. */
#ifndef CSN_RUN_CLEAN_TEXT_H
#define CSN_RUN_CLEAN_TEXT_H

#include "caisson/str.h"

/* Appends the text without what a reader does not see and a model does: control
 * characters but tabs and line ends ("\r\n" becomes "\n"), marks that turn the
 * direction of writing, characters without width, tag characters.  Bytes that are
 * no UTF-8 become U+FFFD. */
void csn_text_clean(csn_str text, csn_buf *out);
/* The same on one line: runs of blanks and line ends become one blank. */
void csn_text_clean_line(csn_str text, csn_buf *out);
/* How much of the text fits into so many bytes without cutting a character. */
csn_str csn_text_head(csn_str text, size_t max_bytes);

#endif
