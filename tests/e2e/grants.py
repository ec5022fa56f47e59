# SPDX-License-Identifier: Apache-2.0
"""Paths of this machine that a manifest grants: seen in the jail where it says, read-only or not, in no snapshot."""
import json, os, pathlib, subprocess, sys, tempfile

from lib import Place, WORK, caisson, expect, finish, same, test

WORK.chmod(0o711)


class Case(Place):
    """A place with granted folders and files beside it, and commands that a run makes one after the other."""

    def __init__(self, grants, *commands, sandbox="jail", **manifest):
        rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c}}]} for i, c in enumerate(commands, 1)]
        super().__init__({"capabilities": ["shell"], "sandbox": {"backend": sandbox} if isinstance(sandbox, str) else sandbox},
                         rules + [{"name": "end", "reply": "Done."}])
        self.out = pathlib.Path(tempfile.mkdtemp(dir=WORK))
        self.out.chmod(0o755)
        for name in "ref/deep", "work":
            (self.out / name).mkdir(parents=True)
        (self.out / "ref/f").write_text("as it was\n")
        self.grant(grants(self.out), **manifest)

    def grant(self, grants, **manifest):
        agent = json.loads((self.dir / "agent.yaml").read_text())
        self.write("agent.yaml", json.dumps({**agent, "manifest": {"extra_path_grants": grants, **manifest}}))

    def outputs(self):
        return [i["output"] for r in self.records() if r["kind"] == "tool_returned" for i in r["data"]["items"]]


def usual(out):
    return [{"path": "/data/ref", "host_path": str(out / "ref"), "read_only": True}, {"path": "/home/me/work", "host_path": str(out / "work")},
            {"path": "/data/one", "host_path": str(out / "ref/f"), "read_only": True}]


def reach(out):
    return (f"cat /data/ref/f /data/one; echo x >/data/ref/f; touch /data/ref/new; rm -rf /data/ref; chmod 777 /data/ref/f; "
            f"echo x >/data/one; mv /data/ref /data/other; mkdir /data/more; umount /data/ref; mount -o remount,rw /data/ref; "
            f"echo made >work && cp work /home/me/work/made; chmod 4755 /home/me/work/made; ls -a /home /home/me /data")


def check_reached(c):
    said = c.outputs()[0]
    same(said.count("as it was"), 2)
    for part in "Read-only file system", "cannot move", "ref/new", "/home/me:":
        assert part in said, (part, said)
    same((c.out / "ref/f").read_text(), "as it was\n")
    same(sorted(p.name for p in (c.out / "ref").iterdir()), ["deep", "f"])
    made = (c.out / "work/made").stat()
    same((c.out / "work/made").read_text(), "made\n")
    same((made.st_mode & 0o7000, made.st_uid), (0, (c.out / "work").stat().st_uid))


