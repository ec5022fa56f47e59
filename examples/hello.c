/* SPDX-License-Identifier: Apache-2.0
 * An agent with one tool of this program. */
#include <caisson/caisson.h>
#include <stdio.h>

static int
add(csn_call *call, void *user, csn_err *err)
{
  const csn_json *args = csn_call_args(call);
  int64_t sum = csn_json_int(args, "a", 0) + csn_json_int(args, "b", 0);
  csn_buf_addf(csn_call_out(call), "%lld", (long long)sum);
  return 0;
}

int
main(int argc, char **argv)
{
  static const csn_tool tool = {
      .size = sizeof tool,
      .name = "add",
      .description = "Adds two whole numbers.",
      .schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
                "\"b\":{\"type\":\"integer\"}}}",
      .replay = CSN_REPLAY_SAFE,
      .call = add,
  };
  csn_err err;
  csn_result answer;
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  csn_auto(csn_agent_freep) csn_agent *agent = csn_agent_new("adder");
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  csn_agent_set_model(agent, argc > 1 ? argv[1] : "openai/gpt-5.4-mini");
  if (csn_agent_add_tool(agent, &tool, &err) < 0 || csn_rt_new(&rt, NULL, &err) < 0 ||
      csn_run_once(rt, NULL, agent, CSN_STR("What is 20 + 22?"), NULL, keep, &answer, &err) < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  csn_str text = answer.state == CSN_RUN_DONE ? answer.output : answer.message;
  printf("%.*s\n", (int)text.n, text.p);
  return answer.state != CSN_RUN_DONE;
}
