#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tools that the provider runs, with the real program and a server that plays one: what is
sent, what comes back and is sent again, who is asked before. Prints TAP.

usage: hosted.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *

TOKEN = "mcp-token-0123456789"
PNG = "data:image/png;base64,iVBORw0KGgo="


def message(text):
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}


class Turns(Model):
    """Gives the lists of items one after the other, streamed or whole."""

    def __init__(self, *turns):
        def answer(nth, body, headers):
            items = turns[min(nth, len(turns) - 1)]
            whole = {"id": f"r{nth}", "status": "completed", "output": items, "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}
            if not body.get("stream"):
                return 200, "application/json", json.dumps(whole).encode()
            events = [{"type": "response.output_item.done", "output_index": i, "item": item} for i, item in enumerate(items)]
            return 200, "text/event-stream", sse(*events, {"type": "response.completed", "response": whole})

        super().__init__(answer)

    def sent(self, nth):
        return json.loads(self.bodies[nth])


def place(server, tools, **agent):
    return Place({"model": "openai/gpt-5", "capabilities": [], "tools": tools, **agent}, env={"OPENAI_BASE_URL": server.url, "MCP_TOKEN": TOKEN})


@test
def each_is_sent_in_its_form():
    server = Turns([message("done")])
    p = place(server, [{"hosted": "web_search", "search_context_size": "low"},
                       {"hosted": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 0, "include_search_results": True},
                       {"hosted": "code_interpreter"}, {"hosted": "image_generation", "quality": "low"},
                       {"hosted": "mcp", "server_label": "docs", "server_url": "https://x.example/mcp", "authorization_env": "MCP_TOKEN", "require_approval": "never"}])
    expect(p.run(), 0, "done")
    same(server.sent(0)["tools"], [
        {"type": "web_search", "filters": None, "user_location": None, "search_context_size": "low"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]}, {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation", "quality": "low"},
        {"type": "mcp", "server_label": "docs", "server_url": "https://x.example/mcp", "authorization": TOKEN, "require_approval": "never"}])
    same(server.sent(0)["include"], ["file_search_call.results"])
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert TOKEN.encode() not in kept, "the token is in the state folder"
    assert b"MCP_TOKEN" in kept


@test
def what_they_did_survives_the_round_trip():
    did = [{"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x", "sources": [1.50]}},
           {"type": "file_search_call", "id": "fs_1", "queries": ["a"], "status": "completed", "results": None},
           {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "container_id": "c", "outputs": None, "status": "completed"},
           {"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "status": "completed"},
           {"type": "mcp_list_tools", "id": "ml_1", "server_label": "docs", "tools": [{"name": "t", "input_schema": {}}]},
           {"type": "mcp_call", "id": "mc_1", "server_label": "docs", "name": "t", "arguments": "{}", "output": "o"},
           {"type": "something_new", "id": "n_1", "status": None, "x": [1, {"y": 2}]}]
    for how in [], ["--no-stream"]:
        server = Turns(did, [message("done")])
        p = place(server, [{"hosted": "web_search"}])
        expect(p.run(*how), 0, "done")
        same(server.sent(1)["input"][1:], did)
        server.server.shutdown()


@test
def models_that_have_none_are_refused_by_name_before_the_run():
    server = Turns([message("x")])
    for model, variable in (("chat/gpt-4o", "OPENAI"), ("anthropic/claude", "ANTHROPIC"), ("gemini/g", "GEMINI")):
        p = place(server, [{"hosted": "web_search"}])
        expect(p.run("--model", model, env={variable + "_BASE_URL": server.url}), 2, f"model {model} has no hosted tool web_search")
    p = place(server, [{"hosted": "web_search"}], model=["openai/gpt-5", "chat/gpt-4o"])
    expect(p.run(), 2, "model chat/gpt-4o has no hosted tool web_search")
    p = place(server, [], agents=[{"name": "b", "capabilities": [], "tools": [{"hosted": "mcp", "server_label": "l", "server_url": "u"}], "model": "chat/x"}])
    expect(p.run(), 2, "agent b: model chat/x has no hosted tool mcp")
    same(server.bodies, [])


@test
def mistakes_are_told_with_their_line():
    p = Place({"capabilities": []})
    for tool, said in (({"hosted": "telepathy"}, "expected web_search"), ({"hosted": "web_search", "size": 1}, "has no size"),
                       ({"hosted": "file_search"}, "needs `vector_store_ids`"), ({"hosted": "file_search", "vector_store_ids": []}, "a list of ids"),
                       ({"hosted": "file_search", "vector_store_ids": ["v"], "max_num_results": 51}, "1 to 50"),
                       ({"hosted": "mcp", "server_label": "x"}, "server_url"), ({"hosted": "mcp", "server_url": "x"}, "server_label"),
                       ({"hosted": "mcp", "server_label": "x", "server_url": "y", "headers": {"Authorization": "z"}}, "authorization_env"),
                       ({"hosted": "tool_search", "execution": "client"}, "run by the provider")):
        p.write("agent.yaml", json.dumps({"name": "a", "model": "openai/m", "capabilities": [], "tools": [tool]}))
        expect(p.run(), 2, said, "agent.yaml:1")
    p.write("agent.yaml", json.dumps({"name": "a", "model": "openai/m", "capabilities": [], "tools": [{"hosted": "web_search"}] * 2}))
    expect(p.run(), 2, "there twice")
    p.write("agent.yaml", json.dumps({"name": "a", "model": "openai/m", "capabilities": [], "tools": [{"hosted": "computer"}]}))
    expect(p.run(env={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}), 2, "who acts on the computer?")


# ---- MCP that the provider runs

ASKS = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "docs", "name": "delete", "arguments": '{"id": 7}'}
MCP = [{"hosted": "mcp", "server_label": "docs", "server_url": "https://x.example/mcp"}]


