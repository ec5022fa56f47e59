/* SPDX-License-Identifier: Apache-2.0
 *
 * remote.h - sandboxes whose workspace is not a folder of this machine: their
 * files as streams, and how they are found again, rest and end.
 *
 * The file operations are there for every back-end: one without its own runs
 * `sh`, `tar` and `rm` inside.
 */
#ifndef CAISSON_REMOTE_H
#define CAISSON_REMOTE_H

#include "sandbox.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the workspaces of a back-end (NULL: the default) are elsewhere. */
CSN_API bool csn_sandbox_is_remote(const char *backend);
/* Files, links and folders with all in them, by their paths relative to the
 * workspace, as one tar archive; NULL: all there is.  A path that is missing is
 * left out.  What comes is hostile: it is to be unpacked with nothing followed. */
CSN_API int csn_sandbox_get(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd,
                            csn_err *err) CSN_MUST;
/* Unpacks an archive, from where tar_fd stands to its end, into the workspace. */
CSN_API int csn_sandbox_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err) CSN_MUST;
/* Removes files and whole folders of the workspace; missing ones are fine. */
CSN_API int csn_sandbox_remove(csn_sandbox *sb, csn_scope *sc, const char *const *paths,
                               csn_err *err) CSN_MUST;

/* Members of an open JSON object, `type` (the back-end) first, by which spec.state
 * and csn_run_options.sandbox_state find it again: ids and where it is, never what
 * lets one in, which the environment has each time.  None for what ends when it
 * is closed. */
CSN_API void csn_sandbox_state(csn_sandbox *sb, csn_jw *w);
/* All its processes rest, or go on. */
CSN_API int csn_sandbox_pause(csn_sandbox *sb, csn_scope *sc, csn_err *err) CSN_MUST;
CSN_API int csn_sandbox_resume(csn_sandbox *sb, csn_scope *sc, csn_err *err) CSN_MUST;
/* Ends it with all it holds, at its provider; it can only be closed after.
 * Where closing does that anyway, nothing happens. */
CSN_API int csn_sandbox_destroy(csn_sandbox *sb, csn_scope *sc, csn_err *err) CSN_MUST;
/* What to look for, and what was done. */
typedef struct csn_sandbox_sweep {
  const char *owner; /* of spec.label; NULL: whosever */
  int64_t young_ms;  /* one that is no older and never ran may be about to: it stays; 0: a minute,
                        negative: none */
  /* Whether a sandbox that nobody uses stays: that of the label "OWNER/NAME", NULL
   * for one without. */
  bool (*is_wanted)(void *user, const char *label);
  void (*removed)(void *user, const char *what); /* told of each; may be NULL */
  void *user;
  const char *backend; /* the port's: leave it NULL */
} csn_sandbox_sweep;

/* Ends the sandboxes of a back-end that nobody uses and nobody wants: those that
 * a process which died has left.  The number of them. */
CSN_API int csn_sandbox_sweep_all(const char *backend, csn_scope *sc, const csn_json *options,
                                  const csn_sandbox_sweep *how, csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
