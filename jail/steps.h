/* SPDX-License-Identifier: Apache-2.0
 * steps.h - small steps of file systems; each that fails ends the process. */
#ifndef CSN_JAIL_STEPS_H
#define CSN_JAIL_STEPS_H

#include <stdint.h>

#include "jail/sys.h"

enum { CSN_SAFE = ATTR_NOSUID | ATTR_NODEV, CSN_LOCKED = CSN_SAFE | ATTR_RDONLY };

void csn_make_folder(const char *path);
void csn_make_folders(const char *path); /* and those above it */
void csn_make_file(const char *path, const char *text);
void csn_make_link(const char *target, const char *path);
void csn_mount_new(const char *type, const char *path, unsigned long flags, const char *options);
/* Attaches a detached tree and closes it. */
void csn_attach(int tree, const char *path);
/* Binds what is there, a folder or a file; what is missing or not for us is
 * left out. */
void csn_bind(const char *source, const char *path, uint64_t flags);

#endif
