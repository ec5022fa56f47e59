/* SPDX-License-Identifier: Apache-2.0
 *
 * words.h - taking messages of the harness apart: what of them is trusted to be
 * well formed is checked here, and nothing else looks at raw bytes. */
#ifndef CSN_JAIL_WORDS_H
#define CSN_JAIL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "jail/proto.h"
#include "jail/scope.h"

/* An EXEC's strings, which stay in the body. */
struct csn_words {
  csn_jail_exec head;
  const char *cwd;
  char **argv, **envp; /* both end with NULL */
  struct csn_scope_words scope;
};

/* Splits a body of `n` bytes; the pointers go to `list`, which has room for
 * CSN_JAIL_STRINGS_MAX.  False when it is malformed. */
bool csn_words_split(char *body, size_t n, char **list, struct csn_words *to);
/* How many descriptors an EXEC with these flags has. */
size_t csn_words_fds(uint32_t flags);

/* Whether a packet of `n` bytes with so many descriptors is a request. */
bool csn_open_check(const csn_jail_open *open, size_t n, size_t fds);

/* The descriptors of a received message, at most `most`; more are closed and
 * make it SIZE_MAX, as does a message that was cut. */
size_t csn_fds_take(struct msghdr *m, int *fds, size_t most);

#endif
