#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent loop as the server sees it: what the requests of a run hold from turn to
turn, also when it was stopped in between. Prints TAP.

usage: turns.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *


def message(text):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]}


def call(name, args=None, call_id="c1"):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": json.dumps(args or {})}


def reply(*items, tokens=3):
    usage = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
    return 200, "application/json", json.dumps({"id": "r", "status": "completed", "output": list(items), "usage": usage}).encode()


class Run:
    """A folder with an agent whose model is the server: answer(body) gives a reply."""

    def __init__(self, answer, **agent):
        self.model = Model(lambda nth, body, headers: answer(body))
        self.place = Place({"capabilities": [], "model": "openai/m", **agent},
                           env={"OPENAI_BASE_URL": self.model.url, "OPENAI_API_KEY": "sk-turns-0123456789"})

    def bodies(self):
        return [json.loads(b) for b in self.model.bodies]

    def close(self):
        self.model.server.shutdown()


def outputs(body):
    return [i for i in body["input"] if i.get("type", "").endswith("_output")]


SHELL = {"capabilities": ["shell"], "sandbox": {"backend": "local"}}


@test
def a_forced_choice_is_made_once():
    def answer(body):
        return reply(call("exec_command", {"cmd": "true"}) if len(outputs(body)) < 2 else message("done"))

    for more, want in (({}, ["required", None, None]), ({"reset_tool_choice": False}, ["required"] * 3),
                       ({"settings": {"tool_choice": "exec_command"}}, [{"type": "function", "name": "exec_command"}, None, None])):
        r = Run(answer, **{**SHELL, "settings": {"tool_choice": "required"}, **more})
        same(expect(r.place.run("--no-stream"), 0).stdout, "done\n")
        same([b.get("tool_choice") for b in r.bodies()], want)
        r.close()


@test
def the_choice_is_still_free_after_a_stop():
    def answer(body):
        return reply(call("exec_command", {"cmd": "true"}) if not outputs(body) else message("done"))

    r = Run(answer, **SHELL, settings={"tool_choice": "required"}, approvals=[{"tool": "*", "do": "ask"}])
    expect(r.place.run("--no-stream"), 3)
    expect(r.place.call("approve", r.place.only_run()), 0)
    expect(r.place.call("resume", r.place.only_run(), "--no-stream"), 0, "done")
    same([b.get("tool_choice") for b in r.bodies()], ["required", None])
    same([c["data"].get("free_choice") for c in r.place.records() if c["kind"] == "model_call"], [None, True])
    r.close()


@test
def a_run_without_a_limit_of_turns_goes_on_after_kill_9():
    def answer(body):
        return reply(call("exec_command", {"cmd": f"echo {len(outputs(body))}"}) if len(outputs(body)) < 45 else message("done"))

    r = Run(answer, **SHELL, limits={"turns": 0})
    same(r.place.run("--no-stream", env={"CAISSON_FAULT": "tool.performed:3"}).returncode, -9)
    same(expect(r.place.call("resume", r.place.only_run(), "--no-stream"), 0).stdout, "done\n")
    same([c["data"]["turns"] for c in r.place.records() if c["kind"] == "finish"], [46])
    r.close()


@test
def a_run_that_a_limit_ended_goes_on_with_more():
    def answer(body):
        n = len(outputs(body))
        calls = [call("exec_command", {"cmd": f"echo {n}.{k} >>made; wc -l <made"}, f"c{n}_{k}") for k in range(2)]
        return reply(*(calls if n < 4 else [message("done")]), tokens=200)

    for limits, more, reason in (({"turns": 2}, "turns=9", "turns"), ({"tool_calls": 3}, "tool_calls=9", "budget_exhausted"),
                                 ({"tokens": 6000}, "tokens=90000, tool_calls=5", None), ({"turns": 1, "wall": "1h"}, "turns=9,wall=2h", "turns")):
        r = Run(answer, **SHELL, limits=limits)
        done = r.place.run("--no-stream")
        if reason is None:
            run = r.place.only_run()
            expect(r.place.call("resume", run, "--limits", more), 2, "limits.tool_calls: the run has no such limit")
            expect(r.place.call("resume", run, "--limits", "tokens"), 2, "--limits: expected KEY=VALUE")
            expect(r.place.call("resume", run, "--limits", "token=5"), 2, "limits.token")
            r.close()
            continue
        expect(done, 4, "caisson resume", "--limits KEY=VALUE")
        run = r.place.only_run()
        expect(r.place.call("resume", run), 4)  # nothing was raised: it has ended
        same(expect(r.place.call("resume", run, "--limits", more, "--no-stream", env={"LOGNAME": "ann"}), 0).stdout, "done\n")
        same(r.place.runs()[0]["state"], "done")
        records = r.place.records(run)
        resumed, = [x["data"] for x in records if x["kind"] == "resumed"]
        note, = [x["data"] for x in records if x["kind"] == "note" and x["data"].get("effect") == 0]
        same((note["decision"]["by"], note["decision"]["limits"]), ("ann", resumed["limits"]))
        assert len(note["mac"]) == 64, note
        same([x["data"]["reason"] for x in records if x["kind"] == "finish"], [reason, "final"])
        sent = r.bodies()[-1]["input"]
        calls, results = ([i["call_id"] for i in sent if i.get("type") == kind] for kind in ("function_call", "function_call_output"))
        same(sorted(results), sorted(calls))
        assert len(calls) == 4, calls
        lines = [int(i["output"].split()[-1]) for i in sent if i.get("type") == "function_call_output" and "Output:" in i["output"]]
        assert max(lines) >= 3, f"the workspace was not that of the first life: {lines}"
        expect(r.place.call("audit", "verify", run), 0)
        expect(r.place.call("resume", run, "--limits", "turns=99"), 2, "which no limit")
        r.close()


