/* SPDX-License-Identifier: Apache-2.0
 *
 * test_manifest.c - manifests: what is refused and with which words, the JSON
 * form there and back, the tree for the model, and what stands on disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "check.h"
#include "core/fd.h"
#include "core/proc.h"
#include "place.h"

#define ALLOW                                                                                      \
  "[\"ls\",\"find\",\"stat\",\"cat\",\"less\",\"head\",\"tail\",\"du\",\"grep\",\"rg\",\"wc\","    \
  "\"sort\",\"cut\",\"cp\",\"tee\",\"echo\",\"mkdir\",\"rm\"]"

static int
read_manifest(csn_arena *a, const char *json, csn_manifest **out, csn_err *err)
{
  const csn_json *v;
  OK(csn_json_parse(a, csn_cstr(json), &v, err), err);
  return csn_manifest_from_json(a, v, out, err);
}

static int
apply(const char *json, const place *work, const place *base, const place *source, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_manifest *m;
  int rc = read_manifest(a, json, &m, err);
  csn_materialize to = {.workspace_fd = work->fd,
                        .base_fd = base ? base->fd : -1,
                        .source_fd = source ? source->fd : -1,
                        .uid = -1,
                        .gid = -1};
  return rc < 0 ? rc : csn_manifest_apply(m, NULL, &to, err);
}

static mode_t
mode_of(const place *pl, const char *path)
{
  struct stat st;
  return fstatat(pl->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : st.st_mode;
}

static void
has_file(const place *pl, const char *path, const char *text, mode_t mode)
{
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1 << 20);
  csn_err err;
  OK(csn_file_read(pl->fd, path, &got, &err), &err);
  STR_EQ(csn_buf_str(&got), text);
  assert_int_equal(mode_of(pl, path) & 07777, mode);
}

TEST(mistakes_are_named_with_their_place)
{
  static const struct {
    const char *json, *msg;
  } rows[] = {
      {"[]", "manifest: expected an object, found a list"},
      {"{\"version\":2}", "manifest: version: only version 1 is known"},
      {"{\"root\":\"workspace\"}", "manifest: root: expected an absolute path"},
      {"{\"root\":\"/\"}", "manifest: root: expected an absolute path"},
      {"{\"nope\":1}", "nope: unknown key; known here are: version root entries"},
      {"{\"entries\":[]}", "entries: expected an object, found a list"},
      {"{\"entries\":{\"a\":1}}", "entries.a: expected an object, found a number"},
      {"{\"entries\":{\"a\":{}}}", "entries.a: needs the key \"type\""},
      {"{\"entries\":{\"a\":{\"type\":\"ftp_mount\"}}}",
       "entries.a.type: \"ftp_mount\" is not supported; supported are dir, file, local_file, "
       "local_dir, git_repo, archive, url and the mounts s3_mount"},
      {"{\"entries\":{\"a\":{\"type\":\"file\"}}}", "entries.a: needs either \"content\""},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"content_base64\":\"\"}}}",
       "entries.a: needs either \"content\""},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":5}}}",
       "entries.a.content: expected a string: put it in quotes"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content_base64\":\"?\"}}}",
       "entries.a.content_base64: not base64"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"src\":\"b\"}}}",
       "entries.a.src: unknown key"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"is_dir\":true}}}",
       "entries.a: is_dir: a file is no folder"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"permissions\":{\"owner\":8}}}}",
       "entries.a.permissions: owner: expected 0 to 7"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"group\":{\"name\":\"\"}}}}",
       "entries.a.group: name: expected 1 to 64"},
      {"{\"entries\":{\"a\":{\"type\":\"local_file\"}}}", "entries.a: needs the key \"src\""},
      {"{\"entries\":{\"/a\":{\"type\":\"dir\"}}}", "entries./a: an absolute path"},
      {"{\"entries\":{\"\\\\a\":{\"type\":\"dir\"}}}", "entries.\\a: an absolute path"},
      {"{\"entries\":{\"C:\\\\a\":{\"type\":\"dir\"}}}", "entries.C:\\a: an absolute path"},
      {"{\"entries\":{\"a/../b\":{\"type\":\"dir\"}}}", "entries.a/../b: \"..\" is not allowed"},
      {"{\"entries\":{\"a\\\\..\":{\"type\":\"dir\"}}}", "(escape_root)"},
      {"{\"entries\":{\".\":{\"type\":\"dir\"}}}", "entries..: the name is empty"},
      {"{\"entries\":{\"\":{\"type\":\"dir\"}}}", "the name is empty"},
      {"{\"entries\":{\"a\\u0000b\":{\"type\":\"dir\"}}}", "holds NUL"},
      {"{\"entries\":{\"a\":{\"type\":\"dir\",\"children\":{\"..\":{\"type\":\"dir\"}}}}}",
       "entries.a.children...: \"..\" is not allowed"},
      {"{\"entries\":{\"a\":{\"type\":\"dir\",\"children\":{\"b\":{\"type\":\"x\"}}}}}",
       "entries.a.children.b.type: \"x\" is not supported"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/r\"}}}",
       "entries.a: needs the key \"ref\""},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"--upload-pack=x\",\"ref\":\"m\"}}}",
       "entries.a.repo: expected OWNER/NAME"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"ext::sh\",\"ref\":\"m\"}}}",
       "entries.a.repo: expected OWNER/NAME"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/r\",\"ref\":\"-x\"}}}",
       "entries.a.ref: expected a branch"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/r\",\"ref\":\"a..b\"}}}",
       "entries.a.ref: expected a branch"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/r\",\"ref\":\"m\",\"host\":\"h/"
       "x\"}}}",
       "entries.a.host: expected a host name"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/"
       "r\",\"ref\":\"m\",\"subpath\":\"a/../..\"}}}",
       "entries.a.subpath: \"..\" is not allowed (parent_traversal)"},
      {"{\"entries\":{\"a\":{\"type\":\"git_repo\",\"repo\":\"o/r\",\"ref\":\"m\",\"subpath\":\" "
       "\"}}}",
       "entries.a.subpath: is blank (empty)"},
      {"{\"environment\":{\"A\":\"1\"}}", "environment.A: unknown key; known here are: value"},
      {"{\"environment\":{\"value\":{\"A\":1}}}", "environment.value.A: expected a string: put it"},
      {"{\"environment\":{\"value\":{\"A=B\":\"1\"}}}", "not a usable name of a variable"},
      {"{\"environment\":{\"value\":{\"A\":{\"type\":\"env\",\"key\":\"x\"}}}}",
       "environment.value.A.key: unknown key; known here are: type name default"},
      {"{\"environment\":{\"value\":{\"A\":{\"type\":\"file\"}}}}",
       "environment.value.A: needs the key \"path\""},
      {"{\"environment\":{\"value\":{\"A\":{\"type\":1}}}}", "expected a word such as str"},
      {"{\"entries\":{\"a\":{\"type\":\"file\",\"content\":\"\",\"permissions\":\"rwx\"}}}",
       "entries.a.permissions: expected {owner, group, other} or a text such as -rwxr-x---"},
      {"{\"users\":[{\"name\":\"a:b\"}]}", "users.0: name: blanks and"},
      {"{\"users\":[{\"name\":\"a\",\"users\":[]}]}", "users.0: a user has only a name"},
      {"{\"extra_path_grants\":[{\"path\":\"/\"}]}", "extra_path_grants.0: expected an absolute"},
      {"{\"extra_path_grants\":[{\"path\":\"/a/../b\"}]}", "extra_path_grants.0: expected an"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_manifest *m;
    csn_err err = {0};
    int rc = read_manifest(a, rows[i].json, &m, &err);
    if (rc >= 0 || !strstr(err.msg, rows[i].msg))
      fail_msg("%s: got '%s', expected '%s'", rows[i].json, rc < 0 ? err.msg : "success",
               rows[i].msg);
  }
}

TEST(entries_that_claim_one_place_are_both_named)
{
  static const struct {
    const char *entries, *msg; /* NULL: fine */
  } rows[] = {
      {"\"a\":F,\"./a\":F", "entries../a: the same place as entries.a"},
      {"\"a\":F,\"a/b\":F", "entries.a/b: lies inside entries.a, which is a file"},
      {"\"a/b\":F,\"a\":F", "entries.a/b: lies inside entries.a, which is a file"},
      {"\"a\":F,\"a-\":F,\"a/b/c\":F", "entries.a/b/c: lies inside entries.a, which is a file"},
      {"\"d\":{\"type\":\"dir\",\"children\":{\"f\":F}},\"d/f\":F", "the same place as"},
      {"\"d\":{\"type\":\"dir\",\"children\":{\"f\":F}},\"d/g\":F", NULL},
      {"\"d\":{\"type\":\"local_dir\"},\"d/g\":F", NULL},
      {"\"a\":F,\"a.b\":F,\"a-b/c\":F", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(4096);
    csn_buf_addz(&json, "{\"entries\":{");
    for (const char *c = rows[i].entries; *c; c++)
      if (*c == 'F')
        csn_buf_addz(&json, "{\"type\":\"file\",\"content\":\"\"}");
      else
        csn_buf_addc(&json, *c);
    csn_buf_addz(&json, "}}");
    csn_manifest *m;
    csn_err err = {0};
    int rc = read_manifest(a, json.p, &m, &err);
    if (!rows[i].msg) {
      OK(rc, &err);
      continue;
    }
    assert_int_equal(rc, CSN_E_CONFLICT);
    if (!strstr(err.msg, rows[i].msg))
      fail_msg("got '%s', expected '%s'", err.msg, rows[i].msg);
  }
}

