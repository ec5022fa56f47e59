/* SPDX-License-Identifier: Apache-2.0
 * landlock.c - see landlock.h. */
#include "jail/landlock.h"

#include "jail/sys.h"

enum { RULE_PATH = 1, VERSION = 1 };

struct path_rule {
  uint64_t access;
  int32_t fd;
} __attribute__((packed));

int
csn_landlock_version(uint64_t *all)
{
  long abi = syscall(NR_landlock_create_ruleset, NULL, 0, VERSION);
  *all = LL_ALL_V1;
  if (abi >= 2)
    *all |= LL_REFER;
  if (abi >= 3)
    *all |= LL_TRUNCATE;
  if (abi >= 5)
    *all |= LL_IOCTL_DEV;
  return abi > 0 ? (int)abi : 0;
}

int
csn_landlock_new(uint64_t handled)
{
  return (int)syscall(NR_landlock_create_ruleset, &handled, sizeof handled, 0);
}

bool
csn_landlock_allow(int rules, int fd, uint64_t access)
{
  struct path_rule r = {.access = access, .fd = fd};
  return fd >= 0 && syscall(NR_landlock_add_rule, rules, RULE_PATH, &r, 0) == 0;
}

bool
csn_landlock_apply(int rules)
{
  return syscall(NR_landlock_restrict_self, rules, 0) == 0;
}
