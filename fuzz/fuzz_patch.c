/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a patch for a folder with one file: refused with a reason, or
 * planned; nothing is written. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "caisson/patch.h"
#include "core/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A folder that has lost its name, so that nothing stays behind. */
static int
make_folder(void)
{
  char name[] = "/tmp/caisson-fuzz-XXXXXX";
  csn_err err;
  assert(mkdtemp(name));
  int dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert(dir >= 0);
  assert(csn_file_write(dir, "f", CSN_STR("a\nb\n  c\nb\nd\n"), 0644, false, &err) >= 0);
  return dir;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  static int dir = -1;
  if (dir < 0)
    dir = make_folder();
  csn_auto(csn_patch_freep) csn_patch *patch = NULL;
  csn_err err;
  if (csn_patch_parse(&patch, csn_strn((const char *)p, n), &err) < 0) {
    assert(err.msg[0]);
    return 0;
  }
  if (csn_patch_plan(patch, dir, "/workspace", NULL, &err) < 0) {
    assert(err.msg[0]);
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &json);
  csn_patch_to_json(patch, &w);
  assert(csn_jw_done(&w, &err) >= 0);
  return 0;
}
