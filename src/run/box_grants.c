/* SPDX-License-Identifier: Apache-2.0
 * box_grants.c - see box_grants.h. */
#include "run/box_grants.h"

#include <stdlib.h>

static bool
is_at_or_beneath(const char *path, const char *top)
{
  size_t n = strlen(top);
  return strncmp(path, top, n) == 0 && (path[n] == '/' || !path[n]);
}

/* What is the harness's own is in no sandbox: not the state folder, where keys and
 * journals are, and not the file that says where keys of models go. */
static int
check_ours(const struct csn_box *b, const char *granted, csn_err *err)
{
  const char *const ours[] = {b->run->rt->state_path, csn_project_file(b->run->rt->project)};
  csn_auto(csn_freep) char *real = realpath(granted, NULL);
  for (size_t i = 0; real && i < CSN_COUNT(ours); i++) {
    csn_auto(csn_freep) char *own = ours[i] ? realpath(ours[i], NULL) : NULL;
    if (own && (is_at_or_beneath(own, real) || is_at_or_beneath(real, own)))
      return csn_fail(err, CSN_E_DENIED,
                      "extra_path_grants: %.200s: it holds %.200s, which no sandbox may see; grant "
                      "a folder beside it, or copy it in (local_dir leaves that out)",
                      granted, own);
  }
  return 0;
}

int
csn_box_grants(const struct csn_box *b, csn_arena *a, const csn_path_grant **out, csn_err *err)
{
  int rc = 0;
  *out = b->agent->manifest ? csn_manifest_grants(b->agent->manifest, a) : NULL;
  for (const csn_path_grant *g = *out; g && g->path && rc == 0; g++)
    rc = check_ours(b, g->from ? g->from : g->path, err);
  return rc;
}
