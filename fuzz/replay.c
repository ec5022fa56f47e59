/* SPDX-License-Identifier: Apache-2.0
 * replay.c - the main of a fuzz target without a fuzzer: runs it over every
 * file of a folder, as given and cut short everywhere in its first bytes.
 * TAP, one test a file. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { CUTS = 512 };

int
main(int argc, char **argv)
{
  DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
  if (!folder) {
    printf("Bail out! usage: replay CORPUS\n");
    return 1;
  }
  int tests = 0;
  for (struct dirent *e; (e = readdir(folder));) {
    if (e->d_name[0] == '.')
      continue;
    csn_auto(csn_buf_finip) csn_buf in = CSN_BUF(16u << 20);
    csn_err err;
    if (csn_file_read(dirfd(folder), e->d_name, &in, &err) < 0) {
      printf("not ok %d - %s: %s\n", ++tests, e->d_name, err.msg);
      continue;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)in.p, in.n);
    for (size_t cut = 0; cut < in.n && cut < CUTS; cut++) {
      uint8_t *exact = csn_alloc(cut + 1); /* of its own, so that ASan sees a step too far */
      memcpy(exact, in.p, cut);
      LLVMFuzzerTestOneInput(exact, cut);
      free(exact);
    }
    printf("ok %d - %s\n", ++tests, e->d_name);
    fflush(stdout);
  }
  printf("1..%d\n", tests);
  closedir(folder);
  return 0;
}
