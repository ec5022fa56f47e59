#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a model is offered, and what becomes of calls that are not as they should be: the
requests of real runs, and replies that a server makes up.

usage: offered.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *

EMPTY = {"additionalProperties": False, "type": "object", "properties": {}, "required": []}
ECHO = {"name": "echo", "description": "Gives its input back.", "schema": {"properties": {"n": {"type": "integer"}}}, "command": ["cat"]}


def message(text):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(name, arguments, call_id="c1"):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def place(*replies, **agent):
    """A place whose model gives these lists of items in order."""
    def answer(nth, body, headers):
        items = replies[min(nth, len(replies) - 1)]
        return 200, "application/json", json.dumps({"id": f"r{nth}", "status": "completed", "output": items}).encode()
    server = Model(answer)
    p = Place({"model": "openai/gpt-5.4", "capabilities": [], **agent}, env={"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"})
    return p, server


def bodies(server):
    return [json.loads(b) for b in server.bodies]


def output(server):
    return [i["output"] for i in bodies(server)[-1]["input"] if i.get("type") == "function_call_output"]


@test
def nothing_is_said_that_the_agent_does_not_say():
    p, server = place([message("done")])
    expect(p.run("--no-stream"), 0)
    same(bodies(server)[0], {"model": "gpt-5.4", "include": [], "input": [{"role": "user", "content": "go"}]})


@test
def hand_offs_have_names_texts_and_an_empty_schema():
    agents = [{"name": "Billing Agent (EU)"}, {"name": "b", "description": "Knows bills."}, {"name": "c"}]
    p, server = place([message("done")], agents=agents, handoffs=["Billing Agent (EU)", "b", {"agent": "c", "tool": "ask_c", "description": "Asks C."}],
                      agent_tools=[{"agent": "b"}])
    expect(p.run("--no-stream"), 0)
    tools = {t["name"]: t for t in bodies(server)[0]["tools"]}
    same(tools["transfer_to_billing_agent__eu_"]["description"], "Handoff to the Billing Agent (EU) agent to handle the request. ")
    same(tools["transfer_to_b"]["description"], "Handoff to the b agent to handle the request. Knows bills.")
    same(tools["ask_c"]["description"], "Asks C.")
    same([tools["b"]["description"], list(tools["b"]["parameters"]["properties"])], ["Knows bills.", ["input"]])
    for name in "transfer_to_billing_agent__eu_", "transfer_to_b", "ask_c":
        same((tools[name]["parameters"], tools[name]["strict"]), (EMPTY, True))


@test
def a_loose_schema_goes_as_it_is():
    loose = {"name": "loose", "description": "d", "strict": False, "schema": {"type": "object", "properties": {"a": {}}, "additionalProperties": True}, "command": ["cat"]}
    p, server = place([message("done")], tools=[{**loose, "where": "harness"}, {**ECHO, "where": "harness"}])
    expect(p.run("--no-stream", "--harness-tools"), 0)
    tools = {t["name"]: t for t in bodies(server)[0]["tools"]}
    same((tools["loose"]["parameters"], tools["loose"]["strict"]), (loose["schema"], False))
    same((tools["echo"]["parameters"]["additionalProperties"], tools["echo"]["parameters"]["required"], tools["echo"]["strict"]), (False, ["n"], True))


@test
def arguments_are_an_object_or_the_model_is_told():
    for text, want in (("", "{}"), ('{"n": "no number"}', '{"n": "no number"}')):
        p, server = place([call("echo", text)], [message("done")], tools=[{**ECHO, "where": "harness"}])
        expect(p.run("--no-stream", "--harness-tools"), 0)
        same([json.loads(o) for o in output(server)], [json.loads(want)])
    for text in "[1]", "7", '"x"', "null", "{":
        p, server = place([call("echo", text)], [message("done")], tools=[{**ECHO, "where": "harness"}])
        expect(p.run("--no-stream", "--harness-tools"), 0)
        assert output(server)[0].startswith("Invalid JSON input for tool echo"), output(server)


