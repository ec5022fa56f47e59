/* SPDX-License-Identifier: Apache-2.0
 *
 * window.h - how many tokens a model takes, request and reply together.
 *
 * `windows` of caisson.yaml goes before the table, which is dated: it holds
 * what providers published for the models that were current then.
 */
#ifndef CSN_RUN_WINDOW_H
#define CSN_RUN_WINDOW_H

#include "caisson/str.h"

struct csn_project;

enum {
  CSN_WINDOW_MIN = 1024,
  /* Where the conversation with a model of which nothing is known is
   * shortened. */
  CSN_WINDOW_UNKNOWN_AT = 240000
};

/* By the model's full name; 0: not known, -1: there is none (models of a
 * file). */
int64_t csn_window_find(const struct csn_project *p, csn_str model);

#endif
