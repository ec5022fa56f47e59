/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_flatten.h - one folder out of several layers, without an overlay file
 * system: what is the same file in both is one file with two names.
 */
#ifndef CSN_SANDBOX_LAYER_FLATTEN_H
#define CSN_SANDBOX_LAYER_FLATTEN_H

#include "sandbox/layer_store.h"

/* Applies one layer to what is in `to` already; both lie on one file system
 * and nobody else changes them.  Whiteouts of the layer are obeyed, or kept
 * when `keep_whiteouts`, for a stack that has layers below still.  1: some were
 * kept as marks that are not the overlay's. */
int csn_layer_apply(int to, int layer, bool keep_whiteouts, csn_scope *sc, csn_err *err) CSN_MUST;
/* The same with copies instead of links, for somebody to write to. */
int csn_layer_copy(int to, int layer, csn_scope *sc, csn_err *err) CSN_MUST;

/* A layer as it is, with its whiteouts, copied into an empty folder.  1: as above. */
int csn_layer_duplicate(int to, int layer, csn_scope *sc, csn_err *err) CSN_MUST;

/* A descriptor of the merged folder, made in the store unless it is there
 * under the digests of all layers.  fds: the layers, the lowest first. */
int csn_layers_flatten(csn_layer_store *s, csn_scope *sc, const csn_digest *digests, size_t n,
                       const int *fds, size_t n_fds, csn_err *err) CSN_MUST;

#endif
