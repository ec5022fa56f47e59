/* SPDX-License-Identifier: Apache-2.0
 * What the model is told before the conversation: each part, their order, and
 * AGENTS.md of a workspace. */
#include <sys/stat.h>

#include "base/yaml.h"
#include "place.h"
#include "run/agents_md.h"
#include "run/instructions.h"
#include "run/skills.h"

static csn_agent *
agent_of(const char *text)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_agent *out = NULL;
  const csn_json *v;
  csn_err err;
  OK(csn_yaml_parse(a, csn_cstr(text), "agent.yaml", &v, &err), &err);
  OK(csn_agent_from_json(&out, v, "agent.yaml", "/tmp", &err), &err);
  return out;
}

/* Where each text stands; they must follow each other. */
static void
in_order(const csn_buf *text, const char *const *parts)
{
  size_t at = 0;
  for (const char *const *p = parts; *p; p++) {
    size_t next = csn_str_find(csn_buf_str(text), csn_cstr(*p), at);
    if (next == SIZE_MAX)
      fail_msg("'%s' is not there, or not behind what stands before it, in: %s", *p, text->p);
    at = next + 1;
  }
}

TEST(an_agent_without_a_workspace_is_told_its_own_text)
{
  csn_auto(csn_agent_freep) csn_agent *a =
      agent_of("name: a\ninstructions: Count to ten.\ncapabilities: []\n");
  STR_EQ(a->full_instructions, "Count to ten.");
}

TEST(the_parts_come_in_order)
{
  csn_auto(csn_agent_freep) csn_agent *a =
      agent_of("name: a\ninstructions: Count to ten.\ncapabilities: [skills, shell, filesystem]\n"
               "manifest: {entries: {repo: {type: dir}}}\nsandbox: {cwd: ./repo/}\n");
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100000);
  struct csn_told told;
  csn_err err;
  OK(csn_json_parse(arena,
                    CSN_STR("{\"agents_md\":\"Use tabs.\",\"skills\":[{\"name\":\"pdf\","
                            "\"description\":\"Forms.\",\"file\":\".agents/pdf/SKILL.md\","
                            "\"source\":0,\"dir\":\"pdf\"}]}"),
                    &told.workspace, &err),
     &err);
  OK(csn_instructions_write(a, a->instructions, &told, &text, &err), &err);
  in_order(&text, (const char *const[]){
                      csn_base_instructions(), "\n\n# Agent instructions\n\nCount",
                      "\n\n# Sandbox capability instructions\n\n## Skills",
                      "- pdf: Forms. (file: .agents/pdf/SKILL.md; of the", "\n\nShell:",
                      "\n\n# Filesystem\n\n", "the folder `repo` of the workspace, /workspace",
                      "/workspace/repo", "# Project instructions\n\n", "Use tabs.", NULL});
  assert_null(strstr(a->full_instructions.p, "## Skills"));
}

TEST(parts_can_be_left_out)
{
  csn_auto(csn_agent_freep) csn_agent *a =
      agent_of("name: a\nbase_instructions: ''\ncapabilities: [filesystem]\n");
  STR_EQ(a->full_instructions, "");
  csn_auto(csn_agent_freep) csn_agent *b =
      agent_of("name: a\nbase_instructions: Mine.\ninstructions: x\ncapabilities: [filesystem]\n");
  STR_EQ(b->full_instructions, "Mine.\n\n# Agent instructions\n\nx");
}

TEST(what_is_mounted_is_told_with_how_to_treat_it)
{
  csn_auto(csn_agent_freep) csn_agent *a =
      agent_of("name: a\ncapabilities: [shell]\nmanifest:\n  entries:\n    data: {type: s3_mount, "
               "bucket: b, "
               "mount_strategy: {type: in_container, pattern: {type: rclone}}}\n");
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100000);
  csn_buf_add(&text, a->full_instructions);
  in_order(&text,
           (const char *const[]){"\n\nShell:", "# Sandbox remote mount policy", "`ls`, `find`",
                                 "- /workspace/data (mounted in read-only mode)\n",
                                 "Nothing can be written", "# Filesystem", NULL});
}

/* ---- AGENTS.md ---- */

static int
read_file(void *user, const char *path, csn_buf *out, csn_err *err)
{
  int rc = csn_file_head(((place *)user)->fd, path, out, err);
  return rc == 1 ? CSN_E_LIMIT : rc;
}

TEST(agents_md_is_merged_from_the_top_down)
{
  place pl;
  open_place(&pl);
  put(&pl, "AGENTS.md", "Top.\r\n===== b/AGENTS.md\n", 0644);
  put(&pl, "a/other.md", "not this", 0644);
  put(&pl, "a/b/AGENTS.md", "\xe2\x80\x8bNear.\n\n", 0644);
  put(&pl, "a/b/c/AGENTS.md", "Below.", 0644);
  static const struct {
    const char *cwd, *text;
  } rows[] = {
      {NULL, "===== AGENTS.md\nTop.\n ===== b/AGENTS.md\n"},
      {"a/b", "===== AGENTS.md\nTop.\n ===== b/AGENTS.md\n\n===== a/b/AGENTS.md\nNear.\n"},
      {"../..", "===== AGENTS.md\nTop.\n ===== b/AGENTS.md\n"},
      {"none/here", "===== AGENTS.md\nTop.\n ===== b/AGENTS.md\n"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100000);
    csn_agents_md_read(read_file, &pl, rows[i].cwd, &out);
    STR_EQ(csn_buf_str(&out), rows[i].text);
  }
  close_place(&pl);
}

