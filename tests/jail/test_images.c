/* SPDX-License-Identifier: Apache-2.0
 *
 * test_images.c - jails on images: layers over each other, whose files are
 * whose, what the image says about its commands, and machines on which an
 * overlay is not to be had. */
#include "sandbox/images.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "../sandbox/made_image.h"
#include "identity.h"

static csn_buf tool = {.cap = 16 << 20};
static char top[40];
static int top_fd = -1;
static struct image_layer layers[3];

static const char own[] = "\"Env\":[\"FROM=image\",\"LANG=image\",\"PATH=/x:/bin\"]";

static void
add(struct image_layer *l, struct tar_item item)
{
  tar_add(&l->tar, item);
}

/* Three layers: programs and files; some of them hidden; some brought back. */
static void
make_layers(void)
{
  for (size_t i = 0; i < 3; i++)
    layer_begin(&layers[i]);
  struct image_layer *l = &layers[0];
  struct tar_item program = {'0', "bin/tool", .content = tool.p};
  tar_add_n(&l->tar, &program, tool.n);
  add(l, (struct tar_item){'2', "bin/sh", "tool"});
  add(l, (struct tar_item){'5', "d"});
  add(l, (struct tar_item){'0', "d/a", .content = "1"});
  add(l, (struct tar_item){'0', "d/b", .content = "1"});
  add(l, (struct tar_item){'5', "o"});
  add(l, (struct tar_item){'0', "o/old", .content = "1"});
  add(l, (struct tar_item){'0', "f", .content = "one", .mode = 0644});
  add(l, (struct tar_item){'0', "theirs", .content = "x", .mode = 0600, .uid = 33});
  add(l, (struct tar_item){'0', "users", .content = "mine", .mode = 0600, .uid = 1000});
  l = &layers[1];
  add(l, (struct tar_item){'0', "d/.wh.a"});
  add(l, (struct tar_item){'5', "o"});
  add(l, (struct tar_item){'0', "o/.wh..wh..opq"});
  add(l, (struct tar_item){'0', "o/new", .content = "2"});
  add(l, (struct tar_item){'0', "f", .content = "two", .mode = 0644});
  add(l, (struct tar_item){'0', ".wh.gone"});
  l = &layers[2];
  add(l, (struct tar_item){'0', "d/c", .content = "3"});
  add(l, (struct tar_item){'0', ".wh.theirs"});
  for (size_t i = 0; i < 3; i++)
    layer_end(&layers[i]);
}

static int
set_up(void **state)
{
  char path[64];
  strcpy(top, "/tmp/csn-jailimg-XXXXXX");
  if (!mkdtemp(top))
    return -1;
  top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  snprintf(path, sizeof path, "%s/store", top);
  setenv("CAISSON_IMAGES", path, 1);
  mkdirat(top_fd, "layout", 0755);
  csn_auto(csn_closep) int dir = openat(top_fd, "layout", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  write_layout(dir, layers, 3, own, "v1");
  return 0;
}

static int
tear_down(void **state)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(top_fd);
  return csn_remove_tree(tmp, top + 5, NULL);
}

static const char *
at(const char *head, const char *name)
{
  static char text[200];
  snprintf(text, sizeof text, "%s%s/%s", head, top, name);
  return text;
}

static csn_sandbox *
open_on(const char *rootfs, const char *const *environment)
{
  csn_sandbox *sb = NULL;
  csn_err err;
  csn_sandbox_spec spec = {
      .workspace_fd = -1, .lock_fd = -1, .rootfs = rootfs, .environment = environment};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  return sb;
}

static void
prints(csn_sandbox *sb, const char *what, const char *arg, const char *want)
{
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  const char *argv[] = {"/bin/tool", what, arg, NULL};
  OK(csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err),
     &err);
  if (!csn_str_eq(csn_buf_str(&out), csn_cstr(want)))
    fail_msg("%s %s printed '%s', expected '%s'", what, arg, out.p ? out.p : "", want);
}

/* What the three layers are together. */
static void
is_like_the_image(csn_sandbox *sb)
{
  prints(sb, "ls", "/d", "b c");
  prints(sb, "ls", "/o", "new");
  prints(sb, "cat", "/f", "two");
  prints(sb, "cat", "/theirs", "No such file or directory");
  prints(sb, "ls", "/gone", "No such file or directory");
}

static void
is_the_image(csn_sandbox *sb)
{
  is_like_the_image(sb);
  prints(sb, "cat", "/users", "mine");
  prints(sb, "write", "/users", "Read-only file system");
}

