/* SPDX-License-Identifier: Apache-2.0
 * docker.h - what the files of the back-end docker share. */
#ifndef CSN_SANDBOX_BACKEND_DOCKER_H
#define CSN_SANDBOX_BACKEND_DOCKER_H

#include "caisson/remote.h"
#include "sandbox/engine.h"

enum { CSN_DOCKER_ID = 64 };
/* Each container of ours has it, with the label that was asked for. */
#define CSN_DOCKER_LABEL "caisson.sandbox"

struct csn_docker {
  csn_sandbox base;
  csn_engine engine;
  csn_arena *arena;
  const char *image, *runtime, *user; /* runtime: NULL for the engine's own; user: of commands */
  const char *image_id;
  const char *name;                 /* of the container */
  char id[CSN_DOCKER_ID + 1];       /* empty: there is none (any more) */
  csn_link *life;                   /* the input of its first process, which ends at its end */
  bool keep, has_init, has_volumes; /* volumes: beside the workspace's */
  pthread_mutex_t lock;             /* guards what follows */
  int64_t oom_kills;                /* processes that the kernel killed for memory */
};

/* docker_create.c: the options, and the body of a request that makes a
 * container, with what it will hold. */
int csn_docker_options(struct csn_docker *d, const csn_sandbox_spec *spec, csn_err *err) CSN_MUST;
int csn_docker_body(struct csn_docker *d, const csn_sandbox_spec *spec, csn_buf *out,
                    csn_err *err) CSN_MUST;
/* Sets what it holds; warnings: what the engine says of limits it lacks. */
void csn_docker_held(struct csn_docker *d, const csn_sandbox_limits *l, const csn_json *warnings);
/* Looks at the image, which is fetched when it is missing: who its user is. */
int csn_docker_image(struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                     csn_err *err) CSN_MUST;

/* docker_volume.c: storage of spec->mounts, made before the container; what its
 * request says of it; away with all of this container; away with those of
 * sandboxes that nobody uses or wants. */
int csn_docker_volumes_make(const struct csn_docker *d, csn_scope *sc, const csn_sandbox_spec *spec,
                            csn_err *err) CSN_MUST;
void csn_docker_volumes_put(const struct csn_docker *d, const csn_sandbox_spec *spec, csn_jw *w);
int csn_docker_volumes_drop(const struct csn_docker *d, csn_scope *sc, csn_err *err) CSN_MUST;
int csn_docker_volumes_sweep(const struct csn_docker *d, csn_scope *sc,
                             const csn_sandbox_sweep *how, csn_err *err) CSN_MUST;

/* docker_proc.c */
int csn_docker_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out,
                     csn_err *err) CSN_MUST;

#endif
