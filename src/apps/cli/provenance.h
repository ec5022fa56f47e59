/* SPDX-License-Identifier: Apache-2.0
 *
 * provenance.h - which steps of a run wrote a file of its workspace.
 */
#ifndef CLI_PROVENANCE_H
#define CLI_PROVENANCE_H

#include "cli.h"
#include "stored.h"

/* Prints, oldest first: what the manifest brought, each patch with the hashes
 * before and after, the call during which the file as it is now was last
 * changed, and the output that was collected.  CSN_E_NOT_FOUND when the run
 * knows nothing about the path. */
int cli_provenance(cli *c, cli_stored *s, csn_journal *j, csn_str path, bool json,
                   csn_err *err) CSN_MUST;

#endif
