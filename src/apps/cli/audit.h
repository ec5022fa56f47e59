/* SPDX-License-Identifier: Apache-2.0
 *
 * audit.h - a run's journal as a file that proves itself.
 *
 * Lines of JSON.  The first is the head:
 *   {"caisson_audit":1,"run":ID,"records":N,"head":HASH,"mac":MAC}
 * then one for each record:
 *   {"seq","ts","kind","hash","stored"[,"content"][,"erased":true]}
 * `stored` is the text that the hash covers; where that is a reference to a blob
 * ("@..."), `content` is the blob's text, absent when it was erased.  The mac
 * is HMAC-SHA256 with the state folder's key over
 *   "caisson audit 1\n" ID "\n" N "\n" HASH "\n"
 * so that the end of the chain is vouched for as well; without the key the
 * chain can be verified, its end cannot.
 */
#ifndef CLI_AUDIT_H
#define CLI_AUDIT_H

#include "run/decision.h"
#include "store/journal.h"

/* What was found in one run. */
typedef struct cli_audit {
  csn_str run;
  int64_t records, erased, decisions, unsigned_decisions;
  csn_digest head;
  bool is_signed; /* the file's mac is this key's */
} cli_audit;

/* Writes the run to stdout. */
int cli_audit_export(csn_journal *j, const unsigned char key[CSN_KEY_BYTES], csn_err *err) CSN_MUST;
/* Verifies a run of the state folder: chain, blobs, decisions. */
int cli_audit_run(csn_journal *j, const unsigned char key[CSN_KEY_BYTES], cli_audit *out,
                  csn_err *err) CSN_MUST;
/* Verifies an exported file; key NULL: there is none.  CSN_E_REPLAY names what
 * does not fit. */
int cli_audit_file(csn_arena *a, int fd, const unsigned char *key, cli_audit *out,
                   csn_err *err) CSN_MUST;

#endif