/* YAML readers set lines; here by hand. */
TEST(lines_are_told_when_they_are_known)
{
  csn_json src = {.kind = CSN_JSON_NUMBER, .line = 7, .key = CSN_STR("src"), .text = CSN_STR("1")};
  csn_json type = {.kind = CSN_JSON_STRING,
                   .line = 6,
                   .key = CSN_STR("type"),
                   .text = CSN_STR("local_dir"),
                   .next = &src};
  csn_json repo = {
      .kind = CSN_JSON_OBJECT, .n = 2, .line = 5, .key = CSN_STR("repo"), .child = &type};
  csn_json entries = {.kind = CSN_JSON_OBJECT, .n = 1, .key = CSN_STR("entries"), .child = &repo};
  csn_json top = {.kind = CSN_JSON_OBJECT, .n = 1, .child = &entries};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_manifest *m;
  csn_err err = {0};
  assert_true(csn_manifest_from_json(a, &top, &m, &err) < 0);
  STR_EQ(csn_cstr(err.msg), "entries.repo.src (line 7): expected a string: put it in quotes");
}

TEST(the_json_form_goes_out_as_it_came_in)
{
  static const char full[] =
      "{\"version\":1,\"root\":\"/workspace\",\"entries\":{"
      "\"f\":{\"type\":\"file\",\"description\":null,\"ephemeral\":false,\"group\":null,\"is_dir\":"
      "false,\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,\"directory\":false},\"content\":"
      "\"h\xc3\xa9\"},"
      "\"b\":{\"type\":\"file\",\"description\":\"bytes\",\"ephemeral\":true,\"group\":{\"name\":"
      "\"g\",\"users\":[{\"name\":\"u\"}]},\"is_dir\":false,\"permissions\":{\"owner\":6,\"group\":"
      "4,"
      "\"other\":0,\"directory\":false},\"content_base64\":\"/wA=\"},"
      "\"d\":{\"type\":\"dir\",\"description\":null,\"ephemeral\":false,\"group\":{\"name\":\"u\"},"
      "\"is_dir\":true,\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,\"directory\":true},"
      "\"children\":{\"x/y\":{\"type\":\"local_dir\",\"description\":null,\"ephemeral\":false,"
      "\"group\":null,\"is_dir\":true,\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,"
      "\"directory\":true},\"src\":null}}},"
      "\"l\":{\"type\":\"local_file\",\"description\":null,\"ephemeral\":false,\"group\":null,\"is_"
      "dir\":false,\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,\"directory\":false},"
      "\"src\":\"y\"},"
      "\"r\":{\"type\":\"git_repo\",\"description\":null,\"ephemeral\":false,\"group\":null,\"is_"
      "dir\":true,\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,\"directory\":true},"
      "\"host\":"
      "\"github.com\",\"repo\":\"o/r\",\"ref\":\"main\",\"subpath\":null}},"
      "\"environment\":{\"value\":{\"A\":\"1\",\"B\":{\"description\":\"d\",\"ephemeral\":true,"
      "\"value\":{\"type\":\"str\",\"value\":\"2\"}},\"C\":{\"value\":\"3\"},\"D\":{\"type\":"
      "\"str\","
      "\"value\":\"4\"}}},"
      "\"users\":[{\"name\":\"u\"}],\"groups\":[{\"name\":\"g\",\"users\":[{\"name\":\"u\"}]}],"
      "\"extra_path_grants\":[{\"path\":\"/"
      "data\",\"read_only\":false,\"description\":null},{\"path\":"
      "\"/d2\",\"read_only\":true,\"description\":null,\"host_path\":\"/h\"}],"
      "\"remote_mount_command_allowlist\":[\"ls\"]}";
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_manifest *m;
  csn_err err;
  csn_jw w;
  OK(read_manifest(a, full, &m, &err), &err);
  csn_jw_init(&w, &out);
  csn_manifest_to_json(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  STR_EQ(csn_buf_str(&out), full);
  const char *const *env = csn_manifest_environment(m);
  assert_string_equal(env[0], "A=1");
  assert_string_equal(env[1], "B=2");
  assert_string_equal(env[2], "C=3");
  assert_string_equal(env[3], "D=4");
  assert_null(env[4]);
}

TEST(an_empty_manifest_has_all_defaults)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_manifest *m;
  csn_err err;
  csn_jw w;
  OK(read_manifest(a, "{}", &m, &err), &err);
  csn_jw_init(&w, &out);
  csn_manifest_to_json(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  STR_EQ(csn_buf_str(&out),
         "{\"version\":1,\"root\":\"/workspace\",\"entries\":{},\"environment\":{\"value\":{}},"
         "\"users\":[],\"groups\":[],\"extra_path_grants\":[],\"remote_mount_command_"
         "allowlist\":" ALLOW "}");
  assert_null(csn_manifest_environment(m)[0]);
  assert_string_equal(csn_manifest_root(m), "/workspace");
}

static void
describes(const char *json, const char *want)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_manifest *m;
  csn_err err;
  OK(read_manifest(a, json, &m, &err), &err);
  csn_manifest_describe(m, &out);
  STR_EQ(csn_buf_str(&out), want);
}

