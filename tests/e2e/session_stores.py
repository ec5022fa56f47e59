#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conversations that are kept elsewhere than beside the runs, and encrypted. Prints TAP.

usage: session_stores.py CAISSON"""
import base64, pathlib, sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import *
import with_server

SERVERS = {"redis": with_server.Redis(), "postgres": with_server.Postgres()}
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(1, 33))).decode()


def place(**project):
    p = Place({"sandbox": {"backend": "local"}}, [{"name": "say", "reply": "The word is swordfish."}])
    if project:
        p.write("caisson.yaml", json.dumps(project))
    return p


def say(p, name="s", code=0, **more):
    return expect(p.run("--session", name, **more), code)


def items(p, name="s", **more):
    return [i.get("role") for i in lines_of(expect(p.call("session", "show", name, "--json", **more), 0).stdout)]


def holds(folder, text):
    return [f for f in pathlib.Path(folder).rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def use_every_command(p, **more):
    say(p, **more)
    say(p, **more)
    same(items(p, **more), ["user", "assistant"] * 2)
    expect(p.call("session", "fork", "s", "t/u", "--at", "2", **more), 0)
    expect(p.call("session", "undo", "s", **more), 0, "2 items")
    rows = json.loads(expect(p.call("session", "ls", "--json", **more), 0).stdout)
    same(sorted((r["name"], r["items"], r.get("parent")) for r in rows), [("s", 2, None), ("t/u", 2, "s")])
    same(len(expect(p.call("session", "search", "SWORDFISH", "word", **more), 0).stdout.splitlines()), 2)
    expect(p.call("session", "rm", "s", **more), 0)
    expect(p.call("session", "show", "s", **more), 2)


@test
def files_of_lines():
    p = place(session="jsonl:talks")
    use_every_command(p)
    lines = [json.loads(line) for line in (p.dir / "talks/t+u.jsonl").read_text().splitlines()]
    same([x.get("type") for x in lines if x.get("type", "").startswith("caisson.")], ["caisson.session", "caisson.append"])
    same((p.dir / "talks").stat().st_mode & 0o777, 0o700)
    q = place()
    use_every_command(q, env={"CAISSON_SESSIONS": f"jsonl:{q.dir}/mine"})
    (p.dir / "talks").chmod(0o777)
    expect(p.call("session", "ls"), 1, "may be written by others")


@test
def a_redis_server():
    server = SERVERS["redis"]
    if server.missing:
        return server.missing
    use_every_command(place(session={"store": server.url}))
    p = place()
    say(p, env={"CAISSON_SESSIONS": server.url})
    same(items(p, env={"CAISSON_SESSIONS": server.url}), ["user", "assistant"])
    expect(p.call("session", "ls", env={"CAISSON_SESSIONS": "redis://127.0.0.1:1"}), 1, "Redis", "refused")
    with with_server.Redis("--requirepass", "swordfish") as guarded:
        done = expect(p.call("session", "ls", env={"CAISSON_SESSIONS": guarded.url}), 1, "REDISCLI_AUTH")
        expect(p.call("session", "ls", env={"CAISSON_SESSIONS": guarded.url, "REDISCLI_AUTH": "swordfish"}), 0)
        expect(p.call("session", "ls", env={"CAISSON_SESSIONS": guarded.url, "REDISCLI_AUTH": "wrong"}), 1, "WRONGPASS")
    p.write("caisson.yaml", json.dumps({"session": "redis://:swordfish@127.0.0.1/0"}))
    done = expect(p.call("session", "ls"), 2, "a password does not belong there", "REDISCLI_AUTH")
    assert "swordfish" not in done.stderr


@test
def a_postgresql_server_of_its_own_and_beside_the_runs():
    server = SERVERS["postgres"]
    if server.missing:
        return server.missing
    p = place(session=server.url)
    use_every_command(p)
    same(server.sql("SELECT (SELECT count(*) FROM caisson.runs), (SELECT count(*) FROM caisson.session_items)"), "0|2")
    assert (p.dir / ".caisson/caisson.db").exists()
    q = place(state=server.url)
    say(q)
    same(items(q), ["user", "assistant"])
    same(server.sql("SELECT count(*) FROM caisson.runs WHERE state = 'done'"), "1")


@test
def what_is_encrypted_stands_nowhere_in_clear():
    if not SERVERS["postgres"].missing:
        SERVERS["postgres"].sql("CREATE DATABASE sealed")
    for store in ["jsonl:talks", "state"] + [s.url.replace("/0", "/1").replace("/postgres?", "/sealed?")
                                             for s in SERVERS.values() if not s.missing]:
        p = place(session={"store": store, "keys": {"file": "keys"}})
        (p.dir / ".caisson").mkdir()
        expect(p.call("session", "ls"), 2, "keys of sessions")
        p.write("keys", f"# the first\nk1 {KEY}\n")
        expect(p.call("session", "ls"), 1, "chmod 600")
        (p.dir / "keys").chmod(0o600)
        name = f"enc{store[:2]}"
        say(p, name)
        say(p, name)
        same(items(p, name), ["user", "assistant"] * 2)
        if store == "jsonl:talks":
            same(holds(p.dir / "talks", "swordfish"), [])
        same(holds(p.dir / ".caisson", KEY), [])
        # A newer key writes, the old one still reads.
        p.write("keys", f"k1 {KEY}\nk2 {OTHER}\n")
        expect(p.call("session", "undo", name), 0, "2 items")
        say(p, name)
        same(items(p, name), ["user", "assistant"] * 2)
        expect(p.call("session", "search", "swordfish"), 0, name)
        # Without it, with another one, or without any, there is an error and no text.
        p.write("keys", f"k2 {OTHER}\n")
        done = expect(p.call("session", "show", name), 1, "with the key 'k1', which is not among the keys")
        assert "swordfish" not in done.stdout
        done = say(p, name, code=1)
        assert "with the key 'k1'" in done.stderr, done.stderr
        p.write("keys", f"k1 {OTHER}\n")
        expect(p.call("session", "show", name), 1, "cannot be read: its key is another one")
        p.write("caisson.yaml", json.dumps({"session": store}))
        assert "swordfish" not in expect(p.call("session", "show", name), 0).stdout


@test
def an_item_that_is_not_encrypted_is_refused():
    p = place(session={"store": "jsonl:talks"})
    say(p)
    p.write("keys", f"k1 {KEY}\n")
    (p.dir / "keys").chmod(0o600)
    p.write("caisson.yaml", json.dumps({"session": {"store": "jsonl:talks", "keys": {"file": "keys"}}}))
    expect(p.call("session", "show", "s"), 1, "item 0 of session 's' is not encrypted")


@test
def keys_from_a_command_only_where_the_file_is_trusted():
    p = place(session={"store": "jsonl:talks", "keys": {"command": ["sh", "-c", f"echo k1 {KEY}; touch was-here"]}})
    expect(p.call("session", "ls"), 2, "caisson trust")
    assert not (p.dir / "was-here").exists()
    say(p, env={"CAISSON_TRUST_PROJECT": "1"})
    assert (p.dir / "was-here").exists()
    same(holds(p.dir / "talks", "swordfish") + holds(p.dir / ".caisson", KEY), [])
    same(items(p, env={"CAISSON_TRUST_PROJECT": "1"}), ["user", "assistant"])
    expect(p.call("trust", env={"XDG_CONFIG_HOME": str(p.dir)}), 0, "session keys: the command sh")
    same(items(p, env={"XDG_CONFIG_HOME": str(p.dir)}), ["user", "assistant"])


@test
def what_is_wrong_in_the_file_is_said():
    for session, said in [(3, "session: expected state"), ("redis:x", "session: expected state"), ("jsonl:", "session: expected"),
                          ({"store": "x"}, "session: expected state"), ({"stores": "state"}, "unknown key session.stores"),
                          ({"keys": {"file": "a", "command": ["b"]}}, "session.keys: expected file"),
                          ({"keys": {}}, "session.keys: expected file"), ({"keys": {"command": "x"}}, "session.keys: expected file")]:
        p = place(session=session)
        expect(p.call("session", "ls"), 2, said)
    p = place(session="redis://redis.example.com")
    expect(p.call("session", "ls"), 2, "another machine", "caisson trust")


status = finish()
for server in SERVERS.values():
    if not server.missing:
        server.close()
@test
def a_cluster_is_not_followed():
    """A server that says that the keys are elsewhere: the first answer ends it, nothing else is asked."""
    import socketserver
    asked = []

    class Elsewhere(socketserver.StreamRequestHandler):
        def handle(self):
            while line := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                asked.append(words[0])
                self.wfile.write(b"-MOVED 1 127.0.0.1:1\r\n" if words[0] == b"EVAL" else b"+OK\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        p = place()
        done = p.call("session", "ls", env={"CAISSON_SESSIONS": f"redis://127.0.0.1:{server.server_address[1]}/0"})
        server.shutdown()
    expect(done, 1, "MOVED 1 127.0.0.1:1")
    same(asked.count(b"EVAL"), 1)


sys.exit(status)
