#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One agent, unchanged, on both APIs, streamed and whole, and on servers with habits of
their own (Ollama, llama.cpp, vLLM, OpenRouter): the tools run, the answer arrives, and
the requests say what they should, each a continuation of the one before. Prints TAP.

usage: compat.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *

PATCH = "*** Begin Patch\n*** Update File: src/a.txt\n@@\n-one\n+two \u2713\n*** End Patch\n"
COMMANDS = ["cat src/a.txt", "echo \"made\" >src/new.txt"]
ANSWER = "All done \u2713"
TURNS = [
    ("I look.", [("c1", "exec_command", {"cmd": COMMANDS[0]}), ("c2", "exec_command", {"cmd": COMMANDS[1]})]),
    ("", [("c3", "apply_patch", PATCH)]),
    (ANSWER, []),
]
AGENT = {"sandbox": {"backend": "local"}, "instructions": "Be \u201cbrief\u201d.", "settings": {"temperature": 0.25, "max_tokens": 900},
         "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}


# ---- the Responses API

def responses_items(nth, custom):
    text, calls = TURNS[nth]
    items = []
    if nth == 0:
        items.append({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "x_unknown": [1, 2.5]})
    if text:
        items.append({"type": "message", "id": f"m{nth}", "role": "assistant", "status": "completed",
                      "content": [{"type": "output_text", "text": text, "annotations": []}]})
    for call_id, name, args in calls:
        if isinstance(args, str) and custom:
            items.append({"type": "custom_tool_call", "id": "x" + call_id, "call_id": call_id, "name": name, "input": args, "status": "completed"})
        else:
            args = {"input": args} if isinstance(args, str) else args
            items.append({"type": "function_call", "id": "x" + call_id, "call_id": call_id, "name": name, "arguments": json.dumps(args), "status": "completed"})
    return items


def responses(custom=True):
    def answer(nth, body, headers):
        items = responses_items(nth, custom)
        whole = {"id": f"r{nth}", "object": "response", "status": "completed", "model": body["model"], "output": items, "usage": {
            "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 13}}
        if not body.get("stream"):
            return 200, "application/json", json.dumps(whole).replace("2.5", "2.50").encode()
        events = [{"type": "response.created", "response": {**whole, "output": [], "status": "in_progress"}}]
        for i, item in enumerate(items):
            events.append({"type": "response.output_item.added", "output_index": i, "item": item})
            if item["type"] == "message":
                for piece in item["content"][0]["text"].split():
                    events.append({"type": "response.output_text.delta", "item_id": item["id"], "output_index": i, "content_index": 0, "delta": piece})
            events.append({"type": "response.output_item.done", "output_index": i, "item": item})
        return 200, "text/event-stream; charset=utf-8", sse(*events, {"type": "response.completed", "response": whole}).replace(b"2.5", b"2.50")
    return answer


# ---- Chat Completions, in the shapes of several servers

def arguments(args):
    return json.dumps({"input": args} if isinstance(args, str) else args)


USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


def chat_whole(nth, shape):
    text, calls = TURNS[nth]
    message = {"role": "assistant", "content": text or (None if shape != "ollama" else "")}
    if shape in ("ollama", "openrouter"):
        message["reasoning"] = "Hm."
    if shape in ("llamacpp", "vllm"):
        message["reasoning_content"] = "Hm."
    made = []
    for i, (call_id, name, args) in enumerate(calls):
        args = arguments(args)
        made.append({
            "ollama": lambda: {"function": {"name": name, "arguments": json.loads(args)}},
            "llamacpp": lambda: {"id": "", "type": "function", "function": {"name": name, "arguments": args}},
            "vllm": lambda: {"id": "chatcmpl-tool-" + call_id, "type": "function", "function": {"name": name, "arguments": args}},
        }.get(shape, lambda: {"id": call_id, "type": "function", "index": i, "function": {"name": name, "arguments": args}})())
    if made:
        message["tool_calls"] = made
    elif shape == "vllm":
        message["tool_calls"] = []
    reason = "stop" if not made or shape == "ollama" else "tool_calls"
    return {"id": f"k{nth}", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
            "choices": [{"index": 0, "finish_reason": reason, "logprobs": None, "message": message}]}


def chat_stream(nth, shape):
    text, calls = TURNS[nth]
    head = {"id": f"k{nth}", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def chunk(delta, reason=None, **more):
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}

    out = [chunk({"role": "assistant", "content": None if shape == "llamacpp" else ""})]
    if shape != "openai":
        out.append(chunk({"reasoning" if shape in ("ollama", "openrouter") else "reasoning_content": "Hm"}))
    for piece in ([text] if shape == "ollama" else text):
        out.append(chunk({"content": piece}))
    for i, (call_id, name, args) in enumerate(calls):
        args = arguments(args)
        first = {"index": i, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        if shape == "ollama":  # whole calls, and one index for all
            out.append(chunk({"role": "assistant", "content": "", "tool_calls": [
                {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": args}}]}))
            continue
        if shape == "vllm":  # no type, the name again in every piece
            first = {"index": i, "id": call_id, "function": {"name": name, "arguments": ""}}
        out.append(chunk({"tool_calls": [first]}))
        for at in range(0, len(args), 7):
            again = {"id": call_id, "type": "function"} if shape == "vllm" else {}
            function = {"arguments": args[at:at + 7], **({"name": name} if shape == "vllm" else {})}
            out.append(chunk({"tool_calls": [{"index": i, **again, "function": function}]}))
    out.append(chunk({} if shape != "openrouter" else {"role": "assistant", "content": ""},
                     "stop" if not calls or shape == "ollama" else "tool_calls"))
    if shape == "openrouter":  # usage in a chunk that still has a choice
        out.append(chunk({"role": "assistant", "content": ""}, usage=USAGE))
    else:
        out.append({**head, "choices": [], "usage": USAGE})
    data = sse(*out, "[DONE]")
    return (b": OPENROUTER PROCESSING\n\n" * 2 if shape == "openrouter" else b"") + data


def chat(shape="openai"):
    def answer(nth, body, headers):
        if body.get("stream"):
            return 200, "text/event-stream", chat_stream(nth, shape)
        return 200, "application/json", json.dumps(chat_whole(nth, shape)).encode()
    return answer


# ---- what is checked

def prefixes(bodies, key):
    """Each request is the one before, up to the end of its items, and more items."""
    for before, after in zip(bodies, bodies[1:]):
        n = len(json.loads(before)[key])
        # The list is the last member, so what closes it and the object is all that may differ.
        assert before.endswith(b"]}"), before[-40:]
        assert after.startswith(before[:-2]), f"request {bodies.index(after)} is no continuation: {before!r} {after!r}"
        assert len(json.loads(after)[key]) > n
        same(json.loads(after)[key][:n], json.loads(before)[key])


def check_responses(bodies, custom, stream):
    same(len(bodies), 3)
    first, last = json.loads(bodies[0]), json.loads(bodies[2])
    same(first["model"], "gpt@1:x+y~z/q")
    same(first["temperature"], 0.25)
    same(first["max_output_tokens"], 900)
    same(first.get("stream", False), stream)
    assert "# Agent instructions\n\nBe \u201cbrief\u201d." in first["instructions"], first["instructions"]
    tools = {t["name"]: t for t in first["tools"]}
    same(sorted(tools), ["apply_patch", "exec_command", "view_image", "write_stdin"])
    same(tools["exec_command"]["type"], "function")
    same(tools["apply_patch"]["type"], "custom" if custom else "function")
    if custom:
        same(tools["apply_patch"]["format"]["syntax"], "lark")
    else:
        same(list(tools["apply_patch"]["parameters"]["properties"]), ["input"])
    items = last["input"]
    call = "custom_tool_call" if custom else "function_call"
    same([i.get("type", i.get("role")) for i in items],
         ["user" if "type" not in items[0] else "message", "reasoning", "message", "function_call", "function_call",
          "function_call_output", "function_call_output", call, call + "_output"])
    same(items[0]["content"], "go")
    same(items[1]["x_unknown"], [1, 2.5])
    assert b"2.50" in bodies[1], "a number was spelled anew"
    same(sorted(i["call_id"] for i in items[5:7]), ["c1", "c2"])
    assert any("one" in i["output"] for i in items[5:7]), items[5:7]
    same(items[8]["call_id"], "c3")
    if custom:
        same(items[7]["input"], PATCH)
    else:
        same(json.loads(items[7]["arguments"]), {"input": PATCH})
    prefixes(bodies, "input")


def check_chat(bodies, stream):
    same(len(bodies), 3)
    first, last = json.loads(bodies[0]), json.loads(bodies[2])
    same(first["model"], "gpt@1:x+y~z/q")
    same(first["max_tokens"], 900)
    same(first.get("stream", False), stream)
    same(first.get("stream_options"), {"include_usage": True} if stream else None)
    same({t["type"] for t in first["tools"]}, {"function"})
    same(sorted(t["function"]["name"] for t in first["tools"]), ["apply_patch", "exec_command", "view_image", "write_stdin"])
    messages = last["messages"]
    same([m["role"] for m in messages], ["system", "user", "assistant", "tool", "tool", "assistant", "tool"])
    same(messages[1]["content"], "go")
    same(messages[2]["content"], "I look.")
    for said, results in ((messages[2], messages[3:5]), (messages[5], messages[6:])):
        ids = [c["id"] for c in said["tool_calls"]]
        assert all(ids) and len(set(ids)) == len(ids), f"call ids: {ids}"
        same(sorted(r["tool_call_id"] for r in results), sorted(ids))
    same([json.loads(c["function"]["arguments"])["cmd"] for c in messages[2]["tool_calls"]], COMMANDS)
    same(json.loads(messages[5]["tool_calls"][0]["function"]["arguments"]), {"input": PATCH})
    prefixes(bodies, "messages")


def run(prefix, answer, stream, project=None):
    server = Model(answer)
    p = Place({**AGENT, "model": prefix + "/gpt@1:x+y~z/q"}, files={"src/a.txt": "one\n"},
              env={"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test-0123456789"})
    if project is not None:
        del p.env["OPENAI_BASE_URL"], p.env["OPENAI_API_KEY"]
        p.write("caisson.yaml", json.dumps({"providers": {prefix: {**project, "base_url": server.url}}}))
    done = expect(p.run(*([] if stream else ["--no-stream"])), 0)
    same(done.stdout, ANSWER + "\n")
    same((p.workspace() / "src/a.txt").read_text(), "two \u2713\n")
    same((p.workspace() / "src/new.txt").read_text(), "made\n")
    finish = [r["data"] for r in p.records() if r["kind"] == "finish"][0]
    same(finish["usage"]["total_tokens"], 39)
    server.server.shutdown()
    return server


def both(fn):
    for stream in (True, False):
        fn(stream)


@test
def the_responses_api():
    def one(stream):
        server = run("openai", responses(), stream)
        same(set(server.paths), {"/v1/responses"})
        check_responses(server.bodies, True, stream)
    both(one)


@test
def chat_completions():
    def one(stream):
        server = run("chat", chat(), stream)
        same(set(server.paths), {"/v1/chat/completions"})
        check_chat(server.bodies, stream)
    both(one)


@test
def a_responses_server_without_custom_tools():
    both(lambda stream: check_responses(run("mine", responses(False), stream, {"api": "responses", "custom_tools": False}).bodies, False, stream))


@test
def ollama():
    both(lambda stream: check_chat(run("ollama", chat("ollama"), stream, {}).bodies, stream))


@test
def llama_cpp():
    both(lambda stream: check_chat(run("llamacpp", chat("llamacpp"), stream, {"api": "chat"}).bodies, stream))


@test
def vllm():
    both(lambda stream: check_chat(run("vllm", chat("vllm"), stream, {"api": "chat", "timeout": 60}).bodies, stream))


@test
def openrouter():
    both(lambda stream: check_chat(run("router", chat("openrouter"), stream, {"api": "chat"}).bodies, stream))


@test
def the_key_goes_to_its_provider_only():
    seen = []

    def answer(nth, body, headers):
        seen.append(headers.get("Authorization"))
        return chat()(2, body, headers)

    server = Model(answer)
    p = Place({"capabilities": []}, env={"OPENAI_API_KEY": "sk-openai-012345", "MINE": "sk-mine-0123456"})
    p.write("caisson.yaml", json.dumps({"providers": {
        "keyed": {"base_url": server.url + "/", "key_env": "MINE"}, "open": {"base_url": server.url}}}))
    for model in ("keyed/m", "open/m"):
        done = expect(p.run("--model", model), 0)
    same(seen, ["Bearer sk-mine-0123456", None])
    same(set(server.paths), {"/v1/chat/completions"})
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert b"sk-mine" not in kept and b"sk-openai" not in kept, "a key is in the state folder"
    del p.env["MINE"]
    expect(p.run("--model", "keyed/m"), 2, "MINE")


@test
def a_run_goes_on_with_whole_replies_after_streamed_ones():
    ready = threading.Event()

    def answer(nth, body, headers):
        if nth == 1 and body.get("stream"):
            ready.set()
            time.sleep(20)
        return responses()(1 if nth == 2 else min(nth, 2), body, headers)

    server = Model(answer)
    p = Place({**AGENT, "model": "openai/gpt@1:x+y~z/q"}, files={"src/a.txt": "one\n"}, env={"OPENAI_BASE_URL": server.url})
    first = p.start("run", "agent.yaml", "go")
    assert ready.wait(30)
    first.kill()
    first.communicate(timeout=30)
    done = expect(p.call("resume", p.only_run(), "--no-stream"), 0)
    same(done.stdout, ANSWER + "\n")
    same([json.loads(b).get("stream", False) for b in server.bodies], [True, True, False, False])
    same((p.workspace() / "src/a.txt").read_text(), "two \u2713\n")


# ---- what real servers sent, byte for byte

RECORDED = pathlib.Path(__file__).resolve().parent.parent / "golden/recorded"


def said_in(reply, stream):
    """The text of a recorded reply of the Chat Completions API, read in another way than the program's."""
    body = reply.split(b"\r\n\r\n", 1)[1].decode()
    if not stream:
        return json.loads(body)["choices"][0]["message"]["content"]
    lines = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    return "".join(c["delta"].get("content") or "" for line in lines for c in json.loads(line)["choices"])


def replay(server, stream, names, settings=None, **agent):
    """A run whose requests get these recorded replies, in order."""
    replies = [(RECORDED / server / (n + ("_stream" if stream else "") + ".reply")).read_bytes() for n in names]
    model = Model(lambda nth, body, headers: (None, None, replies[nth]))
    p = Place({"sandbox": {"backend": "local"}, "manifest": AGENT["manifest"], "model": "real/smollm2", **agent}, files={"src/a.txt": "one\n"})
    api = names[0].split("_")[0]
    p.write("caisson.yaml", json.dumps({"providers": {"real": {"base_url": model.url, "api": api, **(settings or {})}}}))
    return p, model, replies


def recorded_conversation(server, settings=None):
    """The model calls a tool, is told what came of it, and answers."""
    def one(stream):
        p, model, replies = replay(server, stream, ["chat_call", "chat_after_call"], settings)
        done = expect(p.run(*([] if stream else ["--no-stream"])), 0)
        same(done.stdout.strip(), said_in(replies[1], stream))
        same((p.workspace() / "made.txt").read_text(), "recorded\n")
        same(len(model.bodies), 2)
        second = json.loads(model.bodies[1])["messages"]
        same([m["role"] for m in second], ["system", "user", "assistant", "tool"])
        call = second[2]["tool_calls"][0]
        assert call["id"] in replies[0].decode(), call
        same(second[3]["tool_call_id"], call["id"])
        assert "it was made" in second[3]["content"], second[3]
        same(second[2]["content"], "" if settings else None)
    both(one)


@test
def llama_cpp_python_as_recorded():
    recorded_conversation("llama_cpp_python", {"null_content": False})


@test
def litellm_as_recorded():
    recorded_conversation("litellm")


@test
def litellm_sent_two_calls_at_once():
    p, model, _ = replay("litellm", False, ["chat_calls", "chat_after_call"])
    expect(p.run("--no-stream"), 0, "short summary")
    same([m["role"] for m in json.loads(model.bodies[1])["messages"]], ["system", "user", "assistant", "tool", "tool"])
    same((p.workspace() / "made.txt").read_text(), "recorded\n")


@test
def transformers_as_recorded_streams_unasked():
    for name in "chat_text", "responses_text":
        for stream in True, False:
            p, model, _ = replay("transformers", stream, [name], capabilities=[])
            done = expect(p.run(*([] if stream else ["--no-stream"])), 0)
            same(done.stdout, "The world is a wondrous place, filled with wonders beyond human comprehension.\n")
            finish = [r["data"] for r in p.records() if r["kind"] == "finish"][0]
            same(finish["usage"]["total_tokens"], 42)


@test
def errors_as_recorded_end_the_run_with_their_reason():
    for server, name, text in (("llama_cpp_python", "chat_too_long", "maximum context length is 4096"),
                               ("litellm", "chat_too_long", "maximum context length is 4096"),
                               ("litellm", "chat_unknown_model", "Invalid model name passed in model=no-such-model"),
                               ("transformers", "responses_wrong_type", "'input' must be a string or list")):
        p, model, _ = replay(server, False, [name], capabilities=[])
        expect(p.run("--no-stream"), 5, text)
        same(len(model.bodies), 1)


@test
def streams_of_nothing_as_recorded_are_failures():
    for server in "llama_cpp_python", "litellm":
        p, model, _ = replay(server, True, ["chat_too_long"], capabilities=[], settings=None)
        p.write("agent.yaml", json.dumps({"name": "a", "model": "real/smollm2", "capabilities": [],
                                          "settings": {"retry": {"max_retries": 0}}}))
        expect(p.run(), 5)
        same(len(model.bodies), 1)


sys.exit(finish())
