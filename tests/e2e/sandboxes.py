# SPDX-License-Identifier: Apache-2.0
"""Several sandboxes in one run: they are apart, each has its own policy, checkpoints and losses, and what is said of a
run says of which.

usage: sandboxes.py CAISSON"""
import json, os, re, shutil, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import Host, Model, Place, backend, expect, finish, same, sse, test

LOST = "[The sandbox data was lost"
PATCH = "*** Begin Patch\n*** Add File: p.txt\n+patched\n*** End Patch\n"


def calls(*turns):
    """A rule for each turn, which is a list of calls: (command, sandbox or None), or a whole call."""
    def one(c):
        cmd, box = c if isinstance(c, tuple) else (None, None)
        return c if isinstance(c, dict) else {"exec_command": {"cmd": cmd, **({"sandbox": box} if box else {})}}
    return [{"name": f"t{i}", "when": {"turn": i}, "reply": [one(c) for c in t]} for i, t in enumerate(turns, 1)] + [
        {"name": "end", "reply": "Done."}]


def two(first=None, second=None, **agent):
    return {"sandboxes": {"build": {"backend": backend(), **(first or {})}, "data": {"backend": backend(), **(second or {})}}, **agent}


def outputs(p, run=None):
    """In the order of the calls, whichever came back first."""
    done = sorted((r["data"] for r in p.records(run) if r["kind"] == "tool_returned"), key=lambda d: d["effect"])
    return [i["output"] for d in done for i in d["items"]]


def of(p, kind):
    return [r["data"] for r in p.records() if r["kind"] == kind]


def box(p, name="", run=None):
    return p.dir / ".caisson/sandboxes" / ((run or p.only_run()) + ("." + name if name else ""))


def killed(p, fault, *args):
    p.env["CAISSON_FAULT"] = fault
    same(p.run(*args).returncode, -9)
    del p.env["CAISSON_FAULT"]


def jail_only():
    return None if backend() == "jail" else "no jail can be made here"


@test
def files_and_processes_of_one_are_not_in_the_other():
    if jail_only():
        return jail_only()
    sleeps = {"exec_command": {"cmd": "exec sleep 77", "yield_time_ms": 200}}
    look = "ls -A /workspace /tmp; grep -l 'sleep' /proc/[0-9]*/comm 2>/dev/null || echo no such process"
    p = Place(two(), calls([("echo secret >/workspace/s; echo t >/tmp/t", None), sleeps], [(look, "data")],
                           [("cat s", None), ("cat s", "data"), ("cat s", "nowhere")]))
    expect(p.run("--keep"), 0)
    said = outputs(p)
    assert "no such process" in said[2] and "s\n" not in said[2].split("Output:")[1].replace("such process\n", ""), said[2]
    assert "secret" in said[3] and "secret" not in said[4] and "No such file" in said[4], said[3:5]
    assert "there is no sandbox 'nowhere'; there are: build, data" in said[5], said[5]
    same((box(p, "data") / "workspace/s").exists(), False)
    expect(p.call("audit", "verify"), 0)
    expect(p.call("runs", "rm", p.only_run()), 0)
    same(list((p.dir / ".caisson/sandboxes").iterdir()), [])


