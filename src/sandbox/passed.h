/* SPDX-License-Identifier: Apache-2.0
 * passed.h - what programs of the harness that speak to the network get of its
 * environment: proxies and stores of certificates, and nothing else. */
#ifndef CSN_SANDBOX_PASSED_H
#define CSN_SANDBOX_PASSED_H

#include "caisson/str.h"

enum { CSN_PASSED_VARIABLES = 10, CSN_PASSED_MAX = 32768 };

/* Puts NAME=VALUE of each that is set at env[n] and on, and NULL behind the last.
 * The texts are in `store`, empty before, for as long as that lives. */
void csn_passed_variables(csn_buf *store, const char **env, size_t n);

#endif
