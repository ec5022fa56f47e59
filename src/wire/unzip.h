/* SPDX-License-Identifier: Apache-2.0
 *
 * unzip.h - reads a part of a file and undoes its compression, which is told
 * by its first bytes: zstd, gzip, xz, bzip2, or none.
 */
#ifndef CSN_WIRE_UNZIP_H
#define CSN_WIRE_UNZIP_H

#include <sys/types.h>

#include "core/hash.h"

typedef struct csn_unzip csn_unzip;

/* `size` bytes of fd from `offset` on; fd is borrowed, read by pread(2), and
 * must stay open.  CSN_E_NOT_FOUND when the module that knows the form is not
 * installed. */
int csn_unzip_open(csn_unzip **out, int fd, int64_t offset, int64_t size, csn_err *err) CSN_MUST;
void csn_unzip_free(csn_unzip *z);
CSN_FREER(unzip)

/* The next bytes, unpacked; the number, 0 at the end.  CSN_E_PARSE when the
 * file is damaged or cut. */
ssize_t csn_unzip_read(csn_unzip *z, void *to, size_t n, csn_err *err) CSN_MUST;
/* Whether the bytes are as they are in the file. */
bool csn_unzip_is_plain(const csn_unzip *z);
/* Plain only: leaves out the next n bytes; the digest then means nothing. */
void csn_unzip_skip(csn_unzip *z, uint64_t n);
/* Packed bytes read so far. */
uint64_t csn_unzip_taken(const csn_unzip *z);
/* Reads what is left of the part and gives the SHA-256 of all of it, packed. */
int csn_unzip_digest(csn_unzip *z, csn_digest *out, csn_err *err) CSN_MUST;

#endif
