/* SPDX-License-Identifier: Apache-2.0
 *
 * image.h - a picture of a workspace for a model: what view_image returns.
 */
#ifndef CSN_SANDBOX_IMAGE_H
#define CSN_SANDBOX_IMAGE_H

#include "caisson/sandbox.h"

#define CSN_IMAGE_MAX ((size_t)10 << 20)

/* "image/png" and the like by the first bytes (SVG also by the name's ending),
 * or NULL when it is no picture that is known here. */
const char *csn_image_type(csn_str bytes, csn_str path);

/* The path relative to the workspace, clean; false when it names nothing in it. */
bool csn_image_path(csn_str path, const char *root, csn_buf *clean);

/* Reads a regular file beneath the workspace; `root` (may be NULL) is the name
 * the workspace has for the model, from which absolute paths are taken.
 * 1: *out is "data:TYPE;base64,...".  0: *out is a sentence for the model that
 * says why there is no picture.  `out` needs room for 14 MiB.  files: what of the
 * workspace may be looked at; NULL: all. */
int csn_image_view(int work_fd, const char *root, csn_str path, const csn_file_scope *files,
                   csn_buf *out, csn_err *err) CSN_MUST;

#endif
