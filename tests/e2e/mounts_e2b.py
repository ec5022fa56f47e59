#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Storage that is mounted inside of sandboxes of E2B by a real rclone: the service that makes them is one of tests/fake,
whose commands are processes of this machine, and so is the storage, which believes no signature but the right one.

usage: mounts_e2b.py CAISSON"""
import pathlib, shutil, sys

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS / "fake"))
from lib import Place, expect, finish, json, os, same, signal, test, time, until
import e2b, s3

missing = next((f"{t} is not installed" for t in ("rclone", "fusermount3") if not shutil.which(t)), None)
if not missing and not os.access("/dev/fuse", os.W_OK):
    missing = "/dev/fuse cannot be opened here"
try:
    with e2b.Fake(rooted=True) as probe:
        e2b.Sandbox(probe.service, {}, "base").kill()
except (e2b.Refused, OSError) as e:
    missing = missing or f"no mount namespaces for the service of the tests: {e}"
if missing:
    print(f"1..0 # SKIP {missing}")
    sys.exit(0)
os.environ.pop("AWS_CA_BUNDLE", None)  # which rclone of Debian 12 refuses
ALLOWED = {"mount_credentials": {"data": "mount"}}
END = {"name": "end", "reply": "Done."}
fakes, stores = [], []


def rclone(**more):
    return {"type": "in_container", "pattern": {"type": "rclone", **more}}


class Case:
    """A service and a storage of its own, an agent with the storage at data/ and commands."""

    def __init__(self, *commands, mount=None, sandbox=ALLOWED, env=None, **agent):
        self.fake, self.store = e2b.Fake(rooted=True), s3.S3()
        fakes.append(self.fake)
        stores.append(self.store)
        for name in ("a.txt", "dir/b.txt"):
            self.store.buckets["bucket"]["deep/" + name] = (name.encode(), '"e"', time.time())
        entry = {"type": "s3_mount", "bucket": "bucket", "prefix": "deep", "region": "us-east-1", "s3_provider": "Other",
                 "endpoint_url": self.store.url, "access_key_id": {"from_env": "KEY_ID"},
                 "secret_access_key": {"from_env": "KEY_SECRET"}, "mount_strategy": rclone(), **(mount or {})}
        self.place = Place({"sandbox": {"backend": "e2b", **sandbox},
                            "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}, "data": entry}}, **agent},
                           [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c}}]}
                            for i, c in enumerate(commands, 1)] + [END], {"src/a": "x"},
                           {**self.fake.env, "KEY_ID": self.store.key, "KEY_SECRET": self.store.secret, **(env or {})})

    def said(self):
        return json.dumps([r["data"] for r in self.place.records() if r["kind"] == "tool_returned"])

    def written(self):
        """All bytes of the state folder, but for those of sockets and pipes."""
        return b"".join(f.read_bytes() for f in (self.place.dir / ".caisson").rglob("*") if f.is_file())

    def objects(self):
        return {n: o[0] for n, o in self.store.buckets["bucket"].items()}


@test
def files_of_a_bucket_are_there_and_in_no_snapshot():
    c = Case("cat data/a.txt data/dir/b.txt; echo no >data/new; cat src/a; ls -A /tmp; grep ' /workspace/data ' /proc/mounts")
    p = c.place
    expect(p.run("--snapshot", "one"), 0, "Done.")
    for part in ("a.txtdir/b.txt", "Read-only file system", "x", "fuse.rclone ro,"):
        assert part in c.said(), (part, c.said())
    assert ".caisson" not in c.said(), c.said()  # the configuration is gone
    expect(p.call("snapshot", "restore", "one", "back"), 0)
    same(sorted(str(f.relative_to(p.dir / "back")) for f in (p.dir / "back").rglob("*")), ["src", "src/a"])
    assert c.store.secret.encode() not in c.written() and b"KEY_SECRET" in c.written()
    same(c.fake.service.sandboxes, {})


@test
def what_is_written_is_in_the_bucket_when_the_run_is_over():
    c = Case("cp data/a.txt data/dir/c.txt; rm data/a.txt; echo more >data/d.txt", "cat data/d.txt", mount={"read_only": False})
    expect(c.place.run(), 0, "Done.")
    assert "more" in c.said(), c.said()
    same(c.objects(), {"deep/dir/b.txt": b"dir/b.txt", "deep/dir/c.txt": b"a.txt", "deep/d.txt": b"more\n"})


@test
def credentials_enter_only_where_the_operator_says_so():
    for sandbox, says in (({}, 'write sandbox.mount_credentials: {"/workspace/data": mount}'),
                          ({"mount_credentials": {"data": "broad"}}, "sandbox.mount_credentials says broad"),
                          ({"mount_credentials": {"data": "mount", "src": "mount"}}, "the manifest has no mount at /workspace/src"),
                          ({"mount_credentials": {"dat*": "mount"}}, "expected the exact path"),
                          ({"mount_credentials": ["data"]}, "sandbox.mount_credentials")):
        c = Case("true", sandbox=sandbox)
        done = c.place.run()
        assert done.returncode and says in done.stderr, (sandbox, done.stderr)
        same([r for r in c.fake.service.log if r["m"] == "POST" and r["p"].startswith("/v2/sandboxes")], [])
    c = Case("ls data", sandbox={}, mount={"access_key_id": None, "secret_access_key": None})
    done = c.place.run()  # nothing enters, so nobody has to allow it; the storage wants a key
    assert "mount_failed" in done.stderr and "AccessDenied" in done.stderr, done.stderr


@test
def a_storage_that_refuses_is_told_before_the_first_command():
    secret = "a-wrong-secret-value"
    c = Case("true", env={"KEY_SECRET": secret})
    done = c.place.run()
    assert "the mount at /workspace/data: mount_failed" in done.stderr and "SignatureDoesNotMatch" in done.stderr, done.stderr
    assert secret not in done.stderr + done.stdout and secret.encode() not in c.written()
    same(c.fake.service.sandboxes, {})


@test
def what_cannot_be_mounted_is_named():
    volume = {"type": "docker_volume", "driver": "rclone"}
    for mount, says in (({"mount_strategy": volume}, "nothing here can mount one for the back-end e2b but by the strategy "
                         "in_container;"),
                        ({"mount_strategy": {"type": "e2b_cloud_bucket"}}, "but by the strategy in_container;"),
                        ({"secret_access_key": {"from_env": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE")):
        done = Case("true", mount=mount).place.run()
        assert done.returncode and says in done.stderr, (mount, done.stderr)
    if not shutil.which("mount-s3"):
        c = Case("true", mount={"mount_strategy": {"type": "in_container", "pattern": {"type": "mountpoint"}}})
        done = c.place.run()
        assert "there is no mount-s3 in the sandbox (mount_missing_tool): put the package" in done.stderr, done.stderr


@test
def a_run_goes_on_with_its_mount_also_when_that_died():
    c = Case("echo 1 >>data/log", "cat data/log; echo 2 >data/more", mount={"read_only": False})
    same(c.place.run(env={"CAISSON_FAULT": "tool.performed:1"}).returncode, -signal.SIGKILL)
    box, = c.fake.service.sandboxes.values()
    tools = [p for p in box.marked() if pathlib.Path(f"/proc/{p}/comm").read_text() == "rclone\n"]
    assert tools, "the mount is gone"
    for p in tools:
        os.kill(p, signal.SIGKILL)
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    same((c.objects()["deep/log"], c.objects()["deep/more"]), (b"1\n", b"2\n"))
    same(c.fake.service.sandboxes, {})


@test
def a_sandbox_that_took_the_place_of_a_lost_one_has_the_mount_again():
    c = Case("echo 1 >data/log", "cat data/log", mount={"read_only": False})
    same(c.place.run(env={"CAISSON_FAULT": "tool.performed:1"}).returncode, -signal.SIGKILL)
    for box in list(c.fake.service.sandboxes.values()):
        c.fake.service.drop(box)
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    assert "Output:\\n1\\n" in c.said(), c.said()


try:
    status = finish()
finally:
    for f in fakes:
        f.__exit__()
    for s in stores:
        s.close()
sys.exit(status)
