/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson sandbox run -- CMD... - one command in a fresh sandbox.  Nothing else
 * of the harness (state, pool, loop) is started. */
#include <fcntl.h>

#include "boxing.h"
#include "commands.h"
#include "core/fd.h"
#include "sandbox/jail.h"
#include "snapshotting.h"
#include "streams.h"

struct run_opts {
  cli_box_opts box;
  const char *workspace, *cwd, *from, *snapshot;
};

static const cli_opt opts[] = {
    {"workspace", 'w', "DIR", "Make DIR the workspace instead of an empty one",
     CLI_STR(struct run_opts, workspace)},
    {"from", 0, "NAME", "Begin with what the snapshot NAME holds", CLI_STR(struct run_opts, from)},
    {"snapshot", 0, "NAME", "Save the workspace as snapshot NAME when the command has ended",
     CLI_STR(struct run_opts, snapshot)},
    {"chdir", 0, "PATH", "Start in PATH of the workspace", CLI_STR(struct run_opts, cwd)},
    CLI_BOX_OPTS(struct run_opts, box),
    {0},
};

static void
box_finip(cli_box **b)
{
  cli_box_fini(*b);
}

static int
run_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct run_opts *o = opt;
  csn_err unheard; /* the sandbox says so as well, when it is opened */
  if (!o->box.backend || strcmp(o->box.backend, "jail") == 0)
    (void)!csn_jail_start(&unheard);
  csn_auto(csn_closep) int workspace = -1;
  if (o->workspace) {
    workspace = open(o->workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (workspace < 0)
      return csn_fail_errno(err, "cannot open the workspace %s", o->workspace);
  }
  cli_box box;
  csn_auto(box_finip) cli_box *b = &box;
  int rc = cli_box_read(c, &o->box, b, err);
  if (rc < 0)
    return rc;
  b->spec.workspace_fd = workspace;
  cli_no_sigpipe();
  cli_layered layered = {.from = o->from, .save = o->snapshot};
  csn_auto(cli_layered_closep) cli_layered *l = &layered; /* after the sandbox */
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_auto(cli_ports_close) cli_ports *ports = &b->ports; /* before the sandbox */
  rc = cli_layered_open(c, l, &b->spec, err);
  if (rc == 0)
    rc = csn_sandbox_open(&sb, &c->scope, &b->spec, err);
  cli_status(c, NULL);
  cli_layered_opened(l);
  if (rc == 0)
    rc = cli_ports_open(c, ports, sb, err);
  if (rc < 0)
    return rc;
  const cli_command what = {.argv = (const char *const *)argv, .cwd = o->cwd};
  int status = cli_exec(c, sb, &what, err);
  if (status < 0 || !o->snapshot)
    return status;
  cli_ports_close(&ports); /* nothing may run in it any more */
  csn_sandbox_close(csn_steal(sb));
  rc = cli_layered_save(c, l, workspace, err);
  return rc < 0 ? rc : status;
}

static const cli_cmd sandbox_run = {
    .name = "run",
    .args = "CMD...",
    .brief = "Run one command in a fresh sandbox",
    .help =
        "The status is the command's; 126 and 127 mean that it could not be executed or was "
        "not found, and 128 plus a number that a signal ended it; when that was a limit, a "
        "line on stderr says which. Without a workspace it "
        "gets an empty one that goes away with it.\n\n"
        "When both stdin and stdout are a terminal the command gets one of its own and ours "
        "does what it says; else its control characters are shown on a terminal, not sent.\n\n"
        "What the command makes in a workspace belongs to the owner of the folder; what stands in "
        "it and belongs to somebody else keeps its owner and can be read as its mode says.\n\n"
        "With --from the workspace begins with a snapshot's files and goes away at the end, with "
        "--snapshot it is saved; processes that still run then are ended first.",
    .rest = true,
    .size = sizeof(struct run_opts),
    .opts = opts,
    .main = run_main,
};

static const cli_cmd *const subs[] = {&sandbox_run,
                                      &cmd_sandbox_create,
                                      &cmd_sandbox_ls,
                                      &cmd_sandbox_exec,
                                      &cmd_sandbox_cp,
                                      &cmd_sandbox_port,
                                      &cmd_sandbox_pause,
                                      &cmd_sandbox_resume,
                                      &cmd_sandbox_snapshot,
                                      &cmd_sandbox_move,
                                      &cmd_sandbox_rm,
                                      &cmd_sandbox_gc,
                                      NULL};

const cli_cmd cmd_sandbox = {
    .name = "sandbox",
    .brief = "Work with sandboxes directly",
    .sub = subs,
};
