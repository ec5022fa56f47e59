/* SPDX-License-Identifier: Apache-2.0
 * Layers are made of archives that no honest program would write; what stands
 * beside the layer's folder must never change. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"
#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/layer_store.h"
#include "sandbox/layer_unpack.h"
#include "tarball.h"

static char top[32];
static int top_fd = -1, layer = -1;

/* top/layer is the layer, top/outside a file that must stay as it is. */
static int
set_up(void **state)
{
  strcpy(top, "/dev/shm/csn-layer-XXXXXX");
  if (!mkdtemp(top))
    return -1;
  top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  mkdirat(top_fd, "layer", 0755);
  layer = openat(top_fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return csn_file_write(top_fd, "outside", CSN_STR("as it was"), 0600, false, NULL);
}

static int
tear_down(void **state)
{
  csn_auto(csn_closep) int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(layer);
  close(top_fd);
  return csn_remove_tree(shm, top + 9, NULL);
}

static int
unpack_n(csn_str tar, uint64_t bytes, uint64_t files, csn_layer_stats *stats, csn_err *err)
{
  csn_auto(csn_unpacker_freep) csn_unpacker *u = csn_unpacker_new(layer, bytes, files);
  csn_tar_sink sink = csn_unpacker_sink(u);
  csn_auto(csn_tar_freep) csn_tar *t = csn_tar_new(&sink);
  int rc = csn_tar_feed(t, tar, err);
  if (rc == 0)
    rc = csn_unpacker_end(u, err);
  *stats = csn_unpacker_stats(u);
  return rc;
}

static int
unpack(const struct tar_item *items, csn_layer_stats *stats, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 << 20);
  for (; items->type; items++)
    tar_add(&b, *items);
  tar_end(&b);
  return unpack_n(csn_buf_str(&b), 0, 0, stats, err);
}