#define F "{\"type\":\"file\",\"content\":\"\"}"

TEST(the_tree_for_the_model_has_three_levels_and_aligned_paths)
{
  describes("{}", "/workspace\n");
  describes("{\"entries\":{\"a/f.txt\":" F "}}", "/workspace\n"
                                                 "└── a/         # /workspace/a\n"
                                                 "    └── f.txt  # /workspace/a/f.txt\n");
  describes("{\"root\":\"/w\",\"entries\":{\"z\":" F
            ",\"a\":{\"type\":\"dir\",\"description\":\"the "
            "data\",\"children\":{\"b/c/d/e\":" F ",\"b-\":" F "}},\"m\":{\"type\":\"local_dir\"},"
            "\"\xc3\xa9\":{\"type\":\"file\",\"content\":\"\",\"description\":\"accent\"}}}",
            "/w\n"
            "├── a/          # /w/a — the data\n"
            "│   ├── b/      # /w/a/b\n"
            "│   │   └── c/  # /w/a/b/c\n"
            "│   └── b-      # /w/a/b-\n"
            "├── m/          # /w/m\n"
            "├── z           # /w/z\n"
            "└── \xc3\xa9           # /w/\xc3\xa9 — accent\n");
}

static size_t
width(csn_str s)
{
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++)
    n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
  return n;
}

