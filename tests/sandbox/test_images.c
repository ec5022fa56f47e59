/* SPDX-License-Identifier: Apache-2.0
 * Images are imported from every kind of source, listed, used again and
 * removed; what is damaged or wrong is refused with a word that helps. */
#include "sandbox/images.h"

#include <errno.h>
#include <unistd.h>

#include "check.h"
#include "core/proc.h"
#include "made_image.h"
#include "sandbox/rootfs_word.h"

static char top[40];
static int top_fd = -1;
static struct image_layer layers[3];
static csn_layer_store *store;

static const char own[] =
    "\"Env\":[\"A=1\",\"PATH=/bin\",\"no-value\",\"=x\"],\"User\":\"app:staff\","
    "\"WorkingDir\":\"/srv\",\"Entrypoint\":[\"/bin/e\",\"x\"],\"Cmd\":null";

static int
set_up(void **state)
{
  char path[64];
  strcpy(top, "/dev/shm/csn-images-XXXXXX");
  if (!mkdtemp(top))
    return -1;
  top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  snprintf(path, sizeof path, "%s/store", top);
  setenv("CAISSON_IMAGES", path, 1);
  for (size_t i = 0; i < 3; i++) {
    char name[] = "file0";
    name[4] = (char)('0' + i);
    layer_begin(&layers[i]);
    tar_add(&layers[i].tar, (struct tar_item){.type = '0', .name = name, .content = "12345"});
    layer_end(&layers[i]);
  }
  mkdirat(top_fd, "layout", 0755);
  csn_auto(csn_closep) int dir = openat(top_fd, "layout", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  write_layout(dir, layers, 2, own, "v1");
  return csn_layer_store_open(&store, NULL);
}

static int
tear_down(void **state)
{
  csn_auto(csn_closep) int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_layer_store_free(store);
  for (size_t i = 0; i < 3; i++)
    csn_buf_fini(&layers[i].tar);
  close(top_fd);
  return csn_remove_tree(shm, top + 9, NULL);
}

/* "HEAD:TOP/NAME"; valid until the next call. */
static const char *
at(const char *head, const char *name)
{
  static char text[200];
  snprintf(text, sizeof text, "%s%s/%s", head, top, name);
  return text;
}

static void
put(const char *name, csn_str bytes)
{
  csn_err err;
  OK(csn_file_write(top_fd, name, bytes, 0644, false, &err), &err);
}

static void
refuses(const char *source, int code, const char *why)
{
  csn_image *i = NULL;
  csn_err err = {0};
  int rc = csn_image_import(store, NULL, source, "x", NULL, &i, &err);
  if (rc != code || !strstr(err.msg, why))
    fail_msg("%s: code %d \"%s\", expected %d \"%s\"", source, rc, err.msg, code, why);
}

TEST(a_layout_gives_its_layers_and_how_commands_run)
{
  csn_err err;
  csn_auto(csn_image_freep) csn_image *i = NULL;
  csn_auto(csn_image_freep) csn_image *again = NULL;
  OK(csn_image_import(store, NULL, at("oci:", "layout"), NULL, NULL, &i, &err), &err);
  STR_EQ(i->name, "v1");
  assert_int_equal(i->config.n, 2);
  assert_memory_equal(&i->config.layers[1], &layers[1].digest, sizeof(csn_digest));
  assert_int_equal(i->bytes, 10);
  assert_int_equal(i->files, 2);
  OK(csn_image_find(store, "v1", &again, &err), &err);
  STR_EQ(again->config.user, "app:staff");
  STR_EQ(again->config.folder, "/srv");
  assert_string_equal(again->config.environment[0], "A=1");
  assert_string_equal(again->config.environment[1], "PATH=/bin");
  assert_null(again->config.environment[2]);
  assert_string_equal(again->config.entrypoint[1], "x");
  assert_null(again->config.command[0]);
}

TEST(a_path_alone_is_recognised)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf docker = CSN_BUF(1 << 20);
  write_docker(&docker, layers, 3, own, "app:1");
  put("saved.tar", csn_buf_str(&docker));
  put("root.tar", csn_buf_str(&layers[0].tar));
  static const struct {
    const char *file, *name, *source;
    size_t layers;
  } rows[] = {{"layout", "v1", "oci:", 2},
              {"saved.tar", "app:1", "oci:", 3},
              {"root.tar", "root", "tar:", 1}};
  for (size_t r = 0; r < CSN_COUNT(rows); r++) {
    csn_auto(csn_image_freep) csn_image *i = NULL;
    OK(csn_image_import(store, NULL, at("", rows[r].file), NULL, NULL, &i, &err), &err);
    STR_EQ(i->name, rows[r].name);
    STR_EQ(i->source, at(rows[r].source, rows[r].file));
    assert_int_equal(i->config.n, rows[r].layers);
  }
}