@test
def what_is_granted_is_where_it_says_and_nothing_else():
    c = Case(usual)
    c.write("book.yaml", json.dumps({"rules": [{"name": "a", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": reach(c.out)}}]},
                                               {"name": "b", "reply": "Done."}]}))
    expect(c.run("--snapshot", "saved"), 0, "Done.")
    check_reached(c)
    same(c.call("snapshot", "show", "saved").stdout.count("\n"), 1)  # `work`, which is in the workspace
    expect(c.run("--from", "saved"), 0)  # a workspace of layers has them, too


@test
def an_ordinary_user_has_what_that_user_has():
    if os.geteuid() != 0:
        return "only root can become another user"
    c = Case(usual)
    secret = c.out / "ref/secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    for path in [c.dir, *c.dir.rglob("*"), c.out / "work"]:
        os.chown(path, 65534, 65534)
    c.write("book.yaml", json.dumps({"rules": [{"name": "a", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": reach(c.out)}}]},
                                               {"name": "b", "when": {"turn": 2}, "reply": [{"exec_command": {"cmd": "cat /data/ref/secret"}}]},
                                               {"name": "c", "reply": "Done."}]}))
    done = subprocess.run([caisson, "run", "agent.yaml", "go"], cwd=c.dir, env={**c.env, "HOME": str(c.dir)}, capture_output=True,
                          text=True, timeout=60, user=65534, group=65534, extra_groups=[])
    if done.returncode and "namespaces" in done.stderr:
        return "no jails for an ordinary user here"
    expect(done, 0, "Done.")
    c.env["CAISSON_STATE"] = str(c.dir / ".caisson")
    said = json.dumps(c.outputs())
    assert "Permission denied" in said and "of root" not in said, said
    secret.unlink()
    same((c.out / "work/made").read_text(), "made\n")
    same((c.out / "ref/f").read_text(), "as it was\n")


@test
def one_may_lie_in_another_and_the_longer_one_holds():
    c = Case(lambda out: [{"path": "/data", "host_path": str(out / "ref"), "read_only": True},
                          {"path": "/data/deep", "host_path": str(out / "work")}], "echo x >/data/f; echo y >/data/deep/y; cat /data/f /data/deep/y")
    expect(c.run(), 0)
    assert "Read-only" in c.outputs()[0] and "as it was\ny" in c.outputs()[0], c.outputs()
    same((c.out / "work/y").read_text(), "y\n")
    same(list((c.out / "ref/deep").iterdir()), [])
    c.grant([{"path": "/data", "host_path": str(c.out / "ref")}, {"path": "/data/lacks", "host_path": str(c.out / "work")}])
    expect(c.run(), 6, "/data/lacks")
    assert not (c.out / "ref/lacks").exists()  # nothing is made on the host
    (c.out / "ref/elsewhere/x").mkdir(parents=True)
    (c.out / "ref/link").symlink_to("elsewhere")
    c.grant([{"path": "/data", "host_path": str(c.out / "ref")}, {"path": "/data/link/x", "host_path": str(c.out / "work")}])
    expect(c.run(), 6, "/data/link/x")


@test
def what_cannot_be_granted_is_told():
    c = Case(lambda out: [])
    os.symlink("/", c.out / "top")
    os.mkfifo(c.out / "pipe")
    for grants, said in (([{"path": "/data", "host_path": str(c.out / "lacks")}], "lacks"), ([{"path": "/data", "host_path": str(c.out / "top")}], "all of this machine"),
                         ([{"path": "/data", "host_path": str(c.out / "pipe")}], "neither a folder nor a file"),
                         ([{"path": "/etc/x", "host_path": str(c.out)}], "belongs to the jail"), ([{"path": "/workspace/x", "host_path": str(c.out)}], "workspace is there"),
                         ([{"path": "/tmp/x", "host_path": str(c.out / "ref")}], "one of its own"), ([{"path": "/home", "host_path": str(c.out)}], "one of its own"),
                         ([{"path": "/data", "host_path": str(c.out)}] * 2, "granted twice"),
                         ([{"path": f"/d{i}", "host_path": str(c.out)} for i in range(17)], "more than 16"),
                         ([{"path": "/data", "host_path": str(c.dir)}], "which no sandbox may see"),
                         ([{"path": "/data", "host_path": str(c.dir / ".caisson/sandboxes")}], "which no sandbox may see")):
        c.grant(grants)
        expect(c.run(), 6, "extra_path_grants", said)
    c.write("caisson.yaml", "{}")
    c.grant([{"path": "/data", "host_path": str(c.dir / "caisson.yaml")}])
    expect(c.run(), 6, "caisson.yaml, which no sandbox may see")


@test
def back_ends_that_cannot_show_them_say_so():
    c = Case(usual, f"cat '{WORK}'/*/ref/f | head -1", sandbox="local")
    expect(c.run(), 6, "/data/ref", "local shows no folder of this machine at another path")
    c.grant([{"path": str(c.out / "ref"), "read_only": True}])
    expect(c.run(), 0, "Done.")
    for sandbox in {"backend": "docker", "image": "box"}, {"backend": "e2b"}, {"backend": "jail", "level": "gvisor"}:
        agent = json.loads((c.dir / "agent.yaml").read_text())
        c.write("agent.yaml", json.dumps({**agent, "sandbox": sandbox}))
        expect(c.run(env={"E2B_API_KEY": "k"}), 6, sandbox.get("level", sandbox["backend"]) + " shows no folder of this machine")


sys.exit(finish())