TEST(a_long_tree_is_cut_at_5000_characters_and_says_so)
{
  for (int files = 100; files < 1200; files = files * 3 / 2) {
    csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 20), out = CSN_BUF(1 << 20);
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_buf_addz(&json, "{\"entries\":{");
    for (int i = 0; i < files; i++)
      csn_buf_addf(&json, "%s\"f\xc3\xa9%04d\":" F, i ? "," : "", i);
    csn_buf_addz(&json, "}}");
    csn_manifest *m;
    csn_err err;
    OK(read_manifest(a, json.p, &m, &err), &err);
    csn_manifest_describe(m, &out);
    /* 11 for the root's line, 32 for each file's */
    size_t total = 11 + (size_t)files * 32, have = width(csn_buf_str(&out)), missing = 0;
    const char *note = strstr(out.p, "\n... (truncated ");
    if (total <= 5000) {
      assert_null(note);
      assert_int_equal(have, total);
      continue;
    }
    assert_non_null(note);
    assert_true(have <= 5000 && have > 4900);
    assert_int_equal(sscanf(note, "\n... (truncated %zu chars)", &missing), 1);
    assert_int_equal(width(csn_strn(out.p, (size_t)(note - out.p))) + missing, total);
    assert_non_null(strstr(note, "chars)\n\n"));
    assert_int_equal(out.p[out.n - 1], '\n');
  }
}

