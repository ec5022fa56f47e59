#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conversations that are longer than the model takes, with a server that counts and
refuses what is too long: they go on, in time or after a refusal, and nothing of them is
lost from the journal.

usage: context.py CAISSON"""
import sys

sys.dont_write_bytecode = True
import re
from lib import *

WINDOW = 128000
WORDS = ["alpha", "beta", "gamma", "delta", "parse", "window", "result", "value", "index", "error"]


def tokens_of(v):
    """About as a tokenizer would: words, numbers and signs."""
    return len(re.findall(r"[A-Za-z]+|[0-9]{1,3}|[^\sA-Za-z0-9]", json.dumps(v)))


def log(n, words):
    return " ".join(WORDS[(n * 7 + i) % len(WORDS)] for i in range(words))


def message(text):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def is_summary(body):
    last = body["input"][-1]
    return last.get("role") == "user" and "Write down what is needed" in str(last["content"])


class Server:
    """A model with a window. `decide(nth, body)` gives the items of a turn; summaries are made here."""

    def __init__(self, decide, window=WINDOW, counts=True, error=None):
        self.sizes, self.refused, self.summaries, self.turns, self.bodies = [], 0, 0, 0, []
        self.lock = threading.Lock()

        def answer(nth, body, headers):
            with self.lock:
                size = tokens_of(body["input"]) + tokens_of(body.get("instructions", "")) + tokens_of(body.get("tools", []))
                if size + body.get("max_output_tokens", 0) > window:
                    self.refused += 1
                    return 400, "application/json", json.dumps({"error": error or {
                        "message": f"This model's maximum context length is {window} tokens.", "code": "context_length_exceeded"}}).encode()
                self.sizes.append(size)
                self.bodies.append(body)
                if is_summary(body):
                    self.summaries += 1
                    items = [message(f"SUMMARY {self.summaries}: the count stands at {self.turns}")]
                else:
                    items = decide(self.turns, body)
                    if items is None:
                        return 403, "application/json", b'{"error":{"message":"not today"}}'
                    self.turns += 1
                used = {"input_tokens": size, "output_tokens": tokens_of(items), "total_tokens": size + tokens_of(items)}
                reply = {"id": f"r{nth}", "status": "completed", "output": items, "usage": used if counts else {}}
            return 200, "application/json", json.dumps(reply).encode()

        self.model = Model(answer)


def read_log(n):
    """A call whose output is 2,500 words or so."""
    return [{"type": "function_call", "call_id": f"c{n}", "name": "read_log", "arguments": json.dumps({"n": n})}]


TOOL = """#!/usr/bin/python3
import json, sys
n = json.load(sys.stdin)["n"]
words = %r
print(" ".join(words[(n * 7 + i) %% len(words)] for i in range(%d)))
"""


def place(server, agent, words, name="m", windows=None):
    tool = {"name": "read_log", "description": "Reads a log.", "where": "harness", "replay": "safe",
            "schema": {"properties": {"n": {"type": "integer"}}}, "command": ["./read_log"]}
    p = Place({"model": f"openai/{name}", "capabilities": [], "tools": [tool], **agent}, files={"read_log": TOOL % (WORDS, words)})
    (p.dir / "read_log").chmod(0o755)
    p.env.update(OPENAI_BASE_URL=server.model.url)
    if windows:
        p.write("caisson.yaml", json.dumps({"windows": windows}))
    return p


def check_input(body):
    """No output without its call, no call without its output, in each request."""
    calls = [i["call_id"] for i in body["input"] if i.get("type") == "function_call"]
    outputs = [i["call_id"] for i in body["input"] if i.get("type") == "function_call_output"]
    same(calls, outputs)


def check_run(p, server, turns, words):
    records = p.records()
    outputs = [r["data"]["items"][0]["output"] for r in records if r["kind"] == "tool_returned"]
    same(len(outputs), turns)
    same(outputs[0].strip(), log(0, words))  # the journal has all of it
    for body in server.bodies:
        check_input(body)
        same(body["input"][0]["content"], "count the logs")
    return records


@test
def a_task_of_400000_tokens_runs_through_on_a_model_that_takes_128000():
    words, turns = 9000, 48
    s = Server(lambda nth, body: read_log(nth) if nth < turns else [message("all logs were read")])
    p = place(s, {"limits": {"turns": 200, "output": 20000}}, words, windows={"openai/*": WINDOW})
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "all logs were read")
    records = check_run(p, s, turns, words)
    seen = sum(tokens_of(r["data"]["items"]) for r in records if r["kind"] in ("tool_returned", "model_replied"))
    assert seen > 400000, seen
    same(s.refused, 0)  # it was in time
    assert max(s.sizes) <= WINDOW and s.summaries + sum("left out" in json.dumps(b) for b in s.bodies) > 0
    end = records[-1]["data"] if records[-1]["kind"] == "finish" else [r["data"] for r in records if r["kind"] == "finish"][0]
    same(end["usage"]["total_tokens"] > 400000, True)


@test
def what_the_model_said_is_summed_up_when_outputs_are_not_what_fills_it():
    turns = 30

    def decide(nth, body):
        if nth == turns:
            return [message("done: " + next((i["content"][-60:] for i in body["input"] if "SUMMARY" in str(i.get("content"))), "no summary"))]
        return [message(log(nth, 600)), *read_log(nth)]

    s = Server(decide, window=8000)
    p = place(s, {"limits": {"turns": 200}}, 20, windows={"openai/*": 8000})
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "done: ", "SUMMARY")
    records = check_run(p, s, turns, 20)
    assert s.summaries >= 2 and s.refused == 0, (s.summaries, s.refused)
    calls = [r for r in records if r["kind"] == "model_call" and r["data"].get("for") == "compaction"]
    same(len(calls), s.summaries)
    same(len([r for r in records if r["kind"] == "model_replied" and "summary" in r["data"]]), s.summaries)
    asked = next(b for b in s.bodies if is_summary(b))
    same((asked["tool_choice"], asked["max_output_tokens"]), ("none", 1024))
    audit = expect(p.call("audit", "verify", p.only_run()), 0)
    assert "SUMMARY" not in audit.stdout


@test
def a_window_nobody_told_of_is_learned_from_a_refusal():
    for error in None, {"message": "prompt is too long: 9000 tokens > 6000 maximum", "type": "invalid_request_error"}:
        s = Server(lambda nth, body: read_log(nth) if nth < 20 else [message("all logs were read")], window=6000, error=error)
        p = place(s, {}, 800)
        expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "all logs were read")
        check_run(p, s, 20, 800)
        assert 1 <= s.refused <= 3, s.refused


@test
def a_server_that_counts_nothing_is_estimated():
    s = Server(lambda nth, body: read_log(nth) if nth < 20 else [message("all logs were read")], window=6000, counts=False)
    p = place(s, {"capabilities": [{"type": "compaction", "policy": {
        "type": "dynamic", "threshold": 0.8, "model_info": {"context_window": 6000}}}]}, 800)
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "all logs were read")
    check_run(p, s, 20, 800)
    same(s.refused, 0)


@test
def what_is_too_long_whatever_goes_ends_with_the_providers_word():
    s = Server(lambda nth, body: [message("x")], window=50)
    p = place(s, {}, 10)
    expect(p.run("--no-stream", "--harness-tools", task="count " + "the logs " * 200), 5, "maximum context length")
    same(s.refused, 1)


@test
def without_the_capability_a_refusal_ends_the_run():
    s = Server(lambda nth, body: read_log(nth), window=3000)
    p = place(s, {"capabilities": [{"type": "compaction", "policy": "none"}]}, 800)
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 5, "maximum context length")
    same(s.refused, 1)


@test
def a_run_that_died_while_it_was_summed_up_goes_on():
    """At each commit from the first look at the context on, the process is killed."""
    turns = 8

    def server():
        return Server(lambda nth, body: [message(log(nth, 500)), *read_log(nth)] if nth < turns else [message("all logs were read")], window=4000)

    whole = server()
    p = place(whole, {}, 20, windows={"openai/*": 4000})
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0)
    records = p.records()
    at = [i for i, r in enumerate(records) if r["kind"] == "callback" or r["data"].get("for") == "compaction" or "summary" in r["data"]]
    assert len(at) >= 3, at
    for nth in range(1, 3 * turns):
        s = server()
        q = place(s, {}, 20, windows={"openai/*": 4000})
        died = q.run("--no-stream", "--harness-tools", task="count the logs", env={"CAISSON_FAULT": f"committed:{nth}"})
        if died.returncode == 0:
            break
        done = q.call("resume", q.only_run(), "--harness-tools")
        expect(done, 0, "all logs were read")
        check_run(q, s, turns, 20)
        same(s.refused, 0)


@test
def the_server_is_asked_to_sum_up_where_it_can():
    def decide(nth, body):
        if nth == 3:
            return [message("done")]
        made = [{"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}] if nth == 1 else []
        return made + read_log(nth)

    s = Server(decide)
    p = place(s, {"model": "here/gpt-4o"}, 50)
    p.write("caisson.yaml", json.dumps({"providers": {"here": {"api": "responses", "base_url": s.model.url, "compaction": True}},
                                        "windows": {"here/*": 100000}}))
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "done")
    for body in s.bodies:
        same(body["context_management"], [{"type": "compaction", "compact_threshold": 90000}])
    same(s.bodies[2]["input"][0], {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"})
    same([i.get("type") for i in s.bodies[2]["input"]], ["compaction", "function_call", "function_call_output"])


@test
def what_one_server_summed_up_another_one_gets_whole():
    def decide(nth, body):
        if body["model"] == "gpt-4o-mini":
            return [message("done")]
        made = [{"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}] if nth == 1 else []
        return None if nth == 2 else made + read_log(nth)

    s = Server(decide)
    p = place(s, {"model": ["here/gpt-4o", "there/gpt-4o-mini"]}, 50)
    server = {"api": "responses", "base_url": s.model.url, "compaction": True}
    p.write("caisson.yaml", json.dumps({"providers": {"here": server, "there": server}, "windows": {"here/*": 100000, "there/*": 100000}}))
    expect(p.run("--no-stream", "--harness-tools", task="count the logs"), 0, "done")
    last = s.bodies[-1]
    same(last["model"], "gpt-4o-mini")
    assert "count the logs" in json.dumps(last["input"][0]), last["input"][0]
    same([i.get("type", "message") for i in last["input"]], ["message", *["function_call", "function_call_output"] * 2])


sys.exit(finish())
