/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.h - the block functions behind core/hash.h; for hash.c and its test.
 */
#ifndef CSN_CORE_SHA256_H
#define CSN_CORE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Take `count` blocks of 64 bytes at p into the state h. */
void csn_sha256_blocks_plain(uint32_t h[8], const unsigned char *p, size_t count);
/* With the CPU's SHA instructions; only where has_native() says so. */
void csn_sha256_blocks_native(uint32_t h[8], const unsigned char *p, size_t count);
bool csn_sha256_has_native(void);

#endif
