/* SPDX-License-Identifier: Apache-2.0
 * Prints an answer while the model writes it: stream.c MODEL QUESTION */
#include <caisson/caisson.h>
#include <stdio.h>
#include <string.h>

/* Called for every record of the run and for what is not kept, such as deltas. */
static void
listen(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *v;
  if (strcmp(type, "attempt_restarted") == 0) {
    printf("\n[the connection broke, once more]\n");
  } else if (strcmp(type, "text_delta") == 0 && csn_json_parse(arena, data, &v, NULL) == 0) {
    csn_str text = csn_json_str(v, "text", CSN_STR(""));
    fwrite(text.p, 1, text.n, stdout);
    fflush(stdout);
  }
}

int
main(int argc, char **argv)
{
  csn_err err;
  csn_result answer;
  csn_run_options options = {.listener = listen};
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  csn_auto(csn_agent_freep) csn_agent *agent = csn_agent_new("streamer");
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  if (argc != 3)
    return fprintf(stderr, "usage: stream MODEL QUESTION\n"), 2;
  csn_agent_set_model(agent, argv[1]);
  if (csn_rt_new(&rt, NULL, &err) < 0 ||
      csn_run_once(rt, NULL, agent, csn_cstr(argv[2]), &options, keep, &answer, &err) < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  printf("\n%lld tokens\n", (long long)answer.usage.total_tokens);
  return answer.state != CSN_RUN_DONE;
}
