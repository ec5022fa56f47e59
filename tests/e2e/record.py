#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what a real server of the OpenAI APIs replies, byte for byte: status line, headers,
framing and body, as they came from the socket. tests/golden/recorded/ holds what it wrote;
tests/model/test_golden.c decodes it and tests/e2e/compat.py plays it to the program.

usage: record.py URL MODEL FOLDER [chat] [responses]

URL is that of the API (http://127.0.0.1:8077/v1), plain HTTP. Each NAME.request.json in FOLDER
is what was sent and NAME.reply what came back. How to start the servers is told in
tests/golden/recorded/README.md. Nothing is scrubbed but the name of this machine; a reply
that names one of its paths is refused."""
import json, pathlib, re, socket, sys, urllib.parse

COMMAND = "echo recorded >made.txt; echo it was made"
# The value is the only one, so that the smallest model, held to the schema, writes this call.
EXEC = {"name": "exec_command", "description": "Runs a command.", "parameters": {
    "type": "object", "properties": {"cmd": {"type": "string", "enum": [COMMAND]}}, "required": ["cmd"],
    "additionalProperties": False}}
LOOK = {"name": "view_image", "description": "Shows an image.", "parameters": {
    "type": "object", "properties": {"path": {"type": "string", "enum": ["a.png"]}}, "required": ["path"],
    "additionalProperties": False}}
LONG = "word " * 9000
SYSTEM, TASK = "You are brief.", "Greet the world in one short sentence."
SENT_CALL = {"id": "call_1", "type": "function", "function": {"name": "exec_command", "arguments": json.dumps({"cmd": COMMAND})}}

RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "it was made"}


def chat_cases(model):
    head = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TASK}]
    tool = [{"type": "function", "function": EXEC}]
    both = tool + [{"type": "function", "function": LOOK}]
    forced = {"type": "function", "function": {"name": "exec_command"}}
    common = {"model": model, "temperature": 0, "max_tokens": 48}
    bodies = {
        "text": {"messages": head},
        "call": {"messages": head, "tools": tool, "tool_choice": forced},
        "calls": {"messages": head, "tools": both, "tool_choice": "auto", "parallel_tool_calls": True},
        "after_call": {"messages": head + [{"role": "assistant", "content": "", "tool_calls": [SENT_CALL]}, RESULT], "tools": tool,
                       "tool_choice": "none"},
        # What the documentation has in the place of a text that is not there; some servers refuse it.
        "after_call_null": {"messages": head + [{"role": "assistant", "content": None, "tool_calls": [SENT_CALL]}, RESULT],
                            "tools": tool, "tool_choice": "none"},
    }
    for name, body in bodies.items():
        yield f"chat_{name}", "/chat/completions", {**common, **body}
        yield f"chat_{name}_stream", "/chat/completions", {**common, **body, "stream": True, "stream_options": {"include_usage": True}}
    yield "chat_length", "/chat/completions", {**common, "messages": head, "max_tokens": 2}
    yield "chat_wrong_type", "/chat/completions", {**common, "messages": "none"}
    yield "chat_wrong_type_stream", "/chat/completions", {**common, "messages": "none", "stream": True}
    long = [{"role": "user", "content": LONG}]
    yield "chat_too_long", "/chat/completions", {**common, "messages": long}
    yield "chat_too_long_stream", "/chat/completions", {**common, "messages": long, "stream": True}
    yield "chat_unknown_model", "/chat/completions", {**common, "model": "no-such-model", "messages": head}


def responses_cases(model):
    items = [{"type": "message", "role": "user", "content": TASK}]
    tool = [{"type": "function", **EXEC}]
    common = {"model": model, "temperature": 0, "max_output_tokens": 48, "instructions": SYSTEM}
    bodies = {
        "text": {"input": items},
        "call": {"input": items, "tools": tool, "tool_choice": {"type": "function", "name": "exec_command"}},
        "after_call": {"input": items + [
            {"type": "function_call", "call_id": "call_1", "name": "exec_command", "arguments": SENT_CALL["function"]["arguments"]},
            {"type": "function_call_output", "call_id": "call_1", "output": "it was made"}], "tools": tool, "tool_choice": "none"},
    }
    for name, body in bodies.items():
        yield f"responses_{name}", "/responses", {**common, **body}
        yield f"responses_{name}_stream", "/responses", {**common, **body, "stream": True}
    yield "responses_wrong_type", "/responses", {**common, "input": 7}
    yield "responses_unknown_model", "/responses", {**common, "model": "no-such-model", "input": items}


def exchange(url, path, body):
    data = json.dumps(body).encode()
    head = (f"POST {url.path}{path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\nAuthorization: Bearer sk-none\r\n"
            f"Accept: {'text/event-stream' if body.get('stream') else 'application/json'}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n")
    with socket.create_connection((url.hostname, url.port), 600) as s:
        s.sendall(head.encode() + data)
        return b"".join(iter(lambda: s.recv(65536), b""))


def main():
    url, model, folder = urllib.parse.urlparse(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    for api in sys.argv[4:] or ["chat"]:
        for name, path, body in {"chat": chat_cases, "responses": responses_cases}[api](model):
            reply = exchange(url, path, body).replace(socket.gethostname().encode(), b"machine")
            named = re.search(rb"/(tmp|home|root|work|usr)/[^\"]*", reply)
            if named:
                print(f"{name}: not kept, it names {named[0][:80]!r}")
                continue
            (folder / f"{name}.request.json").write_text(json.dumps(body).replace(LONG, "word (9000 times)") + "\n")
            (folder / f"{name}.reply").write_bytes(reply)
            print(f"{name}: {reply[:reply.find(13)].decode()}, {len(reply)} bytes")


main()