TEST(inline_files_and_folders_get_their_modes)
{
  place pl;
  open_place(&pl);
  csn_err err;
  OK(apply(
         "{\"entries\":{"
         "\"a/b/c.txt\":{\"type\":\"file\",\"content\":\"hi\\n\"},"
         "\"run.sh\":{\"type\":\"file\",\"content\":\"\",\"permissions\":{\"owner\":6,\"group\":0,"
         "\"other\":0}},"
         "\"bin\":{\"type\":\"file\",\"content_base64\":\"/wD+\"},"
         "\"ro\":{\"type\":\"dir\",\"permissions\":{\"owner\":5,\"group\":0,\"other\":0},"
         "\"children\":{\"x\":{\"type\":\"file\",\"content\":\"x\"}}},"
         "\"weird \\n na\xc3\xafve\":" F ",\"empty/deep\":{\"type\":\"dir\"},"
         "\"void\":{\"type\":\"local_dir\"}}}",
         &pl, NULL, NULL, &err),
     &err);
  has_file(&pl, "a/b/c.txt", "hi\n", 0755);
  has_file(&pl, "run.sh", "", 0600);
  has_file(&pl, "ro/x", "x", 0755);
  has_file(&pl, "weird \n na\xc3\xafve", "", 0755);
  assert_int_equal(mode_of(&pl, "a/b"), S_IFDIR | 0755);
  assert_int_equal(mode_of(&pl, "ro"), S_IFDIR | 0500);
  assert_int_equal(mode_of(&pl, "empty/deep"), S_IFDIR | 0755);
  assert_int_equal(mode_of(&pl, "void"), S_IFDIR | 0755);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(10);
  OK(csn_file_read(pl.fd, "bin", &got, &err), &err);
  assert_int_equal(got.n, 3);
  assert_memory_equal(got.p, "\xff\0\xfe", 3);
  assert_int_equal(fchmodat(pl.fd, "ro", 0700, 0), 0);
  close_place(&pl);
}

static void
make_source(const place *pl)
{
  put(pl, "proj/run.sh", "#!/bin/sh\n", 0755);
  put(pl, "proj/src/a.c", "int a;\n", 0640);
  put(pl, "proj/.git/config", "[core]\n", 0644);
  put(pl, "proj/.caisson/secret", "no\n", 0600);
  put(pl, "proj/src/.caisson/secret", "no\n", 0600);
  assert_int_equal(mkdirat(pl->fd, "proj/empty", 0750), 0);
  assert_int_equal(fchmodat(pl->fd, "proj/empty", 0750, 0), 0);
  assert_int_equal(mkfifoat(pl->fd, "proj/fifo", 0644), 0);
  assert_int_equal(symlinkat("src/a.c", pl->fd, "proj/link"), 0);
  assert_int_equal(symlinkat("../run.sh", pl->fd, "proj/src/up"), 0);
  assert_int_equal(symlinkat("not-there", pl->fd, "proj/dangling"), 0);
}

TEST(a_local_dir_is_copied_with_modes_links_and_empty_folders)
{
  place src, pl, base;
  open_place(&src), open_place(&pl), open_place(&base);
  make_source(&src);
  csn_err err;
  OK(apply("{\"entries\":{\"repo\":{\"type\":\"local_dir\",\"src\":\"./x/../proj\"},"
           "\"repo/extra.txt\":{\"type\":\"file\",\"content\":\"e\"},"
           "\"one.sh\":{\"type\":\"local_file\",\"src\":\"proj/run.sh\"}}}",
           &pl, &base, &src, &err),
     &err);
  for (int i = 0; i < 2; i++) {
    const place *at = i ? &base : &pl;
    has_file(at, "repo/run.sh", "#!/bin/sh\n", 0755);
    has_file(at, "repo/src/a.c", "int a;\n", 0640);
    has_file(at, "repo/.git/config", "[core]\n", 0644);
    assert_int_equal(mode_of(at, "repo/empty"), S_IFDIR | 0750);
    assert_int_equal(mode_of(at, "repo/.caisson"), 0);
    assert_int_equal(mode_of(at, "repo/src/.caisson"), 0);
    assert_int_equal(mode_of(at, "repo/fifo"), 0);
    char to[64] = "";
    assert_int_equal(readlinkat(at->fd, "repo/src/up", to, sizeof to), 9);
    assert_memory_equal(to, "../run.sh", 9);
    assert_true(S_ISLNK(mode_of(at, "repo/dangling")));
  }
  has_file(&pl, "one.sh", "#!/bin/sh\n", 0755);
  has_file(&pl, "repo/extra.txt", "e", 0755);
  assert_int_equal(mode_of(&base, "repo/extra.txt"), 0);
  assert_int_equal(mode_of(&base, "one.sh"), 0);
  close_place(&src), close_place(&pl), close_place(&base);
}

