#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Agents SDK for Python as the judge of our requests: the same agent, tool, hand-off and
settings run through it and through caisson, against one server that answers both alike. What they
send must be the same JSON, member by member, but for what docs/parity.md says is otherwise on purpose.

usage: agents_sdk.py        (CAISSON: the program)

The package comes from the registry into a scratch folder; without pip the test is skipped aloud
(exit 77)."""
import http.server, json, os, shutil, subprocess, sys, tempfile, threading

caisson = os.environ.get("CAISSON", os.path.abspath("build/caisson"))
PACKAGE = "openai-agents"
TASK = "Add 2 and 3."
ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
ANSWER = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
# By API: settings of ours and of theirs have the same names and values.
SETTINGS = {
    "responses": {"temperature": 0.25, "top_p": 0.5, "max_tokens": 900, "parallel_tool_calls": False, "truncation": "auto", "store": False,
                  "verbosity": "low", "metadata": {"a": "b"}, "top_logprobs": 2, "response_include": ["reasoning.encrypted_content"],
                  "prompt_cache_retention": "24h", "reasoning": {"effort": "low"}, "tool_choice": "auto",
                  "extra_headers": {"X-Team": "red"}, "extra_query": {"trace": "1"}, "extra_body": {"user": "u"}},
    "chat": {"temperature": 0.25, "top_p": 0.5, "max_tokens": 900, "frequency_penalty": 0.5, "presence_penalty": -0.5, "parallel_tool_calls": False,
             "store": False, "verbosity": "low", "metadata": {"a": "b"}, "top_logprobs": 2, "prompt_cache_retention": "24h",
             "reasoning": {"effort": "low"}, "tool_choice": "required",
             "extra_headers": {"X-Team": "red"}, "extra_query": {"trace": "1"}, "extra_body": {"user": "u"}},
}
CASES = [(api, which) for api in SETTINGS for which in ("plain", "settings", "schema", "hand-off")]
compared = 0


def inside_of_a_venv():
    work = tempfile.mkdtemp(prefix="caisson-agents-")
    try:
        made = subprocess.run([sys.executable, "-m", "venv", work + "/v"], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([work + "/v/bin/pip", "install", "-q", PACKAGE], capture_output=True, text=True)
        if made.returncode:
            print("SKIP: %s could not be installed: %s" % (PACKAGE, (made.stderr or made.stdout)[-200:]))
            return 77
        return subprocess.run([work + "/v/bin/python", os.path.abspath(__file__), "--judge"]).returncode
    finally:
        shutil.rmtree(work, ignore_errors=True)


# ---- the server

def calls_of(which, nth):
    """What the model does at its nth request: a tool, or None and an answer."""
    if which == "hand-off":
        return ("transfer_to_billing_agent__eu_", "{}") if nth == 0 else None
    return ("add", '{"a":2,"b":3}') if nth == 0 else None


def responses(which, nth):
    call = calls_of(which, nth)
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": call[0], "arguments": call[1], "status": "completed"} if call else \
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": '{"sum":5}', "annotations": [], "logprobs": []}]}
    return {"id": "resp_%d" % nth, "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item], "error": None,
            "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": False, "temperature": 1, "tool_choice": "auto",
            "tools": [], "top_p": 1, "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
                                               "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12}}


def chat(which, nth):
    call = calls_of(which, nth)
    message = {"role": "assistant", "content": None if call else '{"sum":5}'}
    if call:
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": {"name": call[0], "arguments": call[1]}}]
    return {"id": "c%d" % nth, "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "tool_calls" if call else "stop", "message": message, "logprobs": None}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}}


class Recorder:
    def __init__(self, api, which):
        self.seen = []
        rec = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                data = json.dumps((responses if api == "responses" else chat)(which, len(rec.seen))).encode()
                rec.seen.append((self.path, self.headers["X-Team"], body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/v1" % self.server.server_address[1]


# ---- the same agent twice

def ours(api, which, url):
    work = tempfile.mkdtemp(prefix="caisson-agents-")
    try:
        agent = {"name": "adder", "model": "x/m", "instructions": "Be brief.", "capabilities": [], "settings": {"retry": {"max_retries": 0}},
                 "tools": [{"name": "add", "description": "Adds two integers.", "schema": ADD, "where": "harness", "replay": "safe",
                            "command": [sys.executable, "-c", "import json,sys; v=json.load(sys.stdin); print(v['a']+v['b'])"]}]}
        if which == "settings":
            agent["settings"].update(SETTINGS[api])
            agent["reset_tool_choice"] = False
        if which == "schema":
            agent["output_schema"] = ANSWER
        if which == "hand-off":
            agent["agents"] = [{"name": "Billing Agent (EU)", "description": "Knows bills.", "instructions": "Bill."}]
            agent["handoffs"] = ["Billing Agent (EU)"]
        with open(work + "/agent.yaml", "w") as f:
            json.dump(agent, f)
        with open(work + "/caisson.yaml", "w") as f:
            json.dump({"providers": {"x": {"api": api, "base_url": url}}}, f)
        done = subprocess.run([caisson, "run", "--no-stream", "--harness-tools", "agent.yaml", TASK], cwd=work, capture_output=True, text=True, timeout=60,
                              env={k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "CAISSON"))})
        if done.returncode:
            sys.exit("FAILED: caisson: %s" % done.stderr)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def theirs(api, which, url):
    from openai import AsyncOpenAI
    from openai.types.shared import Reasoning
    import agents
    agents.set_tracing_disabled(True)
    client = AsyncOpenAI(api_key="k", base_url=url, max_retries=0)
    model = (agents.OpenAIResponsesModel if api == "responses" else agents.OpenAIChatCompletionsModel)(model="m", openai_client=client)
    more = {}

    async def add(context, text):
        v = json.loads(text)
        return str(v["a"] + v["b"])
    if which == "settings":
        settings = dict(SETTINGS[api])
        settings["reasoning"] = Reasoning(**settings["reasoning"])
        more["model_settings"] = agents.ModelSettings(**settings)
        more["reset_tool_choice"] = False

    class Schema(agents.AgentOutputSchemaBase):
        def is_plain_text(self):
            return False

        def name(self):
            return "Answer"

        def json_schema(self):
            from agents.strict_schema import ensure_strict_json_schema
            return ensure_strict_json_schema(json.loads(json.dumps(ANSWER)))

        def is_strict_json_schema(self):
            return True

        def validate_json(self, text):
            return json.loads(text)
    if which == "schema":
        more["output_type"] = Schema()
    if which == "hand-off":
        more["handoffs"] = [agents.Agent(name="Billing Agent (EU)", handoff_description="Knows bills.", instructions="Bill.", model=model,
                                         tools=[])]
    tool = agents.FunctionTool(name="add", description="Adds two integers.", params_json_schema=json.loads(json.dumps(ADD)), on_invoke_tool=add)
    agent = agents.Agent(name="adder", instructions="Be brief.", model=model, tools=[tool], **more)
    agents.Runner.run_sync(agent, TASK, max_turns=4)


# ---- what may differ, and why

def settled(api, body):
    """Without what is otherwise on purpose."""
    body = json.loads(json.dumps(body))
    body.pop("prompt_cache_key", None)  # theirs makes one up
    body["include"] = sorted(body.get("include", []))
    if body.get("tools") == []:  # ours says nothing where there are none
        body.pop("tools")
    for item in body.get("input", []):
        if item.get("type") == "message" and item.get("role") == "user":
            item.pop("type")
    for tool in body.get("tools", []):
        for t in (tool, tool.get("function", {}), tool.get("parameters", {}), tool.get("function", {}).get("parameters", {})):
            t.pop("title", None)
    if api == "chat":
        body.pop("include")
    return body


def judge():
    global compared
    for api, which in CASES:
        a, b = Recorder(api, which), Recorder(api, which)
        ours(api, which, a.url)
        theirs(api, which, b.url)
        if len(a.seen) != 2 or len(b.seen) != 2:
            sys.exit("FAILED: %s, %s: %d requests of ours, %d of theirs" % (api, which, len(a.seen), len(b.seen)))
        for turn, (mine, other) in enumerate(zip(a.seen, b.seen), 1):
            if mine[:2] != other[:2]:
                sys.exit("FAILED: %s, %s, turn %d: %r, theirs %r" % (api, which, turn, mine[:2], other[:2]))
            x, y = settled(api, mine[2]), settled(api, other[2])
            for key in sorted(set(x) | set(y)):
                compared += 1
                if x.get(key) != y.get(key):
                    sys.exit("FAILED: %s, %s, turn %d: %s\n ours   %s\n theirs %s" % (api, which, turn, key, json.dumps(x.get(key)), json.dumps(y.get(key))))
        a.server.shutdown()
        b.server.shutdown()
    print("%d members of requests compared with the Agents SDK's, 0 differences" % compared)
    return 0


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else inside_of_a_venv())
