/* SPDX-License-Identifier: Apache-2.0
 *
 * keyring.h - the keys that sessions and snapshots are encrypted with: lines
 * "NAME KEY", where KEY is 32 bytes in base64 or hexadecimal.  The last one is the
 * newest: what is written is written with it, the others still read what they wrote.
 */
#ifndef CSN_STORE_KEYRING_H
#define CSN_STORE_KEYRING_H

#include "caisson/scope.h"
#include "wire/seal.h"

enum { CSN_KEY_NAME_MAX = 32, CSN_KEYS_MAX = 100 };

typedef struct csn_keyring csn_keyring;

typedef struct csn_session_key {
  char name[CSN_KEY_NAME_MAX + 1];
  unsigned char key[CSN_SEAL_KEY];
} csn_session_key;

/* What is wrong is said by line and without a word of it. */
int csn_keyring_parse(csn_str text, csn_keyring **out, csn_err *err) CSN_MUST;
/* A file that only its owner can read; CSN_E_DENIED otherwise.  `what` ("keys of
 * sessions") begins the message. */
int csn_keyring_from_file(const char *path, const char *what, csn_keyring **out,
                          csn_err *err) CSN_MUST;
/* What a command writes to stdout: argv is NULL-terminated. */
int csn_keyring_from_command(const char *const *argv, const char *what, csn_keyring **out,
                             csn_err *err) CSN_MUST;
void csn_keyring_free(csn_keyring *k);
static inline void
csn_keyring_freep(csn_keyring **k)
{
  csn_keyring_free(*k);
}
const csn_session_key *csn_keyring_newest(const csn_keyring *k);
/* All of them, the newest first. */
size_t csn_keyring_count(const csn_keyring *k);
const csn_session_key *csn_keyring_at(const csn_keyring *k, size_t i);
/* NULL: there is none of that name. */
const csn_session_key *csn_keyring_find(const csn_keyring *k, csn_str name);

#endif
