/* SPDX-License-Identifier: Apache-2.0
 *
 * fd.h - files by descriptor.  Names that come from outside are opened
 * beneath a folder's descriptor with openat2(2), so that neither ".." nor a
 * symbolic link leaves it, also while somebody swaps names underneath.
 */
#ifndef CSN_CORE_FD_H
#define CSN_CORE_FD_H

#include <sys/types.h>

#include "caisson/mem.h"

/* Adds the parts of a path to the clean `out`, without "." and ".."; false when ".." would lead
 * above where `out` starts.  Looks at no file; what does not fit shows in out->over. */
bool csn_path_add(csn_buf *out, csn_str path);

/* Reads to the end; CSN_E_LIMIT past out->cap. */
int csn_fd_read_all(int fd, csn_buf *out, csn_err *err) CSN_MUST;
int csn_fd_write_all(int fd, csn_str bytes, csn_err *err) CSN_MUST;
/* A file without a path, in memory alone, that begins with the text: its descriptor,
 * the caller's, at the beginning. name: for /proc alone. */
int csn_fd_memory(const char *name, csn_str text, csn_err *err) CSN_MUST;

/* Opens a path beneath `dir`, O_CLOEXEC added.  A way out (an absolute path,
 * "..", a link) is CSN_E_DENIED. */
int csn_open_beneath(int dir, const char *path, int flags, mode_t mode, csn_err *err) CSN_MUST;
/* A regular file beneath `dir`, read whole; anything else (FIFO, device,
 * folder) is CSN_E_INVALID and never blocks. */
int csn_file_read(int dir, const char *path, csn_buf *out, csn_err *err) CSN_MUST;
/* The beginning of such a file, as much as out has room for; 1: there is more. */
int csn_file_head(int dir, const char *path, csn_buf *out, csn_err *err) CSN_MUST;
/* Replaces a file beneath `dir` by a new one in one rename; fsync when
 * `durable`. */
int csn_file_write(int dir, const char *path, csn_str bytes, mode_t mode, bool durable,
                   csn_err *err) CSN_MUST;
/* mkdir -p beneath `dir`; existing folders are fine. */
int csn_mkdirs(int dir, const char *path, mode_t mode, csn_err *err) CSN_MUST;
/* Opens the folder that holds a path's last part, and gives that part on the
 * heap: a plain name, so "", "." and "/" are CSN_E_INVALID or DENIED. */
int csn_open_parent(int dir, const char *path, char **name, csn_err *err) CSN_MUST;
/* The names in a folder without "." and "..", in the order of their bytes, on
 * the heap; more than `most` are CSN_E_LIMIT.  `dir` stays where it is. */
typedef struct csn_names {
  char **p;
  size_t n, room;
} csn_names;
int csn_names_read(csn_names *l, int dir, size_t most, csn_err *err) CSN_MUST;
void csn_names_fini(csn_names *l);
/* Removes a file or a whole tree beneath `dir`, however deep, never through
 * links; a missing one is fine.  Something mounted inside is CSN_E_DENIED. */
int csn_remove_tree(int dir, const char *path, csn_err *err) CSN_MUST;
/* The same; a folder that belongs to another user is given to `take` (a
 * descriptor, maybe O_PATH), which may make it ours.  NULL is fine. */
int csn_remove_tree_with(int dir, const char *path, bool (*take)(int folder),
                         csn_err *err) CSN_MUST;

#endif
