/* SPDX-License-Identifier: Apache-2.0
 *
 * tarball.h - folders of this machine as tar archives, and the other way.
 *
 * An archive that comes is anybody's: from a sandbox, from a file of a user.
 * Its names stay beneath the folder and nothing is written through a link.
 */
#ifndef CSN_SANDBOX_TARBALL_H
#define CSN_SANDBOX_TARBALL_H

#include "caisson/scope.h"
#include "wire/tar.h"

typedef struct csn_tarball_out {
  int64_t uid, gid;         /* whose the entries are */
  const char *const *paths; /* these alone, folders without what is in them; those that
                               are missing are left out.  NULL: all there is */
} csn_tarball_out;

/* Files, folders and links of a folder that nobody changes meanwhile. */
int csn_tarball_write(csn_scope *sc, int folder, const csn_tarball_out *how, int fd,
                      csn_err *err) CSN_MUST;
/* Unpacks what fd gives to its end into a folder that nobody else changes.
 * Devices, pipes and names that only layers of images have are left out; more
 * than `most` bytes, of contents or of the archive, are CSN_E_LIMIT. */
int csn_tarball_read(csn_scope *sc, int fd, int folder, int64_t most, csn_err *err) CSN_MUST;

/* What stands before the unpacker.  A strict one refuses (CSN_E_DENIED) what
 * would be left out, and links that lead out of the folder. */
typedef struct csn_tar_gate csn_tar_gate;
csn_tar_gate *csn_tar_gate_new(int folder, bool is_strict, int64_t most_bytes);
void csn_tar_gate_free(csn_tar_gate *g);
CSN_FREER(tar_gate)
csn_tar_sink csn_tar_gate_sink(csn_tar_gate *g); /* borrows it */
int csn_tar_gate_end(csn_tar_gate *g, csn_err *err) CSN_MUST;

/* An unlinked file for an archive on its way, in a folder that can be written. */
int csn_tarball_file(int folder, csn_err *err) CSN_MUST;

#endif
