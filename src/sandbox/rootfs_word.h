/* SPDX-License-Identifier: Apache-2.0
 *
 * rootfs_word.h - how people name a root file system: "host", a folder
 * ("dir:PATH" or an absolute path), "tar:FILE", "oci:PATH[@TAG]" or
 * "image:NAME".
 */
#ifndef CSN_SANDBOX_ROOTFS_WORD_H
#define CSN_SANDBOX_ROOTFS_WORD_H

#include "caisson/str.h"

enum csn_rootfs_kind {
  CSN_ROOTFS_HOST,   /* this machine's programs */
  CSN_ROOTFS_FOLDER, /* used as it is */
  CSN_ROOTFS_TAR,    /* an archive of a root file system */
  CSN_ROOTFS_OCI,    /* an OCI layout folder, or an archive of `docker save` */
  CSN_ROOTFS_IMAGE,  /* of the image store, by name */
};

typedef struct csn_rootfs_word {
  enum csn_rootfs_kind kind;
  csn_str path; /* or the image's name; "" for the host */
} csn_rootfs_word;

/* NULL or "" is the host.  CSN_E_INVALID names the forms. */
int csn_rootfs_word_parse(csn_str text, csn_rootfs_word *out, csn_err *err) CSN_MUST;
/* The word with a relative path made absolute by `folder`; a path without a
 * scheme is a folder, and an unknown scheme stays for the parsing to refuse. */
void csn_rootfs_word_resolve(csn_buf *out, csn_str text, const char *folder);

#endif