static void
outside_is_as_it_was(void)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  struct stat st;
  csn_err err;
  OK(csn_file_read(top_fd, "outside", &text, &err), &err);
  STR_EQ(csn_buf_str(&text), "as it was");
  assert_int_equal(fstatat(top_fd, "outside", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(st.st_nlink, 1);
}

static struct stat
look(const char *path)
{
  struct stat st;
  if (fstatat(layer, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    fail_msg("%s is missing", path);
  return st;
}

static bool
is_hidden(const char *path)
{
  struct stat st = look(path);
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

static bool
is_opaque(const char *path)
{
  csn_auto(csn_closep) int fd = openat(layer, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char c = 0;
  return fgetxattr(fd, "user.overlay.opaque", &c, 1) == 1 && c == 'y';
}

TEST(modes_owners_links_and_times_are_kept)
{
  csn_layer_stats stats;
  csn_err err;
  const struct tar_item items[] = {
      {.type = '5', .name = "./", .mode = 0755},
      {.type = '5', .name = "./ro", .mode = 0555, .uid = 7},
      {.type = '0', .name = "./ro/f", .content = "text", .mode = 0640, .uid = 70000},
      {.type = '2', .name = "ro/abs", .link = "/ro/f"},
      {.type = '2', .name = "ro/up", .link = "../../../outside"},
      {.type = '1', .name = "hard", .link = "./ro/f"},
      {.type = '0', .name = "deep//x/./y", .content = "z"},
      {0},
  };
  OK(unpack(items, &stats, &err), &err);
  bool root = geteuid() == 0;
  assert_int_equal(look("ro").st_mode & 07777, root ? 0555 : 0755);
  assert_int_equal(look("ro/f").st_mode & 07777, 0640);
  assert_int_equal(look("ro/f").st_mtime, 1000000000);
  assert_int_equal(look("ro").st_mtime, 1000000000);
  assert_int_equal(look("ro").st_uid, root ? 7 : geteuid());
  assert_int_equal(look("ro/f").st_uid, root ? 65534 : geteuid()); /* no id of a jail */
  assert_int_equal(look("hard").st_ino, look("ro/f").st_ino);
  assert_true(S_ISLNK(look("ro/abs").st_mode) && S_ISLNK(look("ro/up").st_mode));
  assert_int_equal(look("deep/x/y").st_size, 1);
  assert_int_equal(stats.bytes, 5);
  outside_is_as_it_was();
}

TEST(special_bits_and_devices_are_dropped)
{
  csn_layer_stats stats;
  csn_err err;
  struct stat st;
  const struct tar_item items[] = {
      {.type = '0', .name = "su", .content = "x", .mode = 06755},
      {.type = '5', .name = "sticky", .mode = 01777},
      {.type = '5', .name = "sg", .mode = 02755},
      {.type = '3', .name = "null"},
      {.type = '4', .name = "disk"},
      {.type = '6', .name = "pipe"},
      {.type = '3', .name = ".wh.x"},
      {0},
  };
  OK(unpack(items, &stats, &err), &err);
  assert_int_equal(look("su").st_mode & 07777, 0755);
  assert_int_equal(look("sticky").st_mode & 07777, 01777);
  assert_int_equal(look("sg").st_mode & 07777, 0755);
  assert_int_equal(stats.dropped, 4);
  assert_int_equal(fstatat(layer, "null", &st, 0), -1);
  assert_int_equal(fstatat(layer, "pipe", &st, 0), -1);
}

TEST(ways_out_are_refused)
{
  static const struct {
    struct tar_item items[5];
    int code;
    const char *why;
  } rows[] = {
      {{{'0', "../outside", .content = "x"}}, CSN_E_DENIED, "\"..\""},
      {{{'0', "a/../../outside", .content = "x"}}, CSN_E_DENIED, "\"..\""},
      {{{'5', "a/.."}}, CSN_E_DENIED, "\"..\""},
      {{{'2', "l", ".."}, {'0', "l/outside", .content = "x"}}, CSN_E_DENIED, "through a link"},
      {{{'2', "l", "/"}, {'0', "l/tmp/x", .content = "x"}}, CSN_E_DENIED, "through a link"},
      {{{'2', "l", "m"}, {'2', "m", ".."}, {'5', "l/d"}}, CSN_E_DENIED, "through a link"},
      {{{'2', "l", ".."}, {'5', "l/layer/d"}}, CSN_E_DENIED, "through a link"},
      {{{'2', "d", ".."}, {'0', "d/e/f", .content = "x"}}, CSN_E_DENIED, "through a link"},
      {{{'0', "f", .content = "x"}, {'0', "f/g", .content = "x"}}, CSN_E_DENIED, "through a link"},
      {{{'1', "h", "../outside"}}, CSN_E_DENIED, "\"..\""},
      {{{'1', "h", "missing"}}, CSN_E_INVALID, "this layer lacks"},
      {{{'2', "l", ".."}, {'1', "h", "l/outside"}}, CSN_E_DENIED, "through a link"},
      {{{'5', "d"}, {'1', "h", "d"}}, CSN_E_INVALID, "this layer lacks"},
      {{{'0', "h", .content = "x"}, {'1', "h", "h"}}, CSN_E_INVALID, "link to itself"},
      {{{'0', ".wh.gone"}, {'1', "h", "gone"}}, CSN_E_INVALID, "this layer lacks"},
      {{{'0', ".", .content = "x"}}, CSN_E_INVALID, "no folder"},
      {{{'2', "/", ".."}}, CSN_E_INVALID, "no folder"},
      {{{'0', ".wh.."}}, CSN_E_INVALID, "hides no file"},
      {{{'0', ".wh..."}}, CSN_E_INVALID, "hides no file"},
      {{{'0', ".wh."}}, CSN_E_INVALID, "hides no file"},
      {{{'2', "l", ".."}, {'0', "l/.wh.outside"}}, CSN_E_DENIED, "through a link"},
      {{{'2', "l", ".."}, {'0', "l/.wh..wh..opq"}}, CSN_E_DENIED, "through a link"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_layer_stats stats;
    csn_err err = {0};
    int rc = unpack(rows[i].items, &stats, &err);
    if (rc != rows[i].code || !strstr(err.msg, rows[i].why))
      fail_msg("row %zu: code %d \"%s\"", i, rc, err.msg);
    outside_is_as_it_was();
    OK(csn_remove_tree(top_fd, "layer", &err), &err);
    close(layer);
    mkdirat(top_fd, "layer", 0755);
    layer = openat(top_fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
}

TEST(absolute_names_are_taken_from_the_layers_folder)
{
  csn_layer_stats stats;
  csn_err err;
  const struct tar_item items[] = {{'0', "/etc/x", .content = "1"}, {'1', "/h", "/etc/x"}, {0}};
  OK(unpack(items, &stats, &err), &err);
  assert_int_equal(look("etc/x").st_nlink, 2);
}

TEST(the_last_entry_of_a_name_counts_and_nothing_is_written_through)
{
  csn_layer_stats stats;
  csn_err err;
  const struct tar_item items[] = {
      {'2', "l", "../outside"},
      {'0', "l", .content = "new"}, /* not through the link */
      {'0', "a", .content = "one"},
      {'1', "b", "a"},
      {'0', "b", .content = "two"}, /* a stays "one" */
      {'5', "d"},
      {'0', "d/x", .content = "x"},
      {'2', "d", "/"}, /* the folder goes, with what it held */
      {'0', "f", .content = "x"},
      {'5', "f"},
      {'0', "f/y", .content = "y"},
      {'5', "f", .mode = 0700},
      {0},
  };
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  OK(unpack(items, &stats, &err), &err);
  OK(csn_file_read(layer, "l", &text, &err), &err);
  OK(csn_file_read(layer, "a", &text, &err), &err);
  OK(csn_file_read(layer, "b", &text, &err), &err);
  STR_EQ(csn_buf_str(&text), "newonetwo");
  assert_true(S_ISLNK(look("d").st_mode));
  assert_int_equal(look("f/y").st_size, 1);
  assert_int_equal(look("f").st_mode & 07777, 0700);
  outside_is_as_it_was();
}

TEST(whiteouts_become_those_of_the_overlay)
{
  csn_layer_stats stats;
  csn_err err;
  struct stat st;
  const struct tar_item items[] = {
      {'0', ".wh.gone"},
      {'5', "d"},
      {'0', "d/.wh.sub"},
      {'5', "o"},
      {'0', "o/.wh..wh..opq"},
      {'0', "o/mine", .content = "1"},
      {'0', ".wh.back"},
      {'0', "back", .content = "file over its own whiteout"},
      {'0', ".wh.tree"},
      {'5', "tree"}, /* a new folder where an old one was */
      {'0', "own", .content = ""},
      {'0', ".wh.own"},
      {'5', "owndir"},
      {'0', ".wh.owndir"},
      {'0', ".wh..wh.plnk"},
      {0},
  };
  OK(unpack(items, &stats, &err), &err);
  assert_true(is_hidden("gone") && is_hidden("d/sub"));
  assert_true(is_opaque("o") && is_opaque("tree") && is_opaque("owndir") && !is_opaque("d"));
  assert_true(S_ISREG(look("back").st_mode) && S_ISREG(look("own").st_mode));
  assert_int_equal(fstatat(layer, ".wh..wh.plnk", &st, 0), -1);
  assert_int_equal(fstatat(layer, "plnk", &st, 0), -1);
}

TEST(bombs_are_stopped_at_the_caps)
{
  csn_layer_stats stats;
  csn_err err = {0};
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 << 20);
  tar_add(&b, (struct tar_item){'0', "a", .content = "12345678"});
  tar_add(&b, (struct tar_item){'0', "b", .content = "12345678"});
  assert_int_equal(unpack_n(csn_buf_str(&b), 15, 0, &stats, &err), CSN_E_LIMIT);
  assert_non_null(strstr(err.msg, "b: the layer has more than 15 bytes"));
  assert_int_equal(unpack_n(csn_buf_str(&b), 0, 1, &stats, &err), CSN_E_LIMIT);
  csn_buf_clear(&b); /* folders that no entry announces count too */
  tar_add(&b, (struct tar_item){'0', "p/q/r/s", .content = "1"});
  assert_int_equal(unpack_n(csn_buf_str(&b), 0, 3, &stats, &err), CSN_E_LIMIT);
  csn_buf_clear(&b); /* a size that is announced and not there */
  struct tar_item huge = {'0', "huge"};
  tar_add_n(&b, &huge, (size_t)8 << 30);
  assert_int_equal(unpack_n(csn_buf_str(&b), 0, 0, &stats, &err), 0);
  assert_int_equal(look("huge").st_blocks, 0);
  csn_buf_clear(&b);
  size_t at = tar_add_n(&b, &huge, 0);
  memcpy(b.p + at + 124, "\x80\0\0\0\0\0\x01\0\0\0\0\0", 12); /* 1 TiB */
  tar_sign(&b, at);
  assert_int_equal(unpack_n(csn_buf_str(&b), 0, 0, &stats, &err), CSN_E_LIMIT);
  csn_buf_clear(&b); /* a part of a name that no file system takes */
  char name[300];
  memset(name, 'n', 299);
  name[299] = '\0';
  tar_pax(&b, 'x', "path", csn_cstr(name));
  tar_add(&b, (struct tar_item){'0', "x"});
  assert_int_equal(unpack_n(csn_buf_str(&b), 0, 0, &stats, &err), CSN_E_LIMIT);
}

TEST(a_tree_as_deep_as_names_allow_is_made_and_removed)
{
  csn_layer_stats stats;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 << 20);
  char name[2 * 2000 + 1];
  for (size_t i = 0; i < 2000; i++)
    memcpy(name + 2 * i, "d/", 2);
  name[3999] = '\0';
  tar_pax(&b, 'x', "path", csn_cstr(name));
  tar_add(&b, (struct tar_item){'0', "x", .content = "deep"});
  tar_end(&b);
  OK(unpack_n(csn_buf_str(&b), 0, 0, &stats, &err), &err);
  assert_int_equal(look(name).st_size, 4);
}

/* ---- the store ---- */

static int
archive_of(const struct tar_item *items, csn_digest *digest, int64_t *size)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 20);
  for (; items->type; items++)
    tar_add(&b, *items);
  tar_end(&b);
  int fd = openat(top_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  *digest = csn_sha256_of(csn_buf_str(&b));
  *size = (int64_t)b.n;
  assert_int_equal(csn_fd_write_all(fd, csn_buf_str(&b), NULL), 0);
  return fd;
}

static csn_layer_store *
open_store(void)
{
  char path[64];
  csn_layer_store *s = NULL;
  csn_err err;
  snprintf(path, sizeof path, "%s/store/images", top);
  setenv("CAISSON_IMAGES", path, 1);
  OK(csn_layer_store_open(&s, &err), &err);
  return s;
}

static const struct tar_item small[] = {{'0', "f", .content = "hello"}, {0}};

static size_t
count(const char *folder)
{
  char command[100], text[20] = "";
  snprintf(command, sizeof command, "ls %s/store/images/%s | wc -l", top, folder);
  FILE *f = popen(command, "r");
  (void)!fgets(text, sizeof text, f);
  pclose(f);
  int64_t n = -1;
  csn_str_int(csn_str_trim(csn_cstr(text)), &n);
  return (size_t)n;
}

TEST(a_layer_is_kept_once_and_found_by_its_digest)
{
  csn_err err;
  csn_digest want, got;
  csn_layer_stats stats;
  struct stat st;
  csn_layer_source from = {.digest = &want, .count = 1};
  csn_auto(csn_closep) int fd = from.fd = archive_of(small, &want, &from.size);
  csn_auto(csn_layer_store_freep) csn_layer_store *s = open_store();
  assert_int_equal(fstat(s->dir, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  assert_int_equal(csn_layer_open(s, &want, NULL), CSN_E_NOT_FOUND);
  OK(csn_layer_add(s, NULL, &from, NULL, &got, &stats, &err), &err);
  assert_memory_equal(&got, &want, sizeof got);
  csn_auto(csn_closep) int tree = csn_layer_open(s, &want, &err);
  OK(tree, &err);
  assert_int_equal(fstatat(tree, "f", &st, 0), 0);
  from.fd = -1; /* it is there: nothing is read */
  OK(csn_layer_add(s, NULL, &from, NULL, &got, &stats, &err), &err);
  assert_int_equal(stats.bytes, 5);
  assert_int_equal(count("tmp"), 0);
}

TEST(a_layer_with_a_wrong_digest_leaves_nothing)
{
  csn_err err = {0};
  csn_digest right, wrong = {{1}}, got;
  csn_layer_stats stats;
  csn_layer_source from = {.digest = &wrong, .count = 1};
  csn_auto(csn_closep) int fd = from.fd = archive_of(small, &right, &from.size);
  csn_auto(csn_layer_store_freep) csn_layer_store *s = open_store();
  assert_int_equal(csn_layer_add(s, NULL, &from, NULL, &got, &stats, &err), CSN_E_PARSE);
  assert_non_null(strstr(err.msg, "the layer is not what its image says"));
  from.digest = NULL;
  from.blob = &wrong;
  assert_int_equal(csn_layer_add(s, NULL, &from, NULL, &got, &stats, &err), CSN_E_PARSE);
  assert_non_null(strstr(err.msg, "the packed layer"));
  from.blob = NULL;
  from.size -= 700; /* cut */
  assert_int_equal(csn_layer_add(s, NULL, &from, NULL, &got, &stats, &err), CSN_E_PARSE);
  csn_scope sc;
  csn_scope_init(&sc, NULL, -1);
  csn_scope_cancel(&sc);
  assert_int_equal(csn_layer_add(s, &sc, &from, NULL, &got, &stats, &err), CSN_E_CANCELLED);
  csn_scope_fini(&sc);
  assert_int_equal(count("layers"), 0);
  assert_int_equal(count("tmp"), 0);
}

TEST(layers_added_by_several_processes_at_once_are_whole)
{
  csn_digest want;
  csn_layer_source from = {.digest = &want, .count = 1};
  csn_auto(csn_closep) int fd = from.fd = archive_of(small, &want, &from.size);
  csn_layer_store_free(open_store());
  for (int i = 0; i < 8; i++)
    if (fork() == 0) {
      csn_digest got;
      csn_layer_stats stats;
      csn_layer_store *s = NULL;
      bool good = csn_layer_store_open(&s, NULL) == 0;
      for (int n = 0; good && n < 20; n++) {
        good = csn_layer_add(s, NULL, &from, NULL, &got, &stats, NULL) == 0;
        int tree = good ? csn_layer_open(s, &want, NULL) : -1;
        good = good && tree >= 0 && faccessat(tree, "f", F_OK, 0) == 0;
        close(tree);
      }
      _exit(good ? 0 : 1);
    }
  for (int i = 0; i < 8; i++) {
    int status;
    wait(&status);
    assert_int_equal(status, 0);
  }
  assert_int_equal(count("layers"), 1);
  assert_int_equal(count("tmp"), 0);
}

TEST(a_sweep_spares_what_is_kept_or_in_use)
{
  csn_err err;
  csn_digest a, b, c;
  csn_layer_stats stats;
  uint64_t bytes;
  static const struct tar_item others[2][2] = {{{'0', "g", .content = "12"}, {0}},
                                               {{'0', "h", .content = "345"}, {0}}};
  csn_digest *all[] = {&a, &b, &c};
  const struct tar_item *items[] = {small, others[0], others[1]};
  csn_layer_store *s = open_store();
  for (size_t i = 0; i < 3; i++) {
    csn_layer_source from = {.count = 1};
    csn_auto(csn_closep) int fd = from.fd = archive_of(items[i], all[i], &from.size);
    OK(csn_layer_add(s, NULL, &from, NULL, all[i], &stats, &err), &err);
  }
  int used = csn_layer_open(s, &b, &err);
  mkdirat(s->dir, "tmp/left-by-a-crash", 0700);
  csn_layer_store *other = open_store();
  assert_int_equal(csn_layer_store_own(s, &err), CSN_E_CONFLICT);
  csn_layer_store_free(other);
  OK(csn_layer_store_own(s, &err), &err);
  assert_int_equal(csn_layer_store_sweep(s, &a, 1, &bytes, &err), 1);
  assert_int_equal(bytes, 3);
  assert_true(csn_layer_exists(s, &a) && csn_layer_exists(s, &b) && !csn_layer_exists(s, &c));
  assert_int_equal(count("tmp"), 0);
  close(used);
  assert_int_equal(csn_layer_store_sweep(s, &a, 1, &bytes, &err), 1);
  assert_false(csn_layer_exists(s, &b));
  csn_layer_store_free(s);
}

TEST(the_store_is_where_the_environment_says)
{
  csn_err err = {0};
  csn_layer_store *s = NULL;
  char path[64];
  unsetenv("CAISSON_IMAGES");
  snprintf(path, sizeof path, "%s/data", top);
  setenv("XDG_DATA_HOME", path, 1);
  OK(csn_layer_store_open(&s, &err), &err);
  assert_string_equal(s->path + strlen(path), "/caisson/images");
  csn_layer_store_free(s);
  setenv("XDG_DATA_HOME", "relative", 1);
  setenv("HOME", top, 1);
  OK(csn_layer_store_open(&s, &err), &err);
  assert_string_equal(s->path + strlen(top), "/.local/share/caisson/images");
  csn_layer_store_free(s);
  setenv("CAISSON_IMAGES", "relative", 1);
  assert_int_equal(csn_layer_store_open(&s, &err), CSN_E_INVALID);
  if (geteuid() == 0) { /* somebody else's folder */
    snprintf(path, sizeof path, "%s/theirs", top);
    mkdir(path, 0777);
    assert_int_equal(chown(path, 12345, 12345), 0);
    setenv("CAISSON_IMAGES", path, 1);
    assert_int_equal(csn_layer_store_open(&s, &err), CSN_E_DENIED);
  }
}

#define IN_FOLDER(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

RUN_TESTS("sandbox/layers", IN_FOLDER(modes_owners_links_and_times_are_kept),
          IN_FOLDER(special_bits_and_devices_are_dropped), IN_FOLDER(ways_out_are_refused),
          IN_FOLDER(absolute_names_are_taken_from_the_layers_folder),
          IN_FOLDER(the_last_entry_of_a_name_counts_and_nothing_is_written_through),
          IN_FOLDER(whiteouts_become_those_of_the_overlay),
          IN_FOLDER(bombs_are_stopped_at_the_caps),
          IN_FOLDER(a_tree_as_deep_as_names_allow_is_made_and_removed),
          IN_FOLDER(a_layer_is_kept_once_and_found_by_its_digest),
          IN_FOLDER(a_layer_with_a_wrong_digest_leaves_nothing),
          IN_FOLDER(layers_added_by_several_processes_at_once_are_whole),
          IN_FOLDER(a_sweep_spares_what_is_kept_or_in_use),
          IN_FOLDER(the_store_is_where_the_environment_says))