@test
def a_run_that_waits_may_be_given_more():
    def answer(body):
        return reply(call("exec_command", {"cmd": "true"}) if not outputs(body) else message("done"))

    r = Run(answer, **SHELL, limits={"turns": 1}, approvals=[{"tool": "*", "do": "ask"}])
    expect(r.place.run("--no-stream"), 3)
    run = r.place.only_run()
    expect(r.place.call("resume", run, "--limits", "turns=2"), 3)
    same(r.place.runs()[0]["state"], "waiting")
    same(expect(r.place.call("approve", run, "--resume"), 0).stdout, "done\n")
    r.close()


@test
def limits_that_were_raised_in_the_database_are_refused():
    def answer(body):
        return reply(call("exec_command", {"cmd": "true"}, f"c{len(outputs(body))}"))

    r = Run(answer, **SHELL, limits={"turns": 1})
    expect(r.place.run("--no-stream"), 4)
    run = r.place.only_run()
    expect(r.place.call("resume", run, "--limits", "turns=2", "--no-stream"), 4)
    (r.place.dir / ".caisson/key").write_bytes(b"x" * 32)
    expect(r.place.call("resume", run), 1, "decision is not signed")
    r.close()


@test
def a_request_has_the_members_that_the_api_knows_and_no_others():
    schema = {"properties": {"a": {"type": "integer", "description": "first"}, "b": {"type": "integer"}}}
    agent = {"instructions": "sys", "handoffs": ["B"], "agents": [{"name": "B", "description": "does b", "capabilities": []}],
             "tools": [{"name": "add", "description": "Add numbers.", "schema": schema, "command": ["true"]}, {"hosted": "web_search"}],
             "sandbox": {"backend": "local"}, "output_schema": {"properties": {"response": {"type": "array", "items": {"type": "integer"}}}},
             "settings": {"temperature": 0.1, "tool_choice": "add", "verbosity": "low", "top_logprobs": 2}}
    r = Run(lambda body: reply(message('{"response":[1]}')), **agent)
    expect(r.place.run("--no-stream", task="hi"), 0)
    body, = r.bodies()
    closed = {"additionalProperties": False, "required": ["a", "b"]}
    same(body, {
        "model": "m", "include": ["message.output_text.logprobs"], "input": [{"content": "hi", "role": "user"}], "instructions": "sys",
        "temperature": 0.1, "top_logprobs": 2, "tool_choice": {"type": "function", "name": "add"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "final_output", "strict": True, "schema": {
            "type": "object", "additionalProperties": False, "required": ["response"],
            "properties": {"response": {"type": "array", "items": {"type": "integer"}}}}}},
        "tools": [{"type": "function", "name": "add", "description": "Add numbers.", "strict": True,
                   "parameters": {"type": "object", "properties": schema["properties"], **closed}},
                  {"type": "web_search", "filters": None, "user_location": None, "search_context_size": "medium"},
                  {"type": "function", "name": "transfer_to_b", "strict": True, "description": "Handoff to the B agent to handle the request. does b",
                   "parameters": {"additionalProperties": False, "type": "object", "properties": {}, "required": []}}]})
    r.close()


@test
def a_hand_off_says_why():
    def answer(body):
        if "You review" in body.get("instructions", ""):
            return reply(message("reviewed"))
        wrong = {"why": "done", "priority": "soon"}
        return reply(call("transfer_to_reviewer", wrong if not outputs(body) else {**wrong, "priority": 1}, f"c{len(outputs(body))}"))

    schema = {"properties": {"why": {"type": "string"}, "priority": {"type": "integer", "minimum": 1}}}
    r = Run(answer, handoffs=[{"agent": "reviewer", "filter": "last", "input_schema": schema}],
            agents=[{"name": "reviewer", "description": "Reads code.", "instructions": "You review.", "capabilities": []}])
    same(expect(r.place.run("--no-stream"), 0).stdout, "reviewed\n")
    first, second, third = r.bodies()
    tool, = first["tools"]
    same((tool["name"], tool["description"], tool["strict"]),
         ("transfer_to_reviewer", "Handoff to the reviewer agent to handle the request. Reads code.", True))
    same(tool["parameters"]["required"], ["why", "priority"])
    same(outputs(second)[0]["output"], "Invalid input for the hand-off: input.priority: expected integer, got a string")
    same(len(third["input"]), 1)
    made = [c["data"] for c in r.place.records() if c["kind"] == "tool_call"][1]
    same((json.loads(made["arguments"]), made["answer"]), ({"why": "done", "priority": 1}, '{"assistant": "reviewer"}'))
    r.close()


sys.exit(finish())
