/* SPDX-License-Identifier: Apache-2.0
 * capability.c - the tools of the capabilities shell and filesystem: what the
 * sandbox layer can do, in the shape of csn_tool. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "caisson/patch.h"
#include "run/driver.h"
#include "sandbox/image.h"
#include "sandbox/patch_int.h"
#include "sandbox/stage.h"

/* ---- shell ---- */

enum { TRIES = 3 };

typedef int shell_fn(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who,
                     const csn_json *args, int claim_fd, csn_buf *out, csn_err *err);

static int
in_shell(csn_call *c, shell_fn *fn, csn_err *err)
{
  csn_sandbox *sb;
  csn_shell *shell;
  int rc = CSN_E_SANDBOX;
  const csn_shell_caller who = {csn_call_files(c), csn_call_agent(c)};
  /* A sandbox that died before the command began is no reason to fail. */
  for (int tries = 0; rc == CSN_E_SANDBOX && tries < TRIES; tries++) {
    rc = csn_call_box(c, &sb, &shell, err);
    if (rc < 0)
      return rc;
    csn_auto(csn_closep) int claim = csn_call_claim(c, err);
    if (claim < 0)
      return claim;
    rc = fn(shell, csn_call_scope(c), &who, csn_call_args(c), claim, csn_call_out(c), err);
    if (lseek(claim, 0, SEEK_END) != 0)
      break;
    if (rc == CSN_E_SANDBOX)
      csn_box_suspect(csn_call_in(c), sb);
  }
  csn_fault_pass(&csn_call_run(c)->rt->fault, "exec.returned");
  return rc;
}

static int
exec_command(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  return in_shell(c, csn_shell_exec_as, err);
}

static int
write_stdin(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  return in_shell(c, csn_shell_write_stdin_as, err);
}

/* A command that never began had no effect; one that began may have. */
static int
recover_begun(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  csn_sandbox *sb;
  int rc = csn_call_sandbox(c, &sb, err); /* waits for the end of the old sandbox */
  if (rc < 0)
    return rc;
  if (!csn_call_was_claimed(c))
    return CSN_CALL_PERFORM;
  csn_buf_addz(csn_call_out(c),
               "The outcome of this command is unknown: the harness died while it ran. It was "
               "begun once and ended with the sandbox's processes. Look at the state before you "
               "repeat it.");
  return 0;
}

/* ---- filesystem ---- */

/* The workspace as a folder: itself, or a stage with those of its files that
 * are needed. */
struct place {
  csn_sandbox *sb;
  csn_stage *stage;
  int fd;
};

static void
place_fini(struct place *p)
{
  csn_stage_free(p->stage);
}

static int
place_stage(csn_call *c, struct place *p, const char *const *paths, size_t most, csn_err *err)
{
  p->fd = p->sb->workspace_fd;
  if (p->fd >= 0)
    return 0;
  int rc = csn_call_stage(c, p->sb, paths, (int64_t)most, &p->stage, err);
  p->fd = rc < 0 ? -1 : csn_stage_fd(p->stage);
  return rc;
}

/* What was done there is where it belongs. */
static int
place_send(csn_call *c, struct place *p, csn_err *err)
{
  int rc = p->stage ? csn_stage_seal(p->stage, err) : 0;
  csn_fault_pass(&csn_call_run(c)->rt->fault, "patch.sealed");
  if (rc == 0 && p->stage)
    rc = csn_stage_send(p->stage, csn_call_scope(c), err);
  return rc;
}

/* What relative paths start from; NULL: the workspace. */
static const char *
cwd_of(csn_call *c)
{
  return csn_call_in(c)->agent->sandbox.cwd;
}

static void
at_rename(void *user, int rename)
{
  (void)rename;
  csn_fault_pass(user, "patch.rename");
}

static int
note_plan(csn_call *c, const csn_patch *p, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf plan = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &plan);
  csn_patch_to_json(p, &w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_call_note(c, csn_buf_str(&plan), err);
}

/* The patch: all of the input, or an argument. */
static csn_str
patch_of(csn_call *c)
{
  const csn_json *args = csn_call_args(c);
  return args ? csn_json_str(args, "input", CSN_STR("")) : csn_call_input(c);
}

