/* SPDX-License-Identifier: Apache-2.0
 *
 * fault.h - named points at which a test kills this process.
 *
 * CAISSON_FAULT=POINT:N in the environment ends the process with SIGKILL at
 * the N-th passage of POINT (counted from 1); without it nothing happens.
 * POINT:N:stop stops it instead, for the test to kill something else meanwhile.
 */
#ifndef CSN_RUN_FAULT_H
#define CSN_RUN_FAULT_H

#include <stdatomic.h>

#include "caisson/str.h"

struct csn_fault {
  char point[48];
  atomic_int left;
  bool stops;
};

void csn_fault_init(struct csn_fault *f, const char *spec);
void csn_fault_pass(struct csn_fault *f, const char *point);

#endif
