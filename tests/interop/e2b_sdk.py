#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""E2B's own clients as judges of our service of tests/fake, which in turn judges our
back-end: what they do with it must give what it gives with E2B.

usage: e2b_sdk.py

The Python client in the version that others pin and in the newest, and the newest for
JavaScript (e2b_sdk.mjs). The packages come from the registries into a scratch folder;
without pip or npm that part is skipped aloud (exit 77 when nothing is left)."""
import os, pathlib, shutil, subprocess, sys, tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
checks = 0


def check(got, want, what):
    global checks
    checks += 1
    if got != want:
        sys.exit(f"FAILED: {what}: got {got!r}, expected {want!r}")


def refused(fn, kind, what):
    global checks
    checks += 1
    try:
        fn()
    except kind as e:
        return e
    sys.exit(f"FAILED: {what}: no {kind.__name__}")


def has(thing, *names):
    for n in names:
        if hasattr(thing, n):
            return getattr(thing, n)
    sys.exit(f"FAILED: the client has none of {names}")


def commands(box):
    from e2b import CommandExitException, TimeoutException
    seen = []
    r = box.commands.run("echo out; echo err >&2; echo $A$B; pwd", envs={"B": "2"}, cwd="/tmp", on_stdout=lambda s: seen.append(s))
    check((r.stdout, r.stderr, r.exit_code), ("out\n12\n/tmp\n", "err\n", 0), "a command")
    check("".join(seen), "out\n12\n/tmp\n", "its stream")
    e = refused(lambda: box.commands.run("echo bad >&2; exit 3"), CommandExitException, "a code")
    check((e.exit_code, e.stderr), (3, "bad\n"), "what it says")
    refused(lambda: box.commands.run("sleep 5", timeout=1), TimeoutException, "a time-out")
    check(len(box.commands.run("head -c 300000 /dev/zero | tr '\\0' x").stdout), 300000, "much output")
    h = box.commands.run("cat", background=True, stdin=True)
    check(h.pid in [p.pid for p in box.commands.list()], True, "the list of commands")
    box.commands.send_stdin(h.pid, "hello\n")
    has(box.commands, "close_stdin")(h.pid)
    check(h.wait().stdout, "hello\n", "its input")
    h = box.commands.run("echo begun; sleep 100", background=True)
    again = box.commands.connect(h.pid)
    check((again.pid, box.commands.kill(h.pid), box.commands.kill(999999)), (h.pid, True, False), "kill")


def files(box, folder):
    from e2b import NotFoundException
    check((box.files.make_dir(folder + "/sub"), box.files.make_dir(folder + "/sub")), (True, False), "folders")
    box.files.write(folder + "/a.txt", "hello\n")
    check(box.files.read(folder + "/a.txt"), "hello\n", "a file")
    box.files.write_files([{"path": folder + "/b", "data": b"\0\xff"}, {"path": folder + "/new/c", "data": "c"}])
    check(bytes(box.files.read(folder + "/b", format="bytes")), b"\0\xff", "bytes of a batch")
    check(sorted(e.name for e in box.files.list(folder)), ["a.txt", "b", "new", "sub"], "the list of files")
    check((box.files.exists(folder + "/zz"), box.files.exists(folder + "/a.txt")), (False, True), "exists")
    check(box.files.get_info(folder + "/a.txt").size, 6, "a file's size")
    refused(lambda: box.files.read(folder + "/none"), NotFoundException, "a file that is not there")
    check(box.files.rename(folder + "/b", folder + "/d").path, folder + "/d", "a new name")
    box.files.remove(folder)
    check(box.files.exists(folder), False, "a folder that was removed")


def terminal(box):
    from e2b import PtySize
    import time
    seen = []
    h = box.pty.create(PtySize(rows=24, cols=80), timeout=30)
    box.pty.resize(h.pid, PtySize(rows=30, cols=100))
    box.pty.send_stdin(h.pid, b"stty size; exit\n")
    try:
        h.wait(on_pty=lambda data: seen.append(data))
    except Exception as e:  # the shell's last code counts
        seen.append(str(e).encode())
    check(b"30 100" in b"".join(seen), True, "a terminal's size")
    h = box.pty.create(PtySize(rows=24, cols=80), timeout=30)
    check(box.pty.kill(h.pid), True, "a terminal's end")


def judge():
    from e2b import AuthenticationException, NotFoundException, Sandbox
    box = Sandbox.create(template="base", timeout=120, metadata={"k": "v"}, envs={"A": "1"})
    folder = tempfile.mktemp(prefix="caisson-e2b-")
    check(box.is_running(), True, "is it running")
    commands(box)
    files(box, folder)
    terminal(box)
    check(box.get_host(3000), f"3000-{box.sandbox_id}.127.0.0.1", "a port's host")
    box.set_timeout(60)
    info = box.get_info()
    check((info.sandbox_id, info.metadata), (box.sandbox_id, {"k": "v"}), "what it is")
    name = box.create_snapshot().snapshot_id
    other = Sandbox.create(template=name)
    check(other.commands.run("echo $$x").exit_code, 0, "one of a snapshot")
    check(other.kill(), True, "its end")
    box.commands.run(f"echo kept >{folder}")
    named = box.create_snapshot(name="judged")
    other = Sandbox.create(template="judged")  # by its name alone, as we do
    check(other.commands.run(f"cat {folder}").stdout, "kept\n", "one of a snapshot with a name")
    check(other.kill(), True, "its end")
    check(named.snapshot_id in [s.snapshot_id for s in Sandbox.list_snapshots().next_items()], True, "the list of snapshots")
    check((Sandbox.delete_snapshot("judged"), Sandbox.delete_snapshot("judged")), (True, False), "a snapshot's end")
    box.commands.run(f"rm {folder}")
    has(box, "pause", "beta_pause")()
    check(box.is_running(), False, "does it rest")
    box = Sandbox.connect(box.sandbox_id, timeout=99)
    check(box.commands.run("echo back").stdout, "back\n", "does it go on")
    check(box.sandbox_id in [s.sandbox_id for s in Sandbox.list().next_items()], True, "is it listed")
    check((box.kill(), Sandbox.kill(box.sandbox_id), box.is_running()), (True, False, False), "its end")
    refused(lambda: Sandbox.connect(box.sandbox_id), Exception, "one that is gone")
    refused(lambda: Sandbox.create(template="nowhere"), Exception, "a template that is not there")
    refused(lambda: Sandbox.create(api_key="e2b_" + "1" * 40), AuthenticationException, "another key")
    print(f"{checks} comparisons")


def run(argv, what, **more):
    done = subprocess.run(argv, capture_output=True, text=True, **more)
    if done.returncode:
        print(f"SKIP: {what}: {(done.stderr or done.stdout)[-200:]}")
    return done.returncode == 0


def main():
    sys.path.insert(0, str(HERE.parent / "fake"))
    import e2b as fake_e2b
    work, failed, ran = tempfile.mkdtemp(prefix="caisson-e2b-sdk-"), 0, 0
    with fake_e2b.Fake() as fake:
        env = {**os.environ, **fake.env}
        for nth, package in enumerate(("e2b==2.31.0", "e2b")):
            venv = f"{work}/{nth}"
            if run([sys.executable, "-m", "venv", venv], "no venv") and \
                    run([venv + "/bin/pip", "install", "-q", package], f"{package} could not be installed"):
                print(f"Python, {package}: ", end="", flush=True)
                failed += subprocess.run([venv + "/bin/python", __file__, "--judge"], env=env, timeout=120).returncode != 0
                ran += 1
        if not shutil.which("npm"):
            print("SKIP: there is no npm")
        elif run(["npm", "install", "--silent", "--prefix", work, "e2b"], "e2b could not be installed"):
            shutil.copy(HERE / "e2b_sdk.mjs", work)
            print("JavaScript, e2b: ", end="", flush=True)
            failed += subprocess.run(["node", work + "/e2b_sdk.mjs"], env=env, timeout=120).returncode != 0
            ran += 1
    shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0 if ran else 77


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else main())
