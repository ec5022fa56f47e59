/* SPDX-License-Identifier: Apache-2.0
 * caisson resume - go on with a run that was interrupted. */
#include "commands.h"
#include "running.h"

struct resume_opts {
  const char *out;
  bool json, keep, no_stream, harness_tools;
};

static const cli_opt opts[] = {
    {"out", 'o', "DIR", "Put declared outputs into this folder", CLI_STR(struct resume_opts, out)},
    {"keep", 0, NULL, "Keep the workspace also when nothing in it came from this machine",
     CLI_BOOL(struct resume_opts, keep)},
    {"json", 0, NULL, "Print every event as a line of JSON", CLI_BOOL(struct resume_opts, json)},
    {"no-stream", 0, NULL, "Ask the model for whole replies",
     CLI_BOOL(struct resume_opts, no_stream)},
    {"harness-tools", 0, NULL, "Let tools of the agent file run outside of the sandbox",
     CLI_BOOL(struct resume_opts, harness_tools)},
    {0},
};

static int
resume_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct resume_opts *v = o;
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  int rc = cli_rt_open(c, &rt, err);
  if (rc < 0)
    return rc;
  csn_auto(cli_show_fini) cli_show show;
  cli_show_init(&show, c, v->json);
  csn_run_options ro = {.listener = cli_show_event,
                        .user = &show,
                        .no_stream = v->no_stream,
                        .out_dir = v->out,
                        .keep_workspace = v->keep,
                        .harness_tools = v->harness_tools};
  csn_auto(csn_run_freep) csn_run *r = NULL;
  rc = csn_run_resume(rt, csn_cstr(argv[0]), &ro, &r, err);
  return rc < 0 ? rc : cli_await(&show, r, err);
}

const cli_cmd cmd_resume = {
    .name = "resume",
    .args = "RUN",
    .brief = "Go on with an interrupted run",
    .help = "What was pending is treated by its rule: model calls are made again; a command that "
            "had begun is not, and the model is told that its outcome is unknown; a patch is "
            "finished or undone. A run that has ended prints its answer again.",
    .size = sizeof(struct resume_opts),
    .opts = opts,
    .main = resume_main,
};
