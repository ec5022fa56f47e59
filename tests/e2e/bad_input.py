#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: for each kind a clear message or an item for the model, the
documented exit status, nothing lost and no process left behind. Prints TAP.

usage: bad_input.py CAISSON

The model is a small server in this file; the name of the model says what it does."""
import concurrent.futures, http.server, json, os, pathlib, shutil, signal, subprocess, sys, tempfile
import threading, time

caisson = os.path.abspath(sys.argv[1])
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-bad-"))
requests = []  # (model, body) of every request, in order
lock = threading.Lock()


def message(text):
    return {"type": "message", "id": "m1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}


def call(name, arguments, kind="function_call"):
    key = "arguments" if kind == "function_call" else "input"
    return {"type": kind, "id": "f1", "call_id": "c1", "name": name, key: arguments, "status": "completed"}


def completed(items):
    return {"id": "r1", "object": "response", "status": "completed", "output": items,
            "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                      "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}}


def sse(items):
    out = ""
    for i, item in enumerate(items):
        out += "event: response.output_item.done\ndata: " + json.dumps(
            {"type": "response.output_item.done", "output_index": i, "item": item}) + "\n\n"
    return (out + "event: response.completed\ndata: " + json.dumps(
        {"type": "response.completed", "response": completed(items)}) + "\n\n").encode()


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body, kind="application/json", headers=(), cut=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"]
        with lock:
            requests.append((model, body))
            nth = sum(m == model for m, _ in requests)
        outputs = [i for i in body["input"] if i.get("type", "").endswith("_output")]
        quick = [("retry-after-ms", "1")]
        verb, _, rest = model.partition(":")
        if verb == "status":
            self.reply(int(rest), json.dumps({"error": {"message": f"the server says {rest}"}}).encode(), headers=quick)
        elif verb == "flaky" and nth == 1:
            self.reply(int(rest), b'{"error":{"message":"later"}}', headers=quick)
        elif verb == "cut" and nth == 1:
            data = sse([message("hello")])
            self.reply(200, data, "text/event-stream", cut=len(data) // 2)
        elif verb == "twins":
            both = [call("exec_command", json.dumps({"cmd": f"echo {n}"})) for n in ("one", "two")]
            self.reply(200, sse(both), "text/event-stream", headers=quick)
        elif verb == "garbage":
            self.reply(200, b'{"output": [{{{', headers=quick)
        elif verb == "page":
            self.reply(200, b"<html>welcome to the proxy</html>", "text/html", headers=quick)
        elif verb == "hang":
            time.sleep(float(rest))
            self.close_connection = True
        elif verb == "call" and not outputs:
            name, _, args = rest.partition(" ")
            self.reply(200, sse([call(name, args)]), "text/event-stream")
        elif verb == "patch" and not outputs:
            self.reply(200, sse([call("apply_patch", rest, "custom_tool_call")]), "text/event-stream")
        else:
            last = outputs[-1]["output"] if outputs else ""
            self.reply(200, sse([message("I saw: " + last)]), "text/event-stream")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that went away is part of the tests


server = Server(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "CAISSON"))}
KEYED = {**ENV, "OPENAI_API_KEY": "sk-test-0123456789", "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1"}
tests = []


def test(fn):
    tests.append(fn)
    return fn


class Place:
    """A folder of its own with an agent file."""

    def __init__(self, agent=None, text=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=WORK))
        agent = {"name": "a", "capabilities": [], **(agent or {})}
        (self.dir / "agent.yaml").write_text(text if text is not None else json.dumps(agent))

    def run(self, *args, env=KEYED, agent="agent.yaml", task="go"):
        return subprocess.run([caisson, "run", agent, task, *args], cwd=self.dir, env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    def start(self, *args):
        return subprocess.Popen([caisson, "run", "agent.yaml", "go", *args], cwd=self.dir, env=KEYED,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def command(self, *args):
        return subprocess.run([caisson, *args], cwd=self.dir, env=KEYED, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)

    def only_run(self):
        return json.loads(self.command("runs", "--json").stdout)[0]


def expect(done, code, *texts):
    said = done.stdout + done.stderr
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {said}"
    for t in texts:
        assert t in said, f"expected {t!r} in: {said}"
    assert "sk-test" not in said, f"the key was printed: {said}"


def model(name, **more):
    return Place({"model": "openai/" + name, **more})


@test
def malformed_yaml():
    expect(Place(text="name: a\nmodel: [unclosed\n").run(), 2, "agent.yaml:")


@test
def unknown_key():
    expect(Place(text="name: a\nmodle: x\n").run(), 2, "agent.yaml:2", "modle")


@test
def wrong_type():
    expect(Place(text="name: a\nlimits: {turns: many}\n").run(), 2, "agent.yaml:2", "turns")


@test
def missing_file():
    expect(Place().run(agent="nothing.yaml"), 2, "nothing.yaml", "caisson init")


@test
def missing_key():
    expect(model("x").run(env=ENV), 2, "OPENAI_API_KEY")


@test
def missing_model():
    expect(Place().run(), 2, "--model")


@test
def statuses_that_stay_are_told_at_once():
    for status in (400, 401, 404):
        name = f"status:{status}"
        expect(model(name).run(), 5, f"the server says {status}")
        assert sum(m == name for m, _ in requests) == 1, "it was tried again"


@test
def statuses_that_may_pass_are_tried_again():
    for status in (429, 500, 503):
        expect(model(f"flaky:{status}").run(), 0, "I saw")
        name = f"status:{status}"
        expect(model(name).run(), 5, f"the server says {status}")
        assert sum(m == name for m, _ in requests) == 4, "expected four attempts"


@test
def a_model_that_does_not_answer():
    p = Place({"model": "slow/hang:3"})
    (p.dir / "caisson.yaml").write_text(json.dumps({"providers": {"slow": {
        "api": "responses", "base_url": KEYED["OPENAI_BASE_URL"], "timeout": 1}}}))
    done = p.run()
    expect(done, 5)
    assert "timed out" in done.stderr or "time-out" in done.stderr or "timeout" in done.stderr, done.stderr


@test
def nobody_listens():
    env = {**KEYED, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    expect(model("x").run(env=env), 5, "127.0.0.1")


@test
def a_connection_cut_inside_an_event():
    expect(model("cut:").run(), 0, "I saw")


@test
def garbage_instead_of_json():
    expect(model("garbage:").run(), 5)
    expect(model("page:").run(), 5)


@test
def two_calls_with_one_id_are_refused():
    expect(model("twins:", capabilities=["shell"], sandbox={"backend": "local"}).run(), 5, "have the same id")
    assert sum(m == "twins:" for m, _ in requests) == 4, "expected four attempts"


@test
def an_unknown_tool_is_an_item_for_the_model():
    expect(model("call:fly {}").run(), 0, "Tool 'fly' not found")


@test
def invalid_arguments_are_an_item_for_the_model():
    box = {"capabilities": ["shell", "filesystem"], "sandbox": {"backend": "local"}}
    expect(model("call:exec_command {oops", **box).run(), 0, "Invalid JSON input for tool exec_command")
    done = model('call:exec_command {"command": "ls"}', **box).run()
    expect(done, 0, "cmd")
    for args in ("[]", "1", '"x"', "null"):
        expect(model(f"call:exec_command {args}", **box).run(), 0, "Invalid JSON input for tool exec_command: the arguments must be")
    cat = {"tools": [{"name": "t", "schema": {"properties": {}}, "command": ["cat"]}], "sandbox": {"backend": "local"}}
    expect(model("call:t ", **cat).run(), 0, "I saw: {}")


@test
def a_patch_that_does_not_apply_is_an_item_for_the_model():
    box = {"capabilities": ["filesystem"], "sandbox": {"backend": "local"}}
    expect(model("patch:*** Begin Patch\n*** Delete File: no.txt\n*** End Patch", **box).run(), 0, "no.txt")
    expect(model("patch:hello", **box).run(), 0, "*** Begin Patch")
    expect(model("patch:*** Begin Patch\n*** Add File: ../out.txt\n+x\n*** End Patch", **box).run(), 0, "out.txt")


@test
def a_patch_through_a_link_out_of_the_workspace_is_refused():
    p = model("patch:*** Begin Patch\n*** Add File: src/out/x.txt\n+x\n*** End Patch",
              capabilities=["filesystem"], sandbox={"backend": "local"},
              manifest={"entries": {"src": {"type": "local_dir", "src": "src"}}})
    (p.dir / "src").mkdir()
    (p.dir / "elsewhere").mkdir()
    (p.dir / "src/out").symlink_to(p.dir / "elsewhere")
    done = p.run()
    assert done.returncode in (0, 6), done.stderr
    assert "out" in done.stdout + done.stderr
    assert not list((p.dir / "elsewhere").iterdir()), "a file was written outside"


@test
def a_manifest_path_that_leads_out():
    p = model("echo", manifest={"entries": {"../x": {"type": "file", "content": "x"}}})
    expect(p.run(), 2, "..")


@test
def a_full_disk():
    if os.geteuid() != 0:
        return "needs root to mount a small file system"
    p = model("echo")
    small = p.dir / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True).returncode:
        return "no tmpfs can be mounted here"
    try:
        done = subprocess.run([caisson, "--state", str(small / "state"), "run", "agent.yaml", "go"], cwd=p.dir,
                              env=KEYED, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, (done.returncode, done.stderr)
        said = done.stderr.lower()
        assert "full" in said or "no space" in said, done.stderr
    finally:
        subprocess.run(["umount", small])


def children_with(mark):
    out = []
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                if mark in (p / "cmdline").read_bytes().decode(errors="replace"):
                    out.append(p.name)
            except OSError:
                pass
    return out


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return got


def sleeper(kind):
    mark = f"31{os.getpid() % 1000:03d}{kind}"
    p = model('call:exec_command {"cmd": "sleep %s"}' % mark, capabilities=["shell"], sandbox={"backend": "local"})
    run = p.start()
    until(lambda: children_with(f"sleep\0{mark}"))
    return p, run, f"sleep\0{mark}"


@test
def ctrl_c_stops_a_run_that_can_be_resumed():
    p, run, mark = sleeper(1)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130, (run.returncode, said)
    assert "caisson resume" in said, said
    until(lambda: not children_with(mark))
    assert p.only_run()["state"] == "interrupted"
    done = p.command("resume", p.only_run()["id"])
    expect(done, 0, "unknown")


@test
def kill_9_leaves_no_process_and_a_run_that_can_be_resumed():
    p, run, mark = sleeper(2)
    run.kill()
    run.communicate(timeout=30)
    until(lambda: not children_with(mark))
    assert p.only_run()["state"] == "interrupted"
    expect(p.command("resume", p.only_run()["id"]), 0, "unknown")
    assert p.only_run()["state"] == "done"


@test
def an_unknown_run():
    p = model("echo")
    expect(p.run(), 0)
    expect(p.command("resume", "zzzz"), 2, "zzzz")
    expect(p.command("show", "zzzz"), 2, "zzzz")


def outcome(t):
    try:
        return True, t()
    except Exception as e:  # every test is to be run
        return False, f"{type(e).__name__}: {e}"


failed = 0
print(f"1..{len(tests)}")
with concurrent.futures.ThreadPoolExecutor(6) as pool:  # most of them wait
    for i, (t, (ok, said)) in enumerate(zip(tests, pool.map(outcome, tests)), 1):
        name = t.__name__.replace("_", " ")
        failed += not ok
        if ok:
            print(f"ok {i} - {name}" + (f" # SKIP {said}" if said else ""), flush=True)
        else:
            print(f"not ok {i} - {name}\n# " + said.replace("\n", "\n# "), flush=True)
server.shutdown()
shutil.rmtree(WORK, ignore_errors=True)
sys.exit(failed > 0)
