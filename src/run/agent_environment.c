/* SPDX-License-Identifier: Apache-2.0
 * agent_environment.c - the section `environment` of agent.yaml: what the
 * sandbox's programs are (sandbox/environment.h).  Record 0 of a run holds it
 * with the versions of the lock, so a run that is resumed has the same. */
#include "run/agent_read.h"
#include "sandbox/environment_remote.h"

int
csn_agent_read_environment(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_err why;
  csn_auto(csn_environment_freep) csn_environment *e = NULL;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 << 20);
  csn_jw w;
  if (csn_environment_read(&e, m, r->a->folder, true, &why) < 0)
    return csn_agent_complain(r, m, "%s", why.msg);
  csn_jw_init(&w, &text);
  csn_environment_to_json(e, &w);
  return csn_agent_keep(r, &w, &r->a->environment);
}

void
csn_agent_write_environment(const csn_agent *a, csn_jw *w)
{
  if (!a->environment)
    return;
  csn_jw_key(w, "environment");
  csn_jw_value(w, a->environment);
}

int
csn_agent_check_environment(const csn_agent *a, csn_err *err)
{
  csn_auto(csn_environment_freep) csn_environment *e = NULL;
  if (!a->environment)
    return 0;
  if (a->sandbox.rootfs)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s has an environment and a sandbox.rootfs; leave one out",
                    csn_agent_name(a));
  int rc = csn_environment_read(&e, a->environment, a->folder, false, err);
  if (rc == 0)
    rc = csn_environment_check(e, a->sandbox.backend, err);
  return csn_wrap(err, rc, "agent %s", csn_agent_name(a));
}
