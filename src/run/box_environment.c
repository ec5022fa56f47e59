/* SPDX-License-Identifier: Apache-2.0
 * box_environment.c - see box_environment.h. */
#include "run/box_environment.h"

#include "run/driver.h"
#include "sandbox/environment_remote.h"
#include "sandbox/stack.h"

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

/* What takes long while a sandbox is opened. */
static void
on_told(void *user, const char *what)
{
  on_step(user, what, NULL);
}

csn_sandbox_told
csn_box_told(const struct csn_box *b)
{
  return b->run->opts.listener ? (csn_sandbox_told){on_told, b->run} : (csn_sandbox_told){0};
}

int
csn_box_programs(struct csn_box *b, csn_scope *sc, csn_arena *a, csn_sandbox_spec *spec,
                 csn_err *err)
{
  const csn_agent *agent = b->agent;
  const csn_environment_progress progress = {on_step, b->run};
  const csn_environment_maker *m = csn_environment_maker_of(spec->backend);
  csn_auto(csn_environment_freep) csn_environment *e = NULL;
  csn_environment_built built;
  spec->rootfs = agent->sandbox.rootfs;
  if (!agent->environment || (m && spec->state)) /* one that is opened again has its own */
    return 0;
  int rc = csn_environment_read(&e, agent->environment, agent->folder, false, err);
  if (rc == 0)
    rc = csn_environment_make(e, sc, spec->backend, spec->options,
                              b->run->opts.listener ? &progress : NULL, &built, err);
  if (rc < 0)
    return rc;
  if (m)
    rc = csn_environment_options(m, spec->options, built.image, a, &spec->options, err);
  else
    spec->rootfs = csn_arena_dup(a, csn_cstr(built.image)).p;
  csn_environment_built_fini(&built);
  return rc;
}
