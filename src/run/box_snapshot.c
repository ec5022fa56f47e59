/* SPDX-License-Identifier: Apache-2.0
 * box_snapshot.c - the workspace of a run, saved when the run is over. */
#include "run/box_snapshot.h"

#include <stdio.h>

#include "core/fd.h"
#include "run/box_save.h"
#include "run/stores.h"
#include "sandbox/snapshots.h"

enum { NAME_MAX_BYTES = 200 }; /* longer ones are refused */

/* SNAPSHOT of the first sandbox, SNAPSHOT.NAME of each other. */
static const char *
name_of(const char *snapshot, const csn_agent *a, size_t i, char name[NAME_MAX_BYTES])
{
  snprintf(name, NAME_MAX_BYTES, "%s%s%s", snapshot, i ? "." : "",
           i ? csn_agent_box_name(a, i) : "");
  return name;
}

int
csn_box_snapshot_check(const csn_rt *rt, const csn_agent *a, const csn_run_options *o, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot there;
  char name[NAME_MAX_BYTES];
  if (!o || !o->snapshot)
    return 0;
  int rc = csn_snapshots_here(rt->project, rt->state_fd, &s, err);
  for (size_t i = 0; rc == 0 && csn_agent_box(a, i); i++) {
    rc = csn_snapshot_name_check(name_of(o->snapshot, a, i, name), err);
    if (rc == 0 && csn_snapshot_find(s, name, &there, NULL) != CSN_E_NOT_FOUND)
      rc = csn_fail(err, CSN_E_EXISTS, "there is a snapshot %s already", name);
  }
  return rc;
}

static int
save(struct csn_box *b, const char *name, csn_buf *told, csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_closep) int stack = csn_box_open_folder(b->folder_fd, "stack", NULL);
  csn_auto(csn_closep) int folder =
      stack < 0 ? csn_box_open_folder(b->folder_fd, "workspace", err) : -1;
  const csn_snapshot base = {.tree = b->from_tree};
  csn_snapshot_saving how = {.name = name, .told = told};
  if (stack < 0 && folder < 0)
    return folder;
  if (b->agent->manifest)
    how.omit = csn_manifest_ephemeral(b->agent->manifest, a);
  int rc = csn_snapshots_here(b->run->rt->project, b->run->rt->state_fd, &s, err);
  /* The run is over, so its scope may be, too: what there is is saved. */
  if (rc == 0 && stack >= 0)
    return csn_snapshot_save_stack(s, NULL, &how, b->from ? &base : NULL, stack, out, err);
  return rc < 0 ? rc : csn_snapshot_save(s, NULL, &how, folder, out, err);
}

void
csn_box_snapshot_save(struct csn_box *b)
{
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 16);
  csn_snapshot saved;
  csn_err err;
  char text[NAME_MAX_BYTES];
  const char *name = name_of(b->run->opts.snapshot, b->run->agent, b->index, text);
  csn_str line;
  int rc = save(b, name, &told, &saved, &err);
  for (csn_str rest = csn_buf_str(&told); csn_str_line(&rest, &line);)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "snapshot %s: %.*s", name, (int)line.n, line.p);
  if (rc == CSN_E_EXISTS) /* by a life of this run that ended right after */
    return;
  if (rc < 0)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "snapshot %s: %s", name, err.msg);
}
