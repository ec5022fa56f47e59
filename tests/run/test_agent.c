/* SPDX-License-Identifier: Apache-2.0
 * Agent files: what is read, and what every mistake is told. */
#include "base/yaml.h"
#include "check.h"
#include "run/agent_impl.h"

static int
load(csn_agent **out, const char *text, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  int rc = csn_yaml_parse(a, csn_cstr(text), "agent.yaml", &v, err);
  return rc < 0 ? rc : csn_agent_from_json(out, v, "agent.yaml", "/home/of/agent", err);
}

static void
resolved(const csn_agent *a, csn_buf *out)
{
  csn_jw w;
  csn_err err;
  csn_jw_init(&w, out);
  csn_agent_to_json(a, &w);
  OK(csn_jw_done(&w, &err), &err);
}

TEST(a_file_is_read_whole)
{
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  csn_err err;
  OK(load(&a,
          "name: fixer\n"
          "model: openai/gpt@1:x+y~z\n"
          "instructions: Fix it.\n"
          "settings: {temperature: 0.5, max_tokens: 9007199254740993}\n"
          "capabilities: [shell]\n"
          "sandbox: {backend: local, environment: {A: b}}\n"
          "limits: {turns: 3, wall: 2m, output: 100}\n"
          "outputs:\n"
          "  - {path: out/a.txt}\n"
          "  - {path: b, to: c}\n",
          &err),
     &err);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(10000);
  resolved(a, &text);
  STR_EQ(csn_buf_str(&text),
         "{\"name\":\"fixer\",\"model\":\"openai/gpt@1:x+y~z\",\"instructions\":\"Fix it.\","
         "\"settings\":{\"temperature\":0.5,\"max_tokens\":9007199254740993},"
         "\"capabilities\":[\"shell\"],"
         "\"sandbox\":{\"backend\":\"local\",\"environment\":{\"A\":\"b\"}},"
         "\"limits\":{\"turns\":3,\"wall_ms\":120000,\"output\":100,\"repeats\":10},"
         "\"outputs\":[{\"path\":\"out/a.txt\"},{\"path\":\"b\",\"to\":\"c\"}],"
         "\"folder\":\"/home/of/agent\"}");
  assert_int_equal(a ? a->n_tools : 0, 2);
}

TEST(limits_of_the_sandbox_are_read_and_written)
{
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  csn_err err;
  OK(load(&a,
          "name: a\nsandbox: {limits: {memory: 1GiB, cpu: 0.5, wall: 90, pids: none}, strict: "
          "true}\n",
          &err),
     &err);
  assert_int_equal(a->sandbox.limits.memory_bytes, 1 << 30);
  assert_int_equal(a->sandbox.limits.cpu_milli, 500);
  assert_int_equal(a->sandbox.limits.wall_ms, 90000);
  assert_int_equal(a->sandbox.limits.pids, CSN_UNLIMITED);
  assert_int_equal(a->sandbox.limits.disk_bytes, 0);
  assert_true(a->sandbox.limits.strict);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(10000);
  resolved(a, &text);
  assert_non_null(strstr(text.p, "\"limits\":{\"memory\":\"1073741824\",\"pids\":\"none\",\"cpu\":"
                                 "\"0.500\",\"wall\":\"90000ms\"},\"strict\":true"));
}

TEST(the_resolved_form_reads_back_to_itself)
{
  static const char *const files[] = {
      "name: a\n",
      "name: a\nmodel: script:fix.yaml\ncapabilities: []\n",
      "name: a\ninstructions: {callback: x}\nguardrails: [{callback: x, on: input, blocking: "
      "true}, {callback: y, "
      "on: tool_input, tool: t}]\ntool_settings: [{tool: x, enabled: false}, {tool: y, enabled: "
      "{callback: z}}]\n",
      "name: a\nlimits: {tokens: 9, cost_usd: 0.5, tool_calls: 3, repeats: 0, soft: "
      "{at: 80%, do: "
      "switch, model: x/y}}\n",
      "name: a\nhandoffs: [b, {agent: C d, tool: x, filter: last}]\nlimits: {handoffs: "
      "2}\nagents:\n- {name: b, model: x/y, "
      "description: z, capabilities: [], guardrails: [{callback: g, on: output}]}\n- {name: C d, "
      "handoffs: [a]}\n",
      "name: a\ntools: [{name: x, description: d, command: [sh, -c, y], schema: {properties: {a: "
      "{type: string}}}, where: "
      "harness, environment: {A: b}, replay: safe}]\ntool_use: {stop_at: [x]}\ntool_settings: "
      "[{tool: x, timeout: 2m, "
      "retries: 1}]\nlimits: {parallel: 3}\n",
      "name: a\noutput_schema: {properties: {a: {type: string}}}\n",
      "name: a\nagent_tools: [b, {agent: b, tool: c, description: d}]\nlimits: {children: "
      "2}\nagents: [{name: b}]\n",
      "name: a\napprovals: [{tool: t*, match: {x: y}, do: deny, reason: r, expires: "
      "\"2026-12-31T01:02:03Z\"}]\n",
      "name: a\nlimits: {wall: 90}\noutputs: [{path: x}]\nsandbox: {rootfs: root}\n",
      "name: a\nsandbox: {strict: true, limits: {memory: 1GiB, swap: none, pids: 256, cpu: 1.5, "
      "disk: 2G, "
      "inodes: 100000, open_files: 64, file_size: 4096, command_wall: 10m, wall: 1.5h, output: "
      "64MiB}}\n",
  };
  for (size_t i = 0; i < CSN_COUNT(files); i++) {
    csn_auto(csn_agent_freep) csn_agent *a = NULL, *b = NULL;
    csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(10000), two = CSN_BUF(10000);
    csn_err err;
    const csn_json *v;
    OK(load(&a, files[i], &err), &err);
    resolved(a, &one);
    OK(csn_json_parse(arena, csn_buf_str(&one), &v, &err), &err);
    OK(csn_agent_from_json(&b, v, "record 0", "/elsewhere", &err), &err);
    resolved(b, &two);
    STR_EQ(csn_buf_str(&two), one.p);
  }
}