TEST(links_that_lead_out_of_a_local_dir_are_refused)
{
  static const struct {
    const char *at, *to;
  } rows[] = {{"proj/src/out", "../../other"},
              {"proj/out", "/etc/hosts"},
              {"proj/out", "src/../../other"},
              {"proj/out", "nope/../../other"},
              {"proj/out", "d/../../other"}}; /* d is a link to src/sub */
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    place src, pl;
    open_place(&src), open_place(&pl);
    put(&src, "proj/src/sub/x", "", 0644);
    put(&src, "other", "", 0644);
    assert_int_equal(symlinkat("src", src.fd, "proj/d"), 0);
    assert_int_equal(symlinkat(rows[i].to, src.fd, rows[i].at), 0);
    csn_err err = {0};
    int rc = apply("{\"entries\":{\"r\":{\"type\":\"local_dir\",\"src\":\"proj\"}}}", &pl, NULL,
                   &src, &err);
    if (i == 4) { /* proj/d/../../other is inside: d is src, so this is ../other of proj/src */
      assert_true(rc < 0 || mode_of(&pl, "r/out"));
    } else {
      assert_int_equal(rc, CSN_E_DENIED);
      assert_non_null(strstr(err.msg, rows[i].at + 5));
      assert_non_null(strstr(err.msg, rows[i].to));
    }
    close_place(&src), close_place(&pl);
  }
}

TEST(sources_lie_in_the_manifests_folder_or_in_a_grant)
{
  place src, pl, other;
  open_place(&src), open_place(&pl), open_place(&other);
  put(&other, "d/x", "1", 0644);
  put(&src, "in/x", "2", 0644);
  assert_int_equal(symlinkat(other.path, src.fd, "escape"), 0);
  csn_err err = {0};
  char json[1000];
  snprintf(json, sizeof json, "{\"entries\":{\"a\":{\"type\":\"local_dir\",\"src\":\"%s/d\"}}}",
           other.path);
  assert_int_equal(apply(json, &pl, NULL, &src, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "extra_path_grants"));
  assert_int_equal(apply("{\"entries\":{\"a\":{\"type\":\"local_dir\",\"src\":\"../d\"}}}", &pl,
                         NULL, &src, &err),
                   CSN_E_DENIED);
  assert_int_equal(apply("{\"entries\":{\"b\":{\"type\":\"local_dir\",\"src\":\"escape\"}}}", &pl,
                         NULL, &src, &err),
                   CSN_E_DENIED);
  assert_int_equal(apply("{\"entries\":{\"c\":{\"type\":\"local_dir\",\"src\":\"none\"}}}", &pl,
                         NULL, &src, &err),
                   CSN_E_NOT_FOUND);
  snprintf(json, sizeof json,
           "{\"extra_path_grants\":[{\"path\":\"%s\"}],\"entries\":{\"d\":{\"type\":\"local_dir\","
           "\"src\":\"%s/d\"},\"e\":{\"type\":\"local_dir\",\"src\":\"%s/in\"}}}",
           other.path, other.path, src.path);
  OK(apply(json, &pl, NULL, &src, &err), &err);
  has_file(&pl, "d/x", "1", 0644);
  has_file(&pl, "e/x", "2", 0644);
  close_place(&src), close_place(&pl), close_place(&other);
}

