/* SPDX-License-Identifier: Apache-2.0
 *
 * mark.h - the label of an item while it is kept in a session: a member
 * "caisson_untrusted" with the reason, which no model ever sees.
 */
#ifndef CSN_RUN_MARK_H
#define CSN_RUN_MARK_H

#include "caisson/json.h"

/* One of those that labels have: tool, files, web, agent. */
bool csn_mark_is_reason(csn_str why);
/* The item with the mark; why empty: as it is. */
csn_str csn_mark_put(csn_arena *a, const csn_json *item, csn_str why);
/* The reason, or empty; *item becomes the one without the mark. */
csn_str csn_mark_take(csn_arena *a, const csn_json **item);

#endif
