/* SPDX-License-Identifier: Apache-2.0
 * yaml_to_json.c - a YAML file as JSON, through the reader that agent files
 * get, so that a JSON Schema can be held against them. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/yaml.h"
#include "core/fd.h"

int
main(void)
{
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_YAML_MAX), out = CSN_BUF(CSN_YAML_MAX * 8);
  const csn_json *v;
  csn_jw w;
  csn_jw_init(&w, &out);
  int rc = csn_fd_read_all(STDIN_FILENO, &text, &err);
  if (rc == 0)
    rc = csn_yaml_parse(a, csn_buf_str(&text), "stdin", &v, &err);
  if (rc == 0) {
    csn_jw_value(&w, v);
    rc = csn_jw_done(&w, &err);
  }
  if (rc < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  return puts(out.p) < 0;
}
