/* SPDX-License-Identifier: Apache-2.0
 *
 * analyzer.h - what clang's analyzer cannot see from a prototype, told to it
 * by tools/tidy with -include: a failure is negative, and wrapping one does
 * not change it.
 */
#ifndef CSN_TOOLS_ANALYZER_H
#define CSN_TOOLS_ANALYZER_H

#include "caisson/err.h"

#define csn_fail(err, code, ...) (csn_fail(err, code, __VA_ARGS__), -1)
#define csn_fail_errno(err, ...) (csn_fail_errno(err, __VA_ARGS__), -10)
#define csn_wrap(err, rc, ...) (csn_wrap(err, rc, __VA_ARGS__), (rc))

#endif
