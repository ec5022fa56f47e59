/* SPDX-License-Identifier: Apache-2.0
 *
 * input.h - what a user gives a run: a text, parts beside it, items before it.
 */
#ifndef CSN_RUN_INPUT_H
#define CSN_RUN_INPUT_H

#include "caisson/json.h"

struct csn_input {
  csn_str text;
  csn_str parts, items; /* JSON lists, see csn_run_options; or empty */
};

#define CSN_INPUT_MAX ((size_t)64 << 20)

/* Checks all of it and writes a list of items.  Errors name the place:
 * "items[2]: ...". */
int csn_input_write(const struct csn_input *in, csn_buf *out, csn_err *err) CSN_MUST;
/* A list of items alone, each as it is sent; CSN_E_INVALID also for a call
 * without its result or a result without its call. */
int csn_input_write_items(csn_str items, csn_jw *w, csn_err *err) CSN_MUST;
/* The text of the list's last message of the user: what a run is about. */
void csn_input_task(const csn_json *items, csn_buf *out);

#endif