TEST(a_saved_archive_may_be_packed_and_hold_links)
{
  static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
  static const char *const packers[] = {"gzip", "xz", "bzip2", "zstd"};
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf docker = CSN_BUF(1 << 20);
  write_docker(&docker, layers, 3, own, "app:1");
  for (size_t p = 0; p < CSN_COUNT(packers); p++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
    char file[100];
    put("saved.tar", csn_buf_str(&docker));
    snprintf(file, sizeof file, "%s/saved.tar", top);
    const char *argv[] = {packers[p], "-kf", "-S", ".p", file, NULL};
    if (strcmp(packers[p], "bzip2") == 0 || strcmp(packers[p], "zstd") == 0)
      argv[2] = file, argv[3] = NULL;
    int rc = csn_command_run(&(csn_command){argv, env, -1}, NULL, &out, &err);
    if (rc == CSN_E_NOT_FOUND) {
      print_message("# skipped: this machine has no %s\n", packers[p]);
      continue;
    }
    assert_int_equal(rc, 0);
    const char *tail = argv[3] ? ".p" : strcmp(packers[p], "zstd") == 0 ? ".zst" : ".bz2";
    csn_auto(csn_image_freep) csn_image *i = NULL;
    strcat(file, tail);
    OK(csn_image_import(store, NULL, file, "packed", NULL, &i, &err), &err);
    assert_int_equal(i->config.n, 3);
    uint64_t bytes;
    csn_auto(csn_layer_store_freep) csn_layer_store *own_lock = csn_steal(store);
    OK(csn_image_remove(own_lock, "packed", &bytes, &err), &err);
    assert_int_equal(bytes, 15);
    csn_layer_store_free(csn_steal(own_lock));
    OK(csn_layer_store_open(&store, &err), &err);
  }
}

TEST(what_is_damaged_is_named)
{
  char path[140];
  csn_digest zero = {{0}};
  csn_auto(csn_buf_finip) csn_buf changed = CSN_BUF(1 << 20);
  csn_buf_add(&changed, csn_buf_str(&layers[1].tar));
  changed.p[512] ^= 1;
  snprintf(path, sizeof path, "layout/blobs/sha256/%s", layers[1].hex);
  put(path, csn_buf_str(&changed));
  refuses(at("oci:", "layout"), CSN_E_PARSE, "layer 2 of 2: the packed layer is not what");
  assert_int_equal(unlinkat(top_fd, path, 0), 0);
  refuses(at("oci:", "layout"), CSN_E_NOT_FOUND, "layer 2 of 2");
  put(path, CSN_STR(""));
  refuses(at("oci:", "layout"), CSN_E_PARSE, "layer 2 of 2");
  put("layout/index.json", CSN_STR("{\"manifests\":[]}"));
  refuses(at("oci:", "layout"), CSN_E_NOT_FOUND, "there are: none");
  put("layout/index.json", CSN_STR("[]"));
  refuses(at("oci:", "layout"), CSN_E_PARSE, "expected an object");
  csn_digest_hex(&zero, path);
  csn_buf_clear(&changed);
  csn_buf_addf(&changed, "{\"manifests\":[{\"digest\":\"sha256:%s\",\"size\":1}]}", path);
  put("layout/index.json", csn_buf_str(&changed));
  refuses(at("oci:", "layout"), CSN_E_NOT_FOUND, "blobs/sha256/0000");
  csn_auto(csn_buf_finip) csn_buf blob = CSN_BUF(200);
  csn_buf_addf(&blob, "layout/blobs/sha256/%s", path);
  put(blob.p, CSN_STR("{}"));
  refuses(at("oci:", "layout"), CSN_E_PARSE, "does not have the SHA-256 that names it");
}

