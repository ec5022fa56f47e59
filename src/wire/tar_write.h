/* SPDX-License-Identifier: Apache-2.0
 *
 * tar_write.h - writes tar archives that every tar reads: ustar, with a pax
 * header for an entry that does not fit.  Equal entries give equal bytes.
 */
#ifndef CSN_WIRE_TAR_WRITE_H
#define CSN_WIRE_TAR_WRITE_H

#include "wire/tar.h"

/* Gets the archive's bytes in their order. */
typedef int csn_tar_out(void *user, csn_str bytes, csn_err *err);

typedef struct csn_tar_writer {
  csn_tar_out *out;
  void *user;
  uint64_t left, padding; /* of the entry's content */
} csn_tar_writer;

/* Begins an entry: a file whose content follows, a folder or a symbolic link.
 * Owners are written as numbers; a part of a second in an extended header. */
int csn_tar_put(csn_tar_writer *w, const csn_tar_entry *e, csn_err *err) CSN_MUST;
/* As many bytes as the entry said, in pieces. */
int csn_tar_put_data(csn_tar_writer *w, csn_str bytes, csn_err *err) CSN_MUST;
/* After the last entry. */
int csn_tar_put_end(csn_tar_writer *w, csn_err *err) CSN_MUST;

#endif
