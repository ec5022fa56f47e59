#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Back-ends that are programs: agents work on them with nothing but the back-end's word changed; who may name one;
programs that lie, flood, hang and die; what is left when the harness is killed.

usage: exec.py CAISSON"""
import errno, re
from lib import Place, expect, finish, json, os, pathlib, same, shutil, signal, subprocess, sys, test, time, until

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LOCAL, FULL = SOURCE / "examples/exec/local.py", SOURCE / "tests/fake/exec_full.py"
SRC = {"src/a.txt": "a0\n", "src/old.txt": "old\n", "src/run.sh": "#!/bin/sh\necho ran\n"}
PATCH = "*** Begin Patch\n*** Add File: src/new.txt\n+made\n*** Update File: src/a.txt\n@@\n-a0\n+a1\n*** Delete File: src/old.txt\n*** End Patch\n"
END = {"name": "end", "reply": "Done."}
ANY = "--harness-tools"


def step(turn, **calls):
    return {"name": f"t{turn}", "when": {"turn": turn}, "reply": [calls]}


def run_cmd(turn, cmd):
    return step(turn, exec_command={"cmd": cmd})


def write_stdin(turn):
    return {"name": f"t{turn}", "when": {"turn": turn},
            "reply": [{"write_stdin": {"session_id": "${session}", "chars": "hey\n"}}]}


def place(rules, program=LOCAL, sandbox=None, **agent):
    p = Place({"sandbox": {"backend": f"exec:{program}", **(sandbox or {})},
               "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}, **agent}, rules, SRC)
    (p.dir / "src/run.sh").chmod(0o755)
    (p.dir / "boxes").mkdir()
    return p


def settled(path):
    """A program that was just written may still be open in a child of another test."""
    def runs():
        try:
            return subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        except OSError as e:
            if e.errno != errno.ETXTBSY:
                raise
    until(runs)


def server():
    sys.path.insert(0, str(SOURCE / "tests"))
    from with_server import Ssh
    return Ssh()


def outputs(p):
    return json.dumps([r["data"] for r in p.records() if r["kind"] == "tool_returned"])


def boxes(p):
    return sorted(f.name for f in (p.dir / "boxes").iterdir())


def works(program):
    p = place([run_cmd(1, "src/run.sh; cat src/a.txt; echo $COLOUR"), step(2, apply_patch=PATCH),
               run_cmd(3, "cat src/new.txt src/a.txt; ls src; mkdir -p out; echo result >out/r"), END], program,
              {"environment": {"COLOUR": "red"}}, outputs=[{"path": "out/r"}])
    p.write("agent.yaml", (p.dir / "agent.yaml").read_text().replace(f"exec:{program}", f"exec:./near/{program.name}"))
    (p.dir / "near").symlink_to(program.parent)  # from the agent file's folder
    os.makedirs(p.dir / "else")
    agent = json.loads((p.dir / "agent.yaml").read_text())
    agent["sandbox"]["options"] = {"folder": str(p.dir / "boxes"), **({"log": str(p.dir / "log")} if program == FULL else {})}
    p.write("agent.yaml", json.dumps(agent))
    expect(p.call("run", "../agent.yaml", "go", ANY, "--out", "../results", cwd=p.dir / "else", env={"CAISSON_STATE": str(p.dir / ".caisson")}), 0, "Done.")
    text = outputs(p)
    for part in ("ran\\na0\\nred", "Created src/new.txt", "made\\na1\\na.txt\\nnew.txt\\nrun.sh"):
        assert part in text, (part, text)
    same((p.dir / "results/out/r").read_text(), "result\n")
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "+a1" in diff and "deleted file" in diff, diff
    expect(p.call("apply", p.only_run()), 0, "new.txt")
    same((p.dir / "src/a.txt").read_text(), "a1\n")
    same(boxes(p), [])
    return p


@test
def an_agent_works_there_and_nothing_is_left():
    works(LOCAL)


@test
def a_program_that_moves_files_itself_is_asked_to():
    p = works(FULL)
    done = [json.loads(line)["do"] for line in (p.dir / "log").read_text().splitlines()]
    assert {"put", "get", "remove", "open", "destroy"} <= set(done), done
    assert "tar" not in (p.dir / "log").read_text()


@test
def the_demo_is_repaired_with_nothing_but_the_back_end_changed():
    p = place([])
    shutil.copytree(SOURCE / "demo", p.dir / "demo")
    agent = p.dir / "demo/agent.yaml"
    agent.write_text(agent.read_text() + f"sandbox: {{backend: 'exec:{LOCAL}'}}\n")
    done = expect(p.call("run", "demo/agent.yaml", "Find out why the tests fail, fix the code, and prove it.", ANY), 0)
    assert "22 passed, 0 failed" in done.stdout, done.stdout
    expect(p.call("apply", p.only_run()), 0, "Updated src/table.c")


@test
def every_line_is_of_the_schema_of_the_document():
    try:
        import jsonschema
    except ImportError:
        return "python3-jsonschema is not installed"
    schema = json.loads((SOURCE / "docs/exec-backend.schema.json").read_text())
    p = place([run_cmd(1, "echo x; seq 100000; exit 3"), step(2, exec_command={"cmd": "read x; echo got $x", "tty": True, "yield_time_ms": 300}),
               write_stdin(3),
               step(4, apply_patch=PATCH), END], BODY, {"pass": ["BODY"], "options": {"folder": "boxes"}, "limits": {"pids": 9}}, outputs=[{"path": "src/new.txt"}])
    p.env["BODY"] = f"os.execvp('sh', ['sh', '-c', 'cd {p.dir}; tee -a asked | {FULL} | tee -a said'])"
    expect(p.run(ANY), 0)
    expect(p.call("sandbox", "gc", "--backend", f"exec:{BODY}", "-o", 'pass=["BODY"]', "-o", 'options={"folder": "boxes"}'), 0)
    expect(sandbox_run(p, "no-such"), 127)
    for name, kind in [("asked", "request"), ("said", "answer")]:
        check = jsonschema.Draft202012Validator({**schema["$defs"][kind], "$defs": schema["$defs"]})
        lines = [json.loads(line) for line in (p.dir / name).read_text().splitlines()]
        for line in lines:
            errors = [e.message for e in check.iter_errors(line)]
            assert not errors, (str(line)[:300], errors)
        seen = {line.get("do", line.get("event", "error" if "error" in line else "ok")) for line in lines}
        want = {"hello", "open", "spawn", "write", "credit", "get", "put", "remove", "destroy", "list"} if kind == "request" else {"ok", "error", "output", "exit"}
        assert want <= seen, want - seen
        known = {k for row in schema["$defs"][kind]["oneOf"] for k in row["properties"]}
        same({k for line in lines for k in line} - known, set())


@test
def an_agent_works_on_another_machine_by_ssh():
    with server() as ssh:
        if ssh.missing:
            return ssh.missing
        p = place([run_cmd(1, "pwd; src/run.sh; sleep 100 & echo up"), step(2, apply_patch=PATCH), run_cmd(3, "cat src/a.txt; kill -9 $PPID $$"),
                   step(4, exec_command={"cmd": "read x; echo got $x", "tty": True, "yield_time_ms": 300}),
                   write_stdin(5), END],
                  SOURCE / "examples/exec/ssh.py", json.loads(ssh.url))
        expect(p.run(ANY), 0, "Done.")
        text = outputs(p)
        for part in ("home/sandboxes/sandbox-", "ran\\nup", "Created src/new.txt", "a1\\n", "got hey"):
            assert part in text, (part, text)
        same(list((ssh.dir / "home/sandboxes").iterdir()), [])
        # A host that would be an option of ssh starts nothing.
        for options in ({"host": "-oProxyCommand=touch hacked"}, {"host": "a b"}, {}):
            done = p.call("sandbox", "run", "--backend", f"exec:{SOURCE / 'examples/exec/ssh.py'}", "-o", "options=" + json.dumps(options), "--", "true")
            assert done.returncode and "expected [USER@]HOST" in done.stderr, (options, done.stderr)
        options = {"host": "nowhere.invalid", "config": "/dev/null"}
        done = p.call("sandbox", "run", "--backend", f"exec:{SOURCE / 'examples/exec/ssh.py'}", "-o", "options=" + json.dumps(options), "--", "true")
        assert done.returncode and "nowhere.invalid" in done.stderr, done.stderr


# ---- who may name one ----

@test
def an_agent_file_may_name_a_program_only_when_its_user_said_so():
    p = place([run_cmd(1, "echo one"), run_cmd(2, "echo two"), END], "./box.py",
              approvals=[{"tool": "exec_command", "match": "echo two", "do": "ask"}])
    shutil.copy(LOCAL, p.dir / "box.py")
    shutil.copy(LOCAL.parent / "sandbox_program.py", p.dir)
    settled(p.dir / "box.py")
    env = {"XDG_CONFIG_HOME": str(p.dir / "config")}
    os.makedirs(p.dir / "config")
    p.env.update(env)
    refused = expect(p.run(), 1, "caisson trust", "box.py", ANY).stderr
    assert "outside of any sandbox" in refused, refused
    same(p.call("runs", "--json").stdout.strip(), "[]")
    expect(p.call("trust", "src/a.txt"), 2, "no program")
    expect(p.call("trust", "box.py"), 0, f"exec:{(p.dir / 'box.py').resolve()}")
    expect(p.run(), 3)
    with open(p.dir / "box.py", "a") as f:
        f.write("# changed\n")
    settled(p.dir / "box.py")
    run = p.only_run()
    expect(p.call("approve", run, "--all"), 0)
    expect(p.call("resume", run), 1, "caisson trust")
    expect(p.call("resume", run, ANY), 0, "Done.")
    # What root installed has not been trusted by that.
    p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", "sandbox": {"backend": "exec:sh"}}))
    expect(p.run(), 1, "caisson trust /")


@test
def a_back_end_on_the_command_line_is_its_users_own_word():
    p = place([run_cmd(1, "cat src/a.txt >kept"), run_cmd(2, "cat kept; pwd"), END], sandbox={"backend": "local"},
              approvals=[{"tool": "exec_command", "match": "cat kept*", "do": "ask"}])
    expect(p.run(), 3)
    run = p.only_run()
    expect(p.call("approve", run, "--all"), 0)
    expect(p.call("resume", run, "--backend", f"exec:{LOCAL}"), 0, "Done.")
    assert re.search(r"a0\\n/tmp/sandbox-", json.dumps(json.loads(outputs(p)))) or "a0\\n" in outputs(p), outputs(p)
    assert "sandbox-" in outputs(p), outputs(p)


@test
def mistakes_in_a_file_have_their_line():
    for sandbox, says in [({"pas": ["X"]}, "sandbox.pas"), ({"options": ["x"]}, "sandbox.options"), ({"pass": "X"}, "sandbox.pass"),
                          ({"network": {"allow": ["example.com"]}}, "cannot hold"), ({"devices": ["fuse"]}, "devices")]:
        expect(place([END], sandbox=sandbox).run(ANY), 2, says)
    for sandbox, says in [({"pass": ["A=B"]}, "names of variables"), ({"rootfs": "image:x"}, "rootfs"),
                          ({"run_as": "eve"}, "run commands as another user"), ({"expose": [80]}, "ports"),
                          ({"limits": {"pids": 9}, "strict": True}, "pids is absent")]:
        done = place([END], sandbox=sandbox).run(ANY)
        assert done.returncode in (2, 6) and says in done.stderr, (sandbox, done.returncode, done.stderr)
    p = place([END], FULL, {"limits": {"pids": 9}, "strict": True})
    assert "soft" in p.run(ANY).stderr
    p = place([END])
    expect(p.call("sandbox", "run", "--backend", "exec:no-such", "--", "true"), 5, "no such program in PATH")
    expect(p.call("sandbox", "run", "--backend", "exec:", "--", "true"), 2, "exec:PROGRAM")


@test
def doctor_says_what_a_program_can():
    p = place([END])
    p.write("old", "")
    done = p.call("doctor", "--backend", f"exec:{FULL}")
    assert re.search(r"program\n  exec:.*there +full, at .*exec_full.py, terminal, limits, keep, pause, get, put, remove, sweep", done.stdout), done.stdout
    done = p.call("doctor", "--backend", "exec:./old")
    same((done.returncode, "no such program that can be executed" in done.stdout), (6, True))
    expect(p.call("doctor", "--backend", "jail"), 2, "exec:PROGRAM")


# ---- programs that do what they must not ----

BODY = SOURCE / "tests/fake/exec_body.py"


def bad(body):
    p = place([run_cmd(1, "true"), END], BODY, {"pass": ["BODY", "TOKEN", "MISSING"]})
    p.env["BODY"] = body
    return p


def sandbox_run(p, *command):
    return p.call("sandbox", "run", "--backend", f"exec:{BODY}", "-o", 'pass=["BODY"]', "--", *command)


@test
def what_a_program_must_not_say_ends_it_by_name():
    rows = [("print('hello')", "no JSON object"),
            ("print('[1]')", "no JSON object"),
            ("os.write(1, b'x' * (3 << 20))", "a line of more than"),
            ("say(id=77, ok={})", "request 77, which waits for no answer"),
            ("say(event='sing')", 'unknown event "sing"'),
            ("sys.stdin.readline(); say(id=1, ok=3); time.sleep(60)", "neither `ok` nor `error`"),
            ("sys.stdin.readline(); say(id=1, error={'code': 'tired'}); time.sleep(60)", 'unknown code "tired"'),
            ("sys.stdin.readline(); say(id=1, ok={'protocol': 9, 'name': 'x'}); time.sleep(60)", "protocol 9"),
            ("sys.stdin.readline(); say(id=1, ok={'protocol': 1}); time.sleep(60)", "no `name`"),
            ("sys.exit('out of \\x1b[31mpaint')", "ended with code 1; it said: out of"),
            ("os.close(1); time.sleep(60)", "closed its output"),
            ("os.kill(os.getpid(), 9)", "killed by signal 9"),
            ("serve(None, lambda r: {'root': 'tmp'})", "no absolute `root`"),
            ("serve(None, lambda r: {'root': '/tmp', 'state': 3})", "`state` is no object"),
            ("serve(lambda r: say(id=r['id'], error={'code': 'failed', 'message': 'a\\nb\\x1b[2J'}))", "it failed: a b [2J"),
            ("serve(lambda r: say(id=r['id'], error={'code': 'gone'}))", "the sandbox is gone"),
            ("serve(lambda r: (say(id=r['id'], ok={}), say(id=r['id'], ok={})))", "waits for no answer"),
            ("serve(lambda r: (say(id=r['id'], ok={}), say(event='output', of=r['id'], data='%%')))", "not base64"),
            ("serve(lambda r: (say(id=r['id'], ok={}), say(event='output', of=99, data='')))", "99, which is no stream"),
            ("serve(lambda r: (say(id=r['id'], ok={}), say(event='exit', of=r['id'], code=700)))", "cannot be"),
            ("serve(lambda r: (say(id=r['id'], ok={}), say(event='output', of=r['id'], data=b(b'x' * 300000)), time.sleep(60)))",
             "more output than it was given credit for"),
            ("serve(lambda r: (say(id=r['id'], ok={}), sys.exit(3)))", "ended with code 3")]
    for body, says in rows:
        p = bad(body)
        began = time.monotonic()
        done = sandbox_run(p, "sh")
        assert done.returncode in (2, 5, 6) and says in done.stderr, (body, done.returncode, done.stdout[-200:], done.stderr)
        assert "\x1b" not in done.stderr and time.monotonic() - began < 9, (body, done.stderr)


@test
def a_program_may_speak_byte_by_byte_and_after_its_command():
    p = bad("""
