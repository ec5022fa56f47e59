/* SPDX-License-Identifier: Apache-2.0
 *
 * environment.h - the programs of a sandbox by a list: an image with packages
 * and setup commands on top, built once and kept as a layer of its own under
 * the hash of all it is made from.
 *
 * The section `environment` of an agent file, or a file of its own:
 *   base          the image: "image:NAME", "oci:PATH[@TAG]" or "tar:FILE"; not
 *                 needed where the back-end has images of its own
 *   packages      {apt: [NAME...], apt_sources: [LINE...], pip: [REQUIREMENT...],
 *                  pip_index: URL, npm: [NAME[@VERSION]...], npm_registry: URL}
 *   setup         commands for sh, after the packages
 *   build_network a network policy (sandbox/network_json.h) of the build alone
 *   lock          a file with the version of each package, which is taken where
 *                 it is there; `caisson image lock` writes it
 */
#ifndef CSN_SANDBOX_ENVIRONMENT_H
#define CSN_SANDBOX_ENVIRONMENT_H

#include "caisson/json.h"
#include "caisson/network.h"
#include "caisson/scope.h"

typedef struct csn_environment {
  csn_arena *arena;
  csn_str base;
  const char **apt, **apt_sources, **pip, **npm, **setup; /* NULL-terminated */
  csn_str pip_index, npm_registry;                        /* "": the usual ones */
  csn_network *network;                                   /* NULL: none */
  csn_str network_json;
  csn_str lock;        /* its path; "": none is kept */
  bool is_locked;      /* the packages are those of the lock */
  bool wants_versions; /* csn_environment_built.resolved is needed of one that was there, too */
} csn_environment;

/* Relative files are in `folder`.  with_lock: versions are taken from the lock
 * file, if there is one; that of another section is CSN_E_CONFLICT. */
int csn_environment_read(csn_environment **out, const csn_json *v, const char *folder,
                         bool with_lock, csn_err *err) CSN_MUST;
/* The section as it was understood, with the packages of the lock. */
void csn_environment_to_json(const csn_environment *e, csn_jw *w);
void csn_environment_free(csn_environment *e);
CSN_FREER(environment)

/* The commands that make it out of its base, in their order, as root, with
 * these variables.  Both belong to its arena. */
typedef struct csn_environment_step {
  const char *what; /* "apt-get install gcc make", for a human */
  const char *const *argv;
} csn_environment_step;
size_t csn_environment_steps(csn_environment *e, const csn_environment_step **steps);
extern const char *const csn_environment_variables[];

/* Told in the calling thread: a step begins (text NULL), or prints. */
typedef struct csn_environment_progress {
  void (*fn)(void *user, const char *step, const csn_str *text);
  void *user;
} csn_environment_progress;

typedef struct csn_environment_built {
  char image[80];   /* "image:env-HEX", or what a back-end calls it */
  csn_buf resolved; /* JSON: {"apt": ["NAME=VERSION"...], "pip": [...], "npm": [...]} */
  bool was_there;   /* nothing was built */
} csn_environment_built;
void csn_environment_built_fini(csn_environment_built *b);

/* Builds its image in a jail, unless it is there; *built is the caller's.  Who
 * asks for one that another process builds waits for that. */
int csn_environment_build(csn_environment *e, csn_scope *sc,
                          const csn_environment_progress *progress, csn_environment_built *built,
                          csn_err *err) CSN_MUST;

/* The text of a lock file for what was built. */
int csn_environment_lock(const csn_environment *e, const csn_environment_built *built, csn_buf *out,
                         csn_err *err) CSN_MUST;

#endif
