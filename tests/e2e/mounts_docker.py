#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Storage as volumes of a real Docker daemon, by rclone's own plugin: files, what enters the container, what is left. The
storage is a process of this machine that believes no signature but the right one.

usage: mounts_docker.py CAISSON [all]

all: also what takes an engine long to say."""
import pathlib, sys

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(TESTS), str(TESTS / "fake")]
from lib import Place, expect, finish, json, same, signal, test, time, until
from with_server import Docker
import s3

server = Docker(with_rclone=True)
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)
END = {"name": "end", "reply": "Done."}
stores = []


class Case:
    """A storage of its own, an agent with it at data/ and commands."""

    def __init__(self, *commands, mount=None, sandbox=None, env=None, driver="rclone", options=None):
        self.store = s3.S3()
        stores.append(self.store)
        self.store.buckets["bucket"]["a.txt"] = (b"from the bucket\n", '"e"', time.time())
        entry = {"type": "s3_mount", "bucket": "bucket", "region": "us-east-1", "s3_provider": "Other",
                 "endpoint_url": self.store.url, "access_key_id": {"from_env": "KEY_ID"},
                 "secret_access_key": {"from_env": "KEY_SECRET"},
                 "mount_strategy": {"type": "docker_volume", "driver": driver, "driver_options": options or {}}, **(mount or {})}
        self.place = Place({"sandbox": {"backend": "docker", "image": "box", **(sandbox or {})},
                            "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}, "data": entry}}},
                           [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c}}]}
                            for i, c in enumerate(commands, 1)] + [END], {"src/a": "x"},
                           {"DOCKER_HOST": server.url, "KEY_ID": self.store.key, "KEY_SECRET": self.store.secret, **(env or {})})

    def said(self):
        return json.dumps([r["data"] for r in self.place.records() if r["kind"] == "tool_returned"])

    def written(self):
        return b"".join(f.read_bytes() for f in (self.place.dir / ".caisson").rglob("*") if f.is_file())

    def left(self):
        """Names of the engine's containers and volumes that are of this place's runs."""
        ids = [r["id"] for r in self.place.runs()]
        names = [c["Names"][0] for c in server.containers()] + [v["Name"] for v in server.volumes()]
        return [n for n in names if any(i in n for i in ids)]


@test
def files_of_a_bucket_are_a_volume_and_in_no_snapshot():
    c = Case("id -u; cat data/a.txt; echo no >data/new; cat src/a; env; grep ' /workspace/data ' /proc/mounts; cat /proc/*/environ")
    p = c.place
    expect(p.run("--snapshot", "one"), 0, "Done.")
    for part in ("1000\\nfrom the bucket\\n", "Read-only file system", "fuse.rclone ro,"):
        assert part in c.said(), (part, c.said())
    assert c.store.key not in c.said() and "secret" not in c.said(), c.said()
    expect(p.call("snapshot", "restore", "one", "back"), 0)
    same(sorted(str(f.relative_to(p.dir / "back")) for f in (p.dir / "back").rglob("*")), ["src", "src/a"])
    assert c.store.secret.encode() not in c.written()
    same(c.left(), [])


@test
def what_a_user_of_the_image_writes_is_in_the_bucket():
    for image, uid in (("box", "1000"), ("box-worker", "1234")):
        c = Case("id -u; echo new >data/new; cat data/new", mount={"read_only": False}, sandbox={"image": image})
        expect(c.place.run(), 0, "Done.")
        assert f"{uid}\\nnew\\n" in c.said(), c.said()
        same(c.store.buckets["bucket"]["new"][0], b"new\n")
        same(c.left(), [])


@test
def options_of_the_driver_count_more_than_those_of_the_entry():
    c = Case("cat data/a.txt", mount={"endpoint_url": "http://127.0.0.1:1"})
    strategy = {"type": "docker_volume", "driver": "rclone", "driver_options": {"s3-endpoint": c.store.url}}
    agent = json.loads((c.place.dir / "agent.yaml").read_text())
    agent["manifest"]["entries"]["data"]["mount_strategy"] = strategy
    c.place.write("agent.yaml", json.dumps(agent))
    expect(c.place.run(), 0, "Done.")
    assert "from the bucket" in c.said(), c.said()


@test
def what_an_engine_cannot_mount_is_named_and_nothing_is_left():
    secret = "a-secret-that-is-wrong"
    inside = {"mount_strategy": {"type": "in_container", "pattern": {"type": "rclone"}}}
    slow = ({"driver": "mountpoint"}, 'the mount at /workspace/data: the container engine has no volume driver "mountpoint"')
    for more, says in (*([slow] if "all" in sys.argv else []), ({"options": {"no-such-option": secret}}, "no-such-option"),
                       ({"sandbox": {"mount_credentials": {"data": "mount"}}}, "brings no credentials into the sandbox"),
                       ({"mount": inside}, "nothing here can mount one for the back-end docker but by the strategy docker_volume;")):
        c = Case("true", **more)
        done = c.place.run()
        assert done.returncode and says in done.stderr, (more, done.stderr)
        assert c.store.secret not in done.stderr and secret not in done.stderr, done.stderr
        same(c.left() if (c.place.dir / ".caisson").exists() else [], [])


@test
def a_run_goes_on_with_its_volume():
    c = Case("echo 1 >data/log", "cat data/log", mount={"read_only": False})
    same(c.place.run(env={"CAISSON_FAULT": "tool.performed:1"}).returncode, -signal.SIGKILL)
    expect(c.place.call("resume", c.place.only_run()), 0, "Done.")
    assert "Output:\\n1\\n" in c.said(), c.said()
    same(c.left(), [])


@test
def what_a_killed_harness_leaves_is_removed_by_gc():
    c = Case("true")
    same(c.place.run(env={"CAISSON_FAULT": "tool.performed:1"}).returncode, -signal.SIGKILL)
    same(len(c.left()), 3)
    until(lambda: all(x["State"] == "exited" for x in server.containers() if x["Names"][0] in c.left()))
    expect(c.place.call("sandbox", "gc"), 0, "0 sandboxes removed")
    same(len(c.left()), 3)  # the run may go on
    run = c.place.only_run()
    expect(c.place.call("runs", "rm", run), 0)
    expect(c.place.call("sandbox", "gc"), 0)
    same([v["Name"] for v in server.volumes() if run in v["Name"]], [])


try:
    status = finish(at_once=1)  # rclone 1.60 hangs when it mounts while another volume goes
    left = [c["Names"] for c in server.containers()], [v["Name"] for v in server.volumes()]
    if left != ([], []):
        print(f"# left behind: {left}")
        status = 1
finally:
    server.close()
    for s in stores:
        s.close()
sys.exit(status)
