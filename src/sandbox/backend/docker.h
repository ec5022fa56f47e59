/* SPDX-License-Identifier: Apache-2.0
 * docker.h - what the files of the back-end docker share. */
#ifndef CSN_SANDBOX_BACKEND_DOCKER_H
#define CSN_SANDBOX_BACKEND_DOCKER_H

#include "caisson/remote.h"
#include "sandbox/engine.h"
#include "sandbox/graft.h"

enum { CSN_DOCKER_ID = 64 };
/* Each container of ours has it, with the label that was asked for. */
#define CSN_DOCKER_LABEL "caisson.sandbox"
/* Of an image, whose labels its containers have, too: not one of ours. */
#define CSN_DOCKER_NO_LABEL "-"
/* Images that were archives are of this repository. */
#define CSN_DOCKER_BASES "caisson-base"
/* The same of a container that only holds a network. */
#define CSN_DOCKER_NETWORK_LABEL "caisson.network"

struct csn_docker {
  csn_sandbox base;
  csn_engine engine;
  csn_arena *arena;
  const char *image, *runtime, *user; /* runtime: NULL for the engine's own; user: of commands */
  const char *image_id;
  const char *name;           /* of the container; its network's has "-network" after it */
  char id[CSN_DOCKER_ID + 1]; /* empty: there is none (any more) */
  csn_link *life;             /* the input of its first process, which ends at its end */
  bool keep, has_init, has_policy;
  bool has_volumes;                   /* beside the workspace's */
  bool is_build;                      /* commands are root and change the image's files */
  csn_graft *graft;                   /* of its network, or NULL */
  char network_id[CSN_DOCKER_ID + 1]; /* the container that holds it; empty: there is none */
  csn_link *network_life;             /* readable when that has ended */
  const char *const *variables;       /* NAME=VALUE of all commands beside the container's own */
  pthread_mutex_t lock;               /* guards what follows */
  int64_t oom_kills;                  /* processes that the kernel killed for memory */
};

/* docker.c */

/* A request about a container: its answer, as csn_engine_ask() gives it. */
int csn_docker_ask(const struct csn_docker *d, csn_scope *sc, const char *method, const char *id,
                   const char *what, csn_arena *a, const csn_json **answer, csn_err *err) CSN_MUST;
/* Makes one; CSN_E_CONFLICT: there is one of that name.  Its id, and the engine's
 * warnings (may be NULL). */
int csn_docker_make(const struct csn_docker *d, csn_scope *sc, const char *name, csn_str body,
                    char id[CSN_DOCKER_ID + 1], const csn_json **warnings, csn_err *err) CSN_MUST;
/* Ends and removes one with its volume; one that is not there is fine. */
int csn_docker_remove(const struct csn_docker *d, csn_scope *sc, const char *id,
                      csn_err *err) CSN_MUST;
int csn_docker_take_id(char id[CSN_DOCKER_ID + 1], csn_str text, csn_err *err) CSN_MUST;

/* docker_network.c: what the specification's policy and ports need; nothing
 * without them. */

/* Whether they can be held. */
int csn_docker_network_check(const struct csn_docker *d, const csn_sandbox_spec *spec,
                             csn_err *err) CSN_MUST;
/* Makes the container that holds the network, or starts that of `state`. */
int csn_docker_network_open(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                            csn_err *err) CSN_MUST;
/* Ends what holds it; is_gone: the container is not to be opened again. */
void csn_docker_network_close(struct csn_docker *d, csn_scope *sc, bool is_gone);

/* docker_create.c: the options, and the body of a request that makes a
 * container, with what it will hold. */
int csn_docker_options(struct csn_docker *d, const csn_sandbox_spec *spec, csn_err *err) CSN_MUST;
int csn_docker_body(struct csn_docker *d, const csn_sandbox_spec *spec, csn_buf *out,
                    csn_err *err) CSN_MUST;
/* A folder of this machine that it only reads, as an element of Mounts. */
void csn_docker_put_folder(csn_jw *w, const char *from, const char *to);
/* Sets what it holds; warnings: what the engine says of limits it lacks. */
void csn_docker_held(struct csn_docker *d, const csn_sandbox_limits *l, const csn_json *warnings);
/* UID or UID:GID, not root: as UID:GID; or a name, as it is. */
int csn_docker_take_user(struct csn_docker *d, csn_str user, csn_err *err) CSN_MUST;

/* docker_pull.c */

/* Looks at the image, which is fetched when it is missing: who its user is. */
int csn_docker_image(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                     csn_err *err) CSN_MUST;
/* Sends the archive of a root file system, unless the engine has it: d->image. */
int csn_docker_image_of(struct csn_docker *d, csn_scope *sc, csn_str archive,
                        const csn_sandbox_spec *spec, csn_err *err) CSN_MUST;

/* docker_volume.c: storage of spec->mounts, and the workspace beside it, made
 * before the container; what its request says of them; whether one that is there
 * has them; away with all of this container; away with those of sandboxes that
 * nobody uses or wants. */
int csn_docker_volumes_make(const struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                            csn_err *err) CSN_MUST;
void csn_docker_volumes_put(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w);
int csn_docker_volumes_find(struct csn_docker *d, const csn_json *its, const csn_sandbox_spec *spec,
                            csn_err *err) CSN_MUST;
int csn_docker_volumes_drop(const struct csn_docker *d, csn_scope *sc, csn_err *err) CSN_MUST;
int csn_docker_volumes_sweep(const struct csn_docker *d, csn_scope *sc,
                             const csn_sandbox_sweep *how, csn_err *err) CSN_MUST;

/* docker_proc.c */
int csn_docker_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out,
                     csn_err *err) CSN_MUST;

#endif