/* What is wrong with a patch is for the model to mend. */
static int
tell_model(csn_call *c, int rc, const csn_err *err)
{
  if (rc < 0)
    csn_buf_addz(csn_call_out(c), err->msg);
  return 0;
}

/* Storage in a workspace of this machine is not seen from outside of its sandbox:
 * true when a path is there, and the model is told what to do. */
static bool
is_in_mount(csn_call *c, const csn_sandbox *sb, const char *const *paths)
{
  for (; sb->workspace_fd >= 0 && *paths; paths++)
    for (char *const *m = sb->skips; m && *m; m++) {
      size_t n = strlen(*m);
      if (strncmp(*paths, *m, n) != 0 || ((*paths)[n] && (*paths)[n] != '/'))
        continue;
      csn_buf_addf(csn_call_out(c),
                   "%s is in the mount %s, which only commands can reach: copy the file out of it "
                   "with cp, work on the copy, and copy it back where the mount can be written to.",
                   *paths, *m);
      return true;
    }
  return false;
}

static int
apply_patch(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  csn_auto(place_fini) struct place at = {0};
  int rc = csn_call_sandbox(c, &at.sb, err);
  if (rc < 0)
    return rc;
  csn_err why;
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  const char *const *paths = NULL;
  rc = csn_patch_parse(&p, patch_of(c), &why);
  if (rc == 0)
    rc = csn_patch_paths(p, at.sb->root, cwd_of(c), &paths, &why);
  if (rc < 0)
    return tell_model(c, rc, &why);
  if (is_in_mount(c, at.sb, paths))
    return 0;
  rc = place_stage(c, &at, paths, CSN_PATCH_PLAN_MAX, err);
  if (rc < 0)
    return rc == CSN_E_LIMIT ? tell_model(c, rc, err) : rc;
  csn_patch_scope(p, csn_call_files(c));
  rc = csn_patch_plan(p, at.fd, at.sb->root, cwd_of(c), &why);
  if (rc < 0)
    return tell_model(c, rc, &why);
  rc = note_plan(c, p, err);
  if (rc < 0)
    return rc;
  rc = at.stage ? csn_patch_stage(p, -1, -1, &why)
                : csn_patch_stage(p, at.sb->uid, at.sb->gid, &why);
  if (rc < 0)
    return tell_model(c, rc, &why);
  csn_fault_pass(&csn_call_run(c)->rt->fault, "patch.staged");
  rc = csn_patch_commit(p, at_rename, &csn_call_run(c)->rt->fault, &why);
  if (rc < 0)
    return tell_model(c, rc, &why);
  rc = place_send(c, &at, err);
  if (rc < 0)
    return rc;
  csn_patch_report(p, csn_call_out(c));
  return 0;
}

static int
recover_patch(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  csn_sandbox *sb;
  int rc = csn_call_sandbox(c, &sb, err);
  const csn_json *plan = csn_call_last_note(c);
  if (rc < 0 || !plan)
    return rc < 0 ? rc : CSN_CALL_PERFORM;
  if (sb->workspace_fd < 0) {
    rc = csn_call_stage_recover(c, sb, err);
    if (rc > 0)
      csn_patch_report_ops(csn_json_get(plan, "ops"), csn_call_out(c));
    return rc < 0 ? rc : rc > 0 ? 0 : CSN_CALL_PERFORM;
  }
  bool is_done = false;
  rc = csn_patch_recover(sb->workspace_fd, plan, &is_done, csn_call_out(c), err);
  return rc == 0 && !is_done ? CSN_CALL_PERFORM : rc;
}

