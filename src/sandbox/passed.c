/* SPDX-License-Identifier: Apache-2.0
 * passed.c - see passed.h. */
#include "sandbox/passed.h"

#include <stdlib.h>

#include "caisson/mem.h"

enum { PASSED_MAX = 2000 };

void
csn_passed_variables(csn_buf *store, const char **env, size_t n)
{
  static const char *const names[CSN_PASSED_VARIABLES] = {
      "http_proxy", "https_proxy", "HTTPS_PROXY",  "all_proxy",     "ALL_PROXY",
      "no_proxy",   "NO_PROXY",    "SSL_CERT_DIR", "SSL_CERT_FILE", "GIT_SSL_CAINFO"};
  size_t offsets[CSN_PASSED_VARIABLES], k = 0;
  for (size_t i = 0; i < CSN_PASSED_VARIABLES; i++) {
    const char *v = getenv(names[i]);
    if (!v || strlen(v) > PASSED_MAX)
      continue;
    offsets[k++] = store->n;
    csn_buf_addf(store, "%s=%s", names[i], v);
    csn_buf_addc(store, '\0');
  }
  for (size_t i = 0; i < k; i++)
    env[n++] = store->p + offsets[i];
  env[n] = NULL;
}
