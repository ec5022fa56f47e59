/* SPDX-License-Identifier: Apache-2.0
 * backends.h - the tables behind the sandbox port; sandbox.c lists them. */
#ifndef CSN_SANDBOX_BACKENDS_H
#define CSN_SANDBOX_BACKENDS_H

#include "caisson/sandbox.h"

extern const csn_sandbox_ops csn_sandbox_jail, csn_sandbox_local, csn_sandbox_fake,
    csn_sandbox_docker, csn_sandbox_e2b;
/* The jail at level gvisor. */
extern const csn_sandbox_ops csn_sandbox_gvisor;

/* A member of spec.options, which is a key of the section `sandbox` of agent
 * files, too. */
typedef struct csn_sandbox_option {
  const char *name; /* NULL ends the list */
  enum csn_json_kind kind;
} csn_sandbox_option;

/* csn_sandbox_get() by commands inside, for a back-end that has only a part of it. */
int csn_sandbox_get_by_tar(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd,
                           csn_err *err) CSN_MUST;
/* A command of ours inside, which no limit of the model's commands counts. */
typedef struct csn_errand {
  const char *const *argv;
  int from, to;  /* what it reads and where its output goes; -1: neither */
  csn_buf *said; /* the beginning of its messages, with -1 of its output, too */
} csn_errand;
int csn_sandbox_errand(csn_sandbox *sb, csn_scope *sc, const csn_errand *e, csn_exit *end,
                       csn_err *err) CSN_MUST;
/* By the word of configuration; or NULL. */
const csn_sandbox_ops *csn_sandbox_find(const char *name);

#endif
