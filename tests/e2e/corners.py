#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Corners of a run's life: what is recorded of it, how it ends, whose caisson.yaml counts.
Prints TAP.

usage: corners.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *
import signal

WAITS = [{"name": "wait", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "echo made >made.txt; sleep 60", "yield_time_ms": 60000}}]},
         {"name": "done", "reply": "done"}]
LOCAL = {"sandbox": {"backend": "local"}}


@test
def a_playbook_is_found_from_everywhere():
    """Named by the environment, by an option and by caisson.yaml; read again from another folder."""
    for how in "environment", "option", "project":
        p = Place({"capabilities": []}, rules=[{"name": "a", "reply": "yes"}])
        p.write("agent.yaml", json.dumps({"name": "a", "capabilities": []}))
        given = ["--model", "script:book.yaml"] if how == "option" else []
        if how == "project":
            p.write("caisson.yaml", "model: script:book.yaml\n")
        if how == "environment":
            p.env["CAISSON_MODEL"] = "script:book.yaml"
        (p.dir / "below").mkdir()
        where = p.dir / "below" if how == "project" else p.dir
        expect(p.call("--state", p.dir / ".caisson", "run", str(p.dir / "agent.yaml"), "go", *given, cwd=where), 0, "yes")
        same(p.records()[0]["data"]["agent"]["model"], f"script:{p.dir}/book.yaml")


def interrupted(p, sig, *options):
    run = p.start("run", "agent.yaml", "go", *options)
    until(lambda: any((p.dir / ".caisson/sandboxes").glob("*/workspace/made.txt")) if (p.dir / ".caisson/sandboxes").exists() else False)
    run.send_signal(sig)
    run.communicate(timeout=60)
    same(run.returncode, 130)


@test
def a_hangup_is_an_interruption():
    p = Place(LOCAL, rules=WAITS)
    interrupted(p, signal.SIGHUP)
    same([r["state"] for r in p.runs()], ["interrupted"])
    same(p.records()[-1]["kind"], "interrupted")
    p = Place(LOCAL, rules=WAITS)  # but not under nohup
    run = subprocess.Popen([caisson, "run", "agent.yaml", "go"], cwd=p.dir, env=p.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    until(lambda: any(p.dir.glob(".caisson/sandboxes/*/workspace/made.txt")))
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    same(run.poll(), None)
    run.terminate()
    run.wait(60)


@test
def keeping_the_workspace_is_remembered():
    for keep in True, False:
        p = Place(LOCAL, rules=WAITS)
        interrupted(p, signal.SIGTERM, *(["--keep"] if keep else []))
        expect(p.call("resume", p.only_run()), 0, "done")
        same((p.workspace() / "made.txt").exists(), keep)


@test
def what_a_death_after_the_end_left_is_removed():
    for how in "resume", "gc":
        p = Place(LOCAL, rules=[{"name": "a", "reply": "done"}])
        expect(p.run(), 0)
        left = p.dir / ".caisson/sandboxes" / p.only_run()
        (left / "workspace").mkdir(parents=True)
        (left / "workspace/big").write_text("x")
        expect(p.call("resume", p.only_run()) if how == "resume" else p.call("runs", "gc"), 0)
        assert not left.exists(), how
    p = Place({**LOCAL, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}, rules=[{"name": "a", "reply": "done"}],
              files={"src/a": "1"})
    expect(p.run(), 0)
    expect(p.call("runs", "gc"), 0)
    assert p.workspace().exists(), "a workspace that is worth keeping is gone"


@test
def a_reply_nested_too_deeply_fails_the_model_and_not_the_run():
    seen = set()
    for depth in range(118, 131):
        deep = "[" * depth + "]" * depth
        item = '{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}],"x":%s}' % deep
        whole = '{"id":"r","object":"response","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}'
        stream = 'data: {"type":"response.output_item.done","output_index":0,"item":%s}\n\ndata: {"type":"response.completed","response":%s}\n\n' % (item, whole)
        server = Model(lambda nth, body, headers: (200, "text/event-stream", stream.encode()))
        p = Place({"capabilities": [], "model": "openai/m", "settings": {"retry": {"max_retries": 0}}}, env={"OPENAI_BASE_URL": server.url})
        done = p.run()
        assert done.returncode in (0, 5), f"depth {depth}: exit {done.returncode}: {done.stderr}"
        if done.returncode == 5:
            same([r["state"] for r in p.runs()], ["failed"])
            assert "nested too deeply" in done.stderr, done.stderr
        seen.add(done.returncode)
    same(seen, {0, 5})


@test
def an_unknown_project_sends_nothing_to_other_machines():
    asked = []

    def answer(nth, body, headers):
        asked.append(headers.get("Authorization"))
        return 200, "application/json", json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}).encode()

    server = Model(answer)
    elsewhere = server.url.replace("127.0.0.1", "0.0.0.0")  # no name of loopback, and yet it stays here
    home = Place().dir
    p = Place({"capabilities": [], "model": "theirs/m"}, env={"MINE": "sk-mine-0123456", "HOME": str(home)})
    p.env.pop("XDG_CONFIG_HOME", None)
    text = json.dumps({"providers": {"theirs": {"base_url": elsewhere, "key_env": "MINE"}}})
    p.write("caisson.yaml", text)
    expect(p.run("--no-stream"), 2, "caisson trust")
    same(asked, [])
    expect(p.run("--no-stream", env={"CAISSON_TRUST_PROJECT": "1"}), 0)
    expect(p.run("--no-stream"), 2)
    done = expect(p.call("trust"), 0, "trusted")
    same(done.stdout, f"theirs: {elsewhere[7:-3]}, with the key in MINE\n")
    same((home / ".config/caisson/trusted").stat().st_mode & 0o777, 0o600)
    expect(p.run("--no-stream"), 0)
    same(asked, ["Bearer sk-mine-0123456"] * 2)
    p.write("caisson.yaml", text + "\n")  # whatever was changed, it is not what was shown
    expect(p.run("--no-stream"), 2, "caisson trust")
    q = Place({"capabilities": [], "model": "theirs/m"}, env=p.env)  # the same text elsewhere
    q.write("caisson.yaml", text)
    expect(q.run("--no-stream"), 2)
    for url in ("http://127.0.0.1@evil.example/v1", "http://127.0.0.1.evil.example/v1", "http://localhost.evil.example/v1", "http://127.1/v1",
                "http://127.0.0.1\\@evil.example/v1", "http://[::1].evil.example/v1"):
        q.write("caisson.yaml", json.dumps({"providers": {"theirs": {"base_url": url}}}))
        expect(q.run("--no-stream"), 2, "caisson trust")
    same(len(asked), 2)
    q.env["HOME"] = str(q.dir)  # a file in the home folder is its owner's
    q.write("caisson.yaml", text)
    expect(q.run("--no-stream"), 0)


@test
def the_harness_s_own_file_is_not_copied():
    p = Place({**LOCAL, "manifest": {"entries": {"repo": {"type": "local_dir", "src": "."}}}}, rules=[
        {"name": "look", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "ls repo repo/below"}}]}, {"name": "done", "reply": "done"}],
        files={"caisson.yaml": "providers: {}\n", "below/caisson.yaml": "other: file\n", "a.txt": "1\n"})
    expect(p.run(), 0)
    ws = p.workspace() / "repo"
    same((ws / "caisson.yaml").exists(), False)
    same((ws / "below/caisson.yaml").exists(), True)
    same((ws / "a.txt").exists(), True)
    same(expect(p.call("diff", p.only_run()), 0).stdout, "")


sys.exit(finish())
