/* SPDX-License-Identifier: Apache-2.0
 *
 * stack.h - a workspace made of layers: folders that never change, below one
 * that takes all changes and can become the next layer.
 *
 * The workspace's folder holds
 *   layers   the names of its layers, the lowest first, one a line
 *   upper/   what was changed: an overlay's upper folder, or all there is
 *   work/    the overlay's own, made anew each time
 *   none/    an empty layer, for a workspace that has none yet
 * A layer is a folder of the store under a random name.  Who uses one holds a
 * shared lock on it.
 */
#ifndef CSN_SANDBOX_STACK_H
#define CSN_SANDBOX_STACK_H

#include "caisson/sandbox.h"

/* With more layers than this, some are merged before the workspace is opened:
 * each costs every look-up a little. */
enum { CSN_STACK_DEPTH = 32, CSN_LAYER_NAME = 25 };

typedef struct csn_stack {
  int dir, store;
  char **names; /* NULL-terminated */
  int *fds;     /* of the layers */
  size_t n;
  int none;       /* of an overlay without layers; -1 */
  bool is_copied; /* there is no overlay here: upper/ holds everything */
} csn_stack;

/* Hears what takes long while a sandbox is opened, in a few words for a human. */
typedef struct csn_sandbox_told {
  void (*fn)(void *user, const char *what); /* NULL: nobody */
  void *user;
} csn_sandbox_told;

/* What is added to a sandbox's specification on the way to the back-end; each
 * may be NULL. */
struct csn_sandbox_own {
  csn_stack *stack; /* of the workspace */
  /* The folder of a root file system that is being built; elsewhere, that one is. */
  const int *build;
  const struct csn_path_grant *grants; /* grants.h */
  csn_sandbox_told told;
  struct csn_log *log; /* for what a program that is a back-end says */
};
static inline csn_sandbox_told
csn_spec_told(const csn_sandbox_spec *spec)
{
  return spec->own ? spec->own->told : (csn_sandbox_told){0};
}
static inline csn_stack *
csn_spec_stack(const csn_sandbox_spec *spec)
{
  return spec->own ? spec->own->stack : NULL;
}
static inline const struct csn_path_grant *
csn_spec_grants(const csn_sandbox_spec *spec)
{
  return spec->own ? spec->own->grants : NULL;
}
static inline const int *
csn_spec_build(const csn_sandbox_spec *spec)
{
  return spec->own ? spec->own->build : NULL;
}

/* Opens or makes the workspace in the folder `dir`. */
int csn_stack_open(csn_stack **out, csn_scope *sc, int dir, const csn_layers *l,
                   csn_err *err) CSN_MUST;
void csn_stack_free(csn_stack *s);
CSN_FREER(stack)

/* Makes work/ ready for an overlay; CSN_E_UNSUPPORTED where the file system
 * cannot hold an overlay's marks. */
int csn_stack_prepare(csn_stack *s, csn_err *err) CSN_MUST;
/* The layers for an overlay, at least one; *n of them. */
const int *csn_stack_layers(const csn_stack *s, size_t *n);
/* Copies all layers into upper/, where there is no overlay; *upper is it. */
int csn_stack_copy(csn_stack *s, csn_scope *sc, int *upper, csn_err *err) CSN_MUST;
/* Of a workspace's folder: 1 when it is what its layers are, 0 when something was
 * changed. */
int csn_stack_is_unchanged(int dir, csn_err *err) CSN_MUST;
/* What was changed since the last freeze, as far as it was looked at. */
typedef struct csn_stack_changes {
  size_t n;
  int64_t bytes;
  uint64_t mark; /* another after each change; 0: none */
  bool is_few;   /* few small files, folders and links, and a copy of them is the same */
} csn_stack_changes;
/* With nothing at work in it: the workspace stays open. */
void csn_stack_look(const csn_stack *s, csn_stack_changes *out);
/* Copies them, when they are few, into a layer of the store.  1: it would not be the
 * same, and there is none. */
int csn_stack_copy_changes(csn_stack *s, csn_scope *sc, char name[CSN_LAYER_NAME],
                           csn_err *err) CSN_MUST;
/* Makes a layer of upper/, unless nothing was changed.  Nobody may have it
 * open for writing. */
int csn_stack_freeze(csn_stack *s, csn_err *err) CSN_MUST;

#endif
