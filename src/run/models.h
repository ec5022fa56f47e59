/* SPDX-License-Identifier: Apache-2.0
 *
 * models.h - lists of models: `model` of an agent and `models` of caisson.yaml.
 *
 * A list is read from the top before each call.  An entry counts when it has
 * no `when`, or all that its `when` says holds; the first that counts is asked,
 * the others take its place one after the other when it fails or refuses.
 * step_route.c does that, from the list that record 0 keeps.
 */
#ifndef CSN_RUN_MODELS_H
#define CSN_RUN_MODELS_H

#include "caisson/json.h"

struct csn_project;

enum { CSN_MODELS_MAX = 32 };

/* Whether v is a name or a list of names and {model, when}.  An error leaves in
 * *at what it is about. */
int csn_models_check(const csn_json *v, const csn_json **at, csn_err *err) CSN_MUST;
/* Writes it as a list of {model, when?}.  folder: where relative names of files
 * start; NULL: they are written as they are.  With a project, the names of its
 * lists are replaced by what is in them; CSN_E_INVALID for one that it has not. */
int csn_models_write(const csn_json *v, const char *folder, const struct csn_project *p, csn_jw *w,
                     csn_err *err) CSN_MUST;
/* The name of a list, not of a model: it has no prefix. */
bool csn_models_is_list(csn_str name);

#endif