TEST(what_is_no_image_is_named)
{
  put("text", CSN_STR("not an archive"));
  refuses(at("tar:", "text"), CSN_E_PARSE, "too early");
  refuses(at("", "text"), CSN_E_PARSE, "too early");
  put("empty", CSN_STR(""));
  refuses(at("tar:", "empty"), CSN_E_INVALID, "empty");
  refuses(at("tar:", "layout"), CSN_E_INVALID,
          "is a folder: a root file system in a folder is dir:");
  refuses(at("tar:", "missing"), CSN_E_NOT_FOUND, "missing");
  mkdirat(top_fd, "plain", 0755);
  refuses(at("", "plain"), CSN_E_INVALID, "rootfs dir:");
  refuses(at("oci:", "plain"), CSN_E_INVALID, "neither an OCI image layout");
  csn_auto(csn_buf_finip) csn_buf tar = CSN_BUF(1 << 20);
  csn_buf_add(&tar, csn_buf_str(&layers[0].tar));
  put("root.tar", csn_buf_str(&tar));
  refuses(at("oci:", "root.tar"), CSN_E_INVALID, "neither an OCI image layout");
  put("cut.tar.gz", CSN_STR("\x1f\x8b\x08\0\0\0\0\0\0\3"));
  refuses(at("tar:", "cut.tar.gz"), CSN_E_PARSE, "");
  csn_image *i = NULL;
  csn_err err = {0};
  assert_int_equal(csn_image_import(store, NULL, at("", "root.tar"), "a b", NULL, &i, &err),
                   CSN_E_INVALID);
  assert_int_equal(csn_image_find(store, "nobody", &i, &err), CSN_E_NOT_FOUND);
  assert_non_null(strstr(err.msg, "caisson image import"));
  assert_int_equal(csn_image_find(store, "../../x", &i, &err), CSN_E_NOT_FOUND);
}

TEST(an_image_of_another_machine_is_refused)
{
  csn_auto(csn_buf_finip) csn_buf docker = CSN_BUF(1 << 20);
  struct tar_item item = {.type = '0',
                          .name = "c.json",
                          .content = "{\"architecture\":\"vax\",\"os\":\"linux\",\"rootfs\":{"
                                     "\"diff_ids\":[]}}"};
  tar_add(&docker, item);
  item = (struct tar_item){
      .type = '0', .name = "manifest.json", .content = "[{\"Config\":\"c.json\",\"Layers\":[]}]"};
  tar_add(&docker, item);
  tar_end(&docker);
  put("vax.tar", csn_buf_str(&docker));
  refuses(at("", "vax.tar"), CSN_E_UNSUPPORTED, "for linux on vax, this is linux on");
}

TEST(one_of_several_is_chosen_by_machine_and_tag)
{
  static const char index[] =
      "{\"manifests\":["
      "{\"digest\":\"sha256:%1$064d\",\"platform\":{\"os\":\"linux\",\"architecture\":\"vax\"}},"
      "{\"digest\":\"sha256:%2$064d\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"},"
      "\"annotations\":{\"org.opencontainers.image.ref.name\":\"one\"}},"
      "{\"digest\":\"sha256:%3$064d\",\"platform\":{\"os\":\"unknown\",\"architecture\":"
      "\"unknown\"}},"
      "{\"digest\":\"sha256:%4$064d\",\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
      "\"annotations\":{\"org.opencontainers.image.ref.name\":\"two\"}}]}";
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  char text[2000];
  csn_err err = {0};
  csn_oci_choice choice;
  snprintf(text, sizeof text, index, 1, 2, 3, 4);
  OK(csn_oci_index_choose(a, csn_cstr(text), CSN_STR("one"), "amd64", &choice, &err), &err);
  assert_int_equal(choice.blob.digest.b[31], 2);
  assert_false(choice.is_index);
  OK(csn_oci_index_choose(a, csn_cstr(text), CSN_STR("two"), "amd64", &choice, &err), &err);
  assert_int_equal(choice.blob.digest.b[31], 4);
  assert_true(choice.is_index);
  assert_int_equal(csn_oci_index_choose(a, csn_cstr(text), CSN_STR(""), "amd64", &choice, &err),
                   CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "@NAME behind the path"));
  assert_non_null(strstr(err.msg, "one (amd64)"));
  assert_int_equal(csn_oci_index_choose(a, csn_cstr(text), CSN_STR("x"), "amd64", &choice, &err),
                   CSN_E_NOT_FOUND);
  csn_image *i = NULL;
  OK(csn_image_import(store, NULL, at("oci:", "layout@v1"), "x", NULL, &i, &err), &err);
  STR_EQ(i->source, at("oci:", "layout@v1"));
  csn_image_free(i);
  refuses(at("oci:", "layout@v2"), CSN_E_NOT_FOUND, "no image named v2");
}

