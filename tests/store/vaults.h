/* SPDX-License-Identifier: Apache-2.0
 * vaults.h - vaults out of keys that tests write down. */
#ifndef CSN_TESTS_VAULTS_H
#define CSN_TESTS_VAULTS_H

#include "check.h"
#include "store/vault.h"

#define KEY_A "a 1111111111111111111111111111111111111111111111111111111111111111\n"
#define KEY_B "b 2222222222222222222222222222222222222222222222222222222222222222\n"

static inline csn_vault *
vault_of(const char *keys)
{
  csn_err err;
  csn_keyring *ring = NULL;
  csn_vault *v = NULL;
  OK(csn_keyring_parse(csn_cstr(keys), &ring, &err), &err);
  OK(csn_vault_new(&v, ring, &err), &err);
  return v;
}

#endif
