/* SPDX-License-Identifier: Apache-2.0
 * importing.h - how far the import of an image is, on a terminal's last line. */
#ifndef CSN_APPS_IMPORTING_H
#define CSN_APPS_IMPORTING_H

#include "cli.h"
#include "sandbox/layer_store.h"

/* For the import functions; says nothing when stderr is no terminal. */
csn_image_progress cli_import_progress(cli *c);
/* "1.5 GiB" */
csn_str cli_size(csn_arena *a, uint64_t bytes);

#endif
