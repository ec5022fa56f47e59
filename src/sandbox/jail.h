/* SPDX-License-Identifier: Apache-2.0
 *
 * jail.h - the process that makes this harness's jails, and what this machine
 * lets a jail enforce.
 */
#ifndef CSN_SANDBOX_JAIL_H
#define CSN_SANDBOX_JAIL_H

#include <string.h>

#include "caisson/json.h"
#include "caisson/sandbox.h"
#include "jail/proto.h"

/* Starts the spawner now and not at the first jail: before the first thread
 * that holds secrets, say.  Any thread; once is enough. */
int csn_jail_start(csn_err *err) CSN_MUST;

/* A request while it is put together: its descriptors by CSN_JAIL_ number, -1
 * for none.  They stay the caller's. */
typedef struct csn_jail_ask {
  csn_jail_open open; /* all but `with` */
  int fds[CSN_JAIL_GIVEN];
  const int *layers; /* as many as open.layers */
  const int *under;  /* as many as open.under */
  const int *extras; /* as many as open.devices, open.libraries and open.grants */
} csn_jail_ask;

static inline void
csn_jail_ask_init(csn_jail_ask *ask)
{
  memset(&ask->open, 0, sizeof ask->open);
  memset(ask->fds, -1, sizeof ask->fds);
  ask->layers = NULL;
}

/* What came of it: descriptors, the caller's now. */
typedef struct csn_jail_got {
  int pidfd, life; /* as jail/proto.h says */
  int events[2];   /* of the memory and the process limit; -1: no group holds it */
  int view;        /* the workspace of layers as the jail has it; -1: it is a plain folder */
  int owner;       /* a csn_jail_owner */
  int uid, gid;    /* that files of the harness in the workspace need; -1: leave them */
  int user;        /* who commands are on the host; -1: whoever the harness is */
  bool ranged;     /* there are 65536 user ids, else one */
  csn_jail_held held;
} csn_jail_got;

/* Asks the spawner for a jail.  Without CSN_JAIL_CONTROL there is none, but
 * the pool of its kind is full. */
int csn_jail_request(const csn_jail_ask *ask, csn_jail_got *got, csn_err *err) CSN_MUST;

/* How jails are made here. */
typedef struct csn_jail_about {
  bool ranged;   /* with 65536 user ids, else one */
  char why[120]; /* it is one only; may be empty */
} csn_jail_about;
int csn_jail_ask_about(csn_jail_about *about, csn_err *err) CSN_MUST;

/* csn_remove_tree() for what a jail may have been over: folders that users with
 * lent ids made in it are taken over first. */
int csn_jail_remove(int dir, const char *path, csn_err *err) CSN_MUST;

/* The number on the disk of a group inside an open jail. */
int csn_jail_group(const csn_sandbox *sb, const char *name, gid_t *gid, csn_err *err) CSN_MUST;

/* Who the commands of an open jail are on this host; -1: the harness's user. */
int csn_jail_user(const csn_sandbox *sb);

/* Ends all that runs in an open jail, and stores what was written to storage of
 * others; closing it comes after that.  told: a line for each mount that did not
 * take all of it. */
void csn_jail_settle(csn_sandbox *sb, csn_buf *told);

/* One line of what a machine enforces, for `caisson doctor`. */
typedef struct csn_jail_feature {
  const char *name;  /* "user namespaces" */
  const char *state; /* "enforced", "soft" or "absent" */
  char note[400];    /* what it does here, or how to get it; may be empty */
} csn_jail_feature;
enum { CSN_JAIL_FEATURES = 32 };
/* Opens a jail and looks; the number of lines. */
int csn_jail_probe(csn_scope *sc, csn_jail_feature list[CSN_JAIL_FEATURES]);

/* Adds to a failure what to do about it, when the reason is a machine that
 * does not let us make jails; that is CSN_E_UNSUPPORTED then. */
int csn_jail_explain(int rc, const char *step, csn_err *err);

#endif
