/* SPDX-License-Identifier: Apache-2.0
 *
 * zip.h - reads zip archives, strictly, into the sink that tar archives go to.
 *
 * The list at the end of the file counts, and each entry must be told alike
 * where it stands; entries do not overlap, sizes and check sums hold.  What two
 * programs could read in two ways is refused, and so is what is encrypted, in
 * several files, or packed by anything but deflate.
 */
#ifndef CSN_WIRE_ZIP_H
#define CSN_WIRE_ZIP_H

#include "caisson/scope.h"
#include "wire/tar.h"

/* The first bytes are those of a zip archive. */
bool csn_zip_is(csn_str head);
/* fd is borrowed and read by pread(2).  CSN_E_PARSE for what is no archive,
 * CSN_E_UNSUPPORTED for what is not read, CSN_E_NOT_FOUND when the module that
 * unpacks is not installed, or the sink's error. */
int csn_zip_read(int fd, int64_t size, csn_scope *sc, const csn_tar_sink *sink,
                 csn_err *err) CSN_MUST;

#endif
