/* SPDX-License-Identifier: Apache-2.0
 * box_outputs.c - the declared outputs of a run, out of its workspace. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "sandbox/outputs.h"

/* Of one among several: a folder of its own beneath --out, so that none writes over
 * what another gave. */
static int
own_folder(struct csn_box *b, int dir, csn_err *err)
{
  int rc = csn_mkdirs(dir, b->name, 0777, err);
  rc = rc < 0 ? rc : csn_box_open_folder(dir, b->name, err);
  csn_closep(&dir);
  return rc;
}

/* --out DIR; else the folder of the agent file for outputs that say `to`, and
 * outputs/ beside the workspace for the others. */
static int
open_out(struct csn_box *b, bool says_to, csn_err *err)
{
  const char *dir = b->run->opts.out_dir ? b->run->opts.out_dir : b->agent->folder;
  if (!b->run->opts.out_dir && !says_to) {
    int rc = csn_mkdirs(b->folder_fd, "outputs", 0755, err);
    return rc < 0 ? rc : csn_box_open_folder(b->folder_fd, "outputs", err);
  }
  if (b->run->opts.out_dir && mkdir(dir, 0777) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "cannot make the folder %s", dir);
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "cannot open the folder %s", dir);
  return b->run->opts.out_dir && b->index ? own_folder(b, fd, err) : fd;
}

/* More than is collected at most: outputs.c says which are too large. */
#define STAGED_MAX ((int64_t)2 << 30)

static int
stage_outputs(struct csn_box *b, csn_arena *a, const csn_output *want, size_t n, csn_stage **stage,
              csn_err *err)
{
  const char **paths = csn_arena_alloc(a, (n + 1) * sizeof *paths);
  for (size_t i = 0; i < n; i++)
    paths[i] = csn_arena_dup(a, want[i].path).p;
  return csn_stage_open(stage, &b->run->scope, b->sb, b->folder_fd, "collected", paths, STAGED_MAX,
                        err);
}

/* Those with or without `to`; their reports join the list in w. */
static int
collect_some(struct csn_box *b, bool says_to, csn_jw *w, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_output *want = csn_arena_alloc(a, (b->agent->n_outputs + 1) * sizeof *want);
  size_t n = 0;
  for (size_t i = 0; i < b->agent->n_outputs; i++)
    if ((b->agent->outputs[i].to.n > 0) == says_to)
      want[n++] = b->agent->outputs[i];
  if (!n)
    return 0;
  csn_auto(csn_closep) int out = open_out(b, says_to, err);
  if (out < 0)
    return out;
  csn_outputs got = {0};
  csn_auto(csn_stage_freep) csn_stage *stage = NULL;
  int rc = csn_box_is_remote(b) ? stage_outputs(b, a, want, n, &stage, err) : 0;
  if (rc == 0)
    rc =
        csn_outputs_collect(&got, &b->run->scope, stage ? csn_stage_fd(stage) : b->sb->workspace_fd,
                            out, want, n, NULL, err);
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(64u << 20);
  csn_jw lw;
  csn_jw_init(&lw, &list);
  csn_outputs_to_json(&got, &lw);
  csn_outputs_fini(&got);
  const csn_json *items = NULL;
  if (rc >= 0)
    rc = csn_jw_done(&lw, err);
  if (rc >= 0)
    rc = csn_json_parse(a, csn_buf_str(&list), &items, err);
  csn_json_each (item, items) {
    csn_jw_obj(w);
    csn_json_each (m, item) {
      csn_jw_keyn(w, m->key);
      if (b->run->opts.out_dir && b->index && csn_str_eq(m->key, CSN_STR("to")))
        csn_jw_str(w, csn_arena_printf(a, "%s/%.*s", b->name, (int)m->text.n, m->text.p));
      else
        csn_jw_value(w, m);
    }
    if (b->index) {
      csn_jw_key(w, "sandbox");
      csn_jw_strz(w, b->name);
    }
    csn_jw_end(w);
  }
  return rc;
}

int
csn_box_collect(struct csn_box *b, csn_jw *report, csn_err *err)
{
  csn_sandbox *sb;
  csn_shell *shell;
  int rc = csn_box_need(b, &sb, &shell, err);
  if (rc >= 0)
    rc = collect_some(b, true, report, err);
  return rc < 0 ? rc : collect_some(b, false, report, err);
}