def answered(server):
    items = [i for i in server.sent(1)["input"] if i.get("type") == "mcp_approval_response"]
    same(len(items), 1)
    return items[0]


@test
def a_server_that_asks_is_answered_by_a_human():
    server = Turns([ASKS], [message("done")])
    p = place(server, MCP)
    expect(p.run(), 3, "docs.delete")
    done = expect(p.call("approve", p.only_run(), "--as", "ann", "--resume"), 0, "done")
    same(answered(server), {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True})
    assert "not found" not in done.stderr, done.stderr
    server = Turns([ASKS], [message("no")])
    p = place(server, MCP)
    expect(p.run(), 3)
    expect(p.call("approve", p.only_run(), "--as", "ann", "--deny", "too risky", "--resume"), 0, "no")
    got = answered(server)
    same((got["approve"], "too risky" in got["reason"]), (False, True))


@test
def rules_answer_a_server_too():
    for do, approve in (("allow", True), ("deny", False)):
        server = Turns([ASKS], [message("done")])
        p = place(server, MCP, approvals=[{"tool": "docs.delete", "match": {"id": "7"}, "do": do}])
        expect(p.run(), 0, "done")
        same(answered(server)["approve"], approve)


# ---- a computer

def look(*actions, **more):
    return {"type": "computer_call", "id": "cu_1", "call_id": "call_1", "status": "completed", "actions": list(actions), **more}


DRIVER = r"""import json, sys
given = json.load(sys.stdin)
open("seen.json", "a").write(json.dumps(given) + "\n")
if any(a["type"] == "type" for a in given["actions"]):
    print(json.dumps({"error": "the keyboard is broken"}))
else:
    print(json.dumps({"output": [{"type": "input_image", "image_url": "%s"}]}))
""" % PNG
COMPUTER = [{"hosted": "computer", "environment": "ubuntu", "display_width": 800, "display_height": 600, "command": ["python3", "driver.py"], "where": "harness"}]


def computer(server, **agent):
    p = place(server, COMPUTER, **agent)
    p.write("driver.py", DRIVER)
    return p


@test
def actions_on_a_computer_are_those_of_a_command():
    for model, wire in (("openai/gpt-5", {"type": "computer"}), ("openai/computer-use-preview-2025-03-11", {
            "type": "computer_use_preview", "environment": "ubuntu", "display_width": 800, "display_height": 600})):
        click = {"type": "click", "x": 3, "y": 4, "button": "left"}
        server = Turns([look(click, {"type": "screenshot"})], [{**look(), "actions": None, "action": {"type": "screenshot"}, "call_id": "call_2"}], [message("done")])
        p = computer(server, model=model)
        expect(p.run("--harness-tools"), 0, "done")
        same(server.sent(0)["tools"], [wire])
        same(lines_of((p.dir / "seen.json").read_text()), [{"actions": [click, {"type": "screenshot"}]}, {"actions": [{"type": "screenshot"}]}])
        outputs = [i for i in server.sent(2)["input"] if i.get("type") == "computer_call_output"]
        same(outputs, [{"type": "computer_call_output", "call_id": c, "output": {"type": "computer_screenshot", "image_url": PNG}} for c in ("call_1", "call_2")])


