/* SPDX-License-Identifier: Apache-2.0
 * caisson resume - go on with a run that was interrupted. */
#include "attach.h"
#include "commands.h"
#include "running.h"

struct resume_opts {
  const char *out, *message, *limits, *backend;
  cli_list images;
  bool json, keep, no_stream, harness_tools;
};

static const cli_opt opts[] = {
    {"message", 'm', "TEXT", "Tell it more: the model reads it when the next turn begins",
     CLI_STR(struct resume_opts, message)},
    {"image", 'i', "FILE",
     "Show the model this picture beside the message; may be given several times",
     CLI_LIST(struct resume_opts, images)},
    {"limits", 0, "LIMITS",
     "Raise limits first: turns=80,wall=2h,tokens=1000000,cost_usd=5,tool_calls=90",
     CLI_STR(struct resume_opts, limits)},
    {"out", 'o', "DIR", "Put declared outputs into this folder", CLI_STR(struct resume_opts, out)},
    {"keep", 0, NULL, "Keep the workspace also when nothing in it came from this machine",
     CLI_BOOL(struct resume_opts, keep)},
    {"backend", 0, "NAME",
     "Go on in a sandbox of this back-end, with the files as they are; SANDBOX=NAME of "
     "one of several",
     CLI_STR(struct resume_opts, backend)},
    {"json", 0, NULL, "Print every event as a line of JSON", CLI_BOOL(struct resume_opts, json)},
    {"no-stream", 0, NULL, "Ask the model for whole replies",
     CLI_BOOL(struct resume_opts, no_stream)},
    {"harness-tools", 0, NULL, "Let tools of the agent file run outside of the sandbox",
     CLI_BOOL(struct resume_opts, harness_tools)},
    {0},
};

/* Kept in the journal before the run goes on, or goes on waiting. */
static int
add_message(csn_run *r, const struct resume_opts *v, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf parts = CSN_BUF(CLI_PARTS_MAX);
  int rc = cli_attach_images(&parts, &v->images, err);
  if (rc < 0 || (!v->message && !parts.n))
    return rc;
  return csn_run_add_input(r, csn_str_trim(csn_cstr(v->message)), csn_buf_str(&parts), err);
}

/* KEY=VALUE,... as the object of an agent file. */
static int
raise_limits(csn_run *r, const char *text, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 16);
  const char *user = getenv("LOGNAME") ? getenv("LOGNAME") : getenv("USER");
  csn_str rest = csn_cstr(text);
  csn_jw w;
  csn_jw_init(&w, &json);
  csn_jw_obj(&w);
  while (rest.n) {
    size_t end = csn_str_find(rest, CSN_STR(","), 0);
    csn_str one = csn_str_trim(csn_strn(rest.p, end == SIZE_MAX ? rest.n : end));
    rest = end == SIZE_MAX ? CSN_STR("") : csn_strn(rest.p + end + 1, rest.n - end - 1);
    size_t at = csn_str_find(one, CSN_STR("="), 0);
    if (at == SIZE_MAX || at == 0)
      return csn_fail(err, CSN_E_INVALID,
                      "--limits: expected KEY=VALUE,... as in turns=80,wall=2h");
    csn_str value = csn_strn(one.p + at + 1, one.n - at - 1);
    bool is_number = value.n && strspn(value.p, "0123456789.") >= value.n && value.p[0] != '.';
    csn_jw_keyn(&w, csn_strn(one.p, at));
    if (is_number && value.p[value.n - 1] != '.')
      csn_jw_raw(&w, value);
    else
      csn_jw_str(&w, value);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_run_raise(r, csn_buf_str(&json), user, err);
}

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
                        .backend = v->backend,
                        .harness_tools = v->harness_tools};
  csn_auto(csn_run_freep) csn_run *r = NULL;
  rc = csn_run_open(rt, csn_cstr(argv[0]), &ro, &r, err);
  if (rc == 0 && v->limits)
    rc = raise_limits(r, v->limits, err);
  if (rc == 0)
    rc = add_message(r, v, err);
  if (rc == 0)
    rc = csn_run_go_on(r, err);
  return rc < 0 ? rc : cli_await(&show, r, err);
}

const cli_cmd cmd_resume = {
    .name = "resume",
    .args = "RUN",
    .brief = "Go on with an interrupted run",
    .help =
        "What was pending is treated by its rule: model calls are made again; a command that "
        "had begun is not, and the model is told that its outcome is unknown; a patch is "
        "finished or undone. A run that has ended prints its answer again.\n\n"
        "With --limits a run that a limit ended (turns, wall, tokens, cost_usd, tool_calls) goes "
        "on where it stood, one that waits or was stopped has more left. They are only raised, and "
        "who did it is signed and kept in the journal.\n\n"
        "With --message a run that waits or was stopped is told more. It stands in the journal at "
        "once and the model reads it when the next turn begins, which may be after a decision.\n\n"
        "A run whose workspace is gone goes on with its last checkpoint, or as it began, and "
        "the model is told what is missing.",
    .size = sizeof(struct resume_opts),
    .opts = opts,
    .main = resume_main,
};