static int
view_image(csn_call *c, void *user, csn_err *err)
{
  (void)user;
  csn_auto(place_fini) struct place at = {0};
  int rc = csn_call_sandbox(c, &at.sb, err);
  if (rc < 0)
    return rc;
  csn_str path = csn_json_str(csn_call_args(c), "path", CSN_STR(""));
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096), full = CSN_BUF(1 << 20);
  if (path.n && path.p[0] != '/' && cwd_of(c)) {
    csn_buf_addf(&full, "%s/", cwd_of(c));
    csn_buf_add(&full, path);
    path = csn_buf_str(&full);
  }
  const char *paths[2] = {NULL};
  if (csn_image_path(path, at.sb->root, &clean))
    paths[0] = clean.p;
  if (is_in_mount(c, at.sb, paths))
    return 0;
  rc = place_stage(c, &at, paths, 2 * CSN_IMAGE_MAX, err);
  if (rc < 0)
    return rc == CSN_E_LIMIT ? tell_model(c, rc, err) : rc;
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(16u << 20);
  rc = csn_image_view(at.fd, at.sb->root, path, csn_call_files(c), &url, err);
  if (rc < 0)
    return rc;
  if (rc == 0) {
    csn_buf_add(csn_call_out(c), csn_buf_str(&url));
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf parts = CSN_BUF(17u << 20);
  csn_buf_addz(&parts, "[{\"type\":\"input_image\",\"image_url\":");
  csn_json_quote(&parts, csn_buf_str(&url));
  csn_buf_addz(&parts, "}]");
  csn_call_set_content(c, csn_buf_str(&parts));
  return 0;
}

/* ---- the tables ---- */

int
csn_capability_shell(csn_agent *a, csn_err *err)
{
  const csn_tool exec = {
      .size = sizeof exec,
      .name = "exec_command",
      .description = csn_shell_exec_description(),
      .schema = csn_shell_exec_schema(),
      .is_loose = true,
      .call = exec_command,
      .recover = recover_begun,
  };
  const csn_tool stdin_tool = {
      .size = sizeof stdin_tool,
      .name = "write_stdin",
      .description = csn_shell_write_stdin_description(),
      .schema = csn_shell_write_stdin_schema(),
      .is_loose = true,
      .call = write_stdin,
      .recover = recover_begun,
  };
  int rc = csn_agent_add_box_tool(a, &exec, err);
  return rc < 0 ? rc : csn_agent_add_box_tool(a, &stdin_tool, err);
}

/* The grammar as the "format" of a custom tool. */
static const char *
patch_format(csn_agent *a)
{
  csn_auto(csn_buf_finip) csn_buf format = CSN_BUF(64 << 10);
  csn_jw w;
  csn_jw_init(&w, &format);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "grammar");
  csn_jw_key(&w, "syntax");
  csn_jw_strz(&w, "lark");
  csn_jw_key(&w, "definition");
  csn_jw_strz(&w, csn_patch_grammar());
  csn_jw_end(&w);
  return csn_arena_dup(a->arena, csn_buf_str(&format)).p;
}

/* A text of a grammar has no room for the name of a sandbox, so among several
 * ones the patch is an argument beside it. */
static int
patch_tool(csn_agent *a, csn_err *err)
{
  bool is_function = (a->parent ? a->parent : a)->box_name != NULL;
  const csn_tool patch = {
      .size = sizeof patch,
      .name = "apply_patch",
      .description = csn_patch_description(),
      .schema = is_function ? "{\"properties\":{\"input\":{\"description\":\"The patch.\","
                              "\"title\":\"Input\",\"type\":\"string\"}},\"required\":[\"input\"],"
                              "\"title\":\"ApplyPatchArgs\",\"type\":\"object\"}"
                            : NULL,
      .format = is_function ? NULL : patch_format(a),
      .is_loose = is_function,
      .call = apply_patch,
      .recover = recover_patch,
  };
  return csn_agent_add_box_tool(a, &patch, err);
}

int
csn_capability_files(csn_agent *a, csn_err *err)
{
  const csn_tool view = {
      .size = sizeof view,
      .name = "view_image",
      .description =
          "Shows an image file of the workspace (png, jpeg, gif, webp, bmp, tiff or svg, up to "
          "10MB), so that you can look at it.",
      .schema =
          "{\"properties\":{\"path\":{\"description\":\"Path of the image in the workspace.\","
          "\"minLength\":1,\"title\":\"Path\",\"type\":\"string\"}},\"required\":[\"path\"],"
          "\"title\":\"ViewImageArgs\",\"type\":\"object\"}",
      .is_loose = true,
      .replay = CSN_REPLAY_SAFE,
      .call = view_image,
  };
  int rc = csn_agent_add_box_tool(a, &view, err);
  if (rc == 0)
    rc = patch_tool(a, err);
  return rc < 0 || !csn_agent_copies_files(a) ? rc : csn_capability_copy(a, err);
}
