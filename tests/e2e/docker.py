#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents in containers of a real Docker daemon: files, patches, pictures, outputs, diff and apply; harnesses that are
killed and runs that go on; what is left, and who takes it away.

usage: docker.py CAISSON"""
import base64, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import Place, expect, finish, json, same, shutil, signal, subprocess, test, time, until
from with_server import Docker

DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")
PATCH = """*** Begin Patch
*** Add File: src/new.txt
+made
*** Update File: src/a.txt
@@
-a0
+a1
*** Delete File: src/old.txt
*** End Patch
"""
SRC = {"src/a.txt": "a0\n", "src/old.txt": "old\n", "src/run.sh": "#!/bin/sh\necho ran\n"}
server = Docker()
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)


def place(rules, files=None, **agent):
    sandbox = {"backend": "docker", "image": "box", **agent.pop("sandbox", {})}
    p = Place({"sandbox": sandbox, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}, **agent}, rules,
              {**SRC, **(files or {})}, {"DOCKER_HOST": server.url})
    (p.dir / "src/run.sh").chmod(0o755)
    return p


def step(turn, **calls):
    return {"name": f"t{turn}", "when": {"turn": turn}, "reply": [calls]}


def mine(p, status=None):
    """Containers of the place's runs."""
    ids = [r["id"] for r in p.runs()]
    return [c for c in server.containers() if any(i in c["Names"][0] for i in ids) and status in (None, c["State"])]


@test
def an_agent_works_in_a_container_and_nothing_is_left():
    (p := place([step(1, exec_command={"cmd": "id -u; src/run.sh; cat src/a.txt; ls -ld src"}), step(2, apply_patch=PATCH),
                 step(3, exec_command={"cmd": "cat src/new.txt src/a.txt; ls src; mkdir -p out; echo result >out/r"}),
                 step(4, view_image={"path": "src/dot.png"}), {"name": "end", "reply": "Done."}], outputs=[{"path": "out/r"}]))
    (p.dir / "src/dot.png").write_bytes(DOT)
    done = expect(p.run("--out", "results"), 0, "Done.")
    text = json.dumps(p.records())
    for part in ("1000\\nran\\na0\\n", "Created src/new.txt", "Deleted src/old.txt", "made\\na1\\n", "data:image/png;base64,"):
        assert part in text, part
    same((p.dir / "results/out/r").read_text(), "result\n")
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "+a1" in diff and "deleted file" in diff and "new.txt" in diff, diff
    expect(p.call("apply", p.only_run()), 0, "new.txt")
    same((p.dir / "src/a.txt").read_text(), "a1\n")
    assert not (p.dir / "src/old.txt").exists()
    same(mine(p), [])


@test
def a_run_is_saved_from_its_container():
    p = place([step(1, exec_command={"cmd": "echo more >>src/a.txt"}), {"name": "end", "reply": "Done."}])
    expect(p.run("--snapshot", "one"), 0)
    expect(p.call("snapshot", "restore", "one", "back"), 0)
    same((p.dir / "back/src/a.txt").read_text(), "a0\nmore\n")
    same(mine(p), [])


def killed_and_resumed(fault):
    p = place([step(1, exec_command={"cmd": "echo 1 >>count"}), step(2, apply_patch=PATCH),
               step(3, exec_command={"cmd": "cat count src/a.txt src/new.txt; ls src"}), {"name": "end", "reply": "Done."}])
    done = p.run(env={"CAISSON_FAULT": fault})
    same(done.returncode, -9)
    until(lambda: not mine(p, "running"))
    same(expect(p.call("sandbox", "gc"), 0).stdout.strip().splitlines()[-1], "0 sandboxes removed")
    expect(p.call("resume", p.only_run()), 0, "Done.")
    records = p.records()
    last = json.dumps([r["data"] for r in records if r["kind"] == "tool_returned"][-1])
    assert "Output:\\n1\\na1\\nmade\\na.txt\\nnew.txt\\nrun.sh" in last, last
    same(mine(p), [])


for fault in ("tool.begins:1", "exec.returned:1", "patch.staged:1", "patch.rename:2", "patch.sealed:1", "tool.performed:2"):
    def killed(fault=fault):
        killed_and_resumed(fault)
    killed.__name__ = "a harness killed at " + fault.replace(":", " ") + " goes on where it was"
    test(killed)


@test
def what_a_killed_harness_leaves_is_stopped_at_once_and_removed_by_gc():
    p = place([step(1, exec_command={"cmd": "sleep 300"}), {"name": "end", "reply": "Done."}])
    first = p.start("run", "agent.yaml", "go")
    until(lambda: p.runs() and mine(p, "running"))
    until(lambda: any(r["kind"] == "model_replied" for r in p.records()))
    first.send_signal(signal.SIGKILL)
    first.wait()
    for f in (first.stdout, first.stderr):
        f.close()
    until(lambda: mine(p, "exited"))
    expect(p.call("sandbox", "gc"), 0, "0 sandboxes removed")
    run, other = p.only_run(), place([])
    expect(other.call("sandbox", "gc"), 0, "0 sandboxes removed")
    expect(p.call("runs", "rm", run), 0)
    left = [c for c in server.containers() if run in c["Names"][0]]
    expect(p.call("sandbox", "gc"), 0, f"{len(left)} sandboxes removed")
    same([c for c in server.containers() if run in c["Names"][0]], [])


@test
def mistakes_are_told_before_anything_is_made():
    for sandbox, says in (({"backend": "jail", "image": "box"}, "sandbox.image"), ({"image": 3}, "sandbox.image"),
                          ({"level": "gvisor"}, "sandbox.level"), ({"host": "ftp://x"}, "expected unix:///PATH"),
                          ({"run_as": "root"}, "never root"), ({"limits": {"disk": "1GiB"}, "strict": True}, "disk is absent"), ({"image": "no such"}, "no name of an image")):
        p = place([{"name": "end", "reply": "Done."}], sandbox=sandbox)
        done = p.run()
        said = done.stdout + done.stderr
        assert done.returncode in (2, 6) and says in said, (sandbox, done.returncode, said)
        same(mine(p) if p.dir.joinpath(".caisson").exists() else [], [])


@test
def without_a_daemon_a_run_says_where_it_looked():
    p = place([{"name": "end", "reply": "Done."}], sandbox={"host": "unix:///tmp/caisson-no-such-socket"})
    done = p.run()
    assert done.returncode in (2, 6) and "/tmp/caisson-no-such-socket" in done.stderr, (done.returncode, done.stderr)


@test
def the_doctor_sees_the_daemon():
    p = place([])
    there = json.loads(p.call("doctor", "--json").stdout)["container engine"]["docker"]
    same(there["state"], "there")
    assert "version " in there["note"], there
    gone = json.loads(p.call("doctor", "--json", env={"DOCKER_HOST": "unix:///nowhere"}).stdout)["container engine"]["docker"]
    same(gone["state"], "absent")


try:
    status = finish()
    left = [c["Names"] for c in server.containers()], [v["Name"] for v in server.volumes()]
    if left != ([], []) and not status:
        print(f"# left behind: {left}")
        status = True
finally:
    server.close()
sys.exit(status)
