/* SPDX-License-Identifier: Apache-2.0
 *
 * place.h - a folder of a test's own, in memory where that is possible, with a
 * descriptor; and files put into it. */
#ifndef CSN_TESTS_PLACE_H
#define CSN_TESTS_PLACE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "core/fd.h"

typedef struct place {
  char path[64];
  int fd;
} place;

static inline void
open_place(place *pl)
{
  const char *memory = "/dev/shm";
  snprintf(pl->path, sizeof pl->path, "%s/csn-test-XXXXXX",
           access(memory, W_OK) == 0 ? memory : "/tmp");
  assert_non_null(mkdtemp(pl->path));
  pl->fd = open(pl->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(pl->fd >= 0);
}

static inline void
close_place(place *pl)
{
  csn_err err;
  char *slash = strrchr(pl->path, '/');
  *slash = '\0';
  csn_auto(csn_closep) int up = open(pl->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(up, slash + 1, &err), &err);
  close(pl->fd);
}

/* A file, with the folders above it. */
static inline void
put(const place *pl, const char *path, const char *text, mode_t mode)
{
  csn_err err;
  csn_auto(csn_freep) char *dir = csn_dupz(csn_cstr(path));
  char *slash = strrchr(dir, '/');
  if (slash) {
    *slash = '\0';
    OK(csn_mkdirs(pl->fd, dir, 0755, &err), &err);
  }
  OK(csn_file_write(pl->fd, path, csn_cstr(text), mode, false, &err), &err);
}

#endif
