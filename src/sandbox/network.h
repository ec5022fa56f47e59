/* SPDX-License-Identifier: Apache-2.0
 *
 * network.h - a sandbox's network on this machine: from a policy to ports to
 * listen on, to the egress process's configuration, and to what the sandbox's
 * programs need to find and to trust it.
 */
#ifndef CSN_SANDBOX_NETWORK_H
#define CSN_SANDBOX_NETWORK_H

#include "caisson/network.h"
#include "caisson/sandbox.h"
#include "jail/proto.h"

/* Fails when the specification has a network, which back-end `name` has not. */
int csn_network_refuse(const csn_sandbox_spec *spec, const char *name, csn_err *err) CSN_MUST;

/* The TCP ports that the policy speaks of; their number. */
int csn_network_ports(const csn_network *n, uint16_t ports[CSN_JAIL_PORTS_MAX],
                      csn_err *err) CSN_MUST;

/* What commands see instead of a secret; lives in `a`. */
const char *const *csn_network_placeholders(csn_arena *a, const csn_network *n);
/* NAME=VALUE list, NULL-terminated, in `a`: proxies, certificates, and the
 * secrets' placeholders. */
const char *const *csn_network_variables(csn_arena *a, const csn_network *n,
                                         const char *const *placeholders);

/* The egress process's configuration as JSON: it holds the secrets' values. */
int csn_network_config(csn_buf *out, const csn_network *n, const char *const *placeholders,
                       const uint16_t *ports, size_t n_ports, csn_err *err) CSN_MUST;

/* What programs inside are to trust: this machine's roots, the policy's, and
 * the sandbox's own authority. */
int csn_network_bundle(csn_buf *out, const csn_network *n, csn_str ca_pem, csn_err *err) CSN_MUST;

#endif
