#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a run is given beside a text and what it is told later: pictures in the form of each
API, and messages to runs that wait or were stopped, whatever dies when.

usage: input.py CAISSON"""
import base64, sys

sys.dont_write_bytecode = True
from lib import *

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
GIF = b"GIF89a" + bytes(20)
DATA = {"png": base64.b64encode(PNG).decode(), "gif": base64.b64encode(GIF).decode()}


def url(kind):
    return f"data:image/{kind};base64,{DATA[kind]}"


def reply(api, text):
    whole = {"responses": {"id": "r", "status": "completed", "output": [
                 {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]},
             "chat": {"id": "r", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]},
             "anthropic": {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}],
                           "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}},
             "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}}[api]
    return 200, "application/json", json.dumps(whole).encode()


def place(api, **agent):
    server = Model(lambda nth, body, headers: reply(api, "I see."))
    p = Place({"model": "x/m", "capabilities": [], **agent})
    p.write("caisson.yaml", json.dumps({"providers": {"x": {"api": api, "base_url": server.url}}}))
    (p.dir / "a.dat").write_bytes(PNG)
    (p.dir / "b.dat").write_bytes(GIF)
    return p, server


@test
def pictures_go_beside_the_task_in_the_form_of_each_api():
    def anthropic(kind):
        return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind}", "data": DATA[kind]}}
    forms = {
        "responses": lambda b: b["input"][0]["content"],
        "chat": lambda b: b["messages"][0]["content"],
        "anthropic": lambda b: b["messages"][0]["content"],
        "gemini": lambda b: b["contents"][0]["parts"]}
    wants = {
        "responses": [{"type": "input_text", "text": "go"}] + [{"type": "input_image", "image_url": url(k)} for k in DATA],
        "chat": [{"type": "text", "text": "go"}] + [{"type": "image_url", "image_url": {"url": url(k), "detail": "auto"}} for k in DATA],
        "anthropic": [{"type": "text", "text": "go"}] + [anthropic(k) for k in DATA],
        "gemini": [{"text": "go"}] + [{"inlineData": {"mimeType": f"image/{k}", "data": DATA[k]}} for k in DATA]}
    for api, form in forms.items():
        p, server = place(api)
        same(expect(p.run("--no-stream", "--image", "a.dat", "-i", "b.dat"), 0).stdout, "I see.\n")
        same(form(json.loads(server.bodies[0])), wants[api])
        expect(p.call("runs"), 0, " go")


@test
def what_is_no_picture_is_refused_before_the_run():
    p, server = place("responses")
    p.write("text.png", "no picture")
    p.write("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    (p.dir / "large.png").write_bytes(PNG + bytes(10 << 20))
    os.mkfifo(p.dir / "pipe.png")
    for name, said in (("text.png", "by its first bytes it is no picture"), ("drawing.svg", "image/svg+xml; models take PNG"),
                       ("large.png", "at most 10485760; make it smaller"), ("pipe.png", "expected a regular file"),
                       ("missing.png", "cannot open the image missing.png"), (".", "expected a regular file")):
        done = p.run("--image", name)
        assert done.returncode in (1, 2), done
        expect(done, done.returncode, said)
    same(server.bodies, [])
    same(p.runs(), [])


@test
def a_chat_shows_pictures_with_the_next_message():
    p, server = place("chat")
    done = expect(p.call("chat", "agent.yaml", "--no-stream", stdin="/image\n/image none.png\n/image a.dat\nwhat is it?\nand now?\n"), 0,
                  "which picture?", "cannot open the image none.png", "it goes with the next message")
    same(done.stdout, "I see.\nI see.\n")
    first, second = [json.loads(b)["messages"] for b in server.bodies]
    same([part["type"] for part in first[0]["content"]], ["text", "image_url"])
    same(second[0], first[0])
    same(second[-1], {"role": "user", "content": "and now?"})


# ---- later

RULES = [{"name": "heard", "when": {"task": "^and that$"}, "reply": "I heard: ${task}"},
         {"name": "first", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "echo made"}}]},
         {"name": "end", "reply": "done"}]
ASK = {"sandbox": {"backend": "local"}, "approvals": [{"tool": "exec_command", "do": "ask"}]}


def heard(p):
    """How often the message stands in the conversation."""
    return sum(1 for r in p.records() for i in r["data"].get("items", []) if r["kind"] == "callback_returned" and i.get("content") == "and that")


@test
def a_run_that_waits_is_told_more():
    p = Place(ASK, RULES)
    expect(p.run(), 3)
    run = p.only_run()
    expect(p.call("resume", run, "--message", "  "), 2, "the message is empty")
    expect(p.call("resume", run, "--message", "and that"), 3, "waits:")
    expect(p.call("approve", run), 0)
    same(expect(p.call("resume", run), 0).stdout, "I heard: and that\n")
    same(heard(p), 1)
    expect(p.call("resume", run, "--message", "late"), 2, "has ended (done) and takes no more")
    expect(p.call("audit", "verify", run), 0)


@test
def a_run_that_was_stopped_is_told_more():
    p = Place({"sandbox": {"backend": "local"}}, [RULES[0], {"name": "first", "when": {"first": True}, "reply": [{"exec_command": {
        "cmd": "touch began; sleep 60", "yield_time_ms": 30000}}]}, RULES[2]])
    run = p.start("run", "agent.yaml", "go")
    until(lambda: list(p.dir.glob(".caisson/sandboxes/*/workspace/began")))
    run.send_signal(signal.SIGTERM)
    run.wait(30)
    same(p.runs()[0]["state"], "interrupted")
    same(expect(p.call("resume", p.only_run(), "-m", "and that"), 0).stdout, "I heard: and that\n")


@test
def a_run_that_a_limit_ended_is_told_more_when_the_limit_is_raised():
    p = Place({"sandbox": {"backend": "local"}, "limits": {"turns": 1}}, RULES)
    expect(p.run(), 4)
    run = p.only_run()
    expect(p.call("resume", run, "--message", "and that"), 2, "has ended (limit)", "raise its limits first")
    same(expect(p.call("resume", run, "--message", "and that", "--limits", "turns=5"), 0).stdout, "I heard: and that\n")
    same(heard(p), 1)
    expect(p.call("audit", "verify", run), 0)
    expect(p.call("resume", run), 0, "I heard: and that")  # and its journal is read back


@test
def whatever_dies_when_the_message_is_heard_once_or_was_never_kept():
    for n in range(1, 30):
        p = Place(ASK, RULES)
        expect(p.run(), 3)
        run = p.only_run()
        expect(p.call("approve", run), 0)
        done = p.call("resume", run, "--message", "and that", env={"CAISSON_FAULT": f"committed:{n}"})
        if done.returncode == 0:
            break
        again = expect(p.call("resume", run), 0)
        same((again.stdout, heard(p)), ("I heard: and that\n", 1))  # the first commit is the message's
    else:
        raise AssertionError("the fault point was never passed over")
    assert n > 4, f"only {n - 1} places to die at were tried"


sys.exit(finish())
