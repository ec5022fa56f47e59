/* SPDX-License-Identifier: Apache-2.0
 * seal.c - AES-256-GCM and RSA by OpenSSL: caisson-seal.so. */
#include "wire/seal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

static void
ctx_free(EVP_CIPHER_CTX **c)
{
  EVP_CIPHER_CTX_free(*c);
}

static int
seal(const unsigned char key[CSN_SEAL_KEY], const unsigned char nonce[CSN_SEAL_NONCE], csn_str with,
     csn_str plain, unsigned char *out)
{
  csn_auto(ctx_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int n = 0, last = 0;
  if (!c || plain.n > INT_MAX - CSN_SEAL_TAG || with.n > INT_MAX)
    return -1;
  bool ok = EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
            EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)with.p, (int)with.n) == 1 &&
            EVP_EncryptUpdate(c, out, &n, (const unsigned char *)plain.p, (int)plain.n) == 1 &&
            EVP_EncryptFinal_ex(c, out + n, &last) == 1 &&
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, CSN_SEAL_TAG, out + plain.n) == 1;
  return ok ? 0 : -1;
}

static int
open_sealed(const unsigned char key[CSN_SEAL_KEY], const unsigned char nonce[CSN_SEAL_NONCE],
            csn_str with, csn_str sealed, unsigned char *out)
{
  csn_auto(ctx_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  unsigned char tag[CSN_SEAL_TAG];
  int n = 0, last = 0;
  if (!c || sealed.n < CSN_SEAL_TAG || sealed.n > INT_MAX || with.n > INT_MAX)
    return -1;
  size_t size = sealed.n - CSN_SEAL_TAG;
  memcpy(tag, sealed.p + size, sizeof tag);
  bool ok = EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
            EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)with.p, (int)with.n) == 1 &&
            EVP_DecryptUpdate(c, out, &n, (const unsigned char *)sealed.p, (int)size) == 1 &&
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, CSN_SEAL_TAG, tag) == 1 &&
            EVP_DecryptFinal_ex(c, out + n, &last) == 1;
  if (!ok)
    explicit_bzero(out, size);
  return ok ? 0 : -1;
}

static void
key_free(EVP_PKEY **k)
{
  EVP_PKEY_free(*k);
}

static void
bio_free(BIO **b)
{
  BIO_free(*b);
}

static void
md_free(EVP_MD_CTX **c)
{
  EVP_MD_CTX_free(*c);
}

static int
no_password(char *buf, int size, int for_writing, void *user)
{
  return -1; /* never asks on the terminal */
}

static int
sign_rs256(csn_str pem, csn_str text, unsigned char out[1024])
{
  csn_auto(bio_free) BIO *b = pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
  csn_auto(key_free) EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
  csn_auto(md_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
  size_t n = 1024;
  bool ok = key && c && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_size(key) <= 1024 &&
            EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
            EVP_DigestSign(c, out, &n, (const unsigned char *)text.p, text.n) == 1;
  ERR_clear_error();
  return ok ? (int)n : -1;
}

const csn_seal_module csn_seal_entry = {
    .base = {.abi = CSN_SEAL_ABI, .version = CSN_VERSION},
    .seal = seal,
    .open = open_sealed,
    .sign_rs256 = sign_rs256,
    .pipe = csn_tls_pipe,
};
