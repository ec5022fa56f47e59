/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a snapshot's list of files: what is taken is written back byte
 * for byte, and every path of it stays inside. */
#include <assert.h>

#include "sandbox/snap_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_str in = {(const char *)p, n};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(64u << 20);
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_snap_tree_init(&t);
  if (csn_snap_tree_parse(&t, in, NULL) < 0)
    return 0;
  assert(csn_snap_tree_write(&t, &out, NULL) == 0);
  assert(csn_str_eq(csn_buf_str(&out), in));
  for (size_t i = 0; i < t.n; i++) {
    assert(t.p[i].path.p[0] != '/' && !strstr(t.p[i].path.p, "/../"));
    assert(csn_snap_tree_find(&t, t.p[i].path) == &t.p[i]);
    assert(t.p[i].mode <= 0777);
  }
  return 0;
}
