#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lists of models and limits of providers, with the real program and servers that
refuse, break off, hang or ask to be left alone: which model answers, and what the
journal says about why. Prints TAP.

usage: models.py CAISSON"""
import sys

sys.dont_write_bytecode = True
import hashlib, hmac, urllib.parse

from lib import *
import wires

KEY = "sk-models-0123456789"
QUICK = {"retry": {"max_retries": 1, "backoff": {"initial_delay": 0.01, "max_delay": 0.02}}}
APIS = ("responses", "chat", "anthropic", "gemini")


def good(api, text, stream):
    """A whole reply of one message."""
    if api == "responses":
        item = {"type": "message", "role": "assistant", "id": "m", "content": [{"type": "output_text", "text": text, "annotations": []}]}
        whole = {"id": "r", "status": "completed", "output": [item], "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}
        if stream:
            return 200, "text/event-stream", sse({"type": "response.output_text.delta", "delta": text}, {"type": "response.completed", "response": whole})
        return 200, "application/json", json.dumps(whole).encode()
    if api == "chat":
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        if stream:
            return 200, "text/event-stream", sse({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
                                                 {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}, "[DONE]")
        return 200, "application/json", json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}], "usage": usage}).encode()
    if api == "anthropic":
        usage = {"input_tokens": 5, "output_tokens": 2}
        if stream:
            return 200, "text/event-stream", sse(
                {"type": "message_start", "message": {"id": "m", "content": [], "usage": usage}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}, {"type": "message_stop"})
        return 200, "application/json", json.dumps({"id": "m", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage}).encode()
    whole = wires.gemini_reply(0, [{"text": text}], "STOP")
    return (200, "text/event-stream", sse(whole)) if stream else (200, "application/json", json.dumps(whole).encode())


def is_stream(nth, body, path=""):
    return body.get("stream", False) or "stream" in path


class Two:
    """A first server that answers as `first` says and a second that is well, and an agent
    whose list names both."""

    def __init__(self, api, first, agent=None, **provider):
        self.api = api

        def bad(nth, body, headers):
            return first(nth, body, "stream" in self.one.paths[-1] or body.get("stream", False))

        def well(nth, body, headers):
            return good("chat", "second", body.get("stream", False))

        self.one, self.two = Model(bad), Model(well)
        self.place = Place({"capabilities": [], "model": ["one/m", "two/n"], "settings": QUICK, **(agent or {})}, env={"KEY_ONE": KEY})
        self.place.write("caisson.yaml", json.dumps({"providers": {
            "one": {"api": api, "base_url": self.one.url, "key_env": "KEY_ONE", **provider},
            "two": {"api": "chat", "base_url": self.two.url}}}))

    def close(self):
        self.one.server.shutdown()
        self.two.server.shutdown()


def calls(records):
    return [(r["data"].get("model"), r["data"].get("why")) for r in records if r["kind"] == "model_call" and "attempts" not in r["data"]]


def attempts(records):
    return [r["data"] for r in records if r["kind"] == "note" and r["data"]["note"] == "attempt_failed"]


# What each API's documentation says it answers, and whether the same request may succeed later.
ERRORS = {
    "responses": [
        (400, {"error": {"message": "bad", "type": "invalid_request_error", "code": None}}, False),
        (401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}}, False),
        (403, {"error": {"message": "Country, region, or territory not supported", "code": "unsupported_country_region_territory"}}, False),
        (404, {"error": {"message": "The model does not exist", "code": "model_not_found"}}, False),
        (429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, True),
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, False),
        (500, {"error": {"message": "The server had an error", "type": "server_error"}}, True),
        (503, {"error": {"message": "The engine is currently overloaded", "code": "server_is_overloaded"}}, True)],
    "anthropic": [(status, {"type": "error", "error": {"type": kind, "message": "m"}}, later) for status, kind, later in (
        (400, "invalid_request_error", False), (401, "authentication_error", False), (403, "permission_error", False),
        (404, "not_found_error", False), (413, "request_too_large", False), (429, "rate_limit_error", True),
        (500, "api_error", True), (504, "timeout_error", True), (529, "overloaded_error", True))],
    "gemini": [(status, {"error": {"code": status, "message": "m", "status": word}}, later) for status, word, later in (
        (400, "INVALID_ARGUMENT", False), (400, "FAILED_PRECONDITION", False), (403, "PERMISSION_DENIED", False),
        (404, "NOT_FOUND", False), (429, "RESOURCE_EXHAUSTED", True), (500, "INTERNAL", True),
        (503, "UNAVAILABLE", True), (504, "DEADLINE_EXCEEDED", True))],
}
ERRORS["chat"] = ERRORS["responses"]


def errors_of(api):
    for stream in True, False:
        for status, body, later in ERRORS[api]:
            t = Two(api, lambda nth, b, s: (status, "application/json", json.dumps(body).encode()))
            done = expect(t.place.run(*([] if stream else ["--no-stream"])), 0)
            same(done.stdout, "second\n")
            records = t.place.records()
            same(calls(records), [("one/m", "first"), ("two/n", "failed")])
            same(len(t.one.bodies), 2 if later else 1)
            same([a["http_status"] for a in attempts(records)], [status] if later else [])
            failed = [r["data"]["error"] for r in records if r["kind"] == "model_failed"]
            same([f.get("http_status") for f in failed], [status])
            assert KEY not in json.dumps(records), "the key is in the journal"
            t.close()


@test
def documented_errors_of_the_responses_api_lead_to_the_next_model():
    errors_of("responses")


@test
def documented_errors_of_chat_completions_lead_to_the_next_model():
    errors_of("chat")


@test
def documented_errors_of_the_messages_api_lead_to_the_next_model():
    errors_of("anthropic")


@test
def documented_errors_of_the_gemini_api_lead_to_the_next_model():
    errors_of("gemini")


@test
def streams_that_are_cut_lead_to_the_next_model():
    for api in APIS:
        whole = good(api, "first", True)[2]
        end = whole.rindex(b"data:")  # of the last event; of some APIs the one before ends it already
        if api in ("chat", "gemini"):
            end = whole.index(b"inish_") if api == "chat" else whole.index(b"finishReason")
        for cut in sorted({0, 1, 7, end // 3, end // 2, end - 1}):
            t = Two(api, lambda nth, b, s: (200, "text/event-stream", whole, {}, cut))
            done = expect(t.place.run("--json"), 0)
            lines = lines_of(done.stdout)
            same([e["data"]["output"] for e in lines if e["type"] == "finish"], ["second"])
            # What was shown of the first is taken back before the second speaks.
            shown = ""
            for e in lines:
                shown = "" if e["type"] == "attempt_restarted" else shown + e["data"]["text"] if e["type"] == "text_delta" else shown
            same(shown, "second")
            same(len(t.one.bodies), 2)
            t.close()


@test
def a_server_that_hangs_is_left_after_its_time_out():
    def hang(api, before_head):
        def answer(nth, body, stream):
            def pieces():
                yield good(api, "first", True)[2][:40]
                time.sleep(8)
            if before_head:
                time.sleep(8)
            return 200, "text/event-stream", pieces()

        t = Two(api, answer, {"settings": {"retry": {"max_retries": 0}}}, timeout=1)
        began = time.monotonic()
        same(expect(t.place.run(), 0).stdout, "second\n")
        assert time.monotonic() - began < 6, "it waited for the server"
        records = t.place.records()
        same(calls(records), [("one/m", "first"), ("two/n", "failed")])
        failed, = [r["data"]["error"] for r in records if r["kind"] == "model_failed"]
        same(failed["code"], "timeout")
        t.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(hang, api, before) for api in APIS for before in (True, False)]:
            done.result()


@test
def a_server_that_is_not_there_leads_to_the_next_model():
    t = Two("chat", None)
    t.one.server.shutdown()
    t.one.server.server_close()
    same(expect(t.place.run(), 0).stdout, "second\n")


REFUSALS = {
    "responses": lambda: {"id": "r", "status": "completed", "usage": {"input_tokens": 50, "output_tokens": 20, "total_tokens": 70},
                          "output": [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]}]},
    "chat": lambda: {"choices": [{"index": 0, "finish_reason": "content_filter", "message": {"role": "assistant", "content": None}}],
                     "usage": {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}},
    "anthropic": lambda: {"id": "m", "content": [{"type": "text", "text": "I be"}], "stop_reason": "refusal", "usage": {"input_tokens": 50, "output_tokens": 20}},
    "gemini": lambda: {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 20, "totalTokenCount": 70}},
}


@test
def a_refusal_leads_to_the_next_model_and_is_paid_for():
    for api in APIS:
        t = Two(api, lambda nth, b, s: (200, "application/json", json.dumps(REFUSALS[api]()).encode()))
        same(expect(t.place.run("--no-stream"), 0).stdout, "second\n")
        records = t.place.records()
        same(calls(records), [("one/m", "first"), ("two/n", "refused")])
        failed, = [r["data"] for r in records if r["kind"] == "model_failed"]
        same((failed["refused"], failed["usage"]["total_tokens"]), (True, 70))
        same([r["data"]["usage"]["total_tokens"] for r in records if r["kind"] == "finish"], [77])
        sent = json.loads(t.two.bodies[0])["messages"]
        same([m["role"] for m in sent], ["user"])  # what was refused is no part of the conversation
        t.close()


@test
def the_last_model_of_a_list_may_refuse():
    t = Two("chat", lambda nth, b, s: (500, "text/plain", b"x"), {"model": ["two/n", "one/m"]})
    t.place.write("agent.yaml", json.dumps({"name": "a", "capabilities": [], "model": ["one/m"], "settings": QUICK}))
    expect(t.place.run("--no-stream"), 5, "model one/m: HTTP 500")
    t.close()


@test
def what_one_provider_sealed_is_not_sent_to_another():
    item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "nothing", "arguments": "{}"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    first = {"id": "r", "status": "completed", "output": [thought, item], "usage": {"total_tokens": 3}}

    def one(nth, body, stream):
        return (200, "application/json", json.dumps(first).encode()) if nth == 0 else (400, "application/json", b'{"error":{"message":"no"}}')

    seen = []

    def two(nth, body, headers):
        seen.append(body)
        return good("responses", "second", False)

    t = Two("responses", one)
    other = Model(two)
    t.place.write("caisson.yaml", json.dumps({"providers": {
        "one": {"api": "responses", "base_url": t.one.url}, "two": {"api": "responses", "base_url": other.url}}}))
    same(expect(t.place.run("--no-stream"), 0).stdout, "second\n")
    same([(i.get("type"), i.get("id")) for i in seen[0]["input"]], [(None, None), ("function_call", None), ("function_call_output", None)])
    again = json.loads(t.one.bodies[1])["input"]
    same([i.get("id") for i in again], [None, "rs_1", "fc_1", None])
    replied = [r["data"]["model"] for r in t.place.records() if r["kind"] == "model_replied"]
    same(replied, ["one/m", "two/n"])
    other.server.shutdown()
    t.close()


@test
def a_name_of_the_project_stands_for_a_list():
    t = Two("chat", lambda nth, b, s: (404, "application/json", b'{"error":{"message":"gone"}}'), {"model": "work"})
    config = json.loads((t.place.dir / "caisson.yaml").read_text())
    config["models"] = {"work": ["one/m", {"model": "one/never", "when": {"context_over": 1000000}}, "two/n"]}
    t.place.write("caisson.yaml", json.dumps(config))
    same(expect(t.place.run(), 0).stdout, "second\n")
    records = t.place.records()
    same(calls(records), [("one/m", "first"), ("two/n", "failed")])
    zero = [r["data"] for r in records if r["kind"] == "run"][0]
    same(zero["models"]["a"], [{"model": "one/m"}, {"model": "one/never", "when": {"context_over": 1000000}}, {"model": "two/n"}])
    t.close()


@test
def mistakes_in_lists_are_told_with_their_line():
    p = Place({"capabilities": [], "model": "script:b.yaml"})
    for model, said in (([], "1 to 32 models"), ([{"model": "one/m", "when": {"ctx": 1}}], "unknown key when.ctx"),
                        ([{"model": "one/m", "when": {"budget_under": "200%"}}], "a part like 20%"),
                        ([{"model": "one/m", "when": {"context_over": 5}}], "one of the list must have no `when`"),
                        (["one/m", 5], "the name of a model"), ("nowhere", "the name of a list under `models`")):
        p.write("agent.yaml", json.dumps({"name": "a", "capabilities": [], "model": model}))
        expect(p.run(), 2, said)
    p.write("agent.yaml", json.dumps({"name": "a", "capabilities": [], "model": ["chat/x", {"model": "chat/y", "when": {"budget_under": "10%"}}]}))
    expect(p.run(env={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}), 2, "budget_under needs a budget")
    for config, said in (({"models": {"a/b": "x/y"}}, "no / and no :"), ({"models": {"a": []}}, "1 to 32"),
                         ({"providers": {"openai": {"limits": {"requests": 0}}}}, "at least 1"),
                         ({"providers": {"openai": {"limits": {"rpm": 1}}}}, "requests, tokens"),
                         ({"providers": {"openai": {"key_env": "X"}}}, "base_url"),
                         ({"providers": {"nobody": {"limits": {"requests": 1}}}}, "base_url"),
                         ({"providers": {"x": {"base_url": "http://h", "deployments": True}}}, "api_version")):
        p.write("caisson.yaml", json.dumps(config))
        expect(p.run(), 2, said, "caisson.yaml:1")


# ---- limits of a provider

def workers(n):
    return {"agent_tools": ["worker"], "agents": [{"name": "worker", "instructions": "You are a worker.", "capabilities": []}]}


def crowd(n, inside):
    """One boss calls n workers at once."""
    def answer(nth, body, headers):
        system = body["messages"][0]["content"] if body["messages"][0]["role"] == "system" else ""
        if "worker" in system:
            return inside(nth)
        if any(m["role"] == "tool" for m in body["messages"]):
            return good("chat", "all done", False)
        calls = [{"id": f"c{i}", "type": "function", "function": {"name": "worker", "arguments": json.dumps({"input": str(i)})}} for i in range(n)]
        return 200, "application/json", json.dumps({"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": calls}}],
                                                    "usage": {"total_tokens": 1}}).encode()
    return Model(answer)


@test
def no_more_calls_are_out_at_once_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def inside(nth):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return good("chat", "done", False)

    server = crowd(12, inside)
    p = Place({"capabilities": [], "model": "one/m", **workers(12)})
    p.write("caisson.yaml", json.dumps({"providers": {"one": {"base_url": server.url, "limits": {"concurrency": 3}}}}))
    same(expect(p.run("--no-stream"), 0).stdout, "all done\n")
    same(most[0], 3)
    server.server.shutdown()


@test
def all_wait_when_the_provider_asks_one_to():
    times = []

    def inside(nth):
        times.append(time.monotonic())
        if len(times) == 1:
            return 429, "application/json", b'{"error":{"message":"slow down"}}', {"retry-after": "1"}
        return good("chat", "done", False)

    server = crowd(4, inside)
    p = Place({"capabilities": [], "model": "one/m", **workers(4)})
    p.write("caisson.yaml", json.dumps({"providers": {"one": {"base_url": server.url, "limits": {"concurrency": 1}}}}))
    same(expect(p.run("--no-stream"), 0).stdout, "all done\n")
    same(len(times), 5)
    assert times[1] - times[0] >= 0.99, times
    server.server.shutdown()


@test
def a_provider_that_wants_a_long_pause_is_not_waited_for():
    t = Two("chat", lambda nth, b, s: (429, "application/json", b'{"error":{"message":"x"}}', {"retry-after": "3000"}), {
        "capabilities": [], "agent_tools": ["w"], "agents": [{"name": "w", "capabilities": []}]})
    began = time.monotonic()
    same(expect(t.place.run("--no-stream"), 0).stdout, "second\n")
    assert time.monotonic() - began < 5
    same(len(t.one.bodies), 1)
    t.close()


@test
def a_call_that_waits_for_its_turn_can_be_interrupted():
    hold = threading.Event()

    def answer(nth, body, headers):
        return 429, "application/json", b'{"error":{"message":"x"}}', {"retry-after": "40"}

    server = Model(answer)
    p = Place({"capabilities": [], "model": "one/m"})
    p.write("caisson.yaml", json.dumps({"providers": {"one": {"base_url": server.url}}}))
    run = p.start("run", "agent.yaml", "go", "--no-stream")
    until(lambda: server.bodies)
    until(lambda: any(r["kind"] == "note" for r in p.records()) if (p.dir / ".caisson/caisson.db").exists() else False)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=20)
    assert run.returncode in (130, 143), run.returncode
    hold.set()
    server.server.shutdown()


# ---- Azure OpenAI

@test
def azure_is_addressed_as_it_wants_to_be():
    heads = []

    def answer(nth, body, headers):
        heads.append({k.lower(): v for k, v in headers.items()})
        return good("chat" if "messages" in body else "responses", "from azure", body.get("stream", False))

    server = Model(answer)
    top = server.url.removesuffix("/v1")
    p = Place({"capabilities": [], "model": "azure/my-deployment"}, env={"AZURE_OPENAI_ENDPOINT": top + "/", "AZURE_OPENAI_API_KEY": KEY})
    same(expect(p.run(), 0).stdout, "from azure\n")
    p.write("caisson.yaml", json.dumps({"providers": {
        "old": {"api": "chat", "base_url": top + "/openai", "deployments": True, "api_version": "2024-10-21", "key_env": "K", "key_header": "api-key"},
        "dated": {"api": "responses", "base_url": top + "/openai", "api_version": "2025-04-01-preview", "key_env": "K", "key_header": "api-key"},
        "token": {"api": "chat", "base_url": top + "/openai/v1", "key_env": "K"}}}))
    for model in "old/gpt 4/x", "dated/gpt-5", "token/gpt-5":
        same(expect(p.run("--model", model, env={"K": KEY}), 0).stdout, "from azure\n")
    same(server.paths, ["/openai/v1/responses", "/openai/deployments/gpt%204%2Fx/chat/completions?api-version=2024-10-21",
                        "/openai/responses?api-version=2025-04-01-preview", "/openai/v1/chat/completions"])
    same([(h.get("api-key"), h.get("authorization")) for h in heads], [(KEY, None), (KEY, None), (KEY, None), (None, "Bearer " + KEY)])
    p.env.pop("AZURE_OPENAI_ENDPOINT")
    expect(p.run(), 2, "AZURE_OPENAI_ENDPOINT")
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert KEY.encode() not in kept, "the key is in the state folder"
    server.server.shutdown()


# ---- Amazon Bedrock

AWS = {"AWS_REGION": "eu-west-3", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE0123", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfi",
       "AWS_SESSION_TOKEN": "token-0123456789"}


def signature(method, path, headers, body, secret, region):
    """Signature Version 4 once more, in the shortest form there is."""
    def mac(key, text):
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    algorithm, fields = headers["authorization"].split(" ", 1)
    fields = dict(f.strip().split("=", 1) for f in fields.split(","))
    names = fields["SignedHeaders"].split(";")
    date = headers["x-amz-date"]
    canonical = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), "",
                           *[f"{n}:{headers[n].strip()}" for n in names], "", ";".join(names), hashlib.sha256(body).hexdigest()])
    scope = f"{date[:8]}/{region}/bedrock/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in date[:8], region, "bedrock", "aws4_request":
        key = mac(key, part)
    return fields["Credential"], scope, fields["Signature"], mac(key, text).hex()


@test
def bedrock_is_signed_framed_and_tools_run():
    heads = []

    def answer(nth, body, headers):
        heads.append({k.lower(): v for k, v in headers.items()})
        assert body["anthropic_version"] == "bedrock-2023-05-31" and "model" not in body and "stream" not in body, body
        if "stream" in server.paths[-1]:
            return 200, "application/vnd.amazon.eventstream", wires.bedrock_stream(nth % 3)
        return 200, "application/json", wires.anthropic(nth % 3, {"model": "m"})[2]

    server = Model(answer)
    top = server.url.removesuffix("/v1")
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    for stream in True, False:
        p = Place({"sandbox": {"backend": "local"}, "model": "bedrock/" + model,
                   "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}, files={"src/a.txt": "one\n"},
                  env={**AWS, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": top})
        same(expect(p.run(*([] if stream else ["--no-stream"])), 0).stdout, wires.ANSWER + "\n")
        same((p.workspace() / "src/a.txt").read_text(), "two \u2713\n")
        kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
        for secret in AWS["AWS_SECRET_ACCESS_KEY"], AWS["AWS_SESSION_TOKEN"], AWS["AWS_ACCESS_KEY_ID"]:
            assert secret.encode() not in kept, "a key is in the state folder"
    path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
    same(server.paths, [path + "-with-response-stream"] * 3 + [path] * 3)
    for path, head, body in zip(server.paths, heads, server.bodies):
        same(head["x-amz-security-token"], AWS["AWS_SESSION_TOKEN"])
        credential, scope, got, want = signature("POST", path, head, body, AWS["AWS_SECRET_ACCESS_KEY"], "eu-west-3")
        same((credential, got), (AWS["AWS_ACCESS_KEY_ID"] + "/" + scope, want))
    marks = [json.dumps(json.loads(b)).count("cache_control") for b in server.bodies]
    same(set(marks), {2})
    server.server.shutdown()


@test
def bedrock_takes_a_token_and_an_entry_of_the_project():
    heads = []

    def answer(nth, body, headers):
        heads.append({k.lower(): v for k, v in headers.items()})
        return 200, "application/vnd.amazon.eventstream", wires.bedrock_stream(2)

    server = Model(answer)
    top = server.url.removesuffix("/v1")
    p = Place({"capabilities": [], "model": "bedrock/m"}, env={"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": top})
    for name in AWS:
        p.env.pop(name, None)
    expect(p.run(), 2, "AWS_REGION")
    expect(p.run(env={"AWS_REGION": "us-east-1"}), 2, "AWS_ACCESS_KEY_ID")
    expect(p.run(env={"AWS_REGION": "evil.example/x", **{k: "x" * 9 for k in AWS if "REGION" not in k}}), 2, "AWS_REGION")
    expect(p.run(env={"AWS_DEFAULT_REGION": "us-east-1", "AWS_BEARER_TOKEN_BEDROCK": KEY}), 0, wires.ANSWER)
    p.write("caisson.yaml", json.dumps({"providers": {
        "work": {"api": "bedrock", "base_url": top, "aws": {"region": "us-west-2", "id_env": "MY_ID", "secret_env": "MY_SECRET"}}}}))
    expect(p.run("--model", "work/m", env={"MY_ID": "AKIDWORK", "MY_SECRET": "s" * 20}), 0, wires.ANSWER)
    same(heads[0]["authorization"], "Bearer " + KEY)
    assert heads[1]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDWORK/") and "/us-west-2/bedrock/" in heads[1]["authorization"], heads[1]
    # Without a word of its user no file that was found sends requests to AWS.
    p.write("caisson.yaml", json.dumps({"providers": {"work": {"api": "bedrock", "aws": {"region": "us-west-2"}}}}))
    expect(p.run("--model", "work/m", env=AWS), 2, "caisson trust")
    for config, said in (({"api": "bedrock", "base_url": top}, "aws"), ({"base_url": top, "aws": {"region": "x"}}, "aws"),
                         ({"api": "bedrock", "aws": {"region": "us-east-1", "key": "x"}}, "aws"), ({"api": "bedrock", "aws": {"id_env": "X"}}, "aws.region")):
        p.write("caisson.yaml", json.dumps({"providers": {"work": config}}))
        expect(p.run("--model", "work/m", env=AWS), 2, said, "caisson.yaml:1")
    server.server.shutdown()


@test
def exceptions_of_bedrock_lead_to_the_next_model():
    errors = [(400, "ValidationException", False), (403, "AccessDeniedException", False), (404, "ResourceNotFoundException", False),
              (408, "ModelTimeoutException", True), (429, "ThrottlingException", True), (500, "InternalServerException", True),
              (503, "ServiceUnavailableException", True)]
    streamed = [("throttlingException", True), ("modelStreamErrorException", True), ("internalServerException", True), ("validationException", False)]

    def go(reply, later):
        t = Two("bedrock", lambda nth, b, s: reply, aws={"region": "us-east-1"})
        t.place.env.update(AWS)
        same(expect(t.place.run(env={"KEY_ONE": ""}), 0).stdout, "second\n")
        same(calls(t.place.records()), [("one/m", "first"), ("two/n", "failed")])
        same(len(t.one.bodies), 2 if later else 1)
        t.close()

    for status, kind, later in errors:
        go((status, "application/json", json.dumps({"message": kind}).encode(), {"x-amzn-errortype": kind}), later)
    for kind, later in streamed:
        go((200, "application/vnd.amazon.eventstream", wires.bedrock_frame(kind, {"message": "m"}, "exception")), later)
    whole = wires.bedrock_stream(2)
    for cut in 5, len(whole) // 2, len(whole) - 3:
        go((200, "application/vnd.amazon.eventstream", whole, {}, cut), True)


sys.exit(finish())
