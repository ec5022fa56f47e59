/* SPDX-License-Identifier: Apache-2.0
 * fault.c - see fault.h. */
#include "run/fault.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

void
csn_fault_init(struct csn_fault *f, const char *spec)
{
  *f = (struct csn_fault){0};
  const char *colon = spec ? strchr(spec, ':') : NULL;
  int64_t n = 1;
  if (!spec || !*spec)
    return;
  size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
  csn_str count = csn_cstr(colon ? colon + 1 : "1");
  f->stops = csn_str_ends(count, CSN_STR(":stop"));
  if (f->stops)
    count.n -= strlen(":stop");
  if (!csn_str_int(count, &n))
    return;
  snprintf(f->point, sizeof f->point, "%.*s", (int)len, spec);
  atomic_store(&f->left, (int)n);
}

void
csn_fault_pass(struct csn_fault *f, const char *point)
{
  if (!f->point[0] || strcmp(f->point, point) != 0)
    return;
  if (atomic_fetch_sub(&f->left, 1) == 1)
    kill(getpid(), f->stops ? SIGSTOP : SIGKILL);
}