@test
def a_session_is_written_to_where_it_runs():
    def answer(nth, body, headers):
        session = re.findall(r"running with session ID (\d+)", json.dumps(body))
        typed = {"session_id": int(session[-1]) if session else 0, "chars": "hello\n", "yield_time_ms": 500}
        turns = [("exec_command", {"cmd": "cat", "tty": True, "yield_time_ms": 200, "sandbox": "data"}), ("write_stdin", typed),
                 ("write_stdin", {**typed, "sandbox": "data"})]
        item = {"type": "message", "role": "assistant", "id": "m", "status": "completed",
                "content": [{"type": "output_text", "text": "Done.", "annotations": []}]}
        if nth < len(turns):
            item = {"type": "function_call", "id": f"f{nth}", "call_id": f"c{nth}", "name": turns[nth][0], "status": "completed",
                    "arguments": json.dumps(turns[nth][1])}
        done = {"id": f"r{nth}", "object": "response", "status": "completed", "model": "m", "output": [item],
                "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        return 200, "text/event-stream", sse({"type": "response.completed", "response": done})

    model = Model(answer)
    p = Place({"model": "openai/m", **two()}, env={"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"})
    expect(p.run(), 0)
    said = outputs(p)
    assert "session not found" in said[1] and "hello" in said[2] and "not found" not in said[2], said


@test
def each_has_its_own_network():
    if jail_only() or not shutil.which("curl"):
        return jail_only() or "no curl on this machine"
    host = Host()
    network = {"allow": [f"ok.test:{host.port}"], "resolve": {"ok.test": "127.0.0.1"}, "allow_private": [f"127.0.0.1:{host.port}"]}
    curl = f"curl -sS -m 20 http://ok.test:{host.port}/"
    probe = Place({"sandbox": {"backend": "jail", "network": network}}, calls([(curl, None)]))
    if probe.run().returncode or not host.asked:
        return f"no network here: {outputs(probe)}"
    p = Place(two({}, {"network": network}), calls([(curl, None), (curl, "data")]))
    expect(p.run(), 0)
    same(len(host.asked), 2)
    said = outputs(p)
    assert "Could not resolve" in said[0] and "ok\n" in said[1], said
    notes = [n for n in of(p, "note") if n["note"] == "network"]
    assert notes and all(n["sandbox"] == "data" for n in notes), notes
    assert "(data)" in expect(p.call("show", p.only_run(), "--network"), 0).stdout


@test
def patches_pictures_outputs_and_copies_say_where():
    boxes = two({"outputs": [{"path": "r"}], "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}},
                {"backend": "local", "outputs": [{"path": "r"}]})
    svg = "<svg xmlns='http://www.w3.org/2000/svg'/>"
    p = Place(boxes, calls([{"apply_patch": {"input": PATCH, "sandbox": "data"}}, (f"mkdir -p d/e; echo x >d/e/f; echo 2 >r; echo \"{svg}\" >v.svg", "data")],
                           [{"view_image": {"path": "v.svg", "sandbox": "data"}}, {"view_image": {"path": "v.svg"}},
                            {"copy_files": {"from": "data", "to": "build", "paths": ["p.txt", "d"]}},
                            {"copy_files": {"from": "build", "to": "data", "paths": ["nothing"]}},
                            {"copy_files": {"from": "build", "to": "build", "paths": ["src"]}},
                            {"copy_files": {"from": "build", "to": "data", "paths": ["../../etc"]}}],
                           [("cat p.txt d/e/f; echo 1 >r; echo more >>src/a", None)]), {"src/a": "a\n"})
    expect(p.run("--out", "out"), 0, "exec_command in data: mkdir", "apply_patch in data: Add File: p.txt", "output data:r: ok -> data/r")
    said = outputs(p)
    assert "svg" in json.dumps(said[2]) and "svg" not in json.dumps(said[3]).replace("v.svg", ""), said[2:4]
    assert "build has no nothing" in said[5] and "names of two sandboxes" in said[6] and "top of the workspace" in said[7], said
    assert "patched\nx\n" in said[8], said[8]
    same([(p.dir / "out" / n).read_text() for n in ("r", "data/r")], ["1\n", "2\n"])
    same([o.get("sandbox") for d in of(p, "checkpointed") for o in d["outputs"]], [None, "data"])
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "sandbox build\n" in diff and "+more" in diff, diff
    expect(p.call("apply", p.only_run()), 0)
    same((p.dir / "src/a").read_text(), "a\nmore\n")
    expect(p.call("audit", "file", p.only_run(), "data:p.txt"), 0, "patched", "apply_patch")
    there = expect(p.call("audit", "file", p.only_run(), "p.txt"), 0).stdout
    assert "patched " not in there and "copy_files" in there, there


@test
def a_loss_of_one_is_told_and_the_other_goes_on():
    p = Place(two({"checkpoint": "each"}, {"checkpoint": "each"}),
              calls([("echo 1 >>f", None), ("echo 1 >>f", "data")], [("echo 2 >>f", "data"), ("echo 2 >>f", None)],
                    [("cat f", None), ("cat f", "data")]))
    killed(p, "model.replied:3", "--keep")
    shutil.rmtree(box(p, "data"))
    expect(p.call("resume", p.only_run()), 0)
    lost = of(p, "sandbox_lost")
    assert len(lost) == 1 and lost[0]["restored"]["sandbox"] == "data" and lost[0]["items"][0]["content"].startswith(LOST), lost
    text = lost[0]["items"][0]["content"]
    saved = [d for d in of(p, "checkpointed") if "saved" in d]
    assert saved and lost[0]["restored"]["snapshot"] in [d["saved"]["data"].get("snapshot") for d in saved], (lost, saved)
    said = outputs(p)[4:]
    assert "\n1\n2\n" in said[0] and "\n1\n" in said[1], said
    same(text.count("exec_command"), 0 if "\n2\n" in said[1] else 1)  # the calls in data since its checkpoint, and no others
    assert "echo 1" not in text, text
    expect(p.call("audit", "verify"), 0)

    p = Place(two(), calls([("echo 1 >>f", None), ("echo 1 >>f", "data")], [("echo 2 >>f; cat f", "data"), ("cat f", None)]))
    killed(p, "tool.begins:3", "--keep")
    for name in ("", "data"):
        shutil.rmtree(box(p, name))
    expect(p.call("resume", p.only_run()), 0)  # with a call under way: each hears of it in the next output
    same(sorted(d["restored"].get("sandbox", "") for d in of(p, "sandbox_lost")), ["", "data"])
    said = outputs(p)[2:]
    assert any(o.startswith("[The sandbox build was lost") for o in said) and any(o.startswith(LOST) for o in said), said


@test
def each_is_saved_as_often_as_it_says_and_exposes_its_own_ports():
    jail = {"expose": [8000]} if backend() == "jail" else {}
    p = Place(two({"checkpoint": "never", **jail}, {"checkpoint": "each", **jail}),
              calls([("echo 1 >f", None)], [("echo 1 >f", "data")], [("cat f", None)], [("echo 2 >f", "data")]))
    done = expect(p.run("--json"), 0)
    ports = [e["data"] for e in (json.loads(line) for line in done.stdout.splitlines()) if e["type"] == "port"]
    same([(d["port"], d["sandbox"]) for d in ports], [(8000, "build"), (8000, "data")] if jail else [])
    saved = of(p, "checkpointed")
    assert len(saved) == 4 and all(d["same"] and "snapshot" not in d for d in saved), saved
    same(["snapshot" in d["saved"]["data"] for d in saved[1:]], [True, False, True])  # nobody was in it in the third turn
    same([f.name for f in (p.dir / ".caisson/snapshots/names").iterdir()], [])
    p = Place(two({"checkpoint": "1h"}, {"checkpoint": "each"}), calls([("echo 1 >f", None)], [("echo 2 >f", None)]))
    expect(p.run(), 0)
    same(["snapshot" in d for d in of(p, "checkpointed")], [True, False])
    same([d.get("again", False) for d in of(p, "checkpointed")], [False, True])


@test
def a_rule_asks_for_one_of_them_and_a_member_works_there_too():
    rule = {"tool": "exec_command", "match": {"sandbox": "data"}, "do": "ask"}
    p = Place(two(approvals=[rule]), calls([("echo free >>f", None), ("echo asked >>f", "data")], [("cat f", "data")]))
    done = p.run("--keep")
    same(done.returncode, 3)
    for code in (3, 0):
        expect(p.call("approve", p.only_run(), "--all", "--resume"), code)
    assert "asked" in outputs(p)[-1], outputs(p)

    ask = {"tool": "exec_command", "do": "ask"}  # a pattern that was allowed in one holds there, and nowhere else
    p = Place(two(approvals=[ask]), calls([("echo 1", None)], [("echo 2", "build")], [("echo 3", "data")]))
    same(p.run().returncode, 3)
    expect(p.call("approve", p.only_run(), "--like", "echo *", "--resume"), 3, "waits: call_3_t3  exec_command in data: echo 3")
    expect(p.call("audit", "verify"), 0)

    helper = {"name": "helper", "description": "helps", "model": "script:helper.yaml"}
    p = Place(two({"manifest": {"entries": {"x": {"type": "file", "content": "x"}}}}, agents=[helper], agent_tools=["helper"]),
              calls([("echo parent >f", "data")], [{"helper": {"input": "look"}}], [("cat f g", "data")]))
    p.write("helper.yaml", json.dumps({"rules": calls([("cat f; echo child >g", "data"), ("ls", None)])}))
    expect(p.run("--keep"), 0)
    run = {r["agent"]: r["id"] for r in p.runs()}
    assert "parent\nchild" in outputs(p, run["a"])[-1], outputs(p, run["a"])
    text = json.dumps(outputs(p, run["helper"]))
    assert "parent" in text and "x" in text, text


@test
def a_run_begins_and_ends_with_snapshots_and_another_goes_on_in_its_workspaces():
    p = Place(two({}, {"from": "given"}), calls([("echo b >>f", None), ("cat g; echo d >>f", "data")]), {"given/g": "g\n"})
    expect(p.call("snapshot", "save", "given", "given"), 0)
    expect(p.run("--snapshot", "end", "--keep"), 0)
    assert any("\ng\n" in o for o in outputs(p)), outputs(p)
    for name, files in (("end", ["f"]), ("end.data", ["f", "g"])):
        expect(p.call("snapshot", "restore", name, name), 0)
        same(sorted(f.name for f in (p.dir / name).iterdir()), files)
    expect(p.run("--snapshot", "end"), 1, "there is a snapshot end")
    p.write("book.yaml", json.dumps({"rules": calls([("cat f", None), ("cat f", "data")])}))
    first = p.only_run()
    expect(p.run("--after", first, "--keep"), 0)
    run = [r["id"] for r in p.runs() if r["id"] != first][0]
    said = sorted(outputs(p, run))
    assert any("\nb\n" in o for o in said) and any("\nd\n" in o for o in said), said


@test
def it_goes_on_in_another_back_end_and_leaves_nothing():
    if jail_only():
        return jail_only()
    p = Place(two(), calls([("echo 1 >>f", None), ("echo 1 >>f", "data")], [("cat f", None), ("cat f; pwd", "data")]))
    killed(p, "tool.begins:3")
    expect(p.call("resume", p.only_run(), "--backend", "other=local"), 2, "no such sandbox; it has build, data")
    expect(p.call("resume", p.only_run(), "--backend", "data=local"), 0)
    same([(n["backend"], n["sandbox"]) for n in of(p, "note") if n["note"] == "backend"], [("local", "data")])
    said = "".join(outputs(p)[2:])
    assert said.count("\n1\n") == 2 and ".caisson/sandboxes" in said, said
    same([f for f in (p.dir / ".caisson/sandboxes").iterdir()], [])


@test
def one_that_cannot_be_made_ends_the_run_and_takes_the_others_along():
    p = Place(two({}, {"backend": "local", "manifest": {"entries": {"x": {"type": "local_dir", "src": "nowhere"}}}}), calls([]))
    done = p.run()
    assert done.returncode == 6 and "sandbox data" in done.stderr, (done.returncode, done.stderr)
    left = p.dir / ".caisson/sandboxes"
    same([f.name for f in left.iterdir()] if left.exists() else [], [])


@test
def mistakes_are_told_before_anything_is_made():
    some = {"backend": backend()}
    tool = {"name": "t", "description": "t", "command": ["true"], "schema": {"properties": {}}}
    for agent, says in (({"sandbox": some, "sandboxes": {"a": some}}, "sandbox and sandboxes exclude each other"),
                        ({"sandboxes": {}}, "expected from 1 to 8"), ({"sandboxes": {"A": some}}, "'A' is no name for one"),
                        ({"sandboxes": {"a": {"beckend": "jail"}}}, "unknown key sandbox.beckend"),
                        ({"sandboxes": {"a": {}, "b": {"backend": "mars"}}}, "unknown back-end 'mars'"),
                        ({"sandboxes": {"a": {"manifest": {"entries": {}}}}, "manifest": {"entries": {}}}, "leave one out"),
                        ({"sandboxes": {"a": {"outputs": [{"path": "x"}]}}, "outputs": [{"path": "x"}]}, "leave one out"),
                        ({**two(), "tools": [{**tool, "sandbox": "web"}]}, "there is no sandbox 'web'; there are: build, data"),
                        ({"sandbox": some, "tools": [{**tool, "sandbox": "web"}]}, "the agent has no `sandboxes`"),
                        ({**two({}, {"backend": "local"}), "scopes": {"write": ["out"]}}, "cannot hold commands to parts"),
                        ({**two({}, {"backend": "local", "network": {"allow": ["a.test"]}})}, "cannot hold a policy"),
                        ({**two(), "agents": [{"name": "m", "sandboxes": {}}]}, "sandboxes is shared")):
        p = Place(agent, calls([]))
        done = p.run()
        assert done.returncode in (2, 6) and says in done.stderr, (agent, done.returncode, done.stderr)
    p = Place({**two(), "tools": [{**tool, "command": ["pwd"], "sandbox": "data"}], "capabilities": ["shell"]},
              calls([{"t": {}}, ("echo", "data")]))
    expect(p.run(), 0)


sys.exit(finish())
