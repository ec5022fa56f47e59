/* SPDX-License-Identifier: Apache-2.0
 * strings.h - NULL-terminated lists of strings: environments and arguments. */
#ifndef CSN_SANDBOX_STRINGS_H
#define CSN_SANDBOX_STRINGS_H

#include "caisson/json.h"

size_t csn_strings_count(const char *const *list); /* list may be NULL */
/* Puts NAME=VALUE strings into `to`, which holds n, each over the one of the
 * same name; the new number.  Borrows. */
size_t csn_variables_put(const char **to, size_t n, const char *const *more);
/* Appends each string with its NUL; their number. */
uint32_t csn_strings_pack(csn_buf *to, const char *const *list);
/* A member of an open JSON object; NULL adds none. */
void csn_strings_to_json(csn_jw *w, const char *key, const char *const *list);

#endif
