/* SPDX-License-Identifier: Apache-2.0
 *
 * provider.h - `providers` of caisson.yaml: an entry checked, and a route made
 * of one or of the services that need none.
 */
#ifndef CSN_RUN_PROVIDER_H
#define CSN_RUN_PROVIDER_H

#include "run/project.h"

/* file: for the complaint. */
int csn_provider_check(const csn_json *v, const char *file, csn_err *err) CSN_MUST;

#endif
