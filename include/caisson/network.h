/* SPDX-License-Identifier: Apache-2.0
 *
 * network.h - what a sandbox may reach, and the secrets that are put into its
 * requests on the way out.
 *
 * Without a csn_network a sandbox reaches nothing.  With one, each of its
 * connections ends in a process of ours that judges it: by the name that was
 * asked for, never by an address that a name was said to have.  Private,
 * loopback and link-local addresses are refused whatever name leads there.
 * docs/network.md says more.
 */
#ifndef CAISSON_NETWORK_H
#define CAISSON_NETWORK_H

#include "str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is let out of a sandbox at most, beside what its policy says.  Writes:
 * all but requests of HTTP with GET, HEAD or OPTIONS and without a body. */
enum csn_network_restriction {
  CSN_NETWORK_AS_LISTED,
  CSN_NETWORK_NO_WRITES,
  CSN_NETWORK_NOTHING,
};

typedef struct csn_network_host {
  const char *host;      /* "api.github.com", "*.example.com" (not example.com itself), or
                            a public address */
  const uint16_t *ports; /* NULL: 80 and 443 */
  size_t n_ports;
  const char *const *methods; /* of HTTP, such as GET; NULL: all, and no look into TLS */
} csn_network_host;

/* A value that commands use without having it.  They see a placeholder in the
 * variable `name`. */
typedef struct csn_network_secret {
  const char *name;         /* letters, digits and '_' */
  const char *value;        /* 8 bytes or more */
  const char *const *hosts; /* where it is sent: of those that are allowed */
  const char *header;       /* "Authorization: Bearer {}" is set in each request; NULL: the
                               placeholder is replaced where commands put it into a header */
} csn_network_secret;

/* Borrowed while the sandbox is opened, but for on_event and loop, which are
 * used until it is closed. */
typedef struct csn_network {
  bool open; /* every public host beside those listed */
  const csn_network_host *hosts;
  size_t n_hosts;
  const csn_network_secret *secrets;
  size_t n_secrets;
  /* Exceptions, NULL-terminated, may be NULL: addresses with a port that may
   * be reached although they are not public ("127.0.0.1:8080"), and names with
   * the address they have ("pypi.test=127.0.0.1"). */
  const char *const *allow_private, *const *resolve;
  /* From the beginning; csn_sandbox_restrict() for later. */
  enum csn_network_restriction restriction;
  bool sees_requests;      /* TLS is ended for all hosts: without it no HTTPS is a read */
  const char *extra_roots; /* certificates (PEM) to trust beside this machine's; NULL: none */
  /* Told of each connection when it has ended or was refused: one JSON object,
   * see docs/events.md.  In a thread of ours; it must not block. */
  void (*on_event)(void *user, csn_str json);
  void *user;
  struct csn_loop *loop; /* internal: where that thread is; NULL: one of its own */
} csn_network;

/* What is wrong with it, if anything: CSN_E_INVALID or CSN_E_LIMIT, naming the
 * member.  Opening a sandbox does this first. */
CSN_API int csn_network_check(const csn_network *n, csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
