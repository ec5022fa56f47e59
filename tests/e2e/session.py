#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs that go on with a conversation: what was said comes first, what is added is kept
once, whatever dies when, and no answer stands without its call. Prints TAP.

usage: session.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *
import wires

AGENT = {"sandbox": {"backend": "local"}, "limits": {"turns": 2}}
CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "exec_command", "arguments": '{"cmd":"echo hello"}', "status": "completed"}


def message(text):
    return {"type": "message", "id": "m1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}


def thought(text):
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]}


def reply(*items):
    whole = {"id": "r", "object": "response", "status": "completed", "output": list(items), "usage": {"total_tokens": 1}}
    return 200, "application/json", json.dumps(whole).encode()


def talk(*answers, agent=AGENT):
    """A place whose model gives the answers in order."""
    left = list(answers)
    server = Model(lambda nth, body, headers: left.pop(0))
    p = Place({"model": "openai/m", **agent}, env={"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"})
    return p, server


def say(p, text, *args, code=0, **more):
    return expect(p.run("--no-stream", "--session", "s", *args, task=text, **more), code)


def items(p, name="s"):
    return lines_of(expect(p.call("session", "show", name, "--json"), 0).stdout)


def roles(list_of_items):
    return [i.get("role", i.get("type")) for i in list_of_items]


@test
def what_was_said_comes_before_the_task():
    p, server = talk(reply(thought("Hm"), CALL), reply(message("Hello Ada.")), reply(message("Ada.")))
    same(say(p, "I am Ada.").stdout, "Hello Ada.\n")
    same(say(p, "Who am I?").stdout, "Ada.\n")
    first, _, second = [json.loads(b)["input"] for b in server.bodies]
    same(roles(first), ["user"])
    same(roles(second), ["user", "reasoning", "function_call", "function_call_output", "assistant", "user"])
    same([i["content"] for i in second if i.get("role") == "user"], ["I am Ada.", "Who am I?"])
    same(items(p)[:5], second[:5])
    same(roles(items(p)), roles(second) + ["assistant"])
    same([r["agent"] for r in p.runs()], ["a", "a"])


@test
def other_sessions_and_runs_without_one_know_nothing_of_it():
    p, server = talk(*[reply(message("yes"))] * 3)
    say(p, "one")
    expect(p.run("--no-stream", task="two"), 0)
    expect(p.run("--no-stream", "--session", "t", task="three"), 0)
    same([roles(json.loads(b)["input"]) for b in server.bodies], [["user"]] * 3)
    rows = json.loads(expect(p.call("session", "ls", "--json"), 0).stdout)
    same([(r["name"], r["items"]) for r in rows], [("t", 2), ("s", 2)])


@test
def limits_are_told_and_cut_at_a_message_of_the_user():
    p, server = talk(reply(CALL), reply(message("one")), *[reply(message("more"))] * 3)
    say(p, "first")
    say(p, "second")
    say(p, "third", "--session-items", "3")
    same([i["content"] for i in json.loads(server.bodies[-1])["input"] if i.get("role") == "user"], ["second", "third"])
    say(p, "fourth", "--session-tokens", "1")
    same(roles(json.loads(server.bodies[-1])["input"]), ["user"])
    same(len(items(p)), 10)


@test
def a_run_that_fails_leaves_what_was_said_and_no_call_without_an_output():
    p, _ = talk(reply(CALL), (400, "application/json", b'{"error":{"message":"no"}}'), reply(message("again")))
    say(p, "first", code=5)
    same(roles(items(p)), ["user", "function_call", "function_call_output"])
    same(say(p, "second").stdout, "again\n")
    # The limit of turns leaves a call that nobody answered.
    p, _ = talk(reply(CALL), reply(message("x"), CALL), agent={**AGENT, "approvals": [{"tool": "exec_command", "do": "deny"}]})
    say(p, "first", code=4)
    seen = items(p)
    same({i["call_id"] for i in seen if i["type"] == "function_call"} if all("type" in i for i in seen) else
         {i["call_id"] for i in seen if i.get("type") == "function_call"},
         {i["call_id"] for i in seen if i.get("type") == "function_call_output"})


@test
def a_crash_around_the_append_adds_nothing_twice():
    for n in range(1, 40):
        p, _ = talk(*[reply(CALL), reply(message("done"))] * 3)
        done = p.run("--no-stream", "--session", "s", env={"CAISSON_FAULT": f"committed:{n}"})
        if done.returncode == 0:
            break
        run = p.only_run()
        expect(p.call("resume", run), 0)
        same(roles(items(p)), ["user", "function_call", "function_call_output", "assistant"])
        same([r["data"] for r in p.records() if r["kind"] == "session_loaded" and "saved" in r["data"]][0].keys() >= {"saved"}, True)
    else:
        raise AssertionError("the fault point was never passed over")
    assert n > 4, f"only {n - 1} places to die at were tried"


@test
def items_of_another_provider_are_fit_for_this_one():
    native = Model(lambda nth, body, headers: wires.anthropic(2 if "tool_result" in json.dumps(body) else 0, body))
    p, server = talk(reply(message("fine")))
    p.env.update(ANTHROPIC_BASE_URL=native.url.removesuffix("/v1"), ANTHROPIC_API_KEY="k")
    p.write("src/a.txt", "one\n")
    say(p, "first", "--model", "anthropic/m")
    assert "provider_data" in json.dumps(items(p))
    say(p, "second")
    sent = json.loads(server.bodies[-1])["input"]
    assert "provider_data" not in json.dumps(sent) and "reasoning" not in roles(sent), sent
    same(roles(sent)[:3], ["user", "assistant", "function_call"])


@test
def the_command_lists_forks_undoes_searches_and_removes():
    p, server = talk(*[reply(message("the answer is blue"))] * 3)
    expect(p.call("session", "show", "s"), 2)
    say(p, "what colour?")
    expect(p.call("session", "show", "s"), 0, "user: what colour?", "assistant: the answer is blue")
    expect(p.call("session", "fork", "s", "t"), 0)
    expect(p.call("session", "fork", "s", "t"), 1, "exists")
    expect(p.run("--no-stream", "--session", "t", task="sure?"), 0)
    same((len(items(p)), len(items(p, "t"))), (2, 4))
    expect(p.call("session", "undo", "t"), 0, "2 items")
    same(len(items(p, "t")), 2)
    same(len(expect(p.call("session", "search", "BLUE", "answer"), 0).stdout.splitlines()), 2)
    expect(p.call("session", "rm", "t"), 0)
    same(len(expect(p.call("session", "search", "blue"), 0).stdout.splitlines()), 1)
    expect(p.call("session", "rm", "t"), 2, "no session 't'")
    expect(p.run("--session", "bad name"), 2, "session 'bad name'")


sys.exit(finish())
