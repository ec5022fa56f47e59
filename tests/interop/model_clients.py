#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The providers' own Python clients as judges of our model codecs.

usage: model_clients.py

1. The replies that our tests play (tests/e2e/wires.py) are given to the official
   clients of the Messages and the Gemini API, streamed and whole, and those of
   our mock server (bench/mockmodel) to OpenAI's: what they understand must be
   what was meant.
2. The request bodies that our codecs write (tests/golden/model) are checked
   against the clients' own types.
The packages come from the registry into a scratch folder; without pip the test is
skipped aloud (exit 77)."""
import http.server, json, os, pathlib, shutil, subprocess, sys, tempfile, threading

sys.dont_write_bytecode = True
TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/e2e"))
PACKAGES = ["anthropic", "google-genai", "openai"]
checks = 0


def inside_of_a_venv():
    work = tempfile.mkdtemp(prefix="caisson-clients-")
    try:
        made = subprocess.run([sys.executable, "-m", "venv", work + "/v"], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([work + "/v/bin/pip", "install", "-q", *PACKAGES], capture_output=True, text=True)
        if made.returncode:
            print("SKIP: %s could not be installed: %s" % (", ".join(PACKAGES), (made.stderr or made.stdout)[-200:]))
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


def judge_openai(url):
    import openai
    client = openai.OpenAI(api_key="k", base_url=url, max_retries=0)
    tool = {"name": "add", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}
    for model, wants_call in (("tools-2", True), ("echo", False), ("stream-5", False)):
        asked = {"model": model, "input": "go", "tools": [{"type": "function", "strict": False, **tool}]}
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            events = [e.type for e in stream]
            streamed = stream.get_final_response()
        for way, reply in (("whole", whole), ("streamed", streamed)):
            calls = [i for i in reply.output if i.type == "function_call"]
            same([(c.name, sorted(json.loads(c.arguments))) for c in calls], [("add", ["a", "b"])] if wants_call else [], "Responses, %s, %s" % (model, way))
            same(bool(reply.output_text), not wants_call, "Responses, %s, %s, text" % (model, way))
            same(reply.usage.total_tokens > 0, True, "usage")
        same(events[0], "response.created", "first event")
        same(events[-1], "response.completed", "last event")
        chat = {"model": model, "messages": [{"role": "user", "content": "go"}], "tools": [{"type": "function", "function": tool}]}
        whole = client.chat.completions.create(**chat).choices[0]
        with client.chat.completions.stream(**chat) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_completion().choices[0]
        for way, choice in (("whole", whole), ("streamed", streamed)):
            calls = choice.message.tool_calls or []
            same([(c.function.name, sorted(json.loads(c.function.arguments))) for c in calls], [("add", ["a", "b"])] if wants_call else [],
                 "Chat Completions, %s, %s" % (model, way))
            same(choice.finish_reason, "tool_calls" if wants_call else "stop", "Chat Completions, %s, %s, reason" % (model, way))


class Mock:
    """bench/mockmodel, beside the program that CAISSON names; it ends by itself."""

    def __enter__(self):
        built = os.path.dirname(os.environ.get("CAISSON", str(TOP / "build/caisson")))
        self.process = subprocess.Popen([built + "/bench/mockmodel", "120"], stdout=subprocess.PIPE, text=True)
        return self.process.stdout.readline().strip()

    def __exit__(self, *args):
        self.process.kill()
        self.process.wait()


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
    from openai.types import chat as chats, responses

    def consume(v):  # what is any iterable to the client is looked at when it is gone through
        if isinstance(v, dict):
            return {k: consume(x) for k, x in v.items()}
        return [consume(x) for x in v] if not isinstance(v, (str, int, float, type(None))) else v

    kinds = {"responses": (responses.response_create_params.ResponseCreateParamsNonStreaming, responses.response_create_params.ResponseCreateParamsStreaming),
             "chat": (chats.completion_create_params.CompletionCreateParamsNonStreaming, chats.completion_create_params.CompletionCreateParamsStreaming)}
    # Made-up members, unknown items and what newer servers take are what these cases are about.
    others = {"responses": {"choice_hosted", "everything", "everything_without_custom_tools", "extra_body_replaces", "more_settings"},
              "chat": {"conversation_deepseek", "more_settings"}}
    for api, (plain, stream) in kinds.items():
        plain, stream = pydantic.TypeAdapter(plain), pydantic.TypeAdapter(stream)
        for name, body in golden(api):
            if name.split(".")[0] not in others[api]:
                consume((stream if body.get("stream") else plain).validate_python(body, extra="forbid"))
                checks += 1
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
    with Mock() as mock:
        judge_openai(mock)
    judge_bodies()
    server.shutdown()
    print("%d comparisons with the providers' own clients, 0 differences" % checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else inside_of_a_venv())
