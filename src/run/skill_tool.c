/* SPDX-License-Identifier: Apache-2.0
 * skill_tool.c - the tool load_skill.
 *
 * It answers {status, skill_name, path, content}: the last is the body of SKILL.md,
 * so that a skill needs no second call.  What is wrong is for the model to read. */
#include <fcntl.h>

#include "core/fd.h"
#include "run/driver.h"
#include "run/skill.h"
#include "run/skills.h"
#include "sandbox/file_scope.h"
#include "sandbox/stage.h"

enum { BYTES_A_TOKEN = 4, AROUND_BYTES = 400 };

static void
list_names(const csn_json *index, csn_buf *out)
{
  const char *before = "";
  csn_json_each (s, index) {
    csn_str name = csn_json_str(s, "name", CSN_STR(""));
    csn_buf_addf(out, "%s%.*s", before, (int)name.n, name.p);
    before = ", ";
  }
}

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* The end of a text that does not fit stays away. */
static void
answer(csn_call *c, csn_str name, bool was_there, csn_str path, csn_str body)
{
  const csn_run *owner = csn_box_owner(csn_call_run(c));
  int64_t tokens = owner->agent->limits.output_tokens;
  size_t most = tokens > 0 ? (size_t)tokens * BYTES_A_TOKEN : CSN_SKILL_FILE_MAX;
  bool is_cut = body.n > most;
  csn_jw w;
  csn_jw_init(&w, csn_call_out(c));
  csn_jw_obj(&w);
  member(&w, "status", was_there ? CSN_STR("already_loaded") : CSN_STR("loaded"));
  member(&w, "skill_name", name);
  member(&w, "path", path);
  if (is_cut) {
    body.n = most;
    body.n = csn_utf8_valid(body);
    member(&w, "note", CSN_STR("the content is cut here; read the rest from the file"));
  }
  member(&w, "content", body);
  csn_jw_end(&w);
}

/* Of SKILL.md in the workspace, on the heap. */
static char *
path_of(const csn_sandbox *sb, const csn_json *entry)
{
  csn_str file = csn_json_str(entry, "file", CSN_STR("")), root = csn_cstr(sb->root);
  if (csn_str_starts(file, root) && file.n > root.n)
    file = csn_strn(file.p + root.n + 1, file.n - root.n - 1);
  return csn_dupz(file);
}

/* Of a workspace that is elsewhere: what is there of the skill already. */
static int
fetch(csn_call *c, csn_sandbox *sb, const csn_json *entry, csn_stage **out, csn_err *err)
{
  csn_auto(csn_freep) char *path = path_of(sb, entry);
  return csn_call_stage(c, sb, (const char *const[]){path, NULL}, CSN_SKILL_FILE_MAX, out, err);
}

/* What the workspace has is read for an agent only where it may read, where links
 * have led. */
static bool
is_closed(csn_call *c, int workspace, const csn_sandbox *sb, const csn_json *entry)
{
  const csn_file_scope *files = csn_call_files(c);
  csn_auto(csn_buf_finip) csn_buf real = CSN_BUF(8192);
  csn_auto(csn_freep) char *path = path_of(sb, entry);
  csn_auto(csn_closep) int fd = files ? csn_open_beneath(workspace, path, O_PATH, 0, NULL) : -1;
  return fd >= 0 && (csn_file_scope_name(workspace, fd, &real, NULL) < 0 ||
                     !csn_file_scope_reads(files, csn_buf_str(&real)));
}

static int
load(csn_call *c, const csn_json *entry, csn_err *err)
{
  const struct csn_box *b = csn_call_in(c);
  csn_sandbox *sb;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192), body = CSN_BUF(CSN_SKILL_FILE_MAX);
  int rc = csn_call_sandbox(c, &sb, err);
  if (rc < 0)
    return rc;
  struct csn_skill_places p = {.workspace_fd = sb->workspace_fd,
                               .cache_fd = b->folder_fd,
                               .root = sb->root,
                               .folder = b->agent->folder,
                               .cwd = b->agent->sandbox.cwd};
  csn_auto(csn_stage_freep) csn_stage *stage = NULL;
  csn_err why;
  if (p.workspace_fd < 0 && (rc = fetch(c, sb, entry, &stage, err)) < 0)
    return rc;
  if (stage)
    p.workspace_fd = csn_stage_fd(stage);
  rc = is_closed(c, p.workspace_fd, sb, entry)
           ? csn_fail(&why, CSN_E_DENIED,
                      "its file is in a part of the workspace that is closed to you")
           : csn_skill_load(b->agent->skills, entry, csn_call_scope(c), &p, &path, &body, &why);
  if (rc == 0 && stage)
    rc = csn_stage_send(stage, csn_call_scope(c), &why);
  if (rc < 0 && csn_scope_check(csn_call_scope(c), err) < 0)
    return err->code;
  if (rc < 0) {
    csn_buf_addf(csn_call_out(c), "The call failed: %s", why.msg);
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf shown = CSN_BUF(8192);
  if (p.cwd)
    csn_buf_addf(&shown, "%s/", p.root);
  csn_buf_add(&shown, csn_buf_str(&path));
  shown.n -= sizeof "/SKILL.md" - 1; /* of its folder */
  answer(c, csn_json_str(entry, "name", CSN_STR("")), rc == 1, csn_buf_str(&shown),
         csn_buf_str(&body));
  return 0;
}

static int
load_skill(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  const csn_json *index = csn_json_get(csn_run_told(csn_call_run(c))->workspace, "skills");
  csn_str name = csn_json_str(csn_call_args(c), "skill_name", CSN_STR(""));
  const csn_json *entry = csn_skills_find(index, name);
  if (entry)
    return load(c, entry, err);
  csn_buf_addf(csn_call_out(c), "There is no skill '%.*s'. ", (int)(name.n & 0xff), name.p);
  if (!index || !index->n) {
    csn_buf_addz(csn_call_out(c), "There are none in this run.");
    return 0;
  }
  csn_buf_addz(csn_call_out(c), "The skills are: ");
  list_names(index, csn_call_out(c));
  return 0;
}

int
csn_capability_skills(csn_agent *a, csn_err *err)
{
  const csn_tool tool = {
      .size = sizeof tool,
      .name = "load_skill",
      .description = "Loads a skill that is listed: its files come into the workspace, and you get "
                     "where they are and what SKILL.md says.",
      .schema = "{\"properties\":{\"skill_name\":{\"description\":\"Name of the skill as it is "
                "listed.\",\"minLength\":1,\"title\":\"Skill Name\",\"type\":\"string\"}},"
                "\"required\":[\"skill_name\"],\"title\":\"LoadSkillArgs\",\"type\":\"object\"}",
      .is_loose = true,
      .replay = CSN_REPLAY_SAFE,
      .call = load_skill,
  };
  return csn_agent_add_tool(a, &tool, err);
}