@test
def calls_of_other_kinds_are_kept_and_not_made():
    shell = {"type": "shell_call", "id": "sh_1", "call_id": "s1", "action": {"commands": ["touch made"]}, "status": "completed"}
    local = {"type": "local_shell_call", "id": "ls_1", "call_id": "s2", "action": {"type": "exec", "command": ["touch", "made"]}, "status": "completed"}
    p, server = place([shell, local, call("echo", '{"n":1}')], [message("done")], tools=[{**ECHO, "where": "harness"}])
    expect(p.run("--no-stream", "--harness-tools"), 0)
    same(bodies(server)[1]["input"][1:3], [shell, local])
    assert not list(p.dir.rglob("made"))


@test
def a_command_gives_a_file_back():
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}
    p, server = place([call("get", "{}")], [message("done")],
                      tools=[{"name": "get", "description": "d", "schema": {"properties": {}}, "where": "harness", "command": ["echo", json.dumps({"output": [part]})]}])
    expect(p.run("--no-stream", "--harness-tools"), 0)
    same(output(server), [[part]])


@test
def a_hand_off_goes_before_a_result_that_would_be_the_answer():
    p, server = place([call("echo", '{"n":1}'), call("transfer_to_b", "{}", "c2")], [message("from b")], tool_use="stop_on_first",
                      tools=[{**ECHO, "where": "harness"}], agents=[{"name": "b"}], handoffs=["b"])
    same(expect(p.run("--no-stream", "--harness-tools"), 0).stdout, "from b\n")
    same(len(server.bodies), 2)


@test
def a_filter_changes_what_is_seen_and_not_what_the_session_keeps():
    p, server = place([message("before")], [call("transfer_to_b", "{}")], [message("from b")], agents=[{"name": "b"}],
                      handoffs=[{"agent": "b", "filter": "last"}])
    expect(p.run("--no-stream", "--session", "s"), 0)
    expect(p.run("--no-stream", "--session", "s", task="now"), 0)
    same(bodies(server)[2]["input"], [{"role": "user", "content": "now"}])
    kept = lines_of(expect(p.call("session", "show", "s", "--json"), 0).stdout)
    same([i.get("role", i.get("type")) for i in kept], ["user", "assistant", "user", "function_call", "function_call_output", "assistant"])


@test
def decisions_are_not_among_the_items_of_a_session():
    p, server = place([call("echo", '{"n":1}')], [message("done")], tools=[{**ECHO, "where": "harness"}], approvals=[{"tool": "echo", "do": "ask"}])
    expect(p.run("--no-stream", "--session", "s", "--harness-tools"), 3)
    expect(p.call("approve", p.only_run()), 0)
    expect(p.call("resume", p.only_run(), "--no-stream", "--harness-tools"), 0)
    kept = lines_of(expect(p.call("session", "show", "s", "--json"), 0).stdout)
    same([i.get("role", i.get("type")) for i in kept], ["user", "function_call", "function_call_output", "assistant"])


@test
def a_decision_for_always_holds_for_the_same_arguments_only():
    p, server = place([call("echo", '{"n":1}')], [call("echo", '{ "n" : 1 }', "c2")], [call("echo", '{"n":2}', "c3")], [message("done")],
                      tools=[{**ECHO, "where": "harness"}], approvals=[{"tool": "echo", "do": "ask"}])
    expect(p.run("--no-stream", "--harness-tools"), 3)
    run = p.only_run()
    expect(p.call("approve", run, "--always"), 0)
    expect(p.call("resume", run, "--no-stream", "--harness-tools"), 3, 'echo: {"n":2}')
    same([r["data"]["call_id"] for r in p.records() if r["kind"] == "tool_call"], ["c1", "c2"])


sys.exit(finish())
