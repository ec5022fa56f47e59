/* SPDX-License-Identifier: Apache-2.0
 * result.h - a run's state as the result that its owner sees. */
#ifndef CSN_RUN_RESULT_H
#define CSN_RUN_RESULT_H

#include "run/driver.h"

/* Lock held. */
void csn_result_fill(const csn_run *r, csn_result *out);

#endif
