# SPDX-License-Identifier: Apache-2.0
"""A workspace is carried from one place to the next and stays what it is, to the bit: contents, modes, links, times.

usage: hops.py CAISSON [PLACE...]

A place is a back-end, in which a run begins with the snapshot that the last one left, looks at its files and is saved
when it is over; or tar, an archive that is exported and imported. Docker is a daemon of the test's own, E2B a service of
tests/fake; what this machine lacks is left out, which is said."""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from elsewhere import Machines
from lib import Place, expect, finish, test

PLACES = sys.argv[2:] or ["jail", "tar", "jail", "local", "tar", "jail", "docker", "e2b", "jail"]
RULES = [{"name": "look", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "find . | sort; cat bin/tool"}}]},
         {"name": "end", "reply": "Done."}]


def fill(top):
    """Whole seconds: archives have no others."""
    (top / "bin").mkdir(parents=True)
    (top / "bin/tool").write_bytes(b"#!/bin/sh\necho tool\n")
    (top / "data/deep/er").mkdir(parents=True)
    (top / "data/bytes").write_bytes(bytes(range(256)) * 300)
    (top / "data/empty").write_bytes(b"")
    (top / "data/large").write_bytes(b"\0" * 3_000_000 + os.urandom(1000))
    (top / "data" / ("n" * 180)).write_text("a long name\n")
    (top / "data/deep/er/ümläut %41 x").write_text("a name with everything\n")
    (top / "data/a link").symlink_to("../bin/tool")
    (top / "broken").symlink_to("nothing/there")
    for path, mode in ("bin/tool", 0o755), ("data/bytes", 0o600), ("data/empty", 0o444), ("data/deep", 0o700):
        (top / path).chmod(mode)
    for i, path in enumerate(sorted(top.rglob("*"), reverse=True)):  # the folders last
        os.utime(path, (1_500_000_000 + i, 1_500_000_000 + i), follow_symlinks=False)


def digest(place, name):
    return [s["tree"] for s in json.loads(expect(place.call("snapshot", "ls", "--json"), 0).stdout) if s["name"] == name][0]


@test
def a_workspace_is_the_same_after_each_hop():
    places = [p for p in PLACES if p == "tar" or p in machines.found]
    p = Place({"capabilities": ["shell"]}, RULES)
    fill(p.dir / "given")
    expect(p.call("snapshot", "save", "hop-0", "given"), 0)
    want = digest(p, "hop-0")
    for i, where in enumerate(places, 1):
        if where == "tar":
            expect(p.call("snapshot", "export", f"hop-{i - 1}", f"{i}.tar"), 0)
            expect(p.call("snapshot", "import", f"hop-{i}", f"{i}.tar"), 0)
        else:
            sandbox, env = machines.found[where]
            p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", "capabilities": ["shell"],
                                              "sandbox": {"backend": where, **sandbox}}))
            expect(p.run("--from", f"hop-{i - 1}", "--snapshot", f"hop-{i}", env=env), 0)
        if digest(p, f"hop-{i}") != want:
            said = p.call("snapshot", "diff", f"hop-{i - 1}", f"hop-{i}").stdout
            raise AssertionError(f"hop {i}, {where}: {said or 'only times differ'}")
    print("# " + " -> ".join(places) + ": " + want, flush=True)
    expect(p.call("snapshot", "verify"), 0)


with Machines(PLACES) as machines:
    status = finish()
sys.exit(status)
