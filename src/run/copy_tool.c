/* SPDX-License-Identifier: Apache-2.0
 * copy_tool.c - the tool copy_files: files of one sandbox of a run into another.
 *
 * Neither sees the other: the harness takes an archive out of the one, unpacks
 * it in a folder of its own as it does with all that a sandbox gives, and puts
 * that into the other.  It may be done twice, so a crash needs no more thought. */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/driver.h"
#include "sandbox/stage.h"

enum { PATHS_MAX = 1000 };
#define COPIED_MAX ((int64_t)2 << 30)

/* A path from the top of the workspace, clean; or NULL. */
static const char *
path_of(csn_arena *a, csn_str text, const char *root)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096);
  csn_str top = csn_cstr(root);
  if (csn_str_starts(text, top) && text.n > top.n && text.p[top.n] == '/')
    text = csn_strn(text.p + top.n + 1, text.n - top.n - 1);
  bool is_good = text.n && text.p[0] != '/' && !memchr(text.p, '\0', text.n) &&
                 csn_path_add(&clean, text) && clean.n && !clean.over;
  return is_good ? csn_arena_dup(a, csn_buf_str(&clean)).p : NULL;
}

static int
read_paths(csn_call *c, csn_arena *a, const char *root, const char *const **out, csn_err *err)
{
  const csn_json *list = csn_json_get(csn_call_args(c), "paths");
  if (!csn_json_is(list, CSN_JSON_ARRAY) || !list->n || list->n > PATHS_MAX)
    return csn_fail(err, CSN_E_INVALID, "paths: expected from 1 to %d paths of files and folders",
                    PATHS_MAX);
  const char **paths = csn_arena_alloc(a, (list->n + 1) * sizeof *paths);
  size_t n = 0;
  csn_json_each (v, list) {
    paths[n] = v->kind == CSN_JSON_STRING ? path_of(a, v->text, root) : NULL;
    if (!paths[n++])
      return csn_fail(err, CSN_E_INVALID,
                      "paths: expected paths from the top of the workspace, such as src/main.c");
  }
  *out = paths;
  return 0;
}

/* What is missing was left out on the way. */
static int
check_there(int folder, const char *const *paths, csn_str from, csn_err *err)
{
  for (; *paths; paths++) {
    csn_auto(csn_freep) char *name = NULL;
    csn_auto(csn_closep) int at = csn_open_parent(folder, *paths, &name, NULL);
    struct stat st;
    if (at < 0 || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
      return csn_fail(err, CSN_E_NOT_FOUND, "%.*s has no %.200s", (int)from.n, from.p, *paths);
  }
  return 0;
}

static int
copy_files(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_stage_freep) csn_stage *stage = NULL;
  csn_str from = csn_json_str(csn_call_args(c), "from", CSN_STR(""));
  csn_str to = csn_json_str(csn_call_args(c), "to", CSN_STR(""));
  const char *const *paths = NULL;
  csn_sandbox *sb;
  if (!from.n || !to.n || csn_str_eq(from, to))
    return csn_fail(err, CSN_E_INVALID, "from and to: expected the names of two sandboxes");
  int rc = csn_call_choose(c, to, err); /* a misspelt one costs nothing */
  if (rc == 0)
    rc = csn_call_choose(c, from, err);
  if (rc == 0)
    rc = csn_call_sandbox(c, &sb, err);
  if (rc == 0)
    rc = read_paths(c, a, sb->root, &paths, err);
  if (rc == 0)
    rc = csn_call_stage(c, sb, paths, COPIED_MAX, &stage, err);
  if (rc == 0)
    rc = check_there(csn_stage_fd(stage), paths, from, err);
  if (rc == 0)
    rc = csn_call_choose(c, to, err);
  if (rc == 0)
    rc = csn_call_sandbox(c, &sb, err);
  if (rc == 0)
    rc = csn_stage_push(csn_call_scope(c), sb, csn_stage_fd(stage), err);
  if (rc == 0)
    csn_buf_addf(csn_call_out(c), "Copied from %.*s to %.*s.", (int)from.n, from.p, (int)to.n,
                 to.p);
  return rc;
}

static void
write_name(const csn_agent *root, csn_jw *w, const char *key, const char *title, const char *text)
{
  csn_jw_key(w, key);
  csn_jw_obj(w);
  csn_jw_key(w, "description");
  csn_jw_strz(w, text);
  csn_agent_write_box_enum(root, w);
  csn_jw_key(w, "title");
  csn_jw_strz(w, title);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "string");
  csn_jw_end(w);
}

int
csn_capability_copy(csn_agent *a, csn_err *err)
{
  const csn_agent *root = a->parent ? a->parent : a;
  csn_auto(csn_buf_finip) csn_buf schema = CSN_BUF(1 << 14);
  csn_jw w;
  csn_jw_init(&w, &schema);
  csn_jw_obj(&w);
  csn_jw_key(&w, "properties");
  csn_jw_obj(&w);
  write_name(root, &w, "from", "From", "The sandbox that has them.");
  write_name(root, &w, "to", "To", "The sandbox that gets them.");
  csn_jw_key(&w, "paths");
  csn_jw_raw(&w,
             CSN_STR("{\"description\":\"Files and folders, from the top of the workspace; they "
                     "get the same paths in the other one.\",\"items\":{\"type\":\"string\"},"
                     "\"minItems\":1,\"title\":\"Paths\",\"type\":\"array\"}"));
  csn_jw_end(&w);
  csn_jw_key(&w, "required");
  csn_jw_raw(&w, CSN_STR("[\"from\",\"to\",\"paths\"]"));
  csn_jw_key(&w, "title");
  csn_jw_strz(&w, "CopyFilesArgs");
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "object");
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  const csn_tool tool = {
      .size = sizeof tool,
      .name = "copy_files",
      .description = "Copies files and folders from the workspace of one sandbox into that of "
                     "another. What is there under the same path is replaced.",
      .schema = csn_arena_dup(a->arena, csn_buf_str(&schema)).p,
      .is_loose = true,
      .replay = CSN_REPLAY_SAFE,
      .call = copy_files,
  };
  return rc < 0 ? rc : csn_agent_add_tool(a, &tool, err);
}
