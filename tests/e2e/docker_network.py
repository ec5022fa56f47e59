#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Containers of a real Docker daemon that may reach something, that are reached, and that are made from an environment.

usage: docker_network.py CAISSON"""
import http.server, pathlib, socket, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import Place, WORK, expect, finish, json, lines_of, os, same, signal, test, threading, until
from with_server import Docker

server = Docker()
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)
IMAGES = WORK / "images"
SECRET = "tok-" + os.urandom(8).hex()
END = {"name": "end", "reply": "Done."}


class Handler(http.server.BaseHTTPRequestHandler):
    asked = []

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("X-Key")))
        body = b"from the host\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=host.serve_forever, daemon=True).start()
PORT = host.server_port
NETWORK = {"allow": [f"ok.test:{PORT}"], "resolve": {"ok.test": "127.0.0.1", "evil.test": "127.0.0.1"},
           "allow_private": [f"127.0.0.1:{PORT}"]}


def place(*commands, sandbox=None, **more):
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c, "yield_time_ms": 30000}}]}
             for i, c in enumerate(commands, 1)]
    return Place({"capabilities": ["shell"], "sandbox": {k: v for k, v in {"backend": "docker", "image": "box", **(sandbox or {})}.items() if v}, **more},
                 rules + [END], env={"DOCKER_HOST": server.url, "CAISSON_IMAGES": str(IMAGES), "MY_KEY": SECRET})


def told(p):
    return [r["data"]["items"][0]["output"] for r in p.records() if r["kind"] == "tool_returned"]


def mine(p):
    ids = [r["id"] for r in p.runs()]
    return [c for c in server.containers() if any(i in c["Names"][0] for i in ids)]


def folders(p):
    there = IMAGES / "grafts"
    return [f.name for f in there.iterdir() if any(r["id"] in f.name for r in p.runs())] if there.exists() else []


def clean(p):
    same((mine(p), folders(p)), ([], []))


@test
def what_is_listed_is_reached_and_the_rest_is_not():
    url = f"ok.test:{PORT}"
    p = place(f"wget -qO- http://{url}/listed; http_proxy= wget -qO- http://{url}/direct; wget -qO- http://evil.test:{PORT}/no; "
              f"http_proxy= wget -qO- http://evil.test:{PORT}/no2; echo | nc -w 2 127.0.0.1 {PORT}; echo {'{'}end{'}'}",
              "grep Cap /proc/self/status; ip addr; ls /run/caisson; touch /run/caisson/x; ip route add 9.9.9.9 dev lo",
              sandbox={"network": NETWORK})
    done = expect(p.run("--json"), 0)
    first, second = told(p)
    assert first.count("from the host") == 2 and "403 Forbidden" in first and "{end}" in first, first
    same(sorted(path for path, _ in Handler.asked if path in ("/listed", "/direct", "/no", "/no2")), ["/direct", "/listed"])
    for line in (x for x in second.splitlines() if x.startswith("Cap")):
        same(int(line.split()[1], 16), 0)
    assert "ca.pem" in second and "Read-only" in second and "eth0" not in second, second
    assert "not permitted" in second, second
    notes = [r["data"]["network"] for r in lines_of(done.stdout) if r["type"] == "note"]
    assert {n["verdict"] for n in notes} == {"allowed", "refused"}, notes
    clean(p)


@test
def a_secret_is_put_in_on_the_way_out():
    p = place(f"env; wget -qO- http://ok.test:{PORT}/secret",
              sandbox={"network": NETWORK, "secrets": [{"name": "KEY", "from_env": "MY_KEY", "hosts": ["ok.test"], "header": "X-Key: {}"}]})
    expect(p.run(), 0)
    assert ("/secret", SECRET) in Handler.asked, Handler.asked
    assert SECRET not in json.dumps(p.records()) and "KEY=csn-secret-" in told(p)[0]
    clean(p)


@test
def a_port_of_a_container_is_reached():
    p = place("echo up; (while [ ! -e stop ]; do echo served | nc -l -p 7000; done) & while [ ! -e stop ]; do sleep 0.1; done",
              sandbox={"expose": [7000]})
    run = p.start("run", "agent.yaml", "go")
    try:
        line = next(x for x in run.stderr if "of the sandbox is at 127.0.0.1:" in x)
        port = int(line.rsplit(":", 1)[1])
        same(expect(p.call("sandbox", "port", p.only_run(), "7000"), 0).stdout, f"127.0.0.1:{port}\n")

        def attempt():
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as s:
                    return s.recv(100)
            except OSError:
                return None
        same(until(attempt), b"served\n")
        until(lambda: len(mine(p)) == 2)
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    run = p.only_run()
    expect(p.call("runs", "rm", run), 0)
    expect(p.call("sandbox", "gc"), 0)
    same([c["Names"] for c in server.containers() if run in c["Names"][0]], [])


@test
def a_killed_run_has_its_network_again_and_gc_takes_all_of_it():
    p = place("echo 1 >>count", f"wget -qO- http://ok.test:{PORT}/again; cat count", sandbox={"network": NETWORK, "expose": [7001]})
    same(p.run(env={"CAISSON_FAULT": "exec.returned:1"}).returncode, -9)
    until(lambda: len([c for c in mine(p) if c["State"] == "exited"]) == 2)
    expect(p.call("sandbox", "gc"), 0, "0 sandboxes removed")
    expect(p.call("resume", p.only_run()), 0, "Done.")
    assert "from the host\n1\n" in told(p)[-1], told(p)
    clean(p)
    p = place("echo 1", sandbox={"network": NETWORK})
    same(p.run(env={"CAISSON_FAULT": "exec.returned:1"}).returncode, -9)
    run = p.only_run()
    until(lambda: len([c for c in mine(p) if c["State"] == "exited"]) == 2)
    expect(p.call("runs", "rm", run), 0)
    expect(p.call("sandbox", "gc"), 0)
    same([c["Names"] for c in server.containers() if run in c["Names"][0]], [])
    same([f.name for f in (IMAGES / "grafts").iterdir() if run in f.name], [])


@test
def an_engine_elsewhere_is_told_before_anything_is_made():
    p = place("true", sandbox={"network": NETWORK, "host": "tcp://127.0.0.1:1"})
    expect(p.run(), 6, "needs an engine of this machine")


# ---- environments ----

SETUP = ["id -u >/etc/who; touch /etc/given; chown 33:33 /etc/given; echo gone >/root/x; echo gone >/tmp/x",
         f"wget -qO /etc/got http://ok.test:{PORT}/built; ! wget -qO /dev/null http://evil.test:{PORT}/built-evil",
         "{ grep Cap /proc/self/status; mount -t tmpfs x /mnt; mknod /etc/disk b 8 0; ip link set lo down; } >/etc/tried 2>&1; true"]


@test
def an_environment_is_built_once_and_found_again():
    p = place("cat /etc/who /etc/got /etc/tried; ls -ln /etc/given; ls /root /tmp; id -u; touch /etc/x; env",
              environment={"setup": SETUP, "build_network": NETWORK, "lock": "made.lock"})
    done = expect(p.run("--json"), 0)
    what = [e["data"]["what"] for e in lines_of(done.stdout) if e["type"] == "progress"]
    assert any("id -u >/etc/who" in w for w in what), what
    said = told(p)[0]
    assert "0\nfrom the host\n" in said and " 33 " in said and "\n1000\n" in said and "Read-only" in said, said
    for line in (x for x in said.splitlines() if x.startswith("Cap")):
        assert int(line.split()[1], 16) & ~0xfb == 0, said  # chown, dac_override, fowner, fsetid, kill, setgid, setuid
    assert "mount: permission denied" in said and "mknod: /etc/disk" in said and "ip: " in said and "gone" not in said, said
    assert "HTTP_PROXY" not in said and "DEBIAN_FRONTEND" not in said, "what the build had is the image's now"
    same([path for path, _ in Handler.asked if "built" in path], ["/built"])
    again = expect(p.run("--json"), 0)
    assert not [e for e in lines_of(again.stdout) if e["type"] == "progress"]
    built = json.loads(expect(p.call("image", "build", "agent.yaml", "--json"), 0).stdout)
    assert built["was_there"] and built["image"].startswith("caisson-env:") and built["resolved"] == {"apt": [], "pip": [], "npm": []}, built
    there = json.loads(expect(p.call("image", "ls", "--backend", "docker", "--json"), 0).stdout)
    assert (built["image"], "box") in [(i["name"], i["source"]) for i in there], there
    expect(p.call("image", "lock", "agent.yaml"), 0, "made.lock")
    assert json.loads(expect(p.call("image", "build", "agent.yaml", "--json"), 0).stdout)["locked"]
    expect(p.call("image", "rm", "--backend", "docker", built["image"]), 0, "freed")
    expect(p.call("image", "rm", "--backend", "docker", built["image"]), 2, "No such image")
    clean(p)


@test
def an_archive_is_built_upon_as_in_a_jail():
    (WORK / "base.tar").write_bytes(server.busybox_tar())
    p = place("cat /etc/made; cat /etc/passwd", environment={"base": f"tar:{WORK}/base.tar", "setup": ["echo made >/etc/made"]},
              sandbox={"image": None})
    expect(p.run(), 0)
    assert "made\nroot:x:0:0" in told(p)[0], told(p)
    assert json.loads(expect(p.call("image", "build", "agent.yaml", "--json"), 0).stdout)["was_there"]
    names = [i["name"] for i in json.loads(expect(p.call("image", "ls", "--backend", "docker", "--json"), 0).stdout)]
    base = next(n for n in names if n.startswith("caisson-base:"))
    expect(p.call("image", "rm", "--backend", "docker", base), 0, "freed")
    p = place(environment={"base": "image:other", "setup": ["true"]}, sandbox={"image": None})
    expect(p.run(), 6, "sandbox.image", "tar:FILE")


@test
def two_who_want_the_same_environment_build_it_once():
    p = place(environment={"setup": ["sleep 0.5; echo two >/etc/two"]})
    both = [p.start("image", "build", "agent.yaml", "--json") for _ in range(2)]
    same(sorted(json.loads(b.communicate(timeout=60)[0])["was_there"] for b in both), [False, True])


@test
def a_build_that_fails_says_why_and_leaves_nothing():
    p = place(environment={"setup": ["echo it went wrong; exit 3"]})
    expect(p.call("image", "build", "agent.yaml"), 6, "ended with status 3", "it went wrong")
    expect(place(environment={"packages": {"pip": ["six"]}}).call("image", "build", "agent.yaml"), 2, "the base has none")
    expect(place(environment={"setup": ["true"]}, sandbox={"image": "nowhere"}).run(), 6, "image nowhere is not there")
    expect(p.call("image", "ls", "--backend", "local"), 2, "keeps no images")


try:
    status = finish()
    left = [c["Names"] for c in server.containers()], [v["Name"] for v in server.volumes()]
    if left != ([], []) and not status:
        print(f"# left behind: {left}")
        status = True
finally:
    server.close()
sys.exit(status)
