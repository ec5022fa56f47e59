#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents in sandboxes of E2B, which is a service of tests/fake here: nothing but the back-end's word changes; what is
sent; what goes wrong there; what is left when the harness is killed.

usage: hosted_e2b.py CAISSON"""
import importlib.util, pathlib, re, sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
from lib import Place, expect, fetch_when_it_listens, finish, json, os, port_told, same, socket, shutil, signal, subprocess, test, threading, time, until
import urllib.request

spec = importlib.util.spec_from_file_location("fake_e2b", TESTS / "fake/e2b.py")
fake_e2b = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_e2b)
PATCH = "*** Begin Patch\n*** Add File: src/new.txt\n+made\n*** Update File: src/a.txt\n@@\n-a0\n+a1\n*** Delete File: src/old.txt\n*** End Patch\n"
SRC = {"src/a.txt": "a0\n", "src/old.txt": "old\n", "src/run.sh": "#!/bin/sh\necho ran\n"}
try:
    with fake_e2b.Fake(rooted=True) as probe:
        fake_e2b.Sandbox(probe.service, {}, "base").kill()
except (fake_e2b.Refused, OSError) as e:
    print(f"1..0 # SKIP no mount namespaces for the service of the tests: {e}")
    sys.exit(0)
fakes = []


class Case:
    """A place with a service of its own."""

    def __init__(self, rules, files=None, sandbox=None, **agent):
        self.fake = fake_e2b.Fake(rooted=True)
        fakes.append(self.fake)
        self.place = Place({"sandbox": {"backend": "e2b", **(sandbox or {})}, "manifest":
                            {"entries": {"src": {"type": "local_dir", "src": "src"}}}, **agent}, rules,
                           {**SRC, **(files or {})}, self.fake.env)
        (self.place.dir / "src/run.sh").chmod(0o755)

    def ask(self, path, body=None):
        request = urllib.request.Request(self.fake.url + path, None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read() or "null")

    def fault(self, match, **how):
        self.ask("/_fault", {"match": match, **how})

    def boxes(self):
        return self.ask("/_sandboxes")

    def sent(self, start):
        return [r for r in self.fake.service.log if f"{r['m']} {r['p']}".startswith(start)]


def step(turn, **calls):
    return {"name": f"t{turn}", "when": {"turn": turn}, "reply": [calls]}


END = {"name": "end", "reply": "Done."}


def run_cmd(turn, cmd):
    return step(turn, exec_command={"cmd": cmd})


def outputs(place):
    return json.dumps([r["data"] for r in place.records() if r["kind"] == "tool_returned"])


@test
def an_agent_works_there_and_nothing_is_left():
    c = Case([run_cmd(1, "pwd; src/run.sh; cat src/a.txt; echo $COLOUR"), step(2, apply_patch=PATCH),
              run_cmd(3, "cat src/new.txt src/a.txt; ls src; mkdir -p out; echo result >out/r"), END],
             outputs=[{"path": "out/r"}], sandbox={"environment": {"COLOUR": "red"}, "metadata": {"team": "tools"}})
    p = c.place
    expect(p.run("--out", "results"), 0, "Done.")
    text = outputs(p)
    for part in ("/workspace\\nran\\na0\\nred", "Created src/new.txt", "made\\na1\\na.txt\\nnew.txt\\nrun.sh"):
        assert part in text, (part, text)
    same((p.dir / "results/out/r").read_text(), "result\n")
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "+a1" in diff and "deleted file" in diff, diff
    expect(p.call("apply", p.only_run()), 0, "new.txt")
    same((p.dir / "src/a.txt").read_text(), "a1\n")
    same(c.boxes(), [])
    made = json.loads(c.sent("POST /v2/sandboxes")[0]["b"])
    same((made["metadata"]["team"], made["metadata"]["caisson-run"], made["envVars"]), ("tools", p.only_run(), {"COLOUR": "red"}))
    same((made["allow_internet_access"], made["network"]), (False, {"allowPublicTraffic": False}))


@test
def the_demo_is_repaired_with_nothing_but_the_back_end_changed():
    c = Case([])
    demo = c.place.dir / "demo"
    shutil.copytree(TESTS.parent / "demo", demo)
    agent = demo / "agent.yaml"
    agent.write_text(agent.read_text() + "sandbox: {backend: e2b}\n")
    done = expect(c.place.call("run", "demo/agent.yaml", "Find out why the tests fail, fix the code, and prove it."), 0)
    assert "22 passed, 0 failed" in done.stdout, done.stdout
    expect(c.place.call("apply", c.place.only_run()), 0, "Updated src/table.c")
    same(c.boxes(), [])


# What clients of E2B send (tests/golden/e2b): all that both generations of them have in common must be in ours.
@test
def requests_are_those_of_the_official_clients():
    golden = json.loads((TESTS / "golden/e2b/requests.json").read_text())
    big = "x" * 70000
    c = Case([run_cmd(1, "cat src/a.txt"), step(2, exec_command={"cmd": "read x; echo got $x", "tty": True, "yield_time_ms": 300}),
              {"name": "t3", "when": {"turn": 3}, "reply": [{"write_stdin": {"session_id": "${session}", "chars": "hey\n"}}]}, END],
             {"src/big": big}, sandbox={"limits": {"memory": "512MiB"}})
    c.place.run()
    seen = 0
    for r in c.fake.service.log:
        path = re.sub(r"/sandboxes/i[0-9a-f]+", "/sandboxes/{id}", r["p"].split("?")[0])
        rows = [g for g in golden if (g["method"], g["path"]) == (r["m"], path)]
        assert rows, f"no client sends {r['m']} {path}"
        want, have = rows[0], {k.lower(): v for k, v in r["h"].items()}
        for name, value in want["headers"].items():
            assert name in have and value in ("*", have[name]), (path, name, have.get(name))
        body = r["b"].encode("latin-1")
        if have.get("content-type") == "application/connect+json":
            same((body[0], int.from_bytes(body[1:5], "big")), (0, len(body) - 5))
            body = body[5:]
        if want["body"] is not None:
            fits(json.loads(body), want["body"], path)
        seen += 1
    assert seen >= 6, seen
    same({r["p"].split("?")[0] for r in c.fake.service.log if r["m"] == "POST"} >=
         {"/v2/sandboxes", "/filesystem.Filesystem/MakeDir", "/process.Process/Start", "/files"}, True)


def fits(got, want, where):
    """Every member is one that clients send, and of its kind; those that are always sent are there."""
    if not isinstance(want, dict):
        same((where, type(got).__name__), (where, want))
    elif "*" not in want:
        for k, v in got.items():
            assert k in want or k + "?" in want, f"{where}: clients send no {k}"
            fits(v, want.get(k, want.get(k + "?")), f"{where}.{k}")
        for k in want:
            assert k.endswith("?") or k in got, f"{where}: {k} is missing"


@test
def too_many_requests_and_servers_that_fail_are_asked_again():
    c = Case([run_cmd(1, "echo one"), run_cmd(2, "echo two"), END])
    c.fault("POST /v2/sandboxes", status=429, headers={"Retry-After": "1"})
    c.fault("POST /filesystem.Filesystem/MakeDir", status=503, times=2)
    c.fault("POST /process.Process/Start", status=429, times=1)
    c.fault("DELETE /sandboxes", kind="drop")
    began = time.monotonic()
    expect(c.place.run(), 0, "Done.")
    assert time.monotonic() - began >= 1, "the service asked for a second"
    for part in ("one", "two"):
        assert part in outputs(c.place)
    keys = {r["h"]["Idempotency-Key"] for r in c.sent("POST /v2/sandboxes")}
    same((len(c.sent("POST /v2/sandboxes")), len(keys), len(c.boxes())), (2, 1, 0))


@test
def a_service_of_the_first_version_is_enough():
    c = Case([run_cmd(1, "echo one"), END])
    c.fault("POST /v2/", status=404, times=99)
    expect(c.place.run(), 0, "Done.")
    same(json.loads(c.sent("POST /sandboxes")[0]["b"])["secure"], True)
    same(c.boxes(), [])


@test
def a_command_is_not_started_twice_and_a_cut_stream_is_taken_up_again():
    c = Case([run_cmd(1, "echo x >>count; for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done; cat count"), END])
    c.fault("POST /process.Process/Start", kind="cut", bytes=700, times=1)  # the one that unpacks is short
    expect(c.place.run(), 0, "Done.")
    text = outputs(c.place)
    assert "Process exited with code 0" in text and "line 8" in text and text.count("\\nx\\n") <= 1, text
    same(c.boxes(), [])


@test
def a_sandbox_that_rests_goes_on_and_one_that_is_gone_is_said_to_be():
    c = Case([run_cmd(1, "echo kept >f; (sleep 1000 &) >/dev/null 2>&1"), run_cmd(2, "cat f; echo again"), END],
             approvals=[{"tool": "exec_command", "match": "cat f*", "do": "ask"}])
    same(c.place.run().returncode, 3)
    box = c.boxes()[0]["id" if "id" in c.boxes()[0] else "sandboxID"]
    c.ask("/_expire", {"id": box})
    until(lambda: c.boxes()[0]["state"] == "paused")
    run = c.place.only_run()
    expect(c.place.call("approve", run, "--all"), 0)
    expect(c.place.call("resume", run), 0, "Done.")
    assert "kept\\nagain" in outputs(c.place), outputs(c.place)
    same(c.boxes(), [])


TOOL = "printf '#!/bin/sh\\necho made once\\n' >/etc/tool; chmod +x /etc/tool; id -u >/etc/who"


@test
def an_environment_is_built_once_and_kept_by_the_service():
    c = Case([run_cmd(1, "/etc/tool; cat /etc/who"), END], environment={"setup": [TOOL, "test ! -e /workspace/src"], "build_network": {"allow": ["example.com"]}})
    p = c.place
    images = {"CAISSON_IMAGES": str(p.dir / "images")}
    p.env.update(images)
    expect(p.run(), 0, "Done.")
    first, second = [json.loads(r["b"]) for r in c.sent("POST /v2/sandboxes")]
    same((first["templateID"], first["autoPause"], first["network"]["allowOut"]), ("base", False, ["example.com"]))
    assert "allowOut" not in second["network"], second
    name = second["templateID"]
    assert re.fullmatch("caisson-env-[0-9a-f]{32}", name) and "made once\\n0\\n" in outputs(p), (name, outputs(p))
    users = {r["h"].get("Authorization") for r in c.sent("POST /process.Process/Start") if r["h"]["E2b-Sandbox-Id"] == c.fake.service.snapshots[name]["box"]}
    same(users, {"Basic cm9vdDo="})  # root:
    expect(p.run(), 0, "Done.")
    other = Place(json.loads((p.dir / "agent.yaml").read_text()), None, {**SRC, "book.yaml": (p.dir / "book.yaml").read_text()}, {**c.fake.env, **images})
    expect(other.run(), 0, "Done.")
    same(len([r for r in c.fake.service.log if r["p"].endswith("/snapshots")]), 1)
    built = json.loads(expect(p.call("image", "build", "agent.yaml", "--json"), 0).stdout)
    same(built, {"image": name, "was_there": True, "locked": False, "resolved": {"apt": [], "pip": [], "npm": []}})
    same([i["name"] for i in json.loads(expect(p.call("image", "ls", "--backend", "e2b", "--json"), 0).stdout)], [name])
    expect(p.call("image", "rm", "--backend", "e2b", "base"), 2, "is no environment at e2b")
    expect(p.call("image", "rm", "--backend", "e2b", name), 0)
    expect(p.call("image", "rm", "--backend", "e2b", name), 2, "not found")
    expect(p.run(), 0, "Done.")  # builds again
    same(len([r for r in c.fake.service.log if r["p"].endswith("/snapshots")]), 2)
    same(c.boxes(), [])


@test
def what_goes_wrong_in_an_environment_leaves_nothing_at_the_service():
    c = Case([END], environment={"setup": ["echo almost; exit 7"]})
    expect(c.place.run(), 6, "`echo almost; exit 7` ended with status 7", "almost")
    same((c.boxes(), c.fake.service.snapshots), ([], {}))
    c = Case([END], environment={"setup": ["true"], "build_network": {"allow": ["example.com:8080"]}})
    expect(c.place.run(), 6, "ports other than 80 and 443")
    same(c.boxes(), [])
    c = Case([END], environment={"setup": ["true"]})
    c.fault("POST /sandboxes", status=500, times=9)  # the snapshot
    expect(c.place.run(), 6, "keep the environment as the snapshot caisson-env-")
    same(c.boxes(), [])


def nearly_over():
    """A run whose sandbox the service ends some seconds after the run has gone on."""
    c = Case([run_cmd(1, "echo kept >f; sleep 1000 >/dev/null 2>&1 & echo $! >pid"), run_cmd(2, "sleep 2.5"),
              run_cmd(3, "cat f; grep -q ') S ' /proc/$(cat pid)/stat && echo alive"), END], approvals=[{"tool": "exec_command", "match": "sleep 2.5", "do": "ask"}])
    same(c.place.run("--keep").returncode, 3)
    c.ask("/_life", {"seconds": time.time() - list(c.fake.service.sandboxes.values())[0].started + 4})
    expect(c.place.call("approve", c.place.only_run(), "--all"), 0)
    return c


@test
def a_sandbox_that_the_service_ends_soon_rests_and_begins_a_new_life():
    c = nearly_over()
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    same(([len(c.sent(w)) for w in ("POST /v2/sandboxes", "DELETE")], len([r for r in c.fake.service.log if r["p"].endswith("/pause")])), ([3, 1], 1))
    assert "kept\\nalive" in outputs(c.place) and "took its place" not in outputs(c.place), outputs(c.place)


@test
def where_it_cannot_rest_its_workspace_moves_in_time():
    c = nearly_over()
    c.fault(f"POST /sandboxes/{c.boxes()[0]['sandboxID']}/pause", status=400, times=9)
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    text = outputs(c.place)
    assert "kept" in text and "alive" not in text and "[The time of the sandbox was over" in text, text
    same((len(c.sent("DELETE")), c.boxes()), (2, []))


@test
def wrong_keys_and_templates_are_told_and_the_key_is_nowhere():
    c = Case([run_cmd(1, "env; true"), END])
    other = "e2b_" + "1" * 40
    done = c.place.run(env={"E2B_API_KEY": other})
    same((done.returncode, other in done.stdout + done.stderr), (6, False))
    assert "E2B_API_KEY" in done.stderr, done.stderr
    expect(c.place.run(env={"E2B_API_KEY": ""}), 6, "E2B_API_KEY")
    expect(c.place.run(env={"E2B_API_URL": "http://example.com"}), 6, "https://")
    tried = len(c.fake.service.log)
    expect(c.place.run(), 0)
    key = fake_e2b.KEY.encode()
    for path in c.place.dir.rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), path
    for r in c.fake.service.log[tried:]:
        assert fake_e2b.KEY not in r["b"] and (fake_e2b.KEY in r["h"].values()) == ("sandboxes" in r["p"]), r["p"]
    bad = Case([run_cmd(1, "printf e2b_; printf '0%.0s' $(seq 40)"), END])  # it says the key back, to whom it was told and to nobody else
    bad.fault("POST /v2/sandboxes", status=400, body={"code": 400, "message": f"what is {fake_e2b.KEY}?"})
    done = expect(bad.place.run(), 6, "what is ****")
    assert fake_e2b.KEY not in done.stdout + done.stderr, done.stderr
    expect(bad.place.run(), 0)
    kept = b"".join(f.read_bytes() for f in bad.place.dir.rglob("*") if f.is_file())
    assert key not in kept and b"[secret:E2B_API_KEY]" in kept
    bad = Case([END], sandbox={"template": "nowhere"})
    expect(bad.place.run(), 6, "template \"nowhere\"")


@test
def what_it_cannot_hold_is_named_before_anything_is_sent():
    rows = [({"network": {"allow": [{"host": "example.com", "methods": ["GET"]}]}}, "methods of a host"),
            ({"network": {"allow": [{"host": "example.com", "ports": [22]}]}}, "ports other than 80 and 443"),
            ({"network": {"allow": ["example.com"]}, "secrets": [{"name": "T", "from_env": "HOME", "hosts": ["example.com"]}]}, "secrets"),
            ({"devices": ["fuse"]}, "sandbox.devices"), ({"rootfs": "image:x"}, "template"),
            ({"timeout": "soon"}, "timeout"), ({"on_timeout": "sleep"}, "pause or kill"), ({"api_url": "https://example.com"}, "api_url"),
            ({"limits": {"pids": 10}, "strict": True}, "limits.pids")]
    for sandbox, says in rows:
        c = Case([END], sandbox=sandbox)
        done = c.place.run()
        assert done.returncode in (2, 6) and says in done.stderr, (sandbox, done.returncode, done.stderr)
        same((c.boxes(), c.fake.service.log), ([], []))
    c = Case([END], sandbox={"limits": {"memory": "256MiB"}, "strict": True})  # which only the template says
    expect(c.place.run(), 6, "memory")
    same(c.boxes(), [])


@test
def a_network_policy_is_the_services():
    c = Case([run_cmd(1, "true"), END], sandbox={"network": {"allow": ["api.example.com", "*.example.org"]}})
    expect(c.place.run(), 0)
    made = json.loads(c.sent("POST /v2/sandboxes")[0]["b"])
    same(made["network"], {"allowPublicTraffic": False, "allowOut": ["api.example.com", "*.example.org"], "denyOut": ["0.0.0.0/0"]})
    same(made["allow_internet_access"], False)


@test
def a_server_there_is_reached_at_a_port_here_and_by_nobody_else():
    with socket.socket() as s:  # the service shares this machine's loopback interface
        s.bind(("127.0.0.1", 0))
        there = s.getsockname()[1]
    c = Case([run_cmd(1, f"cd src; (python3 -m http.server --bind 127.0.0.1 {there} >/dev/null 2>&1 &) ; sleep 300"), END],
             {"src/big": "x" * 300000}, sandbox={"expose": [there]})
    run = c.place.start("run", "agent.yaml", "go")
    try:
        port = port_told(run)
        assert fetch_when_it_listens(port, "/big").endswith(b"\r\n\r\n" + b"x" * 300000)
        ports = json.loads(expect(c.place.call("sandbox", "port", "--json"), 0).stdout)
        same([(x["port"], x["host_port"]) for x in ports], [(there, port)])
        same(json.loads(c.sent("POST /v2/sandboxes")[0]["b"])["network"], {"allowPublicTraffic": False})
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)


def killed_when(c, seen, *args):
    first = c.place.start("run", "agent.yaml", "go", *args)
    until(seen)
    first.send_signal(signal.SIGKILL)
    first.wait()
    for f in (first.stdout, first.stderr):
        f.close()


@test
def a_harness_killed_while_a_sandbox_is_made_leaves_it_to_gc():
    c = Case([END])
    c.fault("POST /v2/sandboxes", kind="late", seconds=0.5)
    killed_when(c, lambda: c.sent("POST /v2/sandboxes"))
    until(c.boxes)
    other = Place({"name": "b"}, [END], env=c.fake.env)
    other.call("run", "agent.yaml", "go")
    expect(other.call("sandbox", "gc", "--backend", "e2b"), 0, "0 sandboxes removed")
    expect(c.place.call("sandbox", "gc", "--backend", "e2b"), 0, "1 sandboxes removed")
    same(c.boxes(), [])


@test
def a_harness_killed_while_a_command_runs_goes_on_or_leaves_it_to_gc():
    c = Case([run_cmd(1, "sleep 300"), END])
    killed_when(c, lambda: len(c.sent("POST /process.Process/Start")) >= 2 and c.place.runs())
    expect(c.place.call("sandbox", "gc", "--backend", "e2b"), 0, "0 sandboxes removed")
    same(len(c.boxes()), 1)
    expect(c.place.call("runs", "rm", c.place.only_run()), 0)
    expect(c.place.call("sandbox", "gc", "--backend", "e2b"), 0)
    same(c.boxes(), [])


@test
def a_harness_killed_while_a_sandbox_ends_leaves_nothing_after_gc():
    c = Case([run_cmd(1, "echo one"), END])
    c.fault("DELETE /sandboxes", kind="drop", times=99)
    killed_when(c, lambda: c.sent("DELETE /sandboxes"))
    c.fake.service.faults.clear()
    c.place.call("resume", c.place.only_run())
    c.place.call("runs", "rm", c.place.only_run())
    expect(c.place.call("sandbox", "gc", "--backend", "e2b"), 0)
    same(c.boxes(), [])


# ---- a sandbox that was made before, by its state ----

def lent(rules, **agent):
    """A place with a sandbox `box` that has a file f, and the state of it in box.json."""
    c = Case(rules, manifest={"entries": {"src": {"type": "local_dir", "src": "src"}, "hint": {"type": "file", "content": "here", "ephemeral": True}}}, **agent)
    expect(c.place.call("sandbox", "create", "box", "--backend", "e2b"), 0)
    expect(c.place.call("sandbox", "exec", "box", "--", "sh", "-c", "echo kept >f"), 0)
    state = json.loads(expect(c.place.call("sandbox", "ls", "--json"), 0).stdout)[0]["state"]
    same(state["type"], "e2b")
    assert c.fake.env["E2B_API_KEY"] not in json.dumps(state)
    c.place.write("box.json", json.dumps(state))
    return c


@test
def a_run_works_in_a_sandbox_that_was_made_before_and_leaves_it():
    c = lent([run_cmd(1, "cat f hint; ls; echo more >>f"), END])
    expect(c.place.run("--sandbox-state", "box.json", "--snapshot", "after"), 0, "Done.")
    said = outputs(c.place)
    assert "kept\\nhere" in said and "src" not in said, said
    same(len(c.boxes()), 1)
    same(expect(c.place.call("sandbox", "exec", "box", "--", "cat", "f"), 0).stdout, "kept\nmore\n")
    expect(c.place.call("snapshot", "show", "after"), 0, " f\n")
    expect(c.place.call("sandbox", "gc", "--backend", "e2b"), 0, "0 sandboxes removed")
    expect(c.place.call("sandbox", "rm", "box"), 0)
    same(c.boxes(), [])


@test
def a_run_that_was_killed_goes_on_in_the_sandbox_that_it_was_given():
    c = lent([run_cmd(1, "echo one >>f; sleep 300"), run_cmd(2, "cat f"), END])
    killed_when(c, lambda: "one" in json.dumps([b for b in c.sent("POST /process.Process/Start")]) and c.place.runs(), "--sandbox-state", "box.json")
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    assert "kept\\none" in outputs(c.place), outputs(c.place)
    same(len(c.boxes()), 1)


@test
def without_the_sandbox_of_its_state_a_run_begins_with_its_snapshot_or_not_at_all():
    c = lent([run_cmd(1, "ls"), END])
    c.ask("/_lose", {"id": json.loads((c.place.dir / "box.json").read_text())["sandbox"]})
    expect(c.place.run("--sandbox-state", "box.json"), 6, "is gone, and there is no snapshot")
    same(c.boxes(), [])
    expect(c.place.call("snapshot", "save", "saved", "src"), 0)
    expect(c.place.run("--sandbox-state", "box.json", "--from", "saved"), 0, "Done.")
    assert "run.sh" in json.dumps([r["data"] for r in c.place.records(c.place.runs()[0]["id"]) if r["kind"] == "tool_returned"])
    same(c.boxes(), [])  # one of its own


@test
def a_state_that_cannot_be_used_is_refused_before_the_run():
    c = Case([END])
    for text, said in (("{", "line 1"), ("{}", "a type"), ('{"type":"docker","container":"x"}', "is of back-end docker"), ("[1]", "a type")):
        c.place.write("s.json", text)
        expect(c.place.run("--sandbox-state", "s.json"), 2, "the state of a sandbox", said)
    expect(c.place.run("--sandbox-state", "lacks.json"), 2, "lacks.json")
    c.place.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", "sandbox": {"backend": "local"}}))
    c.place.write("s.json", '{"type":"local"}')
    expect(c.place.run("--sandbox-state", "s.json"), 2, "is a folder of this machine")
    same(c.place.runs(), [])


try:
    status = finish()
finally:
    for f in fakes:
        f.__exit__()
sys.exit(status)
