#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs in a jail with a network policy: each reaches the host that is listed, by its name, and no other; and
a secret is where it is sent and nowhere else. The hosts are servers on loopback. Prints TAP.

usage: network.py CAISSON"""
import base64, hashlib, pathlib, socket, sqlite3, subprocess
from hosts import *


@test
def curl_reaches_a_listed_host_and_no_other():
    return reaches("command -v curl", f"curl -sS {url(OK, '/hello')}", f"curl -sS -m 20 {url(EVIL, '/hello')}", "hello")


@test
def curl_without_the_proxy_is_judged_as_well():
    return reaches("command -v curl", f"curl -sS --noproxy '*' {url(OK, '/hello')}",
                   f"curl -sS -m 20 --noproxy '*' {url(EVIL, '/hello')}", "hello")


@test
def pip_installs_a_wheel():
    def install(host):
        return (f"python3 -m pip install -q --no-cache-dir --disable-pip-version-check --retries 0 --target /tmp/t "
                f"--index-url {url(host, '/simple')} demo && PYTHONPATH=/tmp/t python3 -c 'import demo; print(demo.answer)'")
    return reaches("python3 -m pip --version", install(OK), install(EVIL), "42")


@test
def npm_installs_a_package():
    def install(host):
        return (f"mkdir /tmp/n && cd /tmp/n && npm install --silent --no-audit --no-fund --fetch-retries=0 "
                f"--registry={url(host, '/')} demo && node -e 'console.log(require(\"demo\"))'")
    return reaches("command -v npm", install(OK), install(EVIL), "42")


@test
def git_clones_over_https():
    def clone(host):
        return f"git clone -q {url(host, '/repo.git')} /tmp/r && cat /tmp/r/hello.txt"
    return reaches("command -v git", clone(OK), clone(EVIL), "hello from the repository")


@test
def a_program_that_knows_of_no_proxy_reaches_it_by_name():
    def talk(host):
        return (f"env -i PATH=$PATH python3 -c 'import socket, ssl; c = ssl.create_default_context(); "
                f"s = c.wrap_socket(socket.create_connection((\"{host}\", {hosts.port}), 20), server_hostname=\"{host}\"); "
                f"s.sendall(b\"GET /hello HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n\"); print(s.makefile().read())'")
    return reaches("command -v python3", talk(OK), talk(EVIL), "hello")


@test
def ssh_reaches_it_by_name():
    def shake(host):
        return (f"ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=20 -p {hosts.plain_port} {host} 2>&1"
                " | grep -q 'caisson\\|closed\\|reset\\|kex' && echo talked")
    why = missing()
    if why or sandbox("sh", "-c", "command -v ssh").returncode:
        return why or "no ssh on this machine"
    expect(sandbox("sh", "-c", shake(OK)), 0, "talked")
    until(lambda: any(b"SSH-2.0-" in s for s in hosts.said))
    before = len(hosts.said)
    done = sandbox("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-p", str(hosts.plain_port), EVIL)
    assert done.returncode != 0 and "resolve" in done.stderr, done.stderr
    same(len(hosts.said), before)


@test
def private_addresses_and_other_ports_are_refused():
    if why := missing():
        return why
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    other.settimeout(0.2)
    for command in (f"exec 3<>/dev/tcp/127.0.0.1/{port}", f"exec 3<>/dev/tcp/{OK}/{port}",
                    f"curl -sS -m 20 -f http://127.0.0.1:{port}/", f"curl -sS -m 20 -f http://{OK}:{port}/",
                    "curl -sS -m 20 -f http://169.254.169.254/latest/meta-data/"):
        done = sandbox("bash", "-c", command)
        assert done.returncode != 0, command
    try:
        other.accept()
        raise AssertionError("somebody came through")
    except socket.timeout:
        pass


# ---- secrets ----

FORMS = [SECRET.encode(), SECRET[:16].encode(), SECRET.encode().hex().encode(), SECRET.encode().hex().upper().encode(),
         "".join(f"%{c:02x}" for c in SECRET.encode()).encode(), SECRET[::-1].encode(), SECRET.encode("utf-16-le")]
FORMS += [base64.b64encode(b"u:x"[:n] + SECRET.encode())[4 * (n > 0):-4] for n in range(3)]  # wherever it begins


def holds(data):
    return any(form in data for form in FORMS)


def processes_of_jail(word):
    """Every process that shares a process namespace with one whose command line has the word; not ours."""
    spaces = {}
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            spaces[p] = os.readlink(p / "ns/pid")
        except OSError:
            pass
    mine = os.readlink("/proc/self/ns/pid")
    inside = {s for p, s in spaces.items() if s != mine and word.encode() in read(p / "cmdline")}
    return [p for p, s in spaces.items() if s in inside]


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def memory_of(process):
    out = []
    try:
        with open(process / "mem", "rb", buffering=0) as mem:
            for line in (process / "maps").read_text().splitlines():
                where, rights = line.split()[:2]
                start, end = (int(x, 16) for x in where.split("-"))
                if rights.startswith("r") and "[v" not in line and end - start < 1 << 28:
                    try:
                        mem.seek(start)
                        out.append(mem.read(end - start))
                    except OSError:
                        pass
    except OSError:
        return None
    return b"".join(out)


def program_of(process):
    try:
        return os.path.realpath(os.readlink(process / "exe"))
    except OSError:
        return ""


def files_of_jail(processes):
    """How many files were read that a process of the jail sees and can write, beside devices and /proc."""
    looked = 0
    for process in processes:
        for top in "tmp", "run", "etc", "home", "root", "var/tmp", "dev/shm", "workspace":
            for folder, _, names in os.walk(process / "root" / top):
                for path in (pathlib.Path(folder, n) for n in names):
                    if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24:
                        looked += 1
                        assert not holds(read(path)), f"in {path}"
    return looked


def new_files(since):
    """What was written of late where programs put what they need for a moment."""
    for top in "/dev/shm", "/tmp", "/var/tmp", os.environ.get("XDG_RUNTIME_DIR", "/run/user"):
        for folder, folders, names in os.walk(top):
            if folder.count("/") > 4:
                folders.clear()
            for path in (pathlib.Path(folder, n) for n in names):
                try:
                    if path.is_file() and path.stat().st_mtime >= since and path.stat().st_size < 1 << 24:
                        yield path
                except OSError:
                    pass


def agent(*commands, **more):
    rules = [{"name": f"r{i}", "when": {"turn": i + 1}, "reply": [{"exec_command": {"cmd": c, "yield_time_ms": 30000}}]}
             for i, c in enumerate(commands)]
    rules.append({"name": "end", "reply": "done"})
    box = {"backend": "jail",
           "network": {"allow": [{"host": h, "ports": [hosts.port]} for h in (OK, API)],
                       "resolve": {h: "127.0.0.1" for h in (OK, EVIL, API)},
                       "allow_private": [f"127.0.0.1:{hosts.port}"], "extra_roots": str(WORK / "ca.pem")},
           "secrets": [{"name": "TOKEN", "from_env": "MY_TOKEN", "hosts": [API], **more}]}
    return Place({"capabilities": ["shell"], "sandbox": box}, rules)


@test
def a_secret_is_in_the_request_of_its_host_and_nowhere_else():
    if why := missing():
        return why
    began = time.time()
    p = agent(f"curl -sS -H \"X-Key: $TOKEN\" '{url(API, '/hold')}' > reply.txt; cat reply.txt; env; set; cat /proc/*/environ",
              f"curl -sS -H \"X-Other: $TOKEN\" '{url(OK, '/echo')}'; curl -sS -u \"u:$TOKEN\" '{url(API, '/echo')}'")
    run = subprocess.Popen([caisson, "run", "agent.yaml", "go", "--json", "--log-level", "debug", "--log-file", "log"],
                           cwd=p.dir, env={**p.env, "MY_TOKEN": SECRET}, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        until(hosts.held.is_set, 60)
        inside = processes_of_jail("/hold")
        assert inside, "no process of the jail was found"
        seen = 0
        for process in inside:
            assert not holds(read(process / "environ") + read(process / "cmdline")), process
            memory = memory_of(process)
            if memory is not None:
                seen += 1
                assert not holds(memory), f"in the memory of {read(process / 'cmdline')}"
                assert b"csn-secret-" in memory or b"caisson" in read(process / "comm"), "this search finds nothing"
        assert seen or os.getuid() != 0, "no memory could be read"
        looked = files_of_jail(inside)
        assert looked or os.getuid() != 0, "no file of the jail could be read"
        for process in pathlib.Path("/proc").glob("[0-9]*"):  # of this machine, the egress process among them
            if program_of(process) not in map(os.path.realpath, (caisson, sys.executable)):  # but harnesses, whose environment has it
                assert not holds(read(process / "cmdline") + read(process / "environ")), read(process / "cmdline")
        for path in new_files(began):
            assert not holds(read(path)), f"in {path}"
    finally:
        hosts.release.set()
        out = run.communicate(timeout=120)[0]
    assert run.returncode == 0, out
    asked = [h for h in hosts.heads if "GET /hold" in h]
    assert len(asked) == 1 and f"X-Key: {SECRET}" in asked[0], asked
    basic = base64.b64encode(b"u:" + SECRET.encode()).decode()
    assert any("GET /echo" in h and basic in h for h in hosts.heads), hosts.heads
    assert not any(f"Host: {OK}" in h and holds(h.encode()) for h in hosts.heads)
    assert not holds(out), "in what the run printed"
    assert b"X-Key" in out and b"csn-secret-" in out, out
    for path in p.dir.rglob("*"):
        if path.is_file():
            assert not holds(path.read_bytes()), f"in {path}"
    database = sqlite3.connect(p.dir / ".caisson/caisson.db")
    for (data,) in database.execute("SELECT data FROM record"):
        assert not holds(str(data).encode()), data


@test
def a_header_form_needs_no_placeholder():
    if why := missing():
        return why
    p = agent(f"curl -sS -H 'Authorization: mine' '{url(API, '/echo?header')}'", header="Authorization: Bearer {}")
    expect(p.run(env={"MY_TOKEN": SECRET}), 0)
    heads = [h for h in hosts.heads if "/echo?header" in h]
    assert len(heads) == 1 and f"Authorization: Bearer {SECRET}" in heads[0] and "mine" not in heads[0], heads


@test
def a_secret_that_is_not_there_is_named_before_the_run_begins():
    if why := missing():
        return why
    p = agent("true")
    expect(p.run(), 2, "secret TOKEN: the environment variable MY_TOKEN is not set")
    same(p.call("runs", "--json").stdout.strip(), "[]")


@test
def a_resumed_run_reads_its_secrets_again():
    if why := missing():
        return why
    p = agent("while :; do sleep 0.1; done", f"curl -sS -H \"X-Key: $TOKEN\" '{url(API, '/echo?resumed')}'")
    run = subprocess.Popen([caisson, "run", "agent.yaml", "go", "--json"], cwd=p.dir, env={**p.env, "MY_TOKEN": SECRET},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in run.stdout:
        if json.loads(line)["type"] == "tool_call":
            break
    run.terminate()
    run.communicate(timeout=60)
    same(run.returncode, 130)
    id = p.only_run()
    expect(p.call("resume", id), 2, "secret TOKEN: the environment variable MY_TOKEN is not set")
    expect(p.call("resume", id, env={"MY_TOKEN": SECRET + "-new"}), 0)
    heads = [h for h in hosts.heads if "/echo?resumed" in h]
    assert len(heads) == 1 and f"X-Key: {SECRET}-new" in heads[0], heads
    for path in p.dir.rglob("*"):
        assert not path.is_file() or not holds(path.read_bytes()), f"in {path}"


@test
def what_a_tool_returns_is_searched_for_secrets():
    if why := missing():
        return why
    p = agent("printf %s \"$A$B\"; printf %s \"$A$B\" | base64")
    text = json.loads((p.dir / "agent.yaml").read_text())
    text["sandbox"]["environment"] = {"A": SECRET[:9], "B": SECRET[9:]}  # as if it had come in after all
    p.write("agent.yaml", json.dumps(text))
    expect(p.run(env={"MY_TOKEN": SECRET}), 0)
    outputs = [r["data"]["items"][0]["output"] for r in p.records() if r["kind"] == "tool_returned"]
    assert len(outputs) == 1 and outputs[0].count("[secret:TOKEN]") == 2 and not holds(outputs[0].encode()), outputs


@test
def a_secret_is_found_where_output_is_cut_and_where_calls_part_it():
    if why := missing():
        return why
    part = "printf 'from here %s' \"$A\"; touch half; while [ ! -e go ]; do sleep 0.02; done; printf '%s to there' \"$B\""
    p = agent()
    text = json.loads((p.dir / "agent.yaml").read_text())
    text["sandbox"]["environment"] = {"A": SECRET[:9], "B": SECRET[9:]}
    p.write("agent.yaml", json.dumps(text))
    flood = {"cmd": 'yes "$A$B" | head -n 7000', "max_output_tokens": 1003}
    p.write("book.yaml", json.dumps({"rules": [
        {"name": "half", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": part, "yield_time_ms": 250}}]},
        {"name": "rest", "when": {"turn": 2}, "reply": [{"write_stdin": {"session_id": "${session}", "chars": ""}}]},
        {"name": "flood", "when": {"turn": 3}, "reply": [{"exec_command": flood}]}, {"name": "end", "reply": "done"}]}))
    run = subprocess.Popen([caisson, "run", "agent.yaml", "go"], cwd=p.dir, env={**p.env, "MY_TOKEN": SECRET},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def returned():
        try:
            return [r["data"]["items"][0]["output"] for r in p.records() if r["kind"] == "tool_returned"]
        except AssertionError:
            return []
    until(returned)
    (p.workspace() / "go").write_text("")
    run.communicate(timeout=120)
    first, second, flooded = (o.split("Output:\n", 1)[1] for o in returned())
    same(first, "from here ")
    same(second, "[secret:TOKEN] to there")
    assert "tokens truncated" in flooded and flooded.count("[secret:TOKEN]") > 100, flooded[:200]
    for piece in flooded.replace("\u2026", "\n").splitlines():
        assert SECRET[:5] not in piece and SECRET[-5:] not in piece, piece


@test
def connections_are_notes_and_show_prints_them():
    if why := missing():
        return why
    p = agent(f"curl -sS {url(OK, '/hello')}; curl -sS {url(EVIL, '/hello')}; curl -sS -H \"K: $TOKEN\" {url(API, '/hello')}")
    expect(p.run(env={"MY_TOKEN": SECRET}), 0)
    lines = lines_of(expect(p.call("show", p.only_run(), "--network", "--json"), 0).stdout)
    by = {n["network"].get("host"): n["network"] for n in lines}
    same((by[OK]["verdict"], by[OK]["port"]), ("allowed", hosts.port))
    same(by[EVIL]["verdict"], "refused")
    same((by[API]["verdict"], by[API]["secret"]), ("allowed", ["TOKEN"]))
    assert by[OK]["down"] > 5 and by[OK]["up"] > 5 and by[EVIL]["reason"], by
    notes = [r for r in p.records() if r["kind"] == "note"]
    same(len([n for n in notes if n["data"]["note"] == "network"]), len(lines))
    table = expect(p.call("show", p.only_run(), "--network"), 0).stdout
    for text in f"{OK}:{hosts.port}", f"{EVIL}:{hosts.port}", "refused", "allowed", "[TOKEN]":
        assert text in table, table


# ---- ports ----

SERVER = "cd /tmp && head -c 3000000 /dev/urandom >big && sha256sum big && exec python3 -um http.server --bind 127.0.0.1"


@test
def a_server_in_the_sandbox_is_reached_at_the_port_that_is_told():
    if why := missing():
        return why
    p = subprocess.Popen([caisson, "sandbox", "run", "--expose", "8000", "--", "sh", "-c", f"({SERVER} 8000 & {SERVER} 8001)"],
                         env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        port = port_told(p)
        sums = p.stdout.readline().split()[0], p.stdout.readline().split()[0]
        head, body = fetch_when_it_listens(port, "/big").split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.0 200") and hashlib.sha256(body).hexdigest() in sums, head
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            for got in pool.map(lambda _: fetch(port), range(80)):
                assert got.startswith(b"HTTP/1.0 200"), got
        for other in 8000, 8001:  # nothing of it is opened on this machine by itself
            try:
                fetch(other)
                assert other == port, f"{other} is reachable"
            except ConnectionRefusedError:
                pass
    finally:
        p.terminate()
        p.communicate(timeout=30)
    try:
        fetch(port)
        raise AssertionError("the port outlived the sandbox")
    except ConnectionRefusedError:
        pass


@test
def a_run_tells_the_ports_that_its_agent_exposes():
    if why := missing():
        return why
    p = Place({"capabilities": ["shell"], "sandbox": {"backend": "jail", "expose": [8000]}},
              [{"name": "serve", "when": {"turn": 1},
                "reply": [{"exec_command": {"cmd": f"({SERVER} 8000 & while [ ! -e stop ]; do sleep 0.05; done)",
                                            "yield_time_ms": 30000}}]}, {"name": "end", "reply": "done"}])
    run = p.start("run", "agent.yaml", "go")
    try:
        assert fetch_when_it_listens(port_told(run)).startswith(b"HTTP/1.0 200")
        (p.workspace() / "stop").write_text("")
        run.communicate(timeout=60)
    finally:
        run.kill()
    same(run.returncode, 0)


@test
def another_process_finds_the_ports_of_a_run_and_opens_more():
    if why := missing():
        return why
    p = Place({"capabilities": ["shell"], "sandbox": {"backend": "jail", "expose": [8000, 8001]}},
              [{"name": "serve", "when": {"turn": 1},
                "reply": [{"exec_command": {"cmd": f"({SERVER} 8000 & while [ ! -e stop ]; do sleep 0.05; done)",
                                            "yield_time_ms": 30000}}]}, {"name": "end", "reply": "done"}])
    expect(p.call("sandbox", "port"), 0, "no sandbox that runs exposes a port")
    run, more = p.start("run", "agent.yaml", "go"), None
    try:
        told = port_told(run)
        run_id = p.runs()[0]["id"]
        ports = json.loads(expect(p.call("sandbox", "port", "--json"), 0).stdout)
        same([(x["sandbox"], x["port"]) for x in ports], [(run_id, 8000), (run_id, 8001)])
        same(ports[0]["pid"], run.pid)
        same(expect(p.call("sandbox", "port", run_id, "8000"), 0).stdout, f"127.0.0.1:{told}\n")
        assert f"127.0.0.1:{told}\n" in expect(p.call("sandbox", "port", run_id[:-2]), 0).stdout
        expect(p.call("sandbox", "port", run_id, "8002"), 2, "does not expose port 8002")
        expect(p.call("sandbox", "port", "nobody"), 2, "no sandbox of \"nobody\"")
        expect(p.call("sandbox", "port", run_id, "x:8000"), 2, "should be [HERE:]PORT")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            here = s.getsockname()[1]
        more = p.start("sandbox", "port", run_id, f"{here}:8000", "--json")
        same(json.loads(more.stdout.readline())["host_port"], here)
        head, body = fetch_when_it_listens(here, "/big").split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.0 200") and len(body) == 3000000, head
        (p.workspace() / "stop").write_text("")
        run.communicate(timeout=60)
        said = more.communicate(timeout=30)
        same((more.returncode, said), (0, (said[0], said[1])))
    finally:
        run.kill()
        if more:
            more.kill()
    same(json.loads(expect(p.call("sandbox", "port", "--json"), 0).stdout), [])
    same(list((p.dir / ".caisson/ports").iterdir()), [])


@test
def ports_of_a_process_that_was_killed_are_told_no_longer():
    if why := missing():
        return why
    p = Place({"model": "script:book.yaml"}, [{"name": "end", "reply": "done"}])
    p.run()  # for a state folder
    s = p.start("sandbox", "run", "--expose", "8000", "--", "sleep", "60")
    try:
        port = port_told(s)
        same(expect(p.call("sandbox", "port", f"sandbox-{s.pid}", "8000"), 0).stdout, f"127.0.0.1:{port}\n")
        same(len(list((p.dir / ".caisson/ports").iterdir())), 1)
    finally:
        s.kill()
        s.communicate(timeout=30)
    same(json.loads(expect(p.call("sandbox", "port", "--json"), 0).stdout), [])
    same(list((p.dir / ".caisson/ports").iterdir()), [])


@test
def a_server_fetched_through_the_same_sandbox_that_has_a_network():
    if why := missing():
        return why
    words = ["sandbox", "run", "--expose", "8000", "--network", f"allow:{OK}:{hosts.port}"]
    p = subprocess.Popen([caisson, *words, "--", "sh", "-c", f"{SERVER} 8000"], env=ENV, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert fetch_when_it_listens(port_told(p)).startswith(b"HTTP/1.0 200")
    finally:
        p.terminate()
        p.communicate(timeout=30)


@test
def a_policy_is_read_strictly():
    for network, secrets, wanted in [
            ({"allow": ["*"]}, None, "\"*\" is no host"), ({"allow": []}, None, "empty"),
            ({"allow": ["127.0.0.1"]}, None, "loopback"), ({"deny": []}, None, "unknown key network.deny"),
            ("some", None, "none, open or"), ({"allow": ["a.test:0"]}, None, "neither HOST nor HOST:PORT"),
            ({"allow": [{"host": "a.test", "ports": [70000]}]}, None, "from 1 to 65535"),
            ("none", [{"name": "T", "from_env": "E", "hosts": ["a.test"]}], "nowhere to go"),
            ({"allow": ["a.test"]}, [{"name": "T", "from_env": "E", "hosts": ["b.test"]}], "does not allow its host b.test"),
            ({"allow": ["a.test"]}, [{"name": "T", "hosts": ["a.test"]}], "one of from_env and from_file"),
            ({"allow": ["a.test"]}, [{"name": "T", "value": "x"}], "unknown key secrets.value")]:
        box = {"network": network, **({"secrets": secrets} if secrets else {})}
        p = Place({"sandbox": box}, [{"name": "r", "reply": "done"}])
        expect(p.run(), 2, wanted)
    for back in "local", "fake":
        p = Place({"sandbox": {"backend": back, "network": "open"}}, [{"name": "r", "reply": "done"}])
        expect(p.run(), 2, "cannot hold a policy")


sys.exit(finish())
