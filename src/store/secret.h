/* SPDX-License-Identifier: Apache-2.0
 * secret.h - keys from where keys may come from: a file of their owner's, a
 * command.  Nothing of what they hold gets into a message. */
#ifndef CSN_STORE_SECRET_H
#define CSN_STORE_SECRET_H

#include "caisson/mem.h"
#include "caisson/scope.h"

enum { CSN_SECRET_MAX = 64 << 10 };

/* Overwrites it and gives the memory back; for csn_auto(). */
void csn_secret_wipe(csn_buf *b);
/* Holds that value from now on, and the old one nowhere. */
void csn_secret_set(csn_buf *b, csn_str value);
/* A file that only its owner, who is root or who runs this, can read:
 * CSN_E_DENIED otherwise.  `what` begins the message. */
int csn_secret_read(const char *path, const char *what, csn_buf *out, csn_err *err) CSN_MUST;
/* What a command of this machine writes to stdout within 30 seconds; argv is
 * NULL-terminated.  CSN_E_DENIED when it fails. */
int csn_secret_ask(const char *const *argv, csn_scope *sc, const char *what, csn_buf *out,
                   csn_err *err) CSN_MUST;

#endif