TEST(a_playbook_is_looked_for_beside_the_file)
{
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  csn_err err;
  OK(load(&a, "name: a\nmodel: script/sub/fix.yaml\n", &err), &err);
  assert_string_equal(csn_agent_model(a), "script:/home/of/agent/sub/fix.yaml");
}

static const struct {
  const char *text, *complaint;
} mistakes[] = {
    {"model: x/y\n", "name: missing"},
    {"name: a\nmodle: x\n", "agent.yaml:2: unknown key modle"},
    {"name: a\nlimits:\n  turn: 3\n", "agent.yaml:3: unknown key limits.turn"},
    {"name: a\nlimits: {turns: -1}\n", "turns: expected a whole number of at least 0"},
    {"name: a\nlimits: {cost_usd: 0}\n", "cost_usd: expected an amount"},
    {"name: a\nlimits: {repeats: 1}\n", "repeats: expected 0"},
    {"name: a\nlimits: {tokens: -1}\n", "tokens: expected a whole number"},
    {"name: a\nlimits: {soft: {at: 2, do: ask}}\n", "limits.soft.at"},
    {"name: a\nlimits: {soft: {at: 80%, do: stop}}\n", "limits.soft.do"},
    {"name: a\nlimits: {soft: {at: 80%, do: switch}}\n", "limits.soft.model"},
    {"name: a\nlimits: {wall: soon}\n", "wall: expected a time like 90s, 30m or 2h"},
    {"name: a\nlimits: {wall: 99999999999999999h}\n", "wall: expected a time"},
    {"name: [a]\n", "name: expected a string, got a list"},
    {"name: a\ncapabilities: [fly]\n", "unknown capability"},
    {"name: a\ncapabilities: shell\n", "capabilities: expected a list"},
    {"name: a\nsandbox: {backend: docker2}\n", "unknown back-end 'docker2'"},
    {"name: a\nsandbox: {limits: {ram: 1GiB}}\n",
     "unknown key sandbox.limits.ram; the keys here are: memory, swap, pids, cpu, disk"},
    {"name: a\nsandbox:\n  limits:\n    memory: lots\n",
     "agent.yaml:4: sandbox.limits: limit memory: expected a size like 512MiB"},
    {"name: a\nsandbox: {limits: {pids: true}}\n",
     "sandbox.limits.pids: expected a text or a number"},
    {"name: a\nsandbox: {limits: {memory: 1}}\n", "expected from 16 MiB"},
    {"name: a\nsandbox: {limits: [1]}\n", "sandbox.limits: expected"},
    {"name: a\nsandbox: {strict: 1}\n", "sandbox.strict: expected"},
    {"name: a\nsandbox: {environment: {A: 1}}\n", "sandbox.environment: expected a string"},
    {"name: a\nsandbox: {environment: {\"A=B\": x}}\n", "is no name for a variable"},
    {"name: a\noutputs: [{to: x}]\n", "each needs a `path`"},
    {"name: a\ninstructions: x\ninstructions_file: y\n", "exclude each other"},
    {"name: a\ninstructions_file: missing.txt\n", "cannot open /home/of/agent/missing.txt"},
    {"name: a\nsettings: {temprature: 1}\n", "unknown key settings.temprature"},
    {"name: a\nsettings: {retry: {max_retries: often}}\n", "agent.yaml:2: settings."},
    {"name: a\nsettings: {temperature: hot}\n", "settings.temperature: expected a number, got"},
    {"name: a\nsettings: {tool_choice: 1}\n",
     "settings.tool_choice: expected a string or an object"},
    {"name: a\nsettings: {response_include: [1]}\n", "response_include: expected a list of texts"},
    {"name: a\nsettings:\n  extra_headers: {authorization: x}\n",
     "agent.yaml:3: settings.extra_headers.authorization: keys are not set here; name the "
     "variable"},
    {"name: a\nsettings: {extra_headers: {X-Api-Key: x}}\n", "keys are not set here"},
    {"name: a\nsettings: {extra_headers: {X-Goog-Api-Key: x}}\n", "keys are not set here"},
    {"name: a\nsettings: {extra_headers: {Proxy-Authorization: x}}\n", "keys are not set here"},
    {"name: a\nsettings: {extra_headers: {X-Amz-Security-Token: x}}\n", "keys are not set here"},
    {"name: a\nsettings: {extra_headers: {Cookie: x}}\n", "keys are not set here"},
    {"name: a\nsettings: {extra_headers: {Content-Length: \"1\"}}\n", "is the transport's own"},
    {"name: a\nsettings: {extra_headers: {\"a b\": x}}\n", "'a b' is no name for one"},
    {"name: a\nsettings: {extra_headers: {a: \"x\\r\\ny: z\"}}\n", "expected a text of one line"},
    {"name: a\nsettings: {extra_headers: {a: 1}}\n", "expected a text of one line"},
    {"name: a\nsettings: {extra_query: {key: x}}\n", "extra_query.key: keys are not set here"},
    {"name: a\nsettings: {extra_query: {a: [1]}}\n", "expected a text of one line"},
    {"name: a\nsettings: {extra_query: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, "
     "j: 1, k: 1, l: 1, m: 1}}\n",
     "settings.extra_query: at most 12"},
    {"name: a\nmanifest: {entries: {x: {type: nonsense}}}\n", "agent.yaml: manifest"},
    {"name: a\ninstructions: {callbak: x}\n", "unknown key instructions.callbak"},
    {"name: a\ninstructions: {}\n", "instructions.callback: missing"},
    {"name: a\nguardrails: [{on: input}]\n", "the name of a `callback`"},
    {"name: a\nguardrails:\n- {callback: x, on: top}\n",
     "agent.yaml:3: guardrails: each needs `on: input`"},
    {"name: a\nguardrails: [{callback: x, on: output, blocking: true}]\n", "guardrails.blocking"},
    {"name: a\nguardrails: [{callback: x, on: output, tool: x}]\n", "guardrails.tool: only with"},
    {"name: a\ntool_settings: [{enabled: false}]\n", "tool_settings: each needs a `tool`"},
    {"name: a\ntool_settings: [{tool: x, enabled: 1}]\n",
     "expected true, false or {callback: NAME}"},
    {"name: a\ntools: [{name: x}]\n", "tools.command: expected a program"},
    {"name: a\ntools: [{command: [x]}]\n", "tools: each needs a `name`"},
    {"name: a\ntools: [{name: x, command: sh}]\n", "tools.command: expected a program"},
    {"name: a\ntools: [{name: x, command: [x], where: moon}]\n", "expected sandbox or harness"},
    {"name: a\ntools: [{name: x, command: [x], replay: never}]\n", "expected once, safe or ask"},
    {"name: a\ntools: [{name: x, command: [x], schema: {type: object, additionalProperties: "
     "true}}]\n",
     "schema of tool x"},
    {"name: a\ntools: [{name: x, command: [x]}, {name: x, command: [y]}]\n",
     "has a tool x already"},
    {"name: a\noutput_schema: {type: string}\n", "output_schema: expected the schema of an object"},
    {"name: a\noutput_schema: {properties: {}, additionalProperties: true}\n", "output_schema: "},
    {"name: a\ntool_use: sometimes\n", "tool_use: expected run_again"},
    {"name: a\ntool_settings: [{tool: x, timeout: long}]\n", "tool_settings.timeout"},
    {"name: a\napprovals:\n  - {do: perhaps}\n",
     "agent.yaml:3: approvals: each rule needs `do: allow`"},
    {"name: a\napprovals: [{tool: x}]\n", "each rule needs `do: allow`"},
    {"name: a\napprovals: [{do: ask, math: x}]\n", "unknown key approvals.math"},
    {"name: a\napprovals: [{do: ask, match: 1}]\n", "approvals.match: expected a pattern"},
    {"name: a\napprovals: [{do: ask, expires: soon}]\n", "expected a date like 2026-12-31"},
    {"name: a\napprovals: [{do: ask, expires: 2026-13-01}]\n", "expected a date like 2026-12-31"},
    {"- name\n", "the agent: expected an object"},
    {"name: a\nname: b\n", "agent.yaml:2"},
};

TEST(every_mistake_names_its_place)
{
  for (size_t i = 0; i < CSN_COUNT(mistakes); i++) {
    csn_auto(csn_agent_freep) csn_agent *a = NULL;
    csn_err err = {0};
    if (load(&a, mistakes[i].text, &err) >= 0)
      fail_msg("accepted: %s", mistakes[i].text);
    if (!strstr(err.msg, mistakes[i].complaint))
      fail_msg("%s: got '%s', expected '%s'", mistakes[i].text, err.msg, mistakes[i].complaint);
  }
}

RUN_TESTS("run/agent", RUN(a_file_is_read_whole), RUN(limits_of_the_sandbox_are_read_and_written),
          RUN(the_resolved_form_reads_back_to_itself),
          RUN(a_playbook_is_looked_for_beside_the_file), RUN(every_mistake_names_its_place))
