/* SPDX-License-Identifier: Apache-2.0
 * snap_place.h - a store of snapshots in a folder of its own, and a folder to
 * save, for tests. */
#ifndef CSN_TESTS_SNAP_PLACE_H
#define CSN_TESTS_SNAP_PLACE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "sandbox/snapshots.h"

struct place {
  char path[40];
  int fd, from; /* `from`: a folder to save */
  csn_snapshots *s;
};

static inline int
folder_in(int dir, const char *name)
{
  if (mkdirat(dir, name, 0755) < 0)
    assert_int_equal(errno, EEXIST);
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(fd >= 0);
  return fd;
}

static inline void
reopen(struct place *p)
{
  csn_err err;
  csn_snapshots_free(csn_steal(p->s));
  OK(csn_snapshots_open(&p->s, p->fd, NULL, &err), &err);
}

static inline void
begin(struct place *p)
{
  *p = (struct place){.path = "/tmp/csn-snap-XXXXXX"};
  assert_non_null(mkdtemp(p->path));
  p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  p->from = folder_in(p->fd, "from");
  reopen(p);
}

static inline void
end(struct place *p)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_snapshots_free(p->s);
  close(p->from);
  close(p->fd);
  assert_int_equal(csn_remove_tree(tmp, p->path + 5, NULL), 0);
}

static const csn_retention all = {0}, none = {.since_ms = INT64_MAX};

static inline void
write_file(int dir, const char *path, const char *text)
{
  csn_err err;
  OK(csn_file_write(dir, path, csn_cstr(text), 0644, false, &err), &err);
}

/* What hardly packs. */
static inline void
fill(char *text, size_t n)
{
  uint32_t x = 1;
  for (size_t i = 0; i + 1 < n; i++) {
    x = x * 1664525 + 1013904223;
    text[i] = (char)(' ' + (x >> 24) % 90);
  }
  text[n - 1] = '\0';
}

static inline csn_snapshot
save(struct place *p, const char *name)
{
  csn_err err;
  csn_snapshot r;
  csn_snapshot_saving how = {.name = name};
  OK(csn_snapshot_save(p->s, NULL, &how, p->from, &r, &err), &err);
  return r;
}

static inline void
restore_into(struct place *p, const char *name, const char *folder)
{
  csn_err err;
  csn_snapshot r;
  csn_auto(csn_closep) int to = folder_in(p->fd, folder);
  OK(csn_snapshot_find(p->s, name, &r, &err), &err);
  OK(csn_snapshot_restore(p->s, NULL, &r, to, &err), &err);
}

static inline void
has_file(int dir, const char *path, const char *want)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  OK(csn_file_read(dir, path, &text, &err), &err);
  STR_EQ(csn_buf_str(&text), want);
}

#endif
