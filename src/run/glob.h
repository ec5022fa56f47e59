/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.h - patterns of approval rules: `*` stands for any text, `?` for one
 * byte, `\` takes the next character as it is; all else stands for itself.
 */
#ifndef CSN_RUN_GLOB_H
#define CSN_RUN_GLOB_H

#include "caisson/str.h"

/* Takes at most pattern.n * text.n steps. */
bool csn_glob(csn_str pattern, csn_str text);

#endif
