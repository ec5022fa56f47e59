/* SPDX-License-Identifier: Apache-2.0
 *
 * landlock.h - rules for files that a process sets for itself and all it
 * starts: those of a whole jail (seal.c), and those of one command (scope.c). */
#ifndef CSN_JAIL_LANDLOCK_H
#define CSN_JAIL_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum {
  LL_EXECUTE = 1 << 0,
  LL_WRITE_FILE = 1 << 1,
  LL_READ_FILE = 1 << 2,
  LL_READ_DIR = 1 << 3,
  LL_MAKE_CHAR = 1 << 6,
  LL_MAKE_BLOCK = 1 << 11,
  LL_ALL_V1 = (1 << 13) - 1,
  LL_REFER = 1 << 13,
  LL_TRUNCATE = 1 << 14,
  LL_IOCTL_DEV = 1 << 15,
  LL_READS = LL_EXECUTE | LL_READ_FILE | LL_READ_DIR,
  /* What a rule about a file may give. */
  LL_OF_FILES = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV,
};

/* The version of this kernel's rules, 0 for none; *all: what they can forbid. */
int csn_landlock_version(uint64_t *all);
/* A set of rules that forbids these; a descriptor, or -1. */
int csn_landlock_new(uint64_t handled);
/* Lets it through beneath an open file or folder. */
bool csn_landlock_allow(int rules, int fd, uint64_t access);
/* For the caller from now on. */
bool csn_landlock_apply(int rules);

#endif
