/* SPDX-License-Identifier: Apache-2.0
 *
 * gvisor_bundle.h - what runsc is told about a sandbox: a folder with
 * config.json (OCI), a root file system and the keeper's program.
 */
#ifndef CSN_SANDBOX_GVISOR_BUNDLE_H
#define CSN_SANDBOX_GVISOR_BUNDLE_H

#include "caisson/sandbox.h"
#include "sandbox/rootfs.h"

typedef struct csn_gvisor_bundle {
  const char *path;             /* of the folder; the caller's */
  int folder;                   /* its descriptor */
  const csn_sandbox_spec *spec; /* borrowed */
  const csn_rootfs *rootfs;
  const char *root; /* of the workspace, inside */
  int workspace_fd; /* -1: one of memory */
  uint32_t uid, gid;
  csn_str keeper; /* the program */
} csn_gvisor_bundle;

#define CSN_GVISOR_HOME "/home/user"

int csn_gvisor_bundle_make(const csn_gvisor_bundle *b, csn_err *err) CSN_MUST;

#endif
