#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Storage of others in a jail: rclone serves it from outside, with keys that a server checks and no
command sees; its loss, its end, and what is refused before a run. Prints TAP.

usage: mounts.py CAISSON"""
import pathlib, sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fake"))
from lib import *
import s3

SECRET = "sesame+open/0123456789"
KEYS = {"MOUNT_ID": "AKIDMOUNTED", "MOUNT_KEY": SECRET}
LOOK = [{"name": "end", "reply": "Done."}]


def lacks():
    if not shutil.which("rclone"):
        return "rclone is not installed"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    if expect(caisson_doctor(), 0).stdout.find("jail") < 0:
        return "no jail"
    return None


def caisson_doctor():
    return subprocess.run([caisson, "doctor"], capture_output=True, text=True, timeout=120)


def storage(**objects):
    server = s3.S3(key="AKIDMOUNTED", secret=SECRET)
    for name, body in objects.items():
        put(server, name.replace("__", "/"), body)
    return server


def put(server, name, body):
    import hashlib
    server.buckets["bucket"][name] = (body, hashlib.md5(body).hexdigest(), time.time())


def entry(server, pattern={"type": "rclone"}, **more):
    keys = {"access_key_id": {"from_env": "MOUNT_ID"}, "secret_access_key": {"from_env": "MOUNT_KEY"}}
    return {"type": "s3_mount", "bucket": "bucket", "endpoint_url": server if isinstance(server, str) else server.url,
            "s3_provider": "Other", "region": "us-east-1", "mount_strategy": {"type": "in_container", "pattern": pattern}, **keys, **more}


def turns(*commands):
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c, "yield_time_ms": 20000}}]} for i, c in enumerate(commands, 1)]
    return rules + [{"name": "end", "reply": "Done."}]


def place(entries, *commands, env=None, **agent):
    return Place({"manifest": {"entries": entries}, **agent}, turns(*commands), env={**KEYS, **(env or {})})


def outputs(p, run=None):
    found = []
    for r in p.records(run):
        def walk(v):
            if isinstance(v, dict):
                if v.get("type") == "function_call_output":
                    found.append(v["output"])
                for x in v.values():
                    walk(x)
            elif isinstance(v, list):
                for x in v:
                    walk(x)
        walk(r)
    return found


def servers_of(pid):
    """The rclones that a harness has started."""
    found = []
    for d in pathlib.Path("/proc").iterdir():
        try:
            stat = (d / "stat").read_text().rpartition(")")
            if d.name.isdigit() and "(rclone" in stat[0] and int(stat[2].split()[1]) == pid:
                found.append(int(d.name))
        except (OSError, IndexError):
            pass
    return found


def is_there(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def needs_machine(fn):
    def tried():
        return MISSING or fn()
    tried.__name__ = fn.__name__
    return test(tried)


@needs_machine
def what_is_stored_is_seen_and_the_key_is_not():
    server = storage(sub__a__f=b"hello\n", sub__top=b"x" * 300000, other=b"no\n")
    search = (f"! env | grep -q sesame && ! grep -raq 'sesame[+]open' /proc/*/environ /proc/*/cmdline /etc /tmp /home /workspace /dev/shm /run 2>/dev/null"
              " && ! grep -raq AKID[M]OUNTED /proc/*/environ /proc/*/cmdline /workspace && echo nothing found; ls -la /proc/*/fd 2>&1 | grep -c fuse")
    p = place({"data": entry(server, prefix="/sub"), "n.txt": {"type": "file", "content": "n"}},
              "cat data/a/f n.txt; ls data; wc -c data/top; stat -c %U:%a data/a/f; tail -c 3 data/top; echo x > data/a/f; echo x > data/new; rm data/a/f; mkdir data/d", search)
    done = expect(p.run(), 0, "Done.")
    said, found = outputs(p)
    for text in ("hello\nn", "a\ntop\n", "300000 data/top", "user:644", "xxx", "cannot create data/a/f: Read-only", "cannot create data/new: Read-only",
                 "rm: cannot remove 'data/a/f': Read-only", "cannot create directory"):
        assert text in said, (text, said)
    assert "nothing found\n0" in found, found
    assert SECRET not in done.stdout + done.stderr
    for record in p.records():
        assert SECRET not in json.dumps(record)
    same(server.buckets["bucket"]["sub/a/f"][0], b"hello\n")


@needs_machine
def what_is_written_is_stored_when_the_run_has_ended():
    server = storage(a=b"old")
    p = place({"data": entry(server, read_only=False)},
              "cd data && mkdir -p d/e && echo one > d/e/f && echo two >> d/e/f && mv d/e/f d/g && printf new > a && head -c 5000000 /dev/zero > big"
              " && printf X | dd of=big bs=1 seek=100 conv=notrunc 2>/dev/null && cat d/g && head -c 6000000 /dev/zero > last; ls")
    expect(p.run(), 0, "Done.")
    assert "one\ntwo\na\nbig\nd\nlast" in outputs(p)[0], outputs(p)
    got = {n: v[0] for n, v in server.buckets["bucket"].items()}
    same(sorted(got), ["a", "big", "d/g", "last"])
    same(got["d/g"], b"one\ntwo\n")
    same(got["a"], b"new")
    same(got["big"], b"\0" * 100 + b"X" + b"\0" * 4999899)
    same(got["last"], b"\0" * 6000000)


@needs_machine
def snapshots_outputs_and_later_runs_have_nothing_of_it():
    server = storage(f=b"stored\n")
    entries = {"data": entry(server, read_only=False), "deep": entry(server, mount_path="d/e"), "far": entry(server, mount_path="/mnt/x/y"),
               "home": entry(server, mount_path="/home/user/s"), "own": {"type": "file", "content": "own"}}
    p = place(entries, "cat data/f d/e/f /mnt/x/y/f /home/user/s/f; echo more > data/g; echo here > d/here", outputs=[{"path": w} for w in ("d", "own", "data")])
    expect(p.run("--snapshot", "s", "--out", "out"), 0, "Done.")
    assert "stored\nstored\nstored\nstored" in outputs(p)[0], outputs(p)
    same(sorted(str(f.relative_to(p.dir / "out")) for f in (p.dir / "out").rglob("*") if f.is_file()), ["d/here", "own"])
    expect(p.call("snapshot", "restore", "s", "back"), 0)
    same(sorted(str(f.relative_to(p.dir / "back")) for f in (p.dir / "back").rglob("*") if f.is_file()), ["d/here", "own"])
    # In a workspace of layers, which is an overlay, too.
    p.write("book.yaml", json.dumps({"rules": turns("cat data/g d/e/f d/here own")}))
    expect(p.run("--from", "s", "--json"), 0)
    assert "more\nstored\nhere\nown" in outputs(p, p.runs()[0]["id"])[0], outputs(p, p.runs()[0]["id"])
    assert not list((p.dir / ".caisson/sandboxes").rglob("vfs")), "something is left of it"


@needs_machine
def a_run_that_was_killed_leaves_nothing_and_has_its_mounts_again():
    server = storage(f=b"stored\n")
    p = place({"data": entry(server, read_only=False)}, "cat data/f; echo a > data/a; while [ ! -e go ]; do sleep 0.05; done", "cat data/f; cat data/a; echo b > data/b")
    run = p.start("run", "agent.yaml", "go")
    until(lambda: "a" in server.buckets["bucket"])
    mine = servers_of(run.pid)
    assert len(mine) == 1, mine
    assert "sesame" not in pathlib.Path(f"/proc/{mine[0]}/cmdline").read_text() + pathlib.Path(f"/proc/{mine[0]}/environ").read_text()
    run.kill()
    run.communicate()
    until(lambda: not any(is_there(m) for m in mine))
    assert not [l for l in pathlib.Path("/proc/mounts").read_text().splitlines() if str(p.dir) in l]
    (p.workspace() / "go").write_text("")
    done = expect(p.call("resume", p.only_run()), 0, "Done.")
    assert "stored\na" in outputs(p)[-1], (outputs(p), done.stderr)
    same(server.buckets["bucket"]["b"][0], b"b\n")
    expect(p.call("sandbox", "gc"), 0)


@needs_machine
def a_mount_that_is_lost_is_an_error_at_once_and_there_again_for_the_next_command():
    server = storage(f=b"stored\n")
    p = place({"data": entry(server)}, "cat data/f; echo > ready; while cat data/f >/dev/null 2>last; do sleep 0.05; done; sleep 0.3; cat last", "cat data/f; cat last")
    run = p.start("run", "agent.yaml", "go")
    until(lambda: p.dir.joinpath(".caisson/sandboxes").exists() and list(p.dir.glob(".caisson/sandboxes/*/workspace/ready")))
    for pid in servers_of(run.pid):
        os.kill(pid, signal.SIGKILL)
    out, said = run.communicate(timeout=60)
    same(run.returncode, 0)
    first, second = outputs(p)
    assert "data/f: Transport endpoint is not connected" in first or "data/f: Software caused connection abort" in first, first
    assert "the mount /workspace/data (s3_mount) was lost: its rclone was killed by signal 9" in first, first
    assert "stored\n" in second and ("not connected" in second or "connection abort" in second), second


@needs_machine
def storage_that_cannot_be_reached_or_opened_is_named_before_the_first_command():
    server = storage(f=b"stored\n")
    rows = [({"data": entry(server)}, {"MOUNT_KEY": "wrong-key-0123"}, ("s3_mount at /workspace/data: it cannot be mounted", "SignatureDoesNotMatch")),
            ({"data": entry(server, bucket="nobody")}, {}, ("s3_mount at /workspace/data: it cannot be mounted", "there is no nobody")),
            ({"data": entry("http://127.0.0.1:9")}, {}, ("s3_mount at /workspace/data: it cannot be mounted", "refused")),
            ({"ok": entry(server), "data": entry(server, bucket="nobody")}, {}, ("s3_mount at /workspace/data: it cannot be mounted",)),
            ({"data": entry(server)}, {"MOUNT_KEY": ""}, ("entries.data (line 1): secret_access_key: the variable MOUNT_KEY is not set",))]
    for entries, env, texts in rows:
        p = place(entries, "ls data", env=env)
        began = time.monotonic()
        done = expect(p.run(), 6, *texts)
        assert "wrong-key" not in done.stdout + done.stderr and time.monotonic() - began < 20, done.stderr


@test
def what_cannot_be_mounted_is_refused_by_name():
    rows = [({"mount_strategy": {"type": "docker_volume", "driver": "rclone"}}, {}, "mount_strategy docker_volume is for other back-ends"),
            ({"mount_strategy": {"type": "e2b_cloud_bucket"}}, {}, "mount_strategy e2b_cloud_bucket is for other back-ends"),
            ({"mount_path": "/srv/x"}, {}, "a jail has mounts in its workspace (/workspace), in /mnt, /tmp and /home/user"),
            ({"pattern": {"type": "rclone", "extra_args": ["--config", "x"]}}, {}, 'extra_args: "--config"'),
            ({"pattern": {"type": "rclone", "extra_args": ["--buffer-size"]}}, {}, 'extra_args: "--buffer-size"'),
            ({"pattern": {"type": "rclone", "config_file_path": "x"}}, {}, "config_file_path names a file of the sandbox"),
            ({}, {"backend": "local"}, "nothing here can mount one for the back-end local"),
            ({}, {"level": "gvisor"}, "nothing here can mount one for the back-end jail at level gvisor")]
    for more, sandbox, text in rows:
        p = place({"data": entry("http://127.0.0.1:9", **more)}, "ls", sandbox=sandbox)
        expect(p.run(), 2, "entries.data", text)
    files = {"type": "s3_files_mount", "file_system_id": "fs-1", "mount_strategy": {"type": "in_container", "pattern": {"type": "s3files", "options": {}}}}
    expect(place({"data": files}, "ls").run(), 2, "entries.data: a s3_files_mount is mounted by the kernel with the program mount.s3files")
    both = {"entries": {"data": entry("http://127.0.0.1:9", mount_path="/mnt/x")}, "extra_path_grants": [{"path": "/mnt/here", "read_only": True}]}
    expect(place({}, "ls", manifest=both).run(), 2, "entries.data: a mount at /mnt/x would hide the granted path /mnt/here")


@needs_machine
def the_file_tools_say_that_a_mount_is_not_theirs():
    server = storage(f=b"stored\n")
    patch = "*** Begin Patch\n*** Add File: data/new\n+x\n*** End Patch\n"
    rules = [{"name": "a", "when": {"turn": 1}, "reply": [{"apply_patch": patch}]},
             {"name": "b", "when": {"turn": 2}, "reply": [{"view_image": {"path": "data/f"}}]}, {"name": "end", "reply": "Done."}]
    p = Place({"manifest": {"entries": {"data": entry(server, read_only=False)}}}, rules, env=KEYS)
    expect(p.run(), 0)
    records = json.dumps(p.records())
    for path in "new", "f":
        assert f"data/{path} is in the mount data, which only commands can reach" in records, records
    same(list(server.buckets["bucket"]), ["f"])


@needs_machine
def an_ordinary_user_has_them_too():
    if os.geteuid() != 0:
        return "the other tests are this user's already"
    if not os.stat("/dev/fuse").st_mode & 0o006 == 0o006:
        return "/dev/fuse is root's alone here"
    server = storage(f=b"stored\n")
    p = place({"data": entry(server, read_only=False)}, "cat data/f; echo x > data/g; id -u")
    for f in [WORK, p.dir, *p.dir.rglob("*")]:
        os.chown(f, 65534, 65534)
    done = subprocess.run([caisson, "run", "agent.yaml", "go"], cwd=p.dir, env={**p.env, "HOME": "/nonexistent"}, user=65534, group=65534, extra_groups=[],
                          capture_output=True, text=True, timeout=60)
    same(done.returncode, 0)
    same(server.buckets["bucket"]["g"][0], b"x\n")


@needs_machine
def a_key_in_the_agent_file_is_not_in_the_journal():
    server = storage(f=b"stored\n")
    e = entry(server, access_key_id="AKIDMOUNTED", secret_access_key=SECRET)
    p = place({"data": e}, "cat data/f; while [ ! -e go ]; do sleep 0.05; done", "cat data/f")
    run = p.start("run", "agent.yaml", "go")
    until(lambda: p.dir.joinpath(".caisson").exists() and "tool_call" in p.call("runs", "--json").stdout + "".join(r.get("kind", r.get("type", "")) for r in p.records()))
    run.kill()
    run.communicate()
    for f in (p.dir / ".caisson").rglob("*"):
        assert not f.is_file() or SECRET.encode() not in f.read_bytes(), f
    p.call("resume", p.only_run())
    assert "it stood in the agent file and no journal keeps it" in outputs(p)[-1], outputs(p)


if __name__ == "__main__":
    MISSING = lacks()
    sys.exit(finish())
