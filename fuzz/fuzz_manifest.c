/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a manifest: refused with a reason, or read so that its JSON form
 * reads back to the same, and its tree for the model stays in its limit. */
#include <assert.h>

#include "caisson/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
read_it(csn_arena *a, csn_str text, csn_manifest **m, csn_err *err)
{
  const csn_json *v;
  int rc = csn_json_parse(a, text, &v, err);
  return rc < 0 ? rc : csn_manifest_from_json(a, v, m, err);
}

static void
write_it(const csn_manifest *m, csn_buf *out)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_manifest_to_json(m, &w);
  (void)!csn_jw_done(&w, NULL); /* deep nesting has a limit when written too */
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(64u << 20);
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(64u << 20), two = CSN_BUF(64u << 20);
  csn_auto(csn_buf_finip) csn_buf tree = CSN_BUF(1u << 20);
  csn_manifest *m;
  csn_err err = {0};
  if (read_it(a, csn_strn((const char *)p, n), &m, &err) < 0) {
    assert(err.msg[0]);
    return 0;
  }
  csn_manifest_describe(m, &tree);
  assert(tree.n <= 4 * 5000);
  write_it(m, &one);
  if (read_it(a, csn_buf_str(&one), &m, &err) < 0)
    return 0;
  write_it(m, &two);
  assert(csn_str_eq(csn_buf_str(&one), csn_buf_str(&two)));
  return 0;
}