TEST(a_workspace_inside_the_copied_folder_is_left_out)
{
  place src;
  open_place(&src);
  put(&src, "f", "1", 0644);
  assert_int_equal(mkdirat(src.fd, "state", 0755), 0);
  assert_int_equal(mkdirat(src.fd, "state/ws", 0755), 0);
  place pl = {.fd = openat(src.fd, "state/ws", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  csn_err err;
  OK(apply("{\"entries\":{\"all\":{\"type\":\"local_dir\",\"src\":\".\"}}}", &pl, NULL, &src, &err),
     &err);
  has_file(&pl, "all/f", "1", 0644);
  assert_int_equal(mode_of(&pl, "all/state/ws"), 0);
  close(pl.fd);
  close_place(&src);
}

TEST(copies_are_bounded_and_can_be_cancelled)
{
  place src, pl;
  open_place(&src), open_place(&pl);
  for (int i = 0; i < 20; i++) {
    char name[20];
    snprintf(name, sizeof name, "p/%d", i);
    put(&src, name, "0123456789", 0644);
  }
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_manifest *m;
  csn_err err;
  OK(read_manifest(a, "{\"entries\":{\"r\":{\"type\":\"local_dir\",\"src\":\"p\"}}}", &m, &err),
     &err);
  csn_materialize to = {.workspace_fd = pl.fd,
                        .base_fd = -1,
                        .source_fd = src.fd,
                        .uid = -1,
                        .gid = -1,
                        .max_files = 10};
  assert_int_equal(csn_manifest_apply(m, NULL, &to, &err), CSN_E_LIMIT);
  assert_non_null(strstr(err.msg, "entries.r: "));
  OK(csn_remove_tree(pl.fd, "r", &err), &err);
  to.max_files = 0, to.max_bytes = 199;
  assert_int_equal(csn_manifest_apply(m, NULL, &to, &err), CSN_E_LIMIT);
  OK(csn_remove_tree(pl.fd, "r", &err), &err);
  to.max_bytes = 200;
  csn_scope sc;
  csn_scope_init(&sc, NULL, -1);
  csn_scope_cancel(&sc);
  assert_int_equal(csn_manifest_apply(m, &sc, &to, &err), CSN_E_CANCELLED);
  csn_scope_fini(&sc);
  OK(csn_remove_tree(pl.fd, "r", &err), &err);
  OK(csn_manifest_apply(m, NULL, &to, &err), &err);
  close_place(&src), close_place(&pl);
}

TEST(ten_thousand_inline_files_take_less_than_a_second)
{
  for (int files = 1000; files <= 10000; files *= 10) {
    place pl;
    open_place(&pl);
    csn_auto(csn_buf_finip) csn_buf json = CSN_BUF((size_t)8 << 20);
    csn_buf_addz(&json, "{\"entries\":{");
    for (int i = 0; i < files; i++)
      csn_buf_addf(&json, "%s\"d%d/f%d\":{\"type\":\"file\",\"content\":\"file %d\\n\"}",
                   i ? "," : "", i % 100, i, i);
    csn_buf_addz(&json, "}}");
    csn_err err;
    int64_t start = csn_now_ns();
    OK(apply(json.p, &pl, NULL, NULL, &err), &err);
    int ms = (int)((csn_now_ns() - start) / 1000000);
    print_message("# %d inline files in %d ms\n", files, ms);
    assert_true(ms < 10000); /* the bench has the real limit */
    has_file(&pl, "d7/f907", "file 907\n", 0755);
    close_place(&pl);
  }
}

static int
shell(const place *pl, const char *script, csn_buf *out)
{
  const char *argv[] = {"sh", "-c", script, NULL};
  const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                       "HOME=/nonexistent",
                       "GIT_CONFIG_GLOBAL=/dev/null",
                       "GIT_AUTHOR_NAME=a",
                       "GIT_AUTHOR_EMAIL=a@b",
                       "GIT_COMMITTER_NAME=a",
                       "GIT_COMMITTER_EMAIL=a@b",
                       NULL};
  csn_command c = {.argv = argv, .environment = env, .cwd_fd = pl->fd};
  return csn_command_run(&c, NULL, out, NULL);
}

TEST(a_git_repository_comes_at_the_named_commit)
{
  place src, pl;
  open_place(&src), open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  if (shell(&src, "git --version", &out) != 0) {
    close_place(&src), close_place(&pl);
    SKIP("git is not installed");
  }
  csn_buf_clear(&out);
  if (shell(&src,
            "set -e; git init -q -b main r; cd r; mkdir -p sub/deep; echo one >sub/deep/f; echo "
            "top >t; git add .; git commit -qm 1; git tag v1; git config "
            "uploadpack.allowAnySHA1InWant "
            "true; git rev-parse HEAD >../sha; echo two >t; git commit -qam 2; printf "
            "'#!/bin/sh\\ntouch %s/hooked' \"$PWD\" >.git/hooks/post-checkout; chmod +x "
            ".git/hooks/post-checkout",
            &out) != 0)
    fail_msg("%s", out.p);
  csn_auto(csn_buf_finip) csn_buf sha = CSN_BUF(100);
  csn_err err = {0};
  OK(csn_file_read(src.fd, "sha", &sha, &err), &err);
  char json[2000];
  snprintf(
      json, sizeof json,
      "{\"entries\":{"
      "\"head\":{\"type\":\"git_repo\",\"repo\":\"file://%s/r\",\"ref\":\"main\"},"
      "\"tag\":{\"type\":\"git_repo\",\"repo\":\"file://%s/r\",\"ref\":\"v1\",\"subpath\":\".\"},"
      "\"a/sha\":{\"type\":\"git_repo\",\"repo\":\"file://%s/r\",\"ref\":\"%.40s\"},"
      "\"part\":{\"type\":\"git_repo\",\"repo\":\"file://%s/r\",\"ref\":\"main\",\"subpath\":"
      "\"sub/deep\"}}}",
      src.path, src.path, src.path, sha.p, src.path);
  OK(apply(json, &pl, NULL, &src, &err), &err);
  has_file(&pl, "head/t", "two\n", mode_of(&pl, "head/t") & 0777);
  has_file(&pl, "tag/t", "top\n", mode_of(&pl, "tag/t") & 0777);
  has_file(&pl, "a/sha/t", "top\n", mode_of(&pl, "a/sha/t") & 0777);
  has_file(&pl, "part/f", "one\n", mode_of(&pl, "part/f") & 0777);
  assert_true(S_ISDIR(mode_of(&pl, "head/.git")));
  assert_int_equal(mode_of(&pl, "part/.git"), 0);
  assert_int_equal(mode_of(&pl, "head/hooked"), 0);
  csn_buf_clear(&out);
  assert_int_equal(shell(&pl, "ls -A", &out), 0);
  STR_EQ(csn_buf_str(&out), "a\nhead\npart\ntag\n"); /* no temporary folder stays */
  static const struct {
    const char *ref, *subpath, *msg;
  } bad[] = {{"nope", "", "git fetch failed"},
             {"0123456789", "", "git fetch failed"},
             {"main", "none", "subpath: "},
             {"main", "t", "subpath: "}};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    snprintf(json, sizeof json,
             "{\"entries\":{\"x%zu\":{\"type\":\"git_repo\",\"repo\":\"file://%s/"
             "r\",\"ref\":\"%s\",\"subpath\":\"%s\"}}}",
             i, src.path, bad[i].ref, bad[i].subpath);
    assert_true(apply(json, &pl, NULL, &src, &err) < 0);
    if (!strstr(err.msg, bad[i].msg))
      fail_msg("got '%s', expected '%s'", err.msg, bad[i].msg);
  }
  snprintf(
      json, sizeof json,
      "{\"entries\":{\"y\":{\"type\":\"git_repo\",\"repo\":\"file://%s/r\",\"ref\":\"main\"}}}",
      src.path);
  assert_int_equal(apply(json, &pl, NULL, &pl, &err), CSN_E_DENIED); /* outside without a grant */
  close_place(&src), close_place(&pl);
}

