/* SPDX-License-Identifier: Apache-2.0
 *
 * network_json.h - network policies as JSON: what `sandbox.network` and
 * `sandbox.secrets` are in agent.yaml and in a run's first record.
 */
#ifndef CSN_SANDBOX_NETWORK_JSON_H
#define CSN_SANDBOX_NETWORK_JSON_H

#include "caisson/json.h"
#include "caisson/network.h"

/* Where values of secrets come from. */
enum csn_secret_values {
  CSN_SECRETS_NOT_READ, /* a text of the right length: the rest can be checked */
  CSN_SECRETS_READ,     /* this process's environment, and files */
};

/* A policy in `a`; *out is NULL when there is none.  network: "none", "open"
 * or {allow, open, allow_private, resolve, extra_roots}; secrets: a list of
 * {name, from_env or from_file, hosts, header}; both may be NULL.  Relative
 * files are in `folder`.  It was checked when this returns.  Errors name the
 * key; *at is the JSON value at fault, for its line. */
int csn_network_from_json(csn_arena *a, const csn_json *network, const csn_json *secrets,
                          const char *folder, enum csn_secret_values values, csn_network **out,
                          const csn_json **at, csn_err *err) CSN_MUST;

/* A list of ports, or nothing. */
int csn_ports_from_json(csn_arena *a, const csn_json *list, uint16_t **out, size_t *n,
                        csn_err *err) CSN_MUST;

#endif
