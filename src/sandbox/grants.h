/* SPDX-License-Identifier: Apache-2.0
 *
 * grants.h - folders and files of this machine that commands in a jail see at a
 * path of their own, beside the workspace: held read-only by the mount, or
 * writable.  They are no part of a workspace, so no snapshot has them.
 */
#ifndef CSN_SANDBOX_GRANTS_H
#define CSN_SANDBOX_GRANTS_H

#include "caisson/manifest.h"
#include "sandbox/jail.h"

typedef struct csn_path_grant {
  const char *path; /* inside; a list ends with NULL */
  const char *from; /* of this machine; NULL: the same path */
  bool is_writable;
} csn_path_grant;

/* Whether a back-end other than the jail can live with them: CSN_E_UNSUPPORTED
 * says which it cannot, and who could.  is_local: commands see this machine anyway. */
int csn_grants_refuse(const csn_path_grant *list, const char *backend, bool is_local,
                      csn_err *err) CSN_MUST;

/* Those of a manifest, in the arena; NULL: none. */
const csn_path_grant *csn_manifest_grants(const csn_manifest *m, csn_arena *a);

typedef struct csn_grants {
  int fds[CSN_JAIL_GRANTS_MAX]; /* O_PATH */
  size_t n;
  csn_buf list;
  int list_fd;
} csn_grants;

/* Opens what they name; list NULL: nothing.  CSN_E_INVALID: a place that is the
 * workspace's (at root) or the jail's own, all of the machine, what is neither folder
 * nor file. */
int csn_grants_open(csn_grants *g, const csn_path_grant *list, const char *root,
                    csn_err *err) CSN_MUST;
void csn_grants_close(csn_grants *g);
/* Puts them into a request, which borrows, behind the descriptors of devices that
 * it has; *all holds both until the request was made. */
int csn_grants_ask(csn_grants *g, csn_jail_ask *ask, int all[CSN_JAIL_EXTRAS_MAX],
                   csn_err *err) CSN_MUST;

#endif
