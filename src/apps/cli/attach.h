/* SPDX-License-Identifier: Apache-2.0
 *
 * attach.h - files of this machine as parts of a message to a model.
 */
#ifndef CSN_APPS_ATTACH_H
#define CSN_APPS_ATTACH_H

#include "cli.h"

/* Of all parts of a message, pictures in base64. */
#define CLI_PARTS_MAX ((size_t)60 << 20)

/* Adds a picture (PNG, JPEG, GIF or WebP by its first bytes, at most 10 MB) to a
 * JSON list of parts, which is begun when `parts` is empty and is whole after
 * each call. */
int cli_attach_image(csn_buf *parts, const char *path, csn_err *err) CSN_MUST;
int cli_attach_images(csn_buf *parts, const cli_list *paths, csn_err *err) CSN_MUST;

#endif
