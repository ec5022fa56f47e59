/* SPDX-License-Identifier: Apache-2.0
 * starting.c - see starting.h. */
#include "starting.h"

#include <limits.h>
#include <unistd.h>

#include "run/driver.h"

bool
cli_is_agent_file(const char *arg)
{
  csn_str s = csn_cstr(arg);
  return csn_str_ends(s, CSN_STR(".yaml")) || csn_str_ends(s, CSN_STR(".yml"));
}

/* Without a file: an engineer with the current folder. */
static int
default_agent(csn_agent **out, csn_err *err)
{
  csn_auto(csn_freep) char *cwd = getcwd(NULL, 0);
  if (!cwd)
    return csn_fail_errno(err, "the current folder");
  const char *slash = strrchr(cwd, '/');
  const char *name = slash && slash[1] ? slash + 1 : "folder";
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("caisson");
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(PATH_MAX + 1000);
  csn_buf_addf(&text,
               "You are an engineer at work in a sandbox. The folder %s in your workspace is a "
               "copy of the user's; change files only as the task needs, and check what you did "
               "by running it. If it holds an AGENTS.md, follow it.",
               name);
  csn_agent_set_instructions(a, csn_buf_str(&text));
  int rc = csn_agent_add_folder(a, name, cwd, err);
  if (rc < 0)
    return rc;
  csn_agent_set_sandbox(a, "jail");
  *out = csn_steal(a);
  return 0;
}

int
cli_agent_open(const char *file, csn_agent **out, csn_err *err)
{
  return file ? csn_agent_load(out, file, err) : default_agent(out, err);
}

void
cli_choose_model(cli *c, csn_agent *a, const char *wanted, const csn_rt *rt)
{
  csn_auto(csn_freep) char *cwd = wanted ? getcwd(NULL, 0) : NULL;
  const char *model = cwd ? csn_model_beside(c->arena, wanted, cwd) : wanted;
  if (!model && !*csn_agent_model(a))
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the runtime was made before */
    model = csn_project_model(rt->project);
  if (model)
    csn_agent_set_model(a, model);
}
