/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a SKILL.md: read or refused; what was read has a name that is one,
 * a description on one line, and a body that is the end of the text. */
#include <assert.h>

#include "run/skill.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(4u << 20);
  csn_str text = csn_strn((const char *)p, n);
  csn_skill s;
  csn_err err = {0};
  if (csn_skill_parse(&s, a, text, CSN_STR("dir"), &err) < 0) {
    assert(err.code && err.msg[0]);
    return 0;
  }
  assert(csn_skill_name_check(s.name, NULL) == 0);
  assert(s.description.n && !memchr(s.description.p, '\n', s.description.n));
  assert(csn_utf8_valid(s.description) == s.description.n);
  assert(s.body.n == 0 || s.body.p + s.body.n == text.p + text.n);
  return 0;
}
