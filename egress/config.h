/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - what the harness told this process: who may be talked to, with
 * which secrets, on which listeners.  Read once; only the restriction grows.
 */
#ifndef CSN_EGRESS_CONFIG_H
#define CSN_EGRESS_CONFIG_H

#include "caisson/mem.h"
#include "wire/address.h"

enum { CSN_SECRETS_MAX = 64, CSN_LISTENERS_MAX = 64, CSN_NAMESERVERS_MAX = 3 };

typedef struct csn_pattern {
  csn_str name; /* of a wild one: what comes behind "*." */
  bool wild, is_address;
  csn_address address;
} csn_pattern;

typedef struct csn_rule {
  csn_pattern host;
  const uint16_t *ports; /* none: 80 and 443 */
  size_t n_ports;
  const csn_str *methods; /* none: all */
  size_t n_methods;
} csn_rule;

typedef struct csn_secret {
  csn_str name, value;
  csn_str placeholder;   /* empty: it is only set as a header */
  csn_str header;        /* the field's name; empty: by placeholder */
  csn_str before, after; /* the value in the field's value */
  const csn_pattern *hosts;
  size_t n_hosts;
} csn_secret;

typedef struct csn_endpoint {
  csn_address address;
  uint16_t port;
} csn_endpoint;

typedef struct csn_fixed_name {
  csn_str name;
  csn_address address;
} csn_fixed_name;

enum csn_listener_kind { CSN_LISTEN_PROXY, CSN_LISTEN_TCP, CSN_LISTEN_DNS_UDP, CSN_LISTEN_DNS_TCP };

typedef struct csn_listener_config {
  enum csn_listener_kind kind;
  uint16_t port; /* that the sandbox connects to, and that is dialled */
} csn_listener_config;

/* What is let out at most; it only grows, at the harness's word. */
enum csn_restriction { CSN_RESTRICT_NONE, CSN_RESTRICT_WRITES, CSN_RESTRICT_ALL };

typedef struct csn_config {
  enum csn_restriction restriction; /* the one thing that changes: restrict.c */
  bool sees_requests; /* TLS is ended for all hosts, so that writes can be told from reads */
  bool open;          /* public addresses of all names, not only those of the rules */
  const csn_rule *rules;
  size_t n_rules;
  const csn_secret *secrets;
  size_t n_secrets;
  const csn_endpoint *privates; /* addresses that are allowed although not public */
  size_t n_privates;
  const csn_fixed_name *fixed; /* answers of the operator */
  size_t n_fixed;
  const csn_endpoint *nameservers; /* instead of the machine's */
  size_t n_nameservers;
  csn_listener_config listeners[CSN_LISTENERS_MAX];
  size_t n_listeners;
  csn_str extra_roots;                                   /* PEM */
  int64_t max_connections, max_up_bytes, max_down_bytes; /* bytes: 0 is no limit */
  int64_t idle_ms, header_ms;
} csn_config;

/* Slices borrow from `text` and the arena.  Errors name the member. */
int csn_config_parse(csn_config *c, csn_arena *a, csn_str text, csn_err *err) CSN_MUST;
/* Does any rule or secret need requests to be seen? */
bool csn_config_terminates(const csn_config *c);

struct csn_dest;
bool csn_secret_belongs(const csn_secret *s, const struct csn_dest *d);

#endif
