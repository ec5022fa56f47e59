/* SPDX-License-Identifier: Apache-2.0
 *
 * skills.h - the skills of an agent: which there are, and bringing one into the
 * workspace.
 *
 * The resolved entry of `capabilities`:
 *   {type: skills, path: .agents, sources: [{workspace: .agents}, {local: /DIR},
 *    {git: {repo, ref, host?, subpath?}}, {inline: {name, description, content, files?}}]}
 *
 * Names and descriptions are found when the run begins (the index, which stands in
 * its journal and in the instructions); a skill's files come into the workspace
 * when the model loads it, and are read-only there where the file system keeps it.
 * What the operator names must be right, or the run does not begin; what the
 * workspace has is its data: a folder that is no skill is left out and told.  Two
 * skills of one name are an error wherever they come from: none takes the place of
 * another unseen.
 */
#ifndef CSN_RUN_SKILLS_H
#define CSN_RUN_SKILLS_H

#include "caisson/scope.h"
#include "run/agent_impl.h"

enum { CSN_SKILLS_MAX = 200, CSN_SKILLS_TOLD_MAX = 16 << 10 };

/* Where skills are looked for. */
struct csn_skill_places {
  int workspace_fd;   /* -1: nothing of it can be seen */
  int cache_fd;       /* a folder of the harness, for what git brings */
  const char *folder; /* of the agent file, beneath which a repository of this host may be */
  const char *root;   /* what the workspace is called inside */
  const char *cwd;    /* or NULL */
};

/* Adds the members `skills`, a list of {name, description, file, source, dir}, and
 * `skipped`, a list of {file, why}, to the open object; none when there are none. */
int csn_skills_look(const csn_json *config, csn_scope *sc, const struct csn_skill_places *p,
                    csn_jw *w, csn_err *err) CSN_MUST;

/* The entry of that name in the list; NULL: none. */
const csn_json *csn_skills_find(const csn_json *index, csn_str name);
/* Its files into the workspace, at most once: 1 when they were there already.  path:
 * gets the file's path in the workspace, `body` what stands behind the front matter. */
int csn_skill_load(const csn_json *config, const csn_json *entry, csn_scope *sc,
                   const struct csn_skill_places *p, csn_buf *path, csn_buf *body,
                   csn_err *err) CSN_MUST;

/* What the instructions say of them; nothing without an index. */
void csn_skills_tell(const csn_json *config, const csn_json *index, csn_buf *out);

/* The tool load_skill: skill_tool.c */
int csn_capability_skills(csn_agent *a, csn_err *err) CSN_MUST;

#endif
