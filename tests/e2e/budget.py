#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Budgets with the real program and a model that spends all it may: what the
model's server counts never passes what the agent file allows.

usage: budget.py CAISSON"""
import json, sys, threading
from lib import *

USD_IN, USD_OUT = 1.0, 10.0  # per 1,000,000 tokens


def reply(body, items):
    """A reply that is as long as it may be; a request's tokens are a third of its bytes."""
    used_in = len(json.dumps(body)) // 3
    used_out = body.get("max_output_tokens", 400)
    usage = {"input_tokens": used_in, "output_tokens": min(used_out, 400), "total_tokens": used_in + min(used_out, 400)}
    return {"id": "r", "status": "completed", "output": items, "usage": usage}


def call(n, name, arguments):
    return {"type": "function_call", "call_id": f"c{n}", "name": name, "arguments": json.dumps(arguments)}


def message(text):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


class Spender:
    """Answers as `decide` says and adds up what it would bill."""

    def __init__(self, decide):
        self.usd = self.tokens = 0
        self.sum = threading.Lock()

        def answer(nth, body, headers):
            out = reply(body, decide(nth, body))
            with self.sum:
                self.tokens += out["usage"]["total_tokens"]
                self.usd += (out["usage"]["input_tokens"] * USD_IN + out["usage"]["output_tokens"] * USD_OUT) / 1e6
            return 200, "application/json", json.dumps(out).encode()

        self.model = Model(answer)


def place(spender, agent, price=True):
    p = Place({"model": "openai/m", "capabilities": [], **agent})
    p.env.update(OPENAI_BASE_URL=spender.model.url)
    if price:
        p.write("caisson.yaml", json.dumps({"prices": {"openai/m": {"input": USD_IN, "output": USD_OUT}}}))
    return p



def finished(p):
    by_start = sorted(p.runs(), key=lambda r: r["started"])
    return [r["data"] for r in p.records(by_start[0]["id"]) if r["kind"] == "finish"][0]


def boss_and_workers(nth, body):
    if "You are a worker." in body.get("instructions", ""):
        return [call(nth, "nothing", {"n": nth})]  # works on for ever
    if any(i.get("type") == "function_call_output" for i in body["input"]):
        return [message("all workers are done")]
    return [call(f"w{i}", "worker", {"input": f"job {i}"}) for i in range(4)]


WORKERS = {"agent_tools": ["worker"], "agents": [{"name": "worker", "instructions": "You are a worker.", "capabilities": []}]}


@test
def four_workers_at_once_never_spend_more_than_five_cents():
    s = Spender(boss_and_workers)
    p = place(s, {**WORKERS, "limits": {"cost_usd": 0.05, "repeats": 0, "turns": 1000}})
    done = p.run("--no-stream")
    assert done.returncode in (0, 4), done.stderr
    assert 0.02 < s.usd <= 0.05, s.usd
    assert len(p.runs()) == 5, p.runs()
    end = finished(p)
    assert abs(end["cost_usd"] - s.usd) < 1e-9, (end, s.usd)
    workers = [r for r in p.runs() if r["agent"] == "worker"]
    same({w["state"] for w in workers}, {"limit"})


@test
def tokens_of_a_tree_stay_within_the_limit():
    s = Spender(boss_and_workers)
    p = place(s, {**WORKERS, "limits": {"tokens": 20000, "repeats": 0, "turns": 1000}}, price=False)
    done = p.run("--no-stream")
    assert done.returncode in (0, 4), done.stderr
    assert 8000 < s.tokens <= 20000, s.tokens


@test
def tool_calls_of_a_tree_stay_within_the_limit():
    s = Spender(boss_and_workers)
    p = place(s, {**WORKERS, "limits": {"tool_calls": 20, "repeats": 0, "turns": 1000}}, price=False)
    done = p.run("--no-stream")
    assert done.returncode in (0, 4), done.stderr
    calls = [r for run in p.runs() for r in p.records(run["id"]) if r["kind"] == "tool_call" and "answer" not in r["data"]]
    starts = [r for run in p.runs() for r in p.records(run["id"]) if r["kind"] == "child_start"]
    assert 8 < len(calls) + len(starts) <= 20, (len(calls), len(starts))


@test
def what_each_agent_used_adds_up():
    s = Spender(boss_and_workers)
    p = place(s, {**WORKERS, "name": "boss", "limits": {"cost_usd": 0.05, "repeats": 0, "turns": 1000}})
    done = p.run("--no-stream")
    assert done.returncode in (0, 4), done.stderr
    used = finished(p)["agents"]
    same(sorted(used), ["boss", "worker"])
    assert abs(sum(u["cost_usd"] for u in used.values()) - s.usd) < 1e-9, (used, s.usd)
    same(sum(u["usage"]["total_tokens"] for u in used.values()), s.tokens)
    same(sum(u["turns"] for u in used.values()), len(s.model.bodies))


