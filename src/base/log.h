/* SPDX-License-Identifier: Apache-2.0
 *
 * log.h - what the program says about itself, one line an event, to stderr or
 * a file.  Never the text of a model, a tool or a secret at info and above.
 */
#ifndef CSN_BASE_LOG_H
#define CSN_BASE_LOG_H

#include "caisson/str.h"

enum csn_level { CSN_LOG_ERROR, CSN_LOG_WARN, CSN_LOG_INFO, CSN_LOG_DEBUG };

typedef struct csn_log csn_log;

/* fd is borrowed.  Any thread may write; a line is one write(2). */
csn_log *csn_log_new(int fd, enum csn_level level);
void csn_log_free(csn_log *l);
bool csn_level_parse(csn_str word, enum csn_level *out);
/* Control characters in the text are escaped.  l may be NULL. */
void csn_logf(csn_log *l, enum csn_level level, const char *fmt, ...) CSN_PRINTF(3, 4);

#endif
