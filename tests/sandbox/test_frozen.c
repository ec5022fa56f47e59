/* SPDX-License-Identifier: Apache-2.0
 *
 * test_frozen.c - names of frozen workspaces, and what gc leaves to runs. */
#include "sandbox/frozen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "sandbox/stack.h"

struct place {
  char path[40];
  int fd;
};

static void
begin(struct place *p)
{
  *p = (struct place){.path = "/tmp/csn-frozen-XXXXXX"};
  assert_non_null(mkdtemp(p->path));
  p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(p->fd >= 0);
}

static void
end(struct place *p)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(p->fd);
  assert_int_equal(csn_remove_tree(tmp, p->path + 5, NULL), 0);
}

static void
write_file(struct place *p, const char *folder, const char *name, const char *text)
{
  csn_err err;
  OK(csn_mkdirs(p->fd, folder, 0700, &err), &err);
  csn_auto(csn_closep) int dir = csn_open_beneath(p->fd, folder, O_RDONLY | O_DIRECTORY, 0, &err);
  OK(csn_file_write(dir, name, csn_cstr(text), 0600, false, &err), &err);
}

static bool
is_there(struct place *p, const char *path)
{
  return faccessat(p->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#define ONE "aaaaaaaaaaaaaaaaaaaaaaa1"
#define TWO "aaaaaaaaaaaaaaaaaaaaaaa2"
#define THREE "aaaaaaaaaaaaaaaaaaaaaaa3"

static void
make_layers(struct place *p)
{
  write_file(p, "snapshots/layers/" ONE, "f", "1");
  write_file(p, "snapshots/layers/" TWO, "f", "2");
  write_file(p, "snapshots/layers/" THREE, "f", "3");
}

TEST(a_name_stands_for_its_layers_until_one_of_them_is_gone)
{
  static const char *const names[] = {ONE, TWO, NULL};
  const char *const *got;
  struct place p;
  csn_err err;
  begin(&p);
  make_layers(&p);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  OK(csn_frozen_put(p.fd, "run.7", names, &err), &err);
  OK(csn_frozen_get(p.fd, "run.7", a, &got, &err), &err);
  assert_string_equal(got[0], ONE);
  assert_string_equal(got[1], TWO);
  assert_null(got[2]);
  assert_int_equal(csn_frozen_get(p.fd, "run.8", a, &got, &err), CSN_E_NOT_FOUND);
  assert_int_equal(csn_frozen_put(p.fd, "../run", names, &err), CSN_E_INVALID);
  OK(csn_remove_tree(p.fd, "snapshots/layers/" TWO, &err), &err);
  assert_int_equal(csn_frozen_get(p.fd, "run.7", a, &got, &err), CSN_E_NOT_FOUND);
  end(&p);
}

TEST(all_names_of_a_run_go_and_no_others)
{
  static const char *const names[] = {ONE, NULL};
  struct place p;
  csn_err err;
  begin(&p);
  make_layers(&p);
  static const char *const kept[] = {"run.7", "run.base", "runs.7", "run"};
  for (size_t i = 0; i < CSN_COUNT(kept); i++) {
    OK(csn_frozen_put(p.fd, kept[i], names, &err), &err);
    write_file(&p, "snapshots/names", kept[i], "{}");
  }
  csn_frozen_drop_of(p.fd, "run");
  assert_false(is_there(&p, "snapshots/frozen/run.7") || is_there(&p, "snapshots/names/run.7"));
  assert_false(is_there(&p, "snapshots/frozen/run.base") ||
               is_there(&p, "snapshots/names/run.base"));
  assert_true(is_there(&p, "snapshots/frozen/runs.7") && is_there(&p, "snapshots/names/runs.7"));
  assert_true(is_there(&p, "snapshots/frozen/run") && is_there(&p, "snapshots/names/run"));
  end(&p);
}

TEST(layers_that_something_has_stay)
{
  static const char *const names[] = {ONE, NULL};
  static const char list[] = ONE "\n" TWO "\n" THREE "\n";
  const csn_retention all = {0};
  csn_snapshots_swept swept;
  csn_snapshots *s = NULL;
  struct place p;
  csn_err err;
  begin(&p);
  make_layers(&p);
  OK(csn_frozen_put(p.fd, "run.7", names, &err), &err);
  write_file(&p, "sandboxes/other/stack", "layers", TWO "\n");
  csn_frozen_drop_layers(p.fd, csn_cstr(list));
  assert_true(is_there(&p, "snapshots/layers/" ONE "/f")); /* a checkpoint */
  assert_true(is_there(&p, "snapshots/layers/" TWO "/f")); /* a workspace */
  assert_false(is_there(&p, "snapshots/layers/" THREE));
  OK(csn_snapshots_open(&s, p.fd, NULL, &err), &err);
  OK(csn_snapshots_gc(s, NULL, &all, &swept, &err), &err);
  assert_int_equal(swept.layers, 0);
  csn_frozen_drop(p.fd, "run.7");
  OK(csn_remove_tree(p.fd, "sandboxes/other", &err), &err);
  OK(csn_snapshots_gc(s, NULL, &all, &swept, &err), &err);
  assert_int_equal(swept.layers, 2);
  csn_snapshots_free(s);
  end(&p);
}

TEST(the_tree_that_a_run_began_with_and_its_checkpoints_are_not_dropped)
{
  csn_snapshots_swept swept;
  csn_snapshots *s = NULL;
  csn_snapshot saved;
  csn_digest tree;
  struct place p;
  csn_err err;
  begin(&p);
  write_file(&p, "from", "f", "a content of its own");
  csn_auto(csn_closep) int from = csn_open_beneath(p.fd, "from", O_RDONLY | O_DIRECTORY, 0, &err);
  OK(csn_snapshots_open(&s, p.fd, NULL, &err), &err);
  csn_snapshot_saving how = {.name = "first"};
  OK(csn_snapshot_save(s, NULL, &how, from, &saved, &err), &err);
  write_file(&p, "sandboxes/run", "lock", "");
  csn_auto(csn_closep) int box =
      csn_open_beneath(p.fd, "sandboxes/run", O_RDONLY | O_DIRECTORY, 0, &err);
  OK(csn_began_with_write(box, &saved.tree, &err), &err);
  OK(csn_began_with_read(box, &tree, &err), &err);
  assert_memory_equal(tree.b, saved.tree.b, sizeof tree.b);
  OK(csn_snapshot_remove(s, "first", &err), &err);
  how.name = "run.9";
  OK(csn_snapshot_save(s, NULL, &how, from, &saved, &err), &err);
  const csn_retention old = {.since_ms = INT64_MAX};
  OK(csn_snapshots_gc(s, NULL, &old, &swept, &err), &err);
  assert_int_equal(swept.snapshots, 0);
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_snap_tree_init(&t);
  OK(csn_snapshot_tree(s, NULL, &tree, &t, &err), &err);
  OK(csn_remove_tree(p.fd, "sandboxes", &err), &err);
  OK(csn_snapshots_gc(s, NULL, &old, &swept, &err), &err);
  assert_int_equal(swept.snapshots, 1);
  assert_true(swept.bytes > 0);
  csn_snapshots_free(s);
  end(&p);
}

RUN_TESTS("sandbox/frozen", RUN(a_name_stands_for_its_layers_until_one_of_them_is_gone),
          RUN(all_names_of_a_run_go_and_no_others), RUN(layers_that_something_has_stay),
          RUN(the_tree_that_a_run_began_with_and_its_checkpoints_are_not_dropped))
