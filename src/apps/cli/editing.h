/* SPDX-License-Identifier: Apache-2.0
 * editing.h - a text in the editor of the user. */
#ifndef CSN_APPS_EDITING_H
#define CSN_APPS_EDITING_H

#include "cli.h"

/* Opens $VISUAL, $EDITOR or vi with `input` and gives what is left of it, in
 * the arena.  CSN_E_CANCELLED: the editor failed, or left nothing. */
int cli_edit(cli *c, csn_str input, csn_str *edited, csn_err *err) CSN_MUST;

#endif