TEST(the_nearest_agents_md_has_its_room_first)
{
  place pl;
  open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf big = CSN_BUF(1 << 20), out = CSN_BUF(1 << 20);
  for (size_t i = 0; i < CSN_AGENTS_MD_MAX; i++)
    csn_buf_addz(&big, "x");
  csn_buf_addz(&big, "end");
  put(&pl, "AGENTS.md", "Top.", 0644);
  put(&pl, "a/AGENTS.md", big.p, 0644);
  csn_agents_md_read(read_file, &pl, "a", &out);
  in_order(&out, (const char *const[]){"===== AGENTS.md\n===== cut here", "===== a/AGENTS.md\nxxxx",
                                       "===== cut here", NULL});
  assert_true(out.n < CSN_AGENTS_MD_MAX + 1000);
  assert_null(strstr(out.p, "end"));
  close_place(&pl);
}

TEST(what_is_no_file_of_the_workspace_is_no_agents_md)
{
  place pl;
  open_place(&pl);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  assert_int_equal(mkfifoat(pl.fd, "AGENTS.md", 0600), 0);
  csn_agents_md_read(read_file, &pl, NULL, &out);
  assert_int_equal(unlinkat(pl.fd, "AGENTS.md", 0), 0);
  assert_int_equal(symlinkat("/etc/passwd", pl.fd, "AGENTS.md"), 0);
  csn_agents_md_read(read_file, &pl, NULL, &out);
  assert_int_equal(out.n, 0);
  close_place(&pl);
}

/* ---- skills ---- */

static int
look(csn_agent *a, place *pl, const char *cwd, csn_buf *out, csn_err *err)
{
  csn_scope sc;
  csn_jw w;
  struct csn_skill_places p = {
      .workspace_fd = pl->fd, .cache_fd = pl->fd, .root = "/workspace", .cwd = cwd};
  csn_scope_init(&sc, NULL, -1);
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  int rc = csn_skills_look(a->skills, &sc, &p, &w, err);
  csn_jw_end(&w);
  csn_scope_fini(&sc);
  return rc;
}

TEST(skills_of_the_workspace_are_data_and_bad_ones_are_left_out)
{
  place pl;
  open_place(&pl);
  csn_err err;
  csn_auto(csn_agent_freep) csn_agent *a = agent_of("name: a\ncapabilities: [skills]\n");
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000), again = CSN_BUF(10000);
  put(&pl, ".agents/good/SKILL.md", "---\nname: good\ndescription: d\n---\n", 0644);
  put(&pl, ".agents/skills/deep/SKILL.md", "---\ndescription: d\n---\n", 0644);
  put(&pl, ".agents/bad/SKILL.md", "no front matter", 0644);
  put(&pl, ".agents/none/README.md", "x", 0644);
  put(&pl, ".agents/file.md", "x", 0644);
  OK(look(a, &pl, NULL, &out, &err), &err);
  STR_EQ(csn_buf_str(&out),
         "{\"skills\":[{\"name\":\"good\",\"description\":\"d\",\"file\":\".agents/good/SKILL.md\","
         "\"source\":0,\"dir\":\"good\"},{\"name\":\"deep\",\"description\":\"d\",\"file\":"
         "\".agents/skills/deep/SKILL.md\",\"source\":0,\"dir\":\"deep\"}],\"skipped\":[{\"file\":"
         "\".agents/bad/SKILL.md\",\"why\":\"line 1: expected ---, the begin of the front "
         "matter\"}]}");
  put(&pl, "repo/.agents/good/SKILL.md", "---\nname: good\ndescription: d\n---\n", 0644);
  assert_int_equal(look(a, &pl, "repo", &again, &err), CSN_E_EXISTS);
  assert_non_null(strstr(err.msg, "two of the name good"));
  close_place(&pl);
}

TEST(what_the_operator_names_must_be_right)
{
  static const struct {
    const char *skill, *complaint;
  } rows[] = {{"---\nname: A\n---\n", "one/SKILL.md: 'A' is no name"},
              {NULL, "there is none in"},
              {"---\nname: pdf\ndescription: d\n---\n", "two of the name pdf"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    place pl;
    open_place(&pl);
    csn_auto(csn_buf_finip) csn_buf yaml = CSN_BUF(10000), out = CSN_BUF(10000);
    csn_err err = {0};
    if (rows[i].skill)
      put(&pl, "src/one/SKILL.md", rows[i].skill, 0644);
    else
      put(&pl, "src/one/other.md", "x", 0644);
    csn_buf_addf(&yaml,
                 "name: a\ncapabilities:\n- type: skills\n  sources:\n  - inline: {name: pdf, "
                 "description: d, content: c}\n  - local: %s/src\n",
                 pl.path);
    csn_auto(csn_agent_freep) csn_agent *a = agent_of(yaml.p);
    assert_true(look(a, &pl, NULL, &out, &err) < 0);
    if (!strstr(err.msg, rows[i].complaint))
      fail_msg("%zu: %s", i, err.msg);
    close_place(&pl);
  }
}

RUN_TESTS("run/instructions", RUN(an_agent_without_a_workspace_is_told_its_own_text),
          RUN(the_parts_come_in_order), RUN(parts_can_be_left_out),
          RUN(what_is_mounted_is_told_with_how_to_treat_it),
          RUN(agents_md_is_merged_from_the_top_down), RUN(the_nearest_agents_md_has_its_room_first),
          RUN(what_is_no_file_of_the_workspace_is_no_agents_md),
          RUN(skills_of_the_workspace_are_data_and_bad_ones_are_left_out),
          RUN(what_the_operator_names_must_be_right))
