/* SPDX-License-Identifier: Apache-2.0
 * box_environment.c - see box_environment.h. */
#include "run/box_environment.h"

#include "run/driver.h"
#include "sandbox/environment.h"

static void
on_step(void *user, const char *step, const csn_str *text)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(4000);
  csn_jw w;
  if (text)
    return; /* what a command prints is told where it fails */
  csn_jw_init(&w, &json);
  csn_jw_obj(&w);
  csn_jw_key(&w, "what");
  csn_jw_strz(&w, step);
  csn_jw_key(&w, "files");
  csn_jw_int(&w, 0);
  csn_jw_key(&w, "bytes");
  csn_jw_int(&w, 0);
  csn_jw_end(&w);
  csn_run_notify(user, "progress", csn_buf_str(&json));
}

int
csn_box_rootfs(struct csn_box *b, csn_scope *sc, csn_arena *a, const char **word, csn_err *err)
{
  const csn_agent *agent = b->agent;
  const csn_environment_progress progress = {on_step, b->run};
  csn_auto(csn_environment_freep) csn_environment *e = NULL;
  csn_environment_built built;
  *word = agent->sandbox.rootfs;
  if (!agent->environment)
    return 0;
  int rc = csn_environment_read(&e, agent->environment, agent->folder, false, err);
  if (rc == 0)
    rc = csn_environment_build(e, sc, b->run->opts.listener ? &progress : NULL, &built, err);
  if (rc < 0)
    return rc;
  *word = csn_arena_dup(a, csn_cstr(built.image)).p;
  csn_environment_built_fini(&built);
  return 0;
}
