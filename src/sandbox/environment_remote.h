/* SPDX-License-Identifier: Apache-2.0
 *
 * environment_remote.h - environments where a back-end keeps images of its own:
 * what all builds share, and what one of these back-ends does by itself.
 *
 * A build opens a sandbox whose commands are root, runs the steps in it, and
 * keeps what they made under the hash of all it was made from.
 */
#ifndef CSN_SANDBOX_ENVIRONMENT_REMOTE_H
#define CSN_SANDBOX_ENVIRONMENT_REMOTE_H

#include "caisson/sandbox.h"
#include "core/hash.h"
#include "sandbox/environment.h"

/* Runs its steps in an open sandbox, one after the other; the first that fails is
 * the error, with the last it printed.  Adds to *resolved what came, with its
 * versions, as csn_environment_built has it. */
int csn_environment_run(csn_environment *e, csn_sandbox *sb, csn_scope *sc,
                        const csn_environment_progress *progress, csn_buf *resolved,
                        csn_err *err) CSN_MUST;
/* Of every command and of `base`: bytes that say what it is built upon, and
 * change when that does. */
csn_digest csn_environment_hash(csn_environment *e, csn_str base);

/* Of those on this machine who want what has this name, one at a time goes on;
 * the others wait until it closes *fd. */
int csn_environment_own(int *fd, csn_scope *sc, const csn_digest *name, csn_err *err) CSN_MUST;

/* One image that was built. */
typedef struct csn_environment_image {
  csn_str name, base; /* name: as csn_environment_built.image */
  int64_t created_ms, bytes;
} csn_environment_image;

/* A back-end that makes them.  options: as in csn_sandbox_spec; they name what is
 * built upon, and the environment's own `base` may be empty. */
typedef struct csn_environment_maker {
  const char *backend;
  const char *option; /* of `options`: begins with an image that was built */
  /* As csn_environment_build(); built->image is a value for `option`. */
  int (*build)(csn_environment *e, csn_scope *sc, const csn_json *options,
               const csn_environment_progress *progress, csn_environment_built *built,
               csn_err *err);
  int (*list)(csn_scope *sc, const csn_json *options,
              void (*fn)(void *user, const csn_environment_image *image), void *user, csn_err *err);
  /* *bytes: about how much it took; may stay 0. */
  int (*remove)(csn_scope *sc, const csn_json *options, csn_str name, int64_t *bytes, csn_err *err);
} csn_environment_maker;

extern const csn_environment_maker csn_environment_docker, csn_environment_e2b;

/* NULL: the back-end (NULL: the default) has none. */
const csn_environment_maker *csn_environment_maker_of(const char *backend);
/* Builds it for a back-end: by its maker, or in a jail. */
int csn_environment_make(csn_environment *e, csn_scope *sc, const char *backend,
                         const csn_json *options, const csn_environment_progress *progress,
                         csn_environment_built *built, csn_err *err) CSN_MUST;
/* The options of a sandbox that begins with an image of that maker; in the arena. */
int csn_environment_options(const csn_environment_maker *m, const csn_json *options,
                            const char *image, csn_arena *a, const csn_json **out,
                            csn_err *err) CSN_MUST;
/* Whether a back-end can build it, and what of it is missing. */
int csn_environment_check(const csn_environment *e, const char *backend, csn_err *err) CSN_MUST;

#endif
