/* SPDX-License-Identifier: Apache-2.0
 *
 * google_token.h - a token for Google's services: given, printed by a command, or
 * got for a service account, whose key signs a request for it (RFC 7523).
 */
#ifndef CSN_STORE_GOOGLE_TOKEN_H
#define CSN_STORE_GOOGLE_TOKEN_H

#include "store/objects.h"
#include "wire/http.h"

typedef struct csn_google_token csn_google_token;

/* Copies what it needs of the keys (token, file, command); asks nobody yet. */
csn_google_token *csn_google_token_new(const csn_objects_keys *keys);
void csn_google_token_free(csn_google_token *t);
/* Appends "Bearer TOKEN"; several threads may call at once. */
int csn_google_token_add(csn_google_token *t, csn_http *http, csn_scope *sc, csn_buf *out,
                         csn_err *err) CSN_MUST;
/* It was refused: the next one is asked for. */
void csn_google_token_drop(csn_google_token *t);

#endif