@test
def what_went_wrong_on_a_computer_is_told_beside_an_empty_picture():
    server = Turns([look({"type": "type", "text": "x"})], [message("done")])
    p = computer(server)
    expect(p.run("--harness-tools"), 0, "done")
    output, said = server.sent(1)["input"][-2:]
    same((output["type"], said["role"]), ("computer_call_output", "developer"))
    assert output["output"]["image_url"].startswith("data:image/png;base64,") and "keyboard is broken" in said["content"], said


@test
def what_the_provider_is_afraid_of_waits_for_a_human():
    checks = [{"id": "cu_sc_1", "code": "malicious_instructions", "message": "careful"}]
    server = Turns([look({"type": "screenshot"}, pending_safety_checks=checks)], [message("done")])
    p = computer(server)
    expect(p.run("--harness-tools"), 3, "computer", "careful")
    expect(p.call("approve", p.only_run(), "--as", "ann", "--resume", "--harness-tools"), 0, "done")
    same(server.sent(1)["input"][-1]["acknowledged_safety_checks"], checks)
    server = Turns([look({"type": "screenshot"}, pending_safety_checks=checks)], [message("done")])
    p = computer(server)
    expect(p.run("--harness-tools"), 3)
    expect(p.call("approve", p.only_run(), "--as", "ann", "--deny", "no", "--resume", "--harness-tools"), 0, "done")
    output, said = server.sent(1)["input"][-2:]
    assert "acknowledged_safety_checks" not in output and "denied by ann: no" in said["content"], (output, said)
    assert not (p.dir / "seen.json").exists(), "it was done all the same"


# ---- tools that are searched for

def tool(name):
    return {"name": name, "command": ["true"], "where": "harness"}


@test
def deferred_tools_come_when_they_are_searched_for():
    found = [{"type": "tool_search_call", "id": "ts_1", "execution": "server", "arguments": {"query": "crm"}, "status": "completed"},
             {"type": "tool_search_output", "id": "to_1", "execution": "server", "tools": [{"type": "function", "name": "crm_get"}], "status": "completed"},
             {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "crm_get", "namespace": "crm_get", "arguments": "{}", "status": "completed"}]
    server = Turns(found, [message("done")])
    p = place(server, [{"hosted": "tool_search"}, tool("crm_get"), tool("plain")], tool_settings=[{"tool": "crm_*", "defer": True}])
    expect(p.run("--harness-tools"), 0, "done")
    tools = {t.get("name", t["type"]): t.get("defer_loading") for t in server.sent(0)["tools"]}
    same(tools, {"crm_get": True, "plain": None, "tool_search": None})
    same(server.sent(1)["input"][1:4], found)
    same(server.sent(1)["input"][4]["type"], "function_call_output")


@test
def deferred_tools_and_the_search_need_each_other():
    server = Turns([message("x")])
    defer = [{"tool": "crm_*", "defer": True}]
    for tools, settings, more, said in (
            ([tool("crm_get")], defer, {}, "add {hosted: tool_search}"), ([{"hosted": "tool_search"}, tool("x")], [], {}, "nothing to find"),
            ([{"hosted": "tool_search"}, tool("crm_get")], defer, {"settings": {"tool_choice": "crm_get"}}, "which is deferred"),
            ([{"hosted": "tool_search"}, tool("crm_get")], defer, {"settings": {"tool_choice": "tool_search"}}, "cannot be a tool_choice")):
        expect(place(server, tools, tool_settings=settings, **more).run("--harness-tools"), 2, said)
    p = place(server, [{"hosted": "tool_search"}, tool("crm_get")], tool_settings=defer, model="chat/x")
    expect(p.run("--harness-tools"), 2, "model chat/x has no hosted tool tool_search")
    same(server.bodies, [])


@test
def a_search_that_we_should_make_ends_the_run():
    server = Turns([{"type": "tool_search_call", "id": "ts_1", "execution": "client", "arguments": {}}], [message("x")])
    expect(place(server, []).run(), 5, "searched here")


@test
def what_is_not_enabled_is_not_offered_be_it_a_tool_an_agent_or_a_hand_off():
    team = {"agent_tools": ["worker", "helper"], "handoffs": ["helper", "boss"],
            "agents": [{"name": n, "capabilities": []} for n in ("worker", "helper", "boss")]}
    for off, left in (([], ["web_search", "worker", "helper", "transfer_to_helper", "transfer_to_boss"]),
                      (["worker", "transfer_to_h*"], ["web_search", "helper", "transfer_to_boss"]),
                      (["*"], [])):
        server = Turns([message("done")])
        p = place(server, [{"hosted": "web_search"}], tool_settings=[{"tool": t, "enabled": False} for t in off], **team)
        expect(p.run(), 0, "done")
        same([t.get("name", t["type"]) for t in server.sent(0).get("tools", [])], left)


sys.exit(finish())
