#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents of one run that may use different parts of its workspace: commands by the kernel, patches and
pictures by the harness, before and after a hand-off; and who cannot hold them says so. Prints TAP.

usage: scopes.py CAISSON"""
import base64, sys

sys.dont_write_bytecode = True
from lib import *

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def file(text):
    return {"type": "file", "content": text}


ENTRIES = {"a/own": file("of a\n"), "b/own": file("of b\n"), "b/secret": file("hidden\n"), "shared/read": file("for all\n"), "top": file("top\n"),
           "b/pic.png": {"type": "file", "content_base64": base64.b64encode(PNG).decode()},
           "shared/pic.png": {"type": "file", "content_base64": base64.b64encode(PNG).decode()}}


def team(**more):
    return {"name": "alice", "model": "chat/alice", "scopes": {"read": ["shared"], "write": ["a", "new/deep"]}, "handoffs": ["bob"],
            "capabilities": ["shell", "filesystem"],
            "agents": [{"name": "bob", "model": "chat/bob", "capabilities": ["shell", "filesystem"], "scopes": {"write": ["b"]}}],
            "manifest": {"entries": ENTRIES}, "sandbox": {"backend": "jail"}, **more}


def said(text, *calls):
    made = [{"id": f"c{i}-{text}", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for i, (n, a) in enumerate(calls)]
    message = {"role": "assistant", "content": None if made else text, **({"tool_calls": made} if made else {})}
    return 200, "application/json", json.dumps({"id": "k", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "finish_reason": "tool_calls" if made else "stop", "message": message}]}).encode()


def sh(cmd, **more):
    return "exec_command", {"cmd": cmd, **more}


def patch(op, path, *lines):
    return "apply_patch", {"input": "\n".join(["*** Begin Patch", f"*** {op} File: {path}", *lines, "*** End Patch", ""])}


def play(agent, *turns):
    """Runs it with a model that says these turns; what each call answered, by turn."""
    answers, lock = [], threading.Lock()
    prompts = []

    def answer(nth, body, headers):
        with lock:
            new = {}
            for m in reversed(body["messages"]):
                if m["role"] == "assistant":
                    break
                if m["role"] == "tool":  # in the order in which they came
                    new[int(m["tool_call_id"][1:].split("-")[0])] = m["content"] if isinstance(m["content"], str) else json.dumps(m["content"])
            if nth:
                answers.append([new[i] for i in sorted(new)])
            prompts.append(body["messages"][0]["content"])
            turn = turns[nth] if nth < len(turns) else ()
            return said(f"t{nth}", *turn)

    p = Place(agent)
    p.env["OPENAI_BASE_URL"] = Model(answer).url
    done = p.run("--keep", "--no-stream")
    if done.returncode == 6 and "Landlock" in done.stderr:
        return None, "this kernel has no Landlock", None
    expect(done, 0)
    return p, answers, prompts


def refused(text):
    assert "Permission denied" in text, text


@test
def a_command_reaches_the_folders_of_its_agent_and_no_others_also_after_a_hand_off():
    if backend() != "jail":
        return "no jail here"
    alice = [sh("echo mine >a/new && cat a/new"), sh("cat shared/read"), sh("cat b/secret"), sh("echo x >b/own"), sh("echo x >>shared/read"),
             sh("ls b"), sh("cat top; cat ../workspace/top"), sh("mv a/own b/moved"), sh("ln -s ../b a/link; cat a/link/secret"),
             sh("cat /proc/self/root/workspace/b/secret"), sh("echo t >/tmp/t && cat /tmp/t && ls /usr/bin/env && echo $HOME && echo h >~/h"),
             sh("echo d >new/deep/f && cat new/deep/f"), sh("mkdir new/other"), sh("cp /bin/ls b/ls"), sh("rm b/own"), sh("chmod 777 a/own && echo done")]
    bob = [sh("cat a/new b/own b/secret shared/read top"), sh("echo y >a/new"), sh("echo y >b/new && cat b/new"), sh("rm a/new"), sh("echo y >top")]
    p, answers, prompts = play(team(), alice, [("transfer_to_bob", {})], bob)
    if not p:
        return answers
    got = answers[0]
    assert got[0].endswith("mine\n"), got[0]
    assert got[1].endswith("for all\n"), got[1]
    for i in (2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14):
        refused(got[i])
    assert "hidden" not in "".join(got), got
    assert "/home/user" in got[10] and "code 0" in got[10], got[10]
    assert got[11].endswith("d\n"), got[11]
    assert got[15].endswith("done\n"), got[15]
    got = answers[2]
    assert "mine\nof b\nhidden\nfor all\ntop\n" in got[0], got[0]
    refused(got[1])
    assert got[2].endswith("y\n"), got[2]
    refused(got[3])
    refused(got[4])
    assert "Of the workspace you may change: a, new/deep. And read: shared." in prompts[0], prompts[0]
    assert "Of the workspace you may change: b." in prompts[-1], prompts[-1]
    ws = p.workspace()
    same([(ws / f).read_text() for f in ("a/new", "b/own", "b/new", "top", "shared/read")],
         ["mine\n", "of b\n", "y\n", "top\n", "for all\n"])


@test
def patches_and_pictures_are_held_by_the_harness():
    if backend() != "jail":
        return "no jail here"
    calls = [patch("Add", "a/p", "+patched"), patch("Add", "b/p", "+no"), patch("Update", "b/secret", "@@", "-hidden", "+x"),
             patch("Update", "shared/read", "@@", "-for all", "+x"), patch("Update", "top", "@@", "-top", "+x"), sh("ln -s ../b a/l; ln -s ../b/pic.png a/pic.png"),
             ("view_image", {"path": "shared/pic.png"}), ("view_image", {"path": "b/pic.png"})]
    p, answers, _ = play(team(), calls, [patch("Add", "a/l/p", "+no"), ("view_image", {"path": "a/pic.png"})])
    if not p:
        return answers
    got = answers[0]
    assert "Created a/p" in got[0], got[0]
    for text in (*got[1:5], answers[1][0]):
        assert "outside of what you may change" in text and "hidden" not in text, text
    assert "outside of what you may see" not in got[6], got[6]
    for text in (got[7], answers[1][1]):
        assert "outside of what you may see" in text, text
    ws = p.workspace()
    same((ws / "b/p").exists(), False)
    same((ws / "a/p").read_text().strip(), "patched")


@test
def nobody_types_into_the_command_of_an_agent_with_other_folders():
    if backend() != "jail":
        return "no jail here"
    start = [sh("cat; read x; cat b/secret", tty=True, yield_time_ms=300)]
    seen = {}

    def answer(nth, body, headers):
        tools = [m["content"] for m in body["messages"] if m["role"] == "tool"]
        if nth == 0:
            return said("t0", ("transfer_to_bob", {}))
        if nth == 1:
            return said("t1", *start)
        if nth == 2:
            seen["id"] = int(tools[-1].split("session ID ")[1].split()[0])
            return said("t2", ("transfer_to_alice", {}))
        if nth == 3:
            return said("t3", ("write_stdin", {"session_id": seen["id"], "chars": "\x04x\n"}))
        seen["answer"] = tools[-1]
        return said("end")

    agent = team()
    agent["agents"][0]["handoffs"] = ["alice"]
    p = Place(agent)
    p.env["OPENAI_BASE_URL"] = Model(answer).url
    done = p.run("--no-stream")
    if done.returncode == 6 and "Landlock" in done.stderr:
        return "this kernel has no Landlock"
    expect(done, 0)
    assert "PTY session not found" in seen["answer"], seen


@test
def who_cannot_hold_them_refuses_before_the_run():
    for box, said_ in (({"backend": "local"}, "agent alice: scopes: back-end local cannot hold commands"),
                       ({"backend": "jail", "level": "gvisor"}, "agent alice: scopes: level gvisor cannot hold")):
        p = Place(team(sandbox=box))
        p.env["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
        expect(p.run(), 2, said_)
        same((p.dir / ".caisson/sandboxes").exists(), False)
    member = team(sandbox={"backend": "local"})
    del member["scopes"]
    expect(Place(member, env={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}).run(), 2, "agent bob: scopes: back-end local")
    for scopes, complaint in (({"read": ["a"]}, "scopes: needs `write`"), ({"write": ["/a"]}, "scopes.write: expected a path in the workspace"),
                              ({"write": ["../a"]}, "scopes.write: expected a path"), ({"write": [], "more": 1}, "more")):
        expect(Place(team(scopes=scopes)).run(), 2, "agent.yaml:1: ", complaint)


sys.exit(finish())
