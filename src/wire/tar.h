/* SPDX-License-Identifier: Apache-2.0
 *
 * tar.h - a strict, incremental reader of tar archives.
 *
 * Bytes go in, however they are cut; entries and their content come out.  It
 * knows what v7, ustar, GNU tar (long names, base-256 numbers) and pax write.
 * What two programs could read in two ways is refused, not guessed: a wrong
 * check sum, a link with content, a sparse map, a name with a NUL, an archive
 * that just stops.  It does no I/O and decides nothing about paths: whoever
 * makes files of the entries must take their names as hostile.
 */
#ifndef CSN_WIRE_TAR_H
#define CSN_WIRE_TAR_H

#include "caisson/mem.h"

enum csn_tar_kind {
  CSN_TAR_FILE,
  CSN_TAR_DIR,
  CSN_TAR_SYMLINK,
  CSN_TAR_HARDLINK,
  CSN_TAR_DEVICE, /* character or block */
  CSN_TAR_FIFO,
};

/* Longest name or link target, and bytes of one extended header. */
enum { CSN_TAR_NAME_MAX = 4095, CSN_TAR_HEADER_MAX = 1 << 20, CSN_TAR_BLOCK = 512 };

/* Borrowed during the call that hands it over. */
typedef struct csn_tar_entry {
  enum csn_tar_kind kind;
  const char *name, *link; /* NUL-terminated; name is not empty, link may be */
  uint32_t mode;           /* permission bits, at most 07777 */
  int64_t uid, gid, size;  /* not negative; size is 0 for all but files */
  int64_t mtime_s;
  int32_t mtime_ns;
} csn_tar_entry;

/* A negative result ends the reading and is what feed returns. */
typedef struct csn_tar_sink {
  /* 0: the content is not wanted; 1: data() gets it. */
  int (*entry)(void *user, const csn_tar_entry *e, csn_err *err);
  int (*data)(void *user, csn_str bytes, csn_err *err);
  int (*end)(void *user, csn_err *err); /* of a file's wanted content, empty files too */
  void *user;
} csn_tar_sink;

typedef struct csn_tar csn_tar;

csn_tar *csn_tar_new(const csn_tar_sink *sink);
void csn_tar_free(csn_tar *t);
CSN_FREER(tar)

/* CSN_E_PARSE for what is no archive or is ambiguous, CSN_E_LIMIT for names
 * and headers that are too long, or the sink's error.  Not to be fed after. */
int csn_tar_feed(csn_tar *t, csn_str bytes, csn_err *err) CSN_MUST;
/* All bytes were fed: CSN_E_PARSE when more should have come.  No byte at all
 * is an archive without entries. */
int csn_tar_done(const csn_tar *t, csn_err *err) CSN_MUST;

/* Bytes that come next and that nobody wants: the caller may leave them out
 * and say so, when it can seek. */
uint64_t csn_tar_skippable(const csn_tar *t);
void csn_tar_skip(csn_tar *t, uint64_t n);
/* The end mark was read; what follows does not count. */
bool csn_tar_ended(const csn_tar *t);
/* Where the next byte stands in the archive. */
uint64_t csn_tar_offset(const csn_tar *t);

#endif