TEST(layers_lie_over_each_other)
{
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_on(at("oci:", "layout"), NULL);
  is_the_image(sb);
  csn_auto(csn_sandbox_closep) csn_sandbox *again = open_on(at("oci:", "layout"), NULL);
  is_the_image(again);
}

TEST(files_of_the_images_root_belong_to_the_jails_root)
{
  csn_err err;
  bool root = geteuid() == 0;
  OK(csn_file_write(top_fd, "base.tar", csn_buf_str(&layers[0].tar), 0644, false, &err), &err);
  const char *words[] = {"oci:", "tar:", "dir:"};
  for (size_t i = 0; i < 3; i++) {
    const char *word = at(words[i], i == 0 ? "layout" : "base.tar");
    char folder[200];
    if (i == 2) { /* the unpacked layer as a folder */
      csn_image *image;
      csn_layer_store *s;
      OK(csn_layer_store_open(&s, &err), &err);
      OK(csn_image_cached(s, NULL, at("tar:", "base.tar"), NULL, &image, &err), &err);
      snprintf(folder, sizeof folder, "dir:%s/layers/%s/fs", s->path, layers[0].hex);
      csn_image_free(image);
      csn_layer_store_free(s);
      word = folder;
    }
    csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_on(word, NULL);
    prints(sb, "stat", "/f", root ? "644 0:0" : "644 1000:1000");
    prints(sb, "stat", "/users", "600 1000:1000");
    if (i > 0)
      prints(sb, "stat", "/theirs", root ? "600 33:33" : "600 1000:1000");
    if (i > 0)
      prints(sb, "cat", "/theirs", root ? "Permission denied" : "x");
    prints(sb, "id", "", "1000:1000");
  }
}

TEST(the_images_variables_are_defaults)
{
  const char *given[] = {"LANG=given", NULL};
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_on(at("oci:", "layout"), given);
  prints(sb, "env", "FROM", "image");
  prints(sb, "env", "LANG", "given");
  prints(sb, "env", "PATH", "/x:/bin");
  prints(sb, "env", "HOME", "/home/user");
}