TEST(commands_end_with_their_scope_and_leave_nobody)
{
  place pl;
  open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10);
  assert_int_equal(shell(&pl, "echo hello; echo world >&2; exit 3", &out), 3);
  assert_int_equal(out.n, 10); /* capped */
  csn_buf_clear(&out);
  assert_int_equal(shell(&pl, "kill -9 $$", &out), 128 + 9);
  assert_int_equal(shell(&pl, "sleep 300 & exit 0", &out), 0); /* the pipe stays open, we go on */
  assert_int_equal(shell(&pl, "read x; echo \"[$x]\"; ls /proc/self/fd | wc -l", &out), 0);
  assert_memory_equal(out.p, "[]\n4\n", 5);
  const char *argv[] = {"no-such-program-here", NULL};
  const char *env[] = {NULL};
  csn_err err;
  csn_command c = {.argv = argv, .environment = env, .cwd_fd = -1};
  assert_int_equal(csn_command_run(&c, NULL, &out, &err), CSN_E_NOT_FOUND);
  const char *slow[] = {"sh", "-c", "sleep 300 & echo $! >pid; wait", NULL};
  c = (csn_command){.argv = slow, .environment = env, .cwd_fd = pl.fd};
  csn_scope sc;
  csn_scope_init(&sc, NULL, 200);
  assert_int_equal(csn_command_run(&c, &sc, &out, &err), CSN_E_TIMEOUT);
  csn_scope_fini(&sc);
  close_place(&pl);
}

RUN_TESTS("sandbox/manifest", RUN(mistakes_are_named_with_their_place),
          RUN(entries_that_claim_one_place_are_both_named), RUN(lines_are_told_when_they_are_known),
          RUN(the_json_form_goes_out_as_it_came_in), RUN(an_empty_manifest_has_all_defaults),
          RUN(the_tree_for_the_model_has_three_levels_and_aligned_paths),
          RUN(a_long_tree_is_cut_at_5000_characters_and_says_so),
          RUN(inline_files_and_folders_get_their_modes),
          RUN(a_local_dir_is_copied_with_modes_links_and_empty_folders),
          RUN(links_that_lead_out_of_a_local_dir_are_refused),
          RUN(sources_lie_in_the_manifests_folder_or_in_a_grant),
          RUN(a_workspace_inside_the_copied_folder_is_left_out),
          RUN(copies_are_bounded_and_can_be_cancelled),
          RUN(ten_thousand_inline_files_take_less_than_a_second),
          RUN(a_git_repository_comes_at_the_named_commit),
          RUN(commands_end_with_their_scope_and_leave_nobody))
