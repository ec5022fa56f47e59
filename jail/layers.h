/* SPDX-License-Identifier: Apache-2.0
 * layers.h - one root file system out of the layers of an image, and one
 * workspace out of the layers that it had when it was frozen. */
#ifndef CSN_JAIL_LAYERS_H
#define CSN_JAIL_LAYERS_H

#include <stddef.h>

/* What an error's step starts with when this kernel, or the file system below,
 * has no overlay for us: the harness then merges the layers itself. */
#define CSN_JAIL_NO_OVERLAY "overlay the layers of the image"
#define CSN_JAIL_NO_STACK "overlay the layers of the workspace"

/* In a process of its own mount namespace: a detached tree of the layers, the
 * lowest first, which are detached trees and are taken.  One layer is itself. */
int csn_layers_join(int *trees, size_t n);

/* The same with a folder on top whose `upper` takes all changes: writable. */
int csn_layers_stack(int *trees, size_t n, int *top);

#endif
