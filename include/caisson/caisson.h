/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson.h - the whole public interface: one include for programs that link
 * libcaisson.  Every header can also be included alone.
 */
#ifndef CAISSON_CAISSON_H
#define CAISSON_CAISSON_H

#include "agent.h"
#include "backend.h"
#include "callback.h"
#include "err.h"
#include "files.h"
#include "freeze.h"
#include "json.h"
#include "manifest.h"
#include "mem.h"
#include "model.h"
#include "network.h"
#include "patch.h"
#include "remote.h"
#include "run.h"
#include "sandbox.h"
#include "scope.h"
#include "session.h"
#include "str.h"
#include "tool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": the version of the library that runs, not of the headers. */
CSN_API const char *csn_version(void);

#ifdef __cplusplus
}
#endif
#endif
