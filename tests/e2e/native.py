#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The providers that speak neither of OpenAI's APIs: an agent file that names one runs
the same tools, streamed and whole, and what the provider sealed goes back to it.
Prints TAP.

usage: native.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *
import wires

AGENT = {"sandbox": {"backend": "local"}, "instructions": "Be \u201cbrief\u201d.",
         "settings": {"temperature": 0.25, "max_tokens": 900, "reasoning": {"budget_tokens": 512}},
         "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}
KEY = "sk-native-0123456789"
HEADERS = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def run(prefix, stream):
    heads = []

    def answer(nth, body, headers):
        heads.append({k.lower(): v for k, v in headers.items()})
        return wires.anthropic(nth, body) if prefix == "anthropic" else wires.gemini(nth, stream)

    server = Model(answer)
    base = server.url.removesuffix("/v1")
    p = Place({**AGENT, "model": prefix + "/m-1"}, files={"src/a.txt": "one\n"},
              env={prefix.upper() + "_BASE_URL": base, prefix.upper() + "_API_KEY": KEY})
    done = expect(p.run(*([] if stream else ["--no-stream"])), 0)
    same(done.stdout, wires.ANSWER + "\n")
    same((p.workspace() / "src/a.txt").read_text(), "two \u2713\n")
    same((p.workspace() / "src/new.txt").read_text(), "made\n")
    records = p.records()
    same([r["data"]["usage"]["total_tokens"] for r in records if r["kind"] == "finish"], [39])
    calls = sorted((r["data"]["name"], r["data"].get("arguments", r["data"].get("input"))) for r in records if r["kind"] == "tool_call")
    same([name for name, _ in calls], ["apply_patch", "exec_command", "exec_command"])
    same(calls[0][1], wires.PATCH)
    same([json.loads(a) for _, a in calls[1:]], [{"cmd": c} for c in wires.COMMANDS])
    same({h.get(HEADERS[prefix]) for h in heads}, {KEY})
    assert not any("authorization" in h for h in heads), heads
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert KEY.encode() not in kept, "the key is in the state folder"
    server.server.shutdown()
    return [json.loads(b) for b in server.bodies], server.paths, heads


def grows(bodies, key):
    """What was sent stays as it was; more is added at the end."""
    lists = [b[key] for b in bodies]
    for before, after in zip(lists, lists[1:]):
        same(after[:len(before)], before)
        assert len(after) > len(before)
    rest = [{k: v for k, v in b.items() if k != key} for b in bodies]
    assert all(r == rest[0] for r in rest), rest


@test
def the_messages_api():
    for stream in (True, False):
        bodies, paths, heads = run("anthropic", stream)
        same(set(paths), {"/v1/messages"})
        same({h["anthropic-version"] for h in heads}, {"2023-06-01"})
        first, last = bodies[0], bodies[2]
        same((first["model"], first["max_tokens"], first.get("stream", False)), ("m-1", 900, stream))
        same(first["thinking"], {"type": "enabled", "budget_tokens": 512})
        assert "temperature" not in first, "it cannot be sent beside thinking"
        same(sorted(t["name"] for t in first["tools"]), ["apply_patch", "exec_command", "view_image", "write_stdin"])
        said = last["messages"]
        same([m["role"] for m in said], ["user", "assistant", "user", "assistant", "user"])
        same([b["type"] for b in said[1]["content"]], ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"])
        same(said[1]["content"], wires.anthropic_blocks(0))
        same(sorted(b["tool_use_id"] for b in said[2]["content"]), ["toolu_c1", "toolu_c2"])
        same(said[3]["content"], wires.anthropic_blocks(1))
        same(first["cache_control"], {"type": "ephemeral"})
        grows(bodies, "messages")


@test
def the_gemini_api():
    for stream in (True, False):
        bodies, paths, _ = run("gemini", stream)
        same(set(paths), {"/models/m-1:streamGenerateContent?alt=sse" if stream else "/models/m-1:generateContent"})
        first, last = bodies[0], bodies[2]
        same(first["generationConfig"], {"temperature": 0.25, "maxOutputTokens": 900,
                                         "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 512}})
        assert "# Agent instructions\n\nBe \u201cbrief\u201d." in first["systemInstruction"]["parts"][0]["text"], first["systemInstruction"]
        same(sorted(t["name"] for t in first["tools"][0]["functionDeclarations"]),
             ["apply_patch", "exec_command", "view_image", "write_stdin"])
        said = last["contents"]
        same([c["role"] for c in said], ["user", "model", "user", "model", "user"])
        same(said[1]["parts"], [p for p in wires.gemini_parts(0) if not p.get("thought")])
        same(sorted(p["functionResponse"]["id"] for p in said[2]["parts"]), ["c1", "c2"])
        same({p["functionResponse"]["name"] for p in said[2]["parts"]}, {"exec_command"})
        same(said[3]["parts"], wires.gemini_parts(1))
        grows(bodies, "contents")


@test
def a_provider_of_the_project_may_speak_them():
    for api in ("anthropic", "gemini"):
        server = Model(lambda nth, body, headers, api=api: wires.anthropic(2, body) if api == "anthropic" else wires.gemini(2, True))
        p = Place({"capabilities": []}, env={"MINE": KEY})
        p.write("caisson.yaml", json.dumps({"providers": {
            "mine": {"api": api, "base_url": server.url.removesuffix("/v1"), "key_env": "MINE"}}}))
        same(expect(p.run("--model", "mine/m"), 0).stdout, wires.ANSWER + "\n")
        server.server.shutdown()


@test
def a_missing_key_is_named():
    p = Place({"capabilities": []})
    for name in ("ANTHROPIC", "GEMINI", "GOOGLE"):
        p.env.pop(name + "_API_KEY", None)
        p.env.pop(name + "_BASE_URL", None)
    expect(p.run("--model", "anthropic/m"), 2, "ANTHROPIC_API_KEY")
    expect(p.run("--model", "gemini/m"), 2, "GEMINI_API_KEY")


@test
def doctor_names_the_servers_of_this_machine():
    class Ollama(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            names = ["bad name; rm -rf x", "llama3.2:3b", "qwen3"]
            data = json.dumps({"object": "list", "data": [{"id": n} for n in names]}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    try:
        server = http.server.HTTPServer(("127.0.0.1", 11434), Ollama)
    except OSError as e:
        return f"port 11434 of this machine is taken: {e}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    p = Place()
    base = "http://127.0.0.1:11434/v1"
    command = f"OPENAI_BASE_URL={base} caisson run --model chat/llama3.2:3b TASK"
    found = json.loads(p.call("doctor", "--json").stdout)["local models"]["Ollama"]
    same(found, {"base_url": base, "models": ["llama3.2:3b", "qwen3"], "try": command})
    assert command in p.call("doctor").stdout
    server.shutdown()
    server.server_close()
    assert "Ollama" not in p.call("doctor").stdout


sys.exit(finish())
