#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the settings of a model become on the wire, and which of them an API refuses.

usage: settings.py CAISSON"""
import sys, urllib.parse

sys.dont_write_bytecode = True
from lib import *

KEY = "sk-right-key-of-this-place"
APIS = ("responses", "chat", "anthropic", "gemini")


def reply(api, body):
    text = {"responses": {"id": "r", "status": "completed", "output": [
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}]},
            "chat": {"id": "r", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}]},
            "anthropic": {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "done"}],
                          "stop_reason": "end_turn", "usage": {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 1,
                                                               "cache_creation_input_tokens": 100, "cache_creation": {
                                                                   "ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}}},
            "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "done"}]}, "finishReason": "STOP"}]}}[api]
    return 200, "application/json", json.dumps(text).encode()


def place(api, settings, project=None, **agent):
    heads = []

    def answer(nth, body, headers):
        heads.append(headers)
        return reply(api, body)
    server = Model(answer)
    p = Place({"model": "x/m", "capabilities": [], "settings": settings, **agent}, env={"KEY": KEY})
    p.write("caisson.yaml", json.dumps({"providers": {"x": {"api": api, "base_url": server.url, "key_env": "KEY",
                                                            **((project or {}).pop("provider", {}))}}, **(project or {})}))
    return p, server, heads


@test
def headers_and_parameters_go_to_every_api():
    for api in APIS:
        p, server, heads = place(api, {"extra_headers": {"X-Team": "red; a=\u00e9", "user-agent": "mine/1"},
                                       "extra_query": {"a b": "c&d", "n": 1, "yes": True}})
        same(expect(p.run("--no-stream"), 0).stdout, "done\n")
        same(heads[0]["X-Team"].encode("latin1").decode(), "red; a=\u00e9")
        same(heads[0].get_all("User-Agent"), ["mine/1"])
        same(len(heads[0].get_all("Content-Type")), 1)
        assert KEY in str(heads[0]), heads[0]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(server.paths[0]).query)
        same({k: query[k] for k in ("a b", "n", "yes")}, {"a b": ["c&d"], "n": ["1"], "yes": ["true"]})


@test
def our_headers_are_what_they_are_without_any():
    for api in APIS:
        for stream in (False, True):
            p, server, heads = place(api, {})
            p.run(*([] if stream else ["--no-stream"]))
            same(heads[0]["Accept"], "text/event-stream" if stream else "application/json")
            same(heads[0]["Content-Type"], "application/json")
            assert heads[0]["User-Agent"].startswith("caisson/"), heads[0]
            same(urllib.parse.urlsplit(server.paths[0]).query, "alt=sse" if api == "gemini" and stream else "")


@test
def the_header_that_carries_the_key_is_not_overridden():
    p, server, _ = place("chat", {"extra_headers": {"x-team": "red"}}, {"provider": {"key_header": "X-Team"}})
    expect(p.run("--no-stream"), 2, "settings.extra_headers: x-team carries the key of model x/m and is not set here")
    same(server.bodies, [])
    p, server, _ = place("chat", {"extra_query": {"api-version": "2"}}, {"provider": {"api_version": "1"}})
    expect(p.run("--no-stream"), 2, "api-version is set in caisson.yaml")


@test
def what_an_api_has_no_setting_for_is_refused_by_name_before_the_run():
    some = {"frequency_penalty": (0.5, ("chat", "gemini")), "presence_penalty": (0.5, ("chat", "gemini")),
            "top_logprobs": (2, ("responses", "chat")), "response_include": (["a"], ("responses",)),
            "prompt_cache_key": ("k", ("responses", "chat")), "prompt_cache_options": ({"a": 1}, ("responses", "chat")),
            "service_tier": ("flex", ("responses", "chat", "anthropic"))}
    for key, (value, takers) in some.items():
        for api in APIS:
            p, server, _ = place(api, {key: value})
            if api in takers:
                expect(p.run("--no-stream"), 0)
                assert key != "prompt_cache_key" or json.loads(server.bodies[0])["prompt_cache_key"] == "k", server.bodies
            else:
                expect(p.run("--no-stream"), 2, f"agent a: settings.{key}: the API of model x/m ({api}) has no such setting")
                same(server.bodies, [])
    for api, value in (("chat", "1h"), ("responses", "5m"), ("anthropic", "24h"), ("gemini", "1h")):
        p, server, _ = place(api, {"prompt_cache_retention": value})
        expect(p.run("--no-stream"), 2, "settings.prompt_cache_retention")
        same(server.bodies, [])
    p, server, _ = place("chat", {}, agents=[{"name": "b", "settings": {"response_include": ["a"]}}])
    expect(p.run("--no-stream"), 2, "agent b: settings.response_include")
    script = Place({"capabilities": [], "settings": {"frequency_penalty": 1, "response_include": ["x"]}}, [{"name": "e", "reply": "done"}])
    expect(script.run(), 0)  # a playbook sends nothing


@test
def what_was_written_to_a_cache_is_told_and_paid_for():
    prices = {"x/m": {"input": 1, "cached": 0.1, "cache_write": 1.25, "cache_write_1h": 2, "output": 5}}
    p, _, _ = place("anthropic", {"prompt_cache_retention": "1h"}, {"prices": prices})
    expect(p.run("--no-stream"), 0)
    done = [r["data"] for r in p.records() if r["kind"] == "finish"][0]
    same(done["usage"], {"input_tokens": 105, "cached_tokens": 1, "output_tokens": 2, "reasoning_tokens": 0, "total_tokens": 107,
                         "cache_write_tokens": 100, "cache_write_1h_tokens": 40})
    same(round(done["cost_usd"] * 1e6, 6), 4 * 1 + 0.1 + 60 * 1.25 + 40 * 2 + 2 * 5)


sys.exit(finish())
