/* SPDX-License-Identifier: Apache-2.0
 *
 * place.h - the URL of a database: postgres://[USER@][HOST[:PORT]]/NAME[?...],
 * redis://[USER@]HOST[:PORT][/NUMBER].
 *
 * What is wrong with one is said without a word of it that could be a part of
 * a password.
 */
#ifndef CSN_STORE_PLACE_H
#define CSN_STORE_PLACE_H

#include "caisson/err.h"
#include "caisson/str.h"

/* Borrowed from the text, still percent-encoded. */
typedef struct csn_place {
  csn_str scheme, user, password, hosts, path, query; /* path: without its '/' */
} csn_place;

/* True for the schemes above, whatever follows. */
bool csn_place_is_url(csn_str text);
int csn_place_parse(csn_str text, csn_place *out, csn_err *err) CSN_MUST;
/* In front of the host or among what follows the '?'. */
bool csn_place_has_password(const csn_place *p);
/* CSN_E_INVALID with the remedy when it holds a password: `where` ("--state")
 * is seen by others. */
int csn_place_check_open(csn_str text, const char *where, csn_err *err) CSN_MUST;
/* A socket of this machine, 127.x.y.z, [::1] or localhost, and nothing that
 * could be read otherwise. */
bool csn_place_is_local(const csn_place *p);

#endif