@test
def an_attempt_that_broke_off_is_billed_and_never_passes_the_budget():
    """Each stream tells its usage and dies; what was billed in all stays within the limit."""
    spent = []

    def answer(nth, body, headers):
        used = {"input_tokens": 900, "output_tokens": min(body.get("max_output_tokens", 400), 400)}
        used["total_tokens"] = sum(used.values())
        spent.append((used["input_tokens"] * USD_IN + used["output_tokens"] * USD_OUT) / 1e6)
        failed = {"type": "response.failed", "response": {"id": "r", "status": "failed", "usage": used,
                  "error": {"code": "server_error", "message": "it broke off"}}}
        return 200, "text/event-stream", sse(failed)

    p = Place({"model": "openai/m", "capabilities": [], "limits": {"cost_usd": 0.012},
               "settings": {"retry": {"max_retries": 20, "backoff": {"initial_delay": 0.001, "max_delay": 0.002}}}})
    p.env.update(OPENAI_BASE_URL=Model(answer).url)
    p.write("caisson.yaml", json.dumps({"prices": {"openai/m": {"input": USD_IN, "output": USD_OUT}}}))
    expect(p.run(), 4, "budget of 0.012 USD")
    end = [r["data"] for r in p.records() if r["kind"] == "finish"][0]
    assert 0.004 < sum(spent) <= 0.012 and abs(end["cost_usd"] - sum(spent)) < 1e-9, (end, spent)
    same(end["turns"], 1)

    spent.clear()
    p = Place({"model": "openai/m", "capabilities": [], "settings": {"retry": {"max_retries": 2, "backoff": {"initial_delay": 0.001, "max_delay": 0.002}}}})
    p.env.update(OPENAI_BASE_URL=Model(answer).url)
    expect(p.run(), 5, "it broke off")
    same(len(spent), 3)
    same([r["data"]["usage"]["total_tokens"] for r in p.records() if r["kind"] == "finish"], [3 * 1300])


@test
def a_run_alone_ends_with_the_numbers():
    s = Spender(lambda nth, body: [call(nth, "nothing", {"n": nth}), message("so far")])
    p = place(s, {"limits": {"cost_usd": 0.02, "turns": 1000}})
    expect(p.run("--no-stream"), 4, "so far", "budget of 0.02 USD", "budget_exhausted")
    end = finished(p)
    same((end["state"], end["reason"], end["limit"]["what"], end["limit"]["max"]), ("limit", "budget_exhausted", "cost_usd", 0.02))
    assert 0.01 < s.usd <= 0.02 and abs(end["limit"]["used"] - s.usd) < 1e-9, (end, s.usd)


@test
def an_unknown_price_is_an_error_before_the_first_request():
    s = Spender(lambda nth, body: [message("x")])
    p = place(s, {"limits": {"cost_usd": 1}}, price=False)
    expect(p.run(), 2, "the price of model openai/m is not known", "caisson.yaml")
    same(s.model.bodies, [])


@test
def a_coder_and_a_reviewer_who_never_agree_are_stopped():
    def decide(nth, body):
        to = "reviewer" if "You code." in body.get("instructions", "") else "coder"
        return [call(nth, f"transfer_to_{to}", {})]

    s = Spender(decide)
    p = place(s, {"name": "coder", "instructions": "You code.", "handoffs": ["reviewer"],
                  "agents": [{"name": "reviewer", "instructions": "You review.", "handoffs": ["coder"], "capabilities": []}]}, price=False)
    expect(p.run("--no-stream"), 4, "loop_detected")
    end = finished(p)
    same((end["reason"], end["limit"]), ("loop_detected", {"what": "handoffs", "max": 4, "used": 4}))


@test
def the_same_call_again_and_again_is_stopped():
    s = Spender(lambda nth, body: [call(nth, "nothing", {})])
    p = place(s, {"limits": {"repeats": 3}}, price=False)
    expect(p.run("--no-stream"), 4, "loop_detected")
    same(len(s.model.bodies), 3)


@test
def a_human_may_allow_the_rest_of_a_budget():
    s = Spender(lambda nth, body: [call(nth, "nothing", {"n": nth})] if nth < 12 else [message("done")])
    p = place(s, {"limits": {"tokens": 30000, "soft": {"at": "10%", "do": "ask"}}}, price=False)
    expect(p.run("--no-stream"), 3, "budget", "caisson approve")
    expect(p.call("approve", p.only_run(), "--as", "ann", "--resume"), 0, "done")


sys.exit(finish())
