/* SPDX-License-Identifier: Apache-2.0
 * gvisor.h - whether this machine has the level gvisor. */
#ifndef CSN_SANDBOX_GVISOR_H
#define CSN_SANDBOX_GVISOR_H

#include "caisson/sandbox.h"

/* Opens a sandbox of it and looks.  True: the note is where runsc is; else it
 * is what is missing. */
bool csn_gvisor_probe(csn_scope *sc, csn_buf *note);

#endif
