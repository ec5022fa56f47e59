/* SPDX-License-Identifier: Apache-2.0
 * box_context.c - what a run's workspace tells the model, before its first turn.
 *
 * A workspace that is elsewhere is looked at in a stage: the files that may be
 * told are fetched in one archive. */
#include <fcntl.h>

#include "core/fd.h"
#include "run/driver.h"
#include "run/workspace_look.h"
#include "sandbox/stage.h"

/* Of the files that are told, each of which is cut far below that. */
enum { LOOK_MAX_BYTES = 64 << 20 };

static int
stage(struct csn_box *b, csn_scope *sc, csn_stage **out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char *const *paths = csn_workspace_paths(b->agent, a);
  return csn_stage_open(out, sc, b->sb, b->folder_fd, "looked-at", paths, LOOK_MAX_BYTES, err);
}

int
csn_box_context(struct csn_box *b, csn_scope *sc, csn_buf *context, const char **untrusted,
                csn_err *err)
{
  const csn_agent *a = b->agent;
  csn_auto(csn_stage_freep) csn_stage *seen = NULL;
  struct csn_skill_places p = {.workspace_fd = b->sb->workspace_fd,
                               .cache_fd = b->folder_fd,
                               .root = b->sb->root,
                               .folder = a->folder,
                               .cwd = a->sandbox.cwd};
  int rc = 0;
  if (p.workspace_fd < 0 && csn_workspace_is_told(a)) {
    rc = stage(b, sc, &seen, err);
    p.workspace_fd = rc < 0 ? -1 : csn_stage_fd(seen);
  } else if (p.cwd && p.workspace_fd >= 0) {
    csn_auto(csn_closep) int cwd =
        csn_open_beneath(p.workspace_fd, p.cwd, O_RDONLY | O_DIRECTORY, 0, err);
    rc = cwd < 0 ? csn_wrap(err, cwd, "sandbox.cwd: the workspace has no such folder") : 0;
  }
  if (rc == 0)
    rc = csn_workspace_look(a, sc, &p, context, err);
  if (rc == 0 && context->n && csn_agent_has_untrusted_files(a))
    *untrusted = "files";
  return rc;
}
