/* SPDX-License-Identifier: Apache-2.0
 * version.c - the version, written once in meson.build. */
#include "caisson/caisson.h"

const char *
csn_version(void)
{
  return CSN_VERSION;
}
