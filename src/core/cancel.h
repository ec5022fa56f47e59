/* SPDX-License-Identifier: Apache-2.0
 *
 * cancel.h - csn_scope_cancel() in two steps, for those who hold a lock.
 *
 * A waker's function may take a lock of who waits, who may hold it while he
 * wants ours.  So the first step is done under our lock and calls nobody; the
 * second, without it, wakes whoever waits under a cancelled scope.
 */
#ifndef CSN_CORE_CANCEL_H
#define CSN_CORE_CANCEL_H

#include "caisson/scope.h"

void csn_scope_mark(csn_scope *s);
/* Of any scope of the tree. */
void csn_scope_wake(csn_scope *s);

#endif
