/* SPDX-License-Identifier: Apache-2.0
 * networking.h - network policies as options of a command, and connections as
 * people read them. */
#ifndef CSN_APPS_NETWORKING_H
#define CSN_APPS_NETWORKING_H

#include "caisson/network.h"
#include "caisson/sandbox.h"
#include "cli.h"
#include "run/ports.h"

typedef struct cli_network_opts {
  const char *network, *extra_roots;
  cli_list secrets, allow_private, resolve;
} cli_network_opts;

/* The rows of a table of options whose struct T has such a `field`. */
#define CLI_NETWORK_OPTS(T, field)                                                                 \
  {"network", 0, "POLICY", "What it may reach: none, open, or allow:HOST[:PORT],...",              \
   CLI_STR(T, field.network)},                                                                     \
      {"secret", 0, "NAME@HOST,...[=HEADER]",                                                      \
       "Send the variable NAME to those hosts, in HEADER or for its placeholder",                  \
       CLI_LIST(T, field.secrets)},                                                                \
      {"resolve", 0, "NAME=ADDRESS", "Where NAME is, instead of asking for it",                    \
       CLI_LIST(T, field.resolve)},                                                                \
      {"allow-private", 0, "ADDRESS:PORT", "Reach this address although it is not public",         \
       CLI_LIST(T, field.allow_private)},                                                          \
  {                                                                                                \
    "extra-roots", 0, "FILE", "Trust the certificates in FILE beside this machine's",              \
        CLI_STR(T, field.extra_roots)                                                              \
  }

/* *out is NULL when nothing was asked for; else what is refused is told. */
int cli_network_policy(cli *c, const cli_network_opts *o, csn_network **out, csn_err *err) CSN_MUST;

/* One connection, the data of a network event, as a line of a table. */
void cli_network_line(const csn_json *event, csn_buf *out);

/* [HERE:]PORT of a sandbox. */
typedef struct cli_ports {
  uint16_t ports[64], here[64];
  struct csn_forward *forwards[64];
  size_t n;
  csn_ports_told told;
} cli_ports;

/* "[HERE:]PORT"; *here is 0 without its part.  False when it is none. */
bool cli_port_parse(csn_str word, uint16_t *here, uint16_t *port);

int cli_ports_read(cli_ports *p, const cli_list *words, csn_err *err) CSN_MUST;
/* Says where each of them is, and tells it to `caisson sandbox port` where
 * there is a state folder. */
int cli_ports_open(cli *c, cli_ports *p, csn_sandbox *sb, csn_err *err) CSN_MUST;
void cli_ports_close(cli_ports **p);

#endif
