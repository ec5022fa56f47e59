/* SPDX-License-Identifier: Apache-2.0
 * caisson run - give an agent a task and wait for its answer. */
#include <fcntl.h>
#include <unistd.h>

#include "attach.h"
#include "commands.h"
#include "core/fd.h"
#include "running.h"
#include "starting.h"

enum { TASK_MAX_BYTES = 16 << 20, STATE_MAX_BYTES = 64 << 10 };

struct run_opts {
  const char *model, *out, *session, *after, *snapshot, *from, *state;
  int64_t session_items, session_tokens;
  bool json, keep, no_stream, harness_tools;
  cli_list images;
};

static const cli_opt opts[] = {
    {"model", 'm', "PREFIX/NAME", "Use this model instead of the agent's",
     CLI_STR(struct run_opts, model)},
    {"out", 'o', "DIR", "Put declared outputs into this folder", CLI_STR(struct run_opts, out)},
    {"image", 'i', "FILE",
     "Show the model this picture beside the task; may be given several times",
     CLI_LIST(struct run_opts, images)},
    {"session", 's', "NAME", "Go on with this conversation: read it first, append to it at the end",
     CLI_STR(struct run_opts, session)},
    {"session-items", 0, "N", "Read at most the newest N items of it",
     CLI_INT(struct run_opts, session_items)},
    {"session-tokens", 0, "N", "Read at most about the newest N tokens of it",
     CLI_INT(struct run_opts, session_tokens)},
    {"after", 0, "RUN", "Go on in the workspace of that run, which moves to this one",
     CLI_STR(struct run_opts, after)},
    {"from", 0, "NAME", "Begin with what the snapshot NAME holds", CLI_STR(struct run_opts, from)},
    {"sandbox-state", 0, "FILE",
     "Work in the sandbox elsewhere that this JSON tells of (`sandbox ls --json`); it stays",
     CLI_STR(struct run_opts, state)},
    {"keep", 0, NULL, "Keep the workspace also when nothing in it came from this machine",
     CLI_BOOL(struct run_opts, keep)},
    {"snapshot", 0, "NAME", "Save the workspace as snapshot NAME when the run is over",
     CLI_STR(struct run_opts, snapshot)},
    {"json", 0, NULL, "Print every event as a line of JSON", CLI_BOOL(struct run_opts, json)},
    {"no-stream", 0, NULL, "Ask the model for whole replies", CLI_BOOL(struct run_opts, no_stream)},
    {"harness-tools", 0, NULL, "Let tools of the agent file run outside of the sandbox",
     CLI_BOOL(struct run_opts, harness_tools)},
    {0},
};

static int
read_task(const char *arg, csn_buf *out, csn_err *err)
{
  if (strcmp(arg, "-") != 0) {
    csn_buf_addz(out, arg);
    return csn_buf_done(out, "the task", err);
  }
  return csn_wrap(err, csn_fd_read_all(STDIN_FILENO, out, err), "task from stdin");
}

static int
read_state(const char *path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  int rc = fd < 0 ? csn_fail_errno(err, "cannot open") : csn_fd_read_all(fd, out, err);
  return csn_wrap(err, rc, "option --sandbox-state: %s", path);
}

static int
run_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct run_opts *v = o;
  bool has_file = cli_is_agent_file(argv[0]);
  if (has_file && argc < 2)
    return csn_fail(err, CSN_E_INVALID,
                    "no task: write it after the agent file, or - to read it from stdin");
  if (!has_file && argc > 1)
    return csn_fail(err, CSN_E_INVALID,
                    "'%s' is no agent file (its name must end in .yaml); put the task in quotes",
                    argv[0]);
  csn_auto(csn_agent_freep) csn_agent *agent = NULL;
  int rc = cli_agent_open(has_file ? argv[0] : NULL, &agent, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf task = CSN_BUF(TASK_MAX_BYTES);
  rc = read_task(argv[has_file], &task, err);
  if (rc == 0 && csn_str_trim(csn_buf_str(&task)).n == 0)
    rc = csn_fail(err, CSN_E_INVALID, "the task is empty");
  csn_auto(csn_buf_finip) csn_buf parts = CSN_BUF(CLI_PARTS_MAX);
  if (rc == 0)
    rc = cli_attach_images(&parts, &v->images, err);
  csn_auto(csn_buf_finip) csn_buf state = CSN_BUF(STATE_MAX_BYTES);
  if (rc == 0 && v->state)
    rc = read_state(v->state, &state, err);
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  if (rc == 0)
    rc = cli_rt_open(c, &rt, err);
  if (rc < 0)
    return rc;
  cli_choose_model(c, agent, v->model, rt);
  csn_auto(cli_show_fini) cli_show show;
  cli_show_init(&show, c, v->json);
  csn_run_options ro = {.listener = cli_show_event,
                        .user = &show,
                        .no_stream = v->no_stream,
                        .parts = csn_buf_str(&parts),
                        .out_dir = v->out,
                        .session = v->session,
                        .session_items = v->session_items,
                        .session_tokens = v->session_tokens,
                        .after = v->after,
                        .from = v->from,
                        .sandbox_state = csn_buf_str(&state),
                        .keep_workspace = v->keep || v->after,
                        .snapshot = v->snapshot,
                        .harness_tools = v->harness_tools};
  csn_auto(csn_run_freep) csn_run *r = NULL;
  if (csn_str_starts(csn_cstr(csn_agent_model(agent)), CSN_STR("script")))
    cli_note(c, "model: script (a playbook, not a language model)");
  cli_tidy(&show, rt, agent, v->session);
  rc = csn_run_start(rt, agent, csn_buf_str(&task), &ro, &r, err);
  return rc < 0 ? rc : cli_await(&show, r, err);
}

const cli_cmd cmd_run = {
    .name = "run",
    .args = "[AGENT.yaml] TASK",
    .brief = "Give an agent a task",
    .help = "The final answer goes to stdout, everything else to stderr. Without an agent file "
            "the current folder is copied into a sandbox and the model comes from caisson.yaml or "
            "CAISSON_MODEL. The task `-` is read from stdin.\n\n"
            "The run is kept in the state folder: see `caisson runs`, `caisson diff` and "
            "`caisson apply`; a run that was interrupted goes on with `caisson resume`.",
    .size = sizeof(struct run_opts),
    .opts = opts,
    .main = run_main,
};