TEST(an_image_may_have_very_many_layers)
{
  enum { MANY = CSN_OCI_LAYERS_MAX };
  static struct image_layer many[MANY];
  csn_err err;
  mkdirat(top_fd, "many", 0755);
  csn_auto(csn_closep) int dir = openat(top_fd, "many", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  many[0] = layers[0];
  for (size_t i = 1; i < MANY; i++) {
    char text[20];
    snprintf(text, sizeof text, "%zu", i);
    layer_begin(&many[i]);
    tar_add(&many[i].tar, (struct tar_item){'0', "f", .content = i == 2 ? "1" : text});
    if (i % 2)
      tar_add(&many[i].tar, (struct tar_item){'0', "n", .content = text});
    layer_end(&many[i]);
  }
  write_layout(dir, many, MANY, own, "v1");
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_on(at("oci:", "many"), NULL);
  prints(sb, "cat", "/f", "126");
  prints(sb, "cat", "/n", "125");
  for (size_t i = 1; i < MANY; i++)
    csn_buf_fini(&many[i].tar);
  (void)err;
}

TEST(a_layer_in_use_outlives_its_image)
{
  csn_err err;
  uint64_t bytes = 1;
  csn_layer_store *s;
  csn_image *i;
  csn_sandbox *sb = open_on(at("oci:", "layout"), NULL);
  OK(csn_layer_store_open(&s, &err), &err);
  OK(csn_image_remove(s, at("oci:", "layout"), &bytes, &err), &err);
  csn_layer_store_free(s);
  assert_int_equal(bytes, 0);
  is_the_image(sb);
  csn_sandbox_close(sb);
  OK(csn_layer_store_open(&s, &err), &err);
  OK(csn_image_import(s, NULL, at("oci:", "layout"), "x", NULL, &i, &err), &err);
  csn_image_free(i);
  OK(csn_image_remove(s, "x", &bytes, &err), &err);
  assert_true(bytes > 0);
  csn_layer_store_free(s);
}

TEST(what_cannot_be_a_root_file_system_is_said)
{
  static const struct {
    const char *word;
    int code;
    const char *why;
  } rows[] = {{"image:nobody", CSN_E_NOT_FOUND, "caisson image import"},
              {"docker:x", CSN_E_INVALID, "expected host"},
              {"oci:/nowhere", CSN_E_NOT_FOUND, "oci:/nowhere"},
              {"dir:/nowhere", CSN_E_NOT_FOUND, "/nowhere"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_sandbox *sb;
    csn_err err = {0};
    csn_sandbox_spec spec = {.workspace_fd = -1, .lock_fd = -1, .rootfs = rows[i].word};
    int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
    if (rc != rows[i].code || !strstr(err.msg, rows[i].why))
      fail_msg("%s: %d %s", rows[i].word, rc, err.msg);
  }
}

/* ---- machines that lack something ---- */

/* Takes away fsopen(2), as on a kernel without the new calls, and with
 * `overlay` the mount(2) that would do instead. */
static void
take_away(bool overlay)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 430 /* fsopen */, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mount, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
               overlay ? MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME : 0xdead, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENODEV),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {CSN_COUNT(code), code};
  assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static size_t
count_layers(void)
{
  size_t n = 0;
  csn_auto(csn_closep) int fd = openat(top_fd, "store/layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char text[64 * 1024];
  for (long got; (got = syscall(SYS_getdents64, fd, text, sizeof text)) > 0;)
    for (char *p = text; p < text + got; p += *(unsigned short *)(void *)(p + 16))
      n += p[19] != '.';
  return n;
}

/* In a process of its own; the spawner that it starts lacks the same. */
static void
works_without(bool overlay)
{
  if (!machine_has_namespaces())
    SKIP("this machine has no user namespaces");
  pid_t pid = fork();
  if (pid == 0) {
    take_away(overlay);
    csn_sandbox *sb = open_on(at("oci:", "layout"), NULL);
    is_the_image(sb);
    csn_sandbox_close(sb);
    sb = open_on(at("oci:", "layout"), NULL);
    is_the_image(sb);
    csn_sandbox_close(sb);
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
  assert_int_equal(count_layers(), overlay ? 4 : 3); /* with what was merged */
}

TEST(an_old_kernels_mount_will_do)
{
  works_without(false);
}

TEST(without_an_overlay_layers_are_merged_once)
{
  works_without(true);
}

/* The store on an overlay on an overlay, as in a container in a container: the
 * kernel allows no third. */
TEST(on_overlays_over_overlays_layers_are_merged)
{
  char a[300], b[300];
  static const char *const folders[] = {"l", "u1", "w1", "m1", "u2", "w2", "m2"};
  if (geteuid() != 0)
    SKIP("mounting overlays is root's");
  pid_t pid = fork();
  if (pid == 0) {
    bool good = unshare(CLONE_NEWNS) == 0 &&
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount("tmpfs", top, "tmpfs", 0, NULL) == 0;
    for (size_t i = 0; good && i < CSN_COUNT(folders); i++)
      good = mkdir(at("", folders[i]), 0755) == 0;
    snprintf(a, sizeof a, "lowerdir=%1$s/l,upperdir=%1$s/u1,workdir=%1$s/w1", top);
    snprintf(b, sizeof b, "lowerdir=%1$s/m1,upperdir=%1$s/u2,workdir=%1$s/w2", top);
    good = good && mount("overlay", at("", "m1"), "overlay", 0, a) == 0 &&
           mount("overlay", at("", "m2"), "overlay", 0, b) == 0;
    if (!good)
      _exit(77);
    setenv("CAISSON_IMAGES", at("", "m2/store"), 1);
    csn_auto(csn_closep) int dir = open(at("", "m2"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    write_layout(dir, layers, 3, own, "v1");
    csn_sandbox *sb = open_on(at("oci:", "m2"), NULL);
    is_like_the_image(sb); /* an overlay's mounts cannot be id-mapped */
    csn_sandbox_close(sb);
    _exit(0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    SKIP("this machine does not let root mount an overlay on an overlay");
  assert_int_equal(status, 0);
}

#define ON_IMAGE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      ON_IMAGE(layers_lie_over_each_other),
      ON_IMAGE(files_of_the_images_root_belong_to_the_jails_root),
      ON_IMAGE(the_images_variables_are_defaults),
      ON_IMAGE(an_image_may_have_very_many_layers),
      ON_IMAGE(a_layer_in_use_outlives_its_image),
      ON_IMAGE(what_cannot_be_a_root_file_system_is_said),
      ON_IMAGE(an_old_kernels_mount_will_do),
      ON_IMAGE(without_an_overlay_layers_are_merged_once),
      ON_IMAGE(on_overlays_over_overlays_layers_are_merged),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail/images", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  csn_auto(csn_closep) int fd = open(getenv("CSN_IMAGE_TOOL"), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || csn_fd_read_all(fd, &tool, NULL) < 0) {
    printf("Bail out! CSN_IMAGE_TOOL is missing\n");
    return 1;
  }
  make_layers();
  return run_as(argc, argv, tests);
}