TEST(a_source_is_read_again_only_when_it_changed)
{
  csn_err err;
  struct stat before, after;
  csn_image *i = NULL;
  const char *word = at("tar:", "root.tar");
  char record[100] = "sources/";
  put("root.tar", csn_buf_str(&layers[0].tar));
  OK(csn_image_cached(store, NULL, word, NULL, &i, &err), &err);
  assert_int_equal(i->name.n, 0);
  csn_digest d = csn_sha256_of(i->source);
  csn_digest_hex(&d, record + 8);
  csn_image_free(i);
  assert_int_equal(fstatat(store->dir, record, &before, 0), 0);
  OK(csn_image_cached(store, NULL, word, NULL, &i, &err), &err);
  csn_image_free(i);
  assert_int_equal(fstatat(store->dir, record, &after, 0), 0);
  assert_int_equal(before.st_ino, after.st_ino); /* not written anew */
  put("root.tar", csn_buf_str(&layers[1].tar));
  OK(csn_image_cached(store, NULL, word, NULL, &i, &err), &err);
  assert_memory_equal(&i->config.layers[0], &layers[1].digest, sizeof(csn_digest));
  csn_image_free(i);
}

TEST(removing_an_image_spares_layers_that_others_have)
{
  csn_err err;
  uint64_t bytes;
  csn_image *i = NULL, **list;
  size_t n;
  put("root.tar", csn_buf_str(&layers[0].tar));
  OK(csn_image_import(store, NULL, at("oci:", "layout"), "two", NULL, &i, &err), &err);
  csn_image_free(i);
  OK(csn_image_import(store, NULL, at("tar:", "root.tar"), "a/one", NULL, &i, &err), &err);
  csn_image_free(i);
  OK(csn_image_list(store, &list, &n, &err), &err);
  assert_int_equal(n, 2);
  STR_EQ(list[0]->name, "a/one");
  for (size_t k = 0; k < n; k++)
    csn_image_free(list[k]);
  free(list);
  OK(csn_image_remove(store, "two", &bytes, &err), &err);
  assert_int_equal(bytes, 5); /* one of its two layers is a/one's */
  OK(csn_image_find(store, "a/one", &i, &err), &err);
  csn_image_free(i);
  OK(csn_image_remove(store, "a/one", &bytes, &err), &err);
  assert_int_equal(bytes, 5);
  assert_int_equal(csn_image_remove(store, "a/one", &bytes, &err), CSN_E_NOT_FOUND);
}

TEST(words_name_root_file_systems)
{
  static const struct {
    const char *word;
    int kind;
    const char *path, *resolved;
  } rows[] = {
      {"", CSN_ROOTFS_HOST, "", NULL},
      {"host", CSN_ROOTFS_HOST, "", "host"},
      {"/srv/root", CSN_ROOTFS_FOLDER, "/srv/root", "/srv/root"},
      {"dir:x", CSN_ROOTFS_FOLDER, "x", "dir:/f/x"},
      {"tar:/a.tar", CSN_ROOTFS_TAR, "/a.tar", "tar:/a.tar"},
      {"oci:a:b", CSN_ROOTFS_OCI, "a:b", "oci:/f/a:b"},
      {"image:a/b:1", CSN_ROOTFS_IMAGE, "a/b:1", "image:a/b:1"},
      {"root", -1, "", "/f/root"},
      {"tar:", -1, "", NULL},
      {"docker:x", -1, "", "docker:x"},
      {"a/b:c", -1, "", "/f/a/b:c"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_rootfs_word w;
    csn_err err = {0};
    int rc = csn_rootfs_word_parse(csn_cstr(rows[i].word), &w, &err);
    assert_int_equal(rc, rows[i].kind < 0 ? CSN_E_INVALID : 0);
    if (rc == 0) {
      assert_int_equal((int)w.kind, rows[i].kind);
      STR_EQ(w.path, rows[i].path);
    }
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
    csn_rootfs_word_resolve(&out, csn_cstr(rows[i].word), "/f");
    if (rows[i].resolved)
      STR_EQ(csn_buf_str(&out), rows[i].resolved);
  }
}

#define IN_STORE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

RUN_TESTS("sandbox/images", IN_STORE(a_layout_gives_its_layers_and_how_commands_run),
          IN_STORE(a_path_alone_is_recognised),
          IN_STORE(a_saved_archive_may_be_packed_and_hold_links),
          IN_STORE(what_is_damaged_is_named), IN_STORE(what_is_no_image_is_named),
          IN_STORE(an_image_of_another_machine_is_refused),
          IN_STORE(one_of_several_is_chosen_by_machine_and_tag),
          IN_STORE(a_source_is_read_again_only_when_it_changed),
          IN_STORE(removing_an_image_spares_layers_that_others_have),
          RUN(words_name_root_file_systems))
