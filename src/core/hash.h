/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.h - SHA-256 (FIPS 180-4), base64 (RFC 4648) and random names.
 */
#ifndef CSN_CORE_HASH_H
#define CSN_CORE_HASH_H

#include "caisson/mem.h"

typedef struct csn_sha256 {
  uint32_t h[8];
  uint64_t n; /* bytes so far */
  unsigned char block[64];
} csn_sha256;

typedef struct csn_digest {
  unsigned char b[32];
} csn_digest;

void csn_sha256_init(csn_sha256 *s);
void csn_sha256_add(csn_sha256 *s, csn_str bytes);
csn_digest csn_sha256_end(csn_sha256 *s);
csn_digest csn_sha256_of(csn_str bytes);
/* HMAC-SHA256 (RFC 2104). */
csn_digest csn_hmac_sha256(csn_str key, csn_str bytes);
/* Takes as long for any two. */
bool csn_digest_same(const csn_digest *a, const csn_digest *b);
/* 64 lower-case hexadecimal digits and a NUL. */
void csn_digest_hex(const csn_digest *d, char out[65]);
bool csn_digest_from_hex(csn_str hex, csn_digest *out);

void csn_base64_add(csn_buf *out, csn_str bytes);
/* Standard alphabet with padding; false on any other byte. */
bool csn_base64_decode(csn_buf *out, csn_str text);

/* `n` random characters of [0-9a-z] and a NUL; from getrandom(2). */
void csn_random_name(char *out, size_t n);
void csn_random_bytes(void *out, size_t n);

#endif
