/* SPDX-License-Identifier: Apache-2.0
 * Any bytes: read or refused with a place; what was read is a tree that can
 * be written as JSON and parsed again, with the same number of members. */
#include <assert.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(64u << 20);
  const csn_json *v = NULL, *again = NULL;
  csn_err err = {0};
  if (csn_yaml_parse(a, csn_strn((const char *)p, n), "f.yaml", &v, &err) < 0) {
    assert(csn_str_starts(csn_cstr(err.msg), CSN_STR("f.yaml:")));
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &out);
  csn_jw_value(&w, v);
  assert(csn_jw_done(&w, &err) >= 0);
  assert(csn_json_parse(a, csn_buf_str(&out), &again, &err) >= 0);
  assert(again->kind == v->kind && again->n == v->n);
  return 0;
}
