/* SPDX-License-Identifier: Apache-2.0
 * backends.h - the tables behind the sandbox port; sandbox.c lists them. */
#ifndef CSN_SANDBOX_BACKENDS_H
#define CSN_SANDBOX_BACKENDS_H

#include "caisson/backend.h"

extern const csn_sandbox_ops csn_sandbox_jail, csn_sandbox_local, csn_sandbox_fake,
    csn_sandbox_docker, csn_sandbox_e2b, csn_sandbox_program;
/* The jail at level gvisor. */
extern const csn_sandbox_ops csn_sandbox_gvisor;

/* csn_sandbox_get(), _put() and _remove() by commands inside, for a back-end that
 * has only a part of it. */
int csn_sandbox_get_by_tar(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd,
                           csn_err *err) CSN_MUST;
int csn_sandbox_put_by_tar(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err) CSN_MUST;
int csn_sandbox_remove_by_rm(csn_sandbox *sb, csn_scope *sc, const char *const *paths,
                             csn_err *err) CSN_MUST;
/* A command of ours inside, which no limit of the model's commands counts. */
typedef struct csn_errand {
  const char *const *argv;
  int from, to;  /* what it reads and where its output goes; -1: neither */
  csn_buf *said; /* the beginning of its messages, with -1 of its output, too */
} csn_errand;
int csn_sandbox_errand(csn_sandbox *sb, csn_scope *sc, const csn_errand *e, csn_exit *end,
                       csn_err *err) CSN_MUST;
/* csn_sandbox_ops.dial by a command inside that connects (sandbox/tunnel.c): for
 * sandboxes that are not reached otherwise.  They need perl, bash or nc. */
int csn_sandbox_dial_by_command(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd,
                                csn_err *err) CSN_MUST;
/* Those of a sandbox; freeing ends them, before it is closed. */
struct csn_tunnels *csn_tunnels_new(void);
void csn_tunnels_free(struct csn_tunnels *t);

/* By the word of configuration; or NULL. */
const csn_sandbox_ops *csn_sandbox_find(const char *name);
/* The same among those of a program, which may be NULL, and ours. */
const csn_sandbox_ops *csn_sandbox_find_in(const csn_sandbox_ops *const *own, const char *name);
/* CSN_E_INVALID that names all there are. */
int csn_sandbox_unknown(const csn_sandbox_ops *const *own, const char *name, csn_err *err) CSN_MUST;
/* A copy of a program's tables, each as long as ours is today, to be freed with
 * free(); NULL for none. */
int csn_sandbox_own_copy(const csn_sandbox_ops *const *given, const csn_sandbox_ops *const **out,
                         csn_err *err) CSN_MUST;
/* csn_sandbox_open() of a back-end that is known already. */
int csn_sandbox_open_of(csn_sandbox **out, csn_scope *sc, const csn_sandbox_ops *ops,
                        const csn_sandbox_spec *spec, csn_err *err) CSN_MUST;

/* "exec:PROGRAM": whether a word is one, and the same word from anywhere when it
 * was meant from `folder`. */
#define CSN_EXEC_WORD "exec:"
bool csn_exec_is_word(csn_str word);
void csn_exec_word_resolve(csn_buf *out, csn_str word, const char *folder);
/* The one that a sandbox was opened with. */
const char *csn_exec_word_of(const csn_sandbox *sb);
/* Starts its program and says what it can, for people. */
int csn_exec_probe(csn_scope *sc, const char *word, csn_buf *note, csn_err *err) CSN_MUST;
/* The absolute path of its program. */
int csn_exec_find(csn_buf *out, const char *word, csn_err *err) CSN_MUST;

#endif
