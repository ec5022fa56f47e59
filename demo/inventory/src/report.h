/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - the stock as a table of text. */
#ifndef REPORT_H
#define REPORT_H

#include "stock.h"

enum { LINE_SIZE = 80 };

/* Copies as much of a name as fits into `room` bytes, NUL included; the result
 * is always a string that ends with a NUL.  Returns out. */
char *report_cut(char *out, size_t room, const char *name);

/* "* GLUE-2      Wood glue, two compon     4      29.60": a star when the article
 * is low, code, name (cut), pieces, worth.  Returns out. */
char *report_line(char out[LINE_SIZE], const struct article *a);

#endif