def say(**m):
    for c in json.dumps(m, indent=None).encode() + b"\\n":
        os.write(1, bytes([c]))
def spawn(r):
    say(id=r["id"], ok={"more": [1, {"x": None}]})
    say(event="output", of=r["id"], data=b(b"out\\n"))
    say(event="output", of=r["id"], stream=2, data=b(b"err\\n"))
    say(event="exit", of=r["id"], code=7)
serve(spawn)
""")
    done = expect(sandbox_run(p, "sh"), 7)
    same((done.stdout, done.stderr), ("out\n", "err\n"))


@test
def its_environment_is_small_and_what_it_says_is_logged_without_what_it_was_given():
    p = bad("""
sys.stderr.write("token is " + os.environ.get("TOKEN", "none") + "\\n" + "y" * 3000 + os.environ.get("TOKEN", "") + "\\n")
open("%s", "w").write(json.dumps(sorted(os.environ)))
serve(lambda r: (say(id=r["id"], ok={}), say(event="exit", of=r["id"], code=0)))
""")
    p.write("agent.yaml", json.dumps({k: v for k, v in json.loads((p.dir / "agent.yaml").read_text()).items() if k != "manifest"}))
    p.env["BODY"] %= p.dir / "env"
    p.env.update(TOKEN="hush-hush-hush", OTHER="secret", OPENAI_API_KEY="sk-none")
    done = expect(p.call("--log-level", "info", "run", "agent.yaml", "go", ANY), 0)
    seen = json.loads((p.dir / "env").read_text())
    assert "TOKEN" in seen and not {"OTHER", "OPENAI_API_KEY", "MISSING"} & set(seen), seen
    assert "token is [TOKEN]" in done.stderr and "hush" not in done.stderr and "y" * 400 in done.stderr, done.stderr
    for path in p.dir.rglob("*"):
        assert not path.is_file() or b"hush" not in path.read_bytes(), path


# ---- programs and harnesses that die ----

@test
def a_program_that_dies_is_a_sandbox_that_was_lost():
    p = place([run_cmd(1, "cd ..; rm -rf $PWD; kill -9 $PPID; sleep 5"), run_cmd(2, "cat src/a.txt; ls"), END])
    expect(p.run(ANY), 0, "Done.")
    text = outputs(p)
    assert "The sandbox was lost" in text and "a0\\nsrc" in text, text


@test
def one_that_can_find_it_again_goes_on_in_the_same():
    p = place([run_cmd(1, "echo made >made; kill -9 $PPID; sleep 5"), run_cmd(2, "cat made; ls"), END])
    agent = json.loads((p.dir / "agent.yaml").read_text())
    agent["sandbox"]["options"] = {"folder": str(p.dir / "boxes")}
    p.write("agent.yaml", json.dumps(agent))
    expect(p.run(ANY), 0, "Done.")
    assert "made\\nmade\\nsrc" in outputs(p), outputs(p)
    same(boxes(p), [])


@test
def a_harness_killed_while_a_command_runs_goes_on_or_leaves_it_to_gc():
    p = place([run_cmd(1, "echo up >up; sleep 300"), END])
    agent = json.loads((p.dir / "agent.yaml").read_text())
    agent["sandbox"]["options"] = {"folder": str(p.dir / "boxes")}
    p.write("agent.yaml", json.dumps(agent))
    first = p.start("run", "agent.yaml", "go", ANY)
    until(lambda: any((p.dir / "boxes").glob("*/workspace/up")))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    gc = ["sandbox", "gc", "--backend", f"exec:{LOCAL}", "-o", "options=" + json.dumps({"folder": str(p.dir / "boxes")})]
    for box in (p.dir / "boxes").iterdir():
        os.utime(box / "label", (1, 1))  # not one that may just be made
    expect(p.call(*gc), 0, "0 sandboxes removed")
    same(len(boxes(p)), 1)
    expect(p.call("runs", "rm", p.only_run()), 0)
    expect(p.call(*gc), 0, "1 sandboxes removed")
    same(boxes(p), [])


@test
def one_with_a_name_stays_and_rests_where_the_program_can():
    p = place([END])
    options = "options=" + json.dumps({"folder": str(p.dir / "boxes")})
    near = os.path.relpath(FULL, p.dir)
    expect(p.call("sandbox", "create", "box", "--backend", f"exec:{near}", "-o", options), 0)
    expect(p.call("sandbox", "exec", "box", "--", "sh", "-c", "echo hi >f"), 0)
    expect(p.call("sandbox", "cp", "box:f", "out", cwd=p.dir / "src", env={"CAISSON_STATE": str(p.dir / ".caisson")}), 0)
    same((p.dir / "src/out").read_text(), "hi\n")
    expect(p.call("sandbox", "pause", "box"), 0)
    expect(p.call("sandbox", "resume", "box"), 0)
    expect(p.call("sandbox", "rm", "box"), 0)
    same(boxes(p), [])


@test
def a_program_that_does_not_end_is_ended():
    p = bad("""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    serve(lambda r: (say(id=r["id"], ok={}), say(event="exit", of=r["id"], code=0)))
finally:
    time.sleep(600)
""")
    began = time.monotonic()
    expect(sandbox_run(p, "true"), 0)
    assert time.monotonic() - began < 9


sys.exit(finish())
