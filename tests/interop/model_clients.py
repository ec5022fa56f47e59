#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The providers' own Python clients as judges of our model codecs.

usage: model_clients.py

1. The replies that our tests play (tests/e2e/wires.py) are given to the official
   clients of the Messages and the Gemini API, streamed and whole: what they
   understand must be what was meant.
2. The request bodies that our codecs write (tests/golden/model) are checked
   against the clients' own types.
The packages come from the registry into a scratch folder; without pip the test is
skipped aloud (exit 77)."""
import http.server, json, os, pathlib, shutil, subprocess, sys, tempfile, threading

sys.dont_write_bytecode = True
TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/e2e"))
PACKAGES = ["anthropic", "google-genai"]
checks = 0


def inside_of_a_venv():
    work = tempfile.mkdtemp(prefix="caisson-clients-")
    try:
        made = subprocess.run([sys.executable, "-m", "venv", work + "/v"], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([work + "/v/bin/pip", "install", "-q", *PACKAGES], capture_output=True, text=True)
        if made.returncode:
            print("SKIP: %s could not be installed: %s" % (" and ".join(PACKAGES), (made.stderr or made.stdout)[-200:]))
            return 77
        return subprocess.run([work + "/v/bin/python", __file__, "--judge"]).returncode
    finally:
        shutil.rmtree(work, ignore_errors=True)


def same(got, want, what):
    global checks
    checks += 1
    if got != want:
        sys.exit("FAILED: %s: got %r, expected %r" % (what, got, want))


def serve():
    import wires

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body.get("model") or self.path.split("/models/")[1].split(":")[0]
            nth = int(name[-1])
            if self.path.startswith("/v1/messages"):
                status, kind, data = wires.anthropic(nth, body)
            else:
                status, kind, data = wires.gemini(nth, "stream" in self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def judge_anthropic(url):
    import anthropic
    import wires
    client = anthropic.Anthropic(api_key="k", base_url=url, max_retries=0)
    for nth in range(len(wires.TURNS)):
        asked = {"model": "claude-%d" % nth, "max_tokens": 100, "messages": [{"role": "user", "content": "go"}]}
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        for way, reply in (("whole", whole), ("streamed", streamed)):
            got = [b.model_dump(exclude_none=True) for b in reply.content]
            for g, want in zip(got, wires.anthropic_blocks(nth)):
                same({k: g.get(k) for k in want}, want, "Messages API, turn %d, %s" % (nth, way))
            same(len(got), len(wires.anthropic_blocks(nth)), "number of blocks")
            same(reply.usage.output_tokens, 3, "usage")


def judge_gemini(url):
    from google import genai
    import wires
    client = genai.Client(api_key="k", http_options={"base_url": url})
    for nth in range(len(wires.TURNS)):
        asked = {"model": "gemini-%d" % nth, "contents": "go"}
        whole = client.models.generate_content(**asked).candidates[0].content.parts
        streamed = [p for c in client.models.generate_content_stream(**asked) for p in c.candidates[0].content.parts]
        for way, parts in (("whole", whole), ("streamed", streamed)):
            what = "Gemini API, turn %d, %s" % (nth, way)
            same("".join(p.text for p in parts if p.text and not p.thought), wires.TURNS[nth][0], what)
            same([(p.function_call.id, p.function_call.name, p.function_call.args) for p in parts if p.function_call],
                 wires.TURNS[nth][1], what)
            same(sum(bool(p.thought_signature) for p in parts), bool(wires.TURNS[nth][1]), what)


def golden(api):
    for f in sorted((TOP / "tests/golden/model" / api).glob("*.body.json")):
        yield f.name, json.loads(f.read_text())


def judge_bodies():
    import pydantic
    from anthropic.types import message_create_params as messages
    from google.genai import types
    whole = pydantic.TypeAdapter(messages.MessageCreateParamsNonStreaming)
    streamed = pydantic.TypeAdapter(messages.MessageCreateParamsStreaming)
    global checks
    for name, body in golden("anthropic"):
        for older in ("temperature", "top_p"):  # newer clients have dropped them, older models take them
            body.pop(older, None)
        body.pop("x", None)  # of the test of extra_body
        (streamed if body.get("stream") else whole).validate_python(body, extra="forbid")
        checks += 1

    def strict(kind, v):  # the client's models forbid unknown members
        global checks
        kind.model_validate(v)
        checks += 1

    for name, body in golden("gemini"):
        body.pop("x", None)
        for c in body.pop("contents"):
            strict(types.Content, c)
        for t in body.pop("tools", []):
            strict(types.Tool, t)
        strict(types.GenerationConfig, body.pop("generationConfig", {}))
        strict(types.ToolConfig, body.pop("toolConfig", {}))
        strict(types.Content, body.pop("systemInstruction", {}))
        same(body, {}, name)


def judge():
    server = serve()
    url = "http://127.0.0.1:%d" % server.server_address[1]
    judge_anthropic(url)
    judge_gemini(url)
    judge_bodies()
    server.shutdown()
    print("%d comparisons with the providers' own clients, 0 differences" % checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else inside_of_a_venv())
