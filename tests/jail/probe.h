/* SPDX-License-Identifier: Apache-2.0
 * probe.h - what the probes' files share.  A probe is a function of its
 * arguments that gives WORKED, REFUSED with errno told, or BROKEN. */
#ifndef CSN_TESTS_JAIL_PROBE_H
#define CSN_TESTS_JAIL_PROBE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKED, REFUSED, BROKEN = 3 };

struct probe {
  const char *name;
  int (*run)(char **args);
};

/* Lists end with a NULL name. */
extern const struct probe kernel_probes[], hoard_probes[];

static inline long
number(const char *text)
{
  return (long)strtoull(text, NULL, 0);
}

/* The number is for programs that read us, the name for scripts that do. */
static inline int
verdict(long rc)
{
  int e = errno;
  if (rc >= 0)
    return WORKED;
  const char *name = getenv("WHERE") ? strerrorname_np(e) : NULL;
  if (name)
    puts(name);
  else
    printf("%d\n", e);
  return REFUSED;
}

static inline int
refused(int e)
{
  errno = e;
  return verdict(-1);
}

static inline int
not_found(void)
{
  return refused(ENOENT);
}

#endif
