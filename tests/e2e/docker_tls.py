#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents in containers of a real Docker daemon that is reached by TCP and knows its clients by certificates.

usage: docker_tls.py CAISSON"""
import pathlib, shutil, socket, subprocess, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import Place, WORK, expect, finish, json, same, signal, test, until
from with_server import Docker

if not shutil.which("openssl"):
    print("1..0 # SKIP there is no openssl to make certificates with")
    sys.exit(0)


def certificates(folder, name, *more):
    """An authority, what it signed for `name`, and one for a client, as docker's client wants them."""
    folder.mkdir()
    run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-days", "2")
    for who, subject, usage in ("server", name, "serverAuth"), ("", "client", "clientAuth"):
        key, cert = f"{who}key.pem", f"{who}cert.pem"
        (folder / "ext").write_text(f"extendedKeyUsage={usage}\n" + (f"subjectAltName={name}\n" if who else ""))
        run("req", "-new", *ec, "-keyout", key, "-out", "csr", "-subj", f"/CN={subject[:20]}")
        run("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", cert, "-days", "2",
            "-extfile", "ext")
    return folder


KNOWN = certificates(WORK / "known", "IP:127.0.0.1")
OTHER = certificates(WORK / "other", "IP:127.0.0.1")
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    PORT = s.getsockname()[1]
URL = f"tcp://127.0.0.1:{PORT}"
server = Docker("-H", URL, "--tlsverify", "--tlscacert", str(KNOWN / "ca.pem"), "--tlscert", str(KNOWN / "servercert.pem"),
                "--tlskey", str(KNOWN / "serverkey.pem"))
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)
PATCH = "*** Begin Patch\n*** Add File: src/new.txt\n+made\n*** End Patch\n"


def place(folder=KNOWN, url=URL, rules=(), **sandbox):
    return Place({"sandbox": {"backend": "docker", "image": "box", **sandbox}, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}},
                 [*rules, {"name": "end", "reply": "Done."}], {"src/a.txt": "a0\n"},
                 env={"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)})


@test
def an_agent_works_in_a_container_over_tls():
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [call]} for i, call in enumerate((
        {"exec_command": {"cmd": "cat src/a.txt; head -c 3000000 /dev/zero | tr '\\0' x | tail -c 5; seq 20000 | tail -1"}},
        {"apply_patch": PATCH}, {"exec_command": {"cmd": "cat src/new.txt; sleep 0.3; echo late"}}), 1)]
    p = place(rules=rules)
    expect(p.run(), 0, "Done.")
    text = json.dumps(p.records())
    for part in "a0\\nxxxxx20000", "made\\nlate":
        assert part in text, (part, text)
    assert "new.txt" in expect(p.call("diff", p.only_run()), 0).stdout
    run = p.only_run()
    same([c["Names"] for c in server.containers() if run in c["Names"][0]], [])


@test
def input_reaches_a_command_and_so_does_its_end():
    p = place()
    done = p.call("sandbox", "run", "--backend", "docker", "-o", "image=box", "--", "sh", "-c", "cat | wc -c; echo end",
                  stdin="y" * 300000)
    expect(done, 0)
    same(done.stdout.split(), ["300000", "end"])


@test
def a_harness_that_dies_takes_its_processes_with_it():
    p = place(rules=[{"name": "t", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "echo 1 >>count; cat count"}}]}])
    same(p.run(env={"CAISSON_FAULT": "exec.returned:1"}).returncode, -9)
    run = p.only_run()
    until(lambda: [c["State"] for c in server.containers() if run in c["Names"][0]] == ["exited"])
    expect(p.call("resume", run), 0, "Done.")


@test
def a_port_is_reached_by_commands_where_no_process_of_ours_can_be():
    p = place(rules=[{"name": "serve", "when": {"turn": 1}, "reply": [{"exec_command": {
        "cmd": "(while [ ! -e stop ]; do echo served | nc -l -p 7000; done) & while [ ! -e stop ]; do sleep 0.1; done",
        "yield_time_ms": 30000}}]}], expose=[7000])
    run = p.start("run", "agent.yaml", "go")
    try:
        line = next(x for x in run.stderr if "of the sandbox is at 127.0.0.1:" in x)
        port = int(line.rsplit(":", 1)[1])

        def attempt():
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as s:
                    return s.recv(100)
            except OSError:
                return None
        same(until(attempt), b"served\n")
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    run = p.only_run()
    same([c["Names"] for c in server.containers() if run in c["Names"][0] and "network" in c["Names"][0]], [])


@test
def who_is_somebody_else_is_told():
    expect(place(OTHER).run(), 6, "the server's certificate")
    mixed = WORK / "mixed"
    mixed.mkdir()
    for name, of in ("ca.pem", KNOWN), ("cert.pem", OTHER), ("key.pem", OTHER):
        shutil.copy(of / name, mixed / name)
    expect(place(mixed).run(), 6, "does not take the client's certificate")
    shutil.copy(KNOWN / "key.pem", mixed / "key.pem")
    expect(place(mixed).run(), 6, "do not belong together")
    (mixed / "key.pem").unlink()
    expect(place(mixed).run(), 6, "DOCKER_TLS_VERIFY is set", "mixed/key.pem")
    expect(place(url=f"tcp://localhost:{PORT}").run(), 6, "the server's certificate")
    p = place()
    del p.env["DOCKER_TLS_VERIFY"]
    expect(p.run(), 6, "HTTPS")


try:
    status = finish()
finally:
    server.close()
sys.exit(status)
