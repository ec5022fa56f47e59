#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Archives of workspaces and manifests between us and the package openai-agents, both ways.

usage: CAISSON=PROGRAM snapshot_agents.py

1. What `caisson snapshot export` writes is restored by the package, as files, links and modes
   as it keeps them; GNU tar unpacks it with modes, links and times.
2. What the package saves of a workspace is imported by us, with the same files.
3. A manifest that the package writes as JSON makes the same files with us, and the JSON of our
   agent's manifest is read by the package.
The package comes from PyPI; where it cannot be had, this is skipped aloud (exit 77)."""
import asyncio, io, json, os, pathlib, random, shutil, subprocess, sys, tarfile, tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "common"))
import venv

checks = 0


def same(got, want, what):
    global checks
    checks += 1
    if got != want:
        sys.exit("FAILED: %s: got %r, expected %r" % (what, got, want))


def describe(top, modes=True, times=False):
    """path: what is there."""
    out = {}
    for folder, names, files in os.walk(top):
        for name in names + files:
            path = pathlib.Path(folder) / name
            st = path.lstat()
            key = os.fsencode(path.relative_to(top))
            mode = st.st_mode & 0o777 if modes else bool(st.st_mode & 0o100)
            when = int(st.st_mtime) if times else 0
            if path.is_symlink():
                out[key] = ("link", os.readlink(path))
            elif path.is_dir():
                out[key] = ("dir", mode if modes else 0, when)
            else:
                out[key] = ("file", mode, when, path.read_bytes())
    return out


def fill(top):
    by = random.Random(3)
    for name, size in [("a", 0), ("d/e/f", 70000), ("d/with blank", 1), ("d/é", 10), ("d/" + "long" * 40, 5), ("p" * 90 + "/" + "q" * 90 + "/r", 9)]:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(by.randbytes(size))
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "private").write_text("x")
    (top / "private").chmod(0o600)
    (top / "empty").mkdir()
    os.symlink("e/f", top / "d/link")
    os.symlink("../a", top / "d/up")
    os.utime(top / "a", (1000000000, 1000000000))
    os.utime(top / "d/e/f", (1.25e9, 1.25e9))


def as_the_package_keeps(what):
    """Files lose write bits of others and run where the owner may; folders get usual modes; no times."""
    return {k: ("dir",) if v[0] == "dir" else v if v[0] == "link" else ("file", bool(v[1] & 0o100), v[3]) for k, v in what.items()}


class Work:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="caisson-agents-"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("CAISSON")}

    def call(self, *words):
        done = subprocess.run([os.environ["CAISSON"], *map(str, words)], cwd=self.dir, env=self.env, capture_output=True, text=True, timeout=120)
        same(done.returncode, 0, " ".join(map(str, words)) + ": " + done.stderr)
        return done.stdout


def judge_gnu_tar(w):
    w.call("snapshot", "save", "ours", "src")
    w.call("snapshot", "export", "ours", "ours.tar")
    (w.dir / "tar").mkdir()
    done = subprocess.run(["tar", "-xpf", w.dir / "ours.tar", "-C", w.dir / "tar"], capture_output=True, text=True)
    same((done.returncode, done.stderr), (0, ""), "GNU tar")
    same(describe(w.dir / "tar", times=True), describe(w.dir / "src", times=True), "what GNU tar unpacks")
    subprocess.run(["tar", "-cf", w.dir / "gnu.tar", "-C", w.dir / "src", "."], check=True)
    w.call("snapshot", "import", "gnu", "gnu.tar")
    same(w.call("snapshot", "diff", "ours", "gnu"), "", "what GNU tar packs")


async def session_of(manifest):
    from agents.sandbox.sandboxes.unix_local import UnixLocalSandboxClient
    client = UnixLocalSandboxClient()
    session = await client.create(manifest=manifest)
    await session.start()
    return client, session


async def judge_package(w):
    from agents.sandbox import Manifest
    client, session = await session_of(Manifest())
    root = pathlib.Path(session.state.manifest.root)
    await session.hydrate_workspace(io.BytesIO((w.dir / "ours.tar").read_bytes()))
    same(as_the_package_keeps(describe(root)), as_the_package_keeps(describe(w.dir / "src")), "what the package restores")
    stream = await session.persist_workspace()
    (w.dir / "theirs.tar").write_bytes(stream.read())
    await session.aclose()
    w.call("snapshot", "import", "theirs", "theirs.tar")
    w.call("snapshot", "restore", "theirs", "back")
    same(as_the_package_keeps(describe(w.dir / "back")), as_the_package_keeps(describe(w.dir / "src")), "what we restore of theirs")
    with tarfile.open(w.dir / "ours.tar") as tar:  # and Python's own reader agrees on every member
        same(sorted(os.fsencode(m.name) for m in tar), sorted(describe(w.dir / "src")), "members")


ENTRIES = {"in.txt": {"type": "file", "content": "given\n"}, "d": {"type": "dir", "children": {"x": {"type": "file", "content": "deep"}}}}


async def judge_manifests(w):
    from agents.sandbox import Manifest
    theirs = Manifest.model_validate({"entries": ENTRIES})
    text = theirs.model_dump(mode="json")
    client, session = await session_of(theirs)
    root = pathlib.Path(session.state.manifest.root)
    want = as_the_package_keeps(describe(root))
    await session.aclose()
    rules = [{"name": "done", "reply": "Done."}]
    (w.dir / "book.yaml").write_text(json.dumps({"about": "x", "rules": rules}))
    for name, manifest in ("theirs", text), ("ours", {"entries": ENTRIES}):
        (w.dir / "agent.yaml").write_text(json.dumps({"name": "a", "model": "script:book.yaml", "capabilities": ["shell"], "manifest": manifest}))
        w.call("run", "agent.yaml", "--snapshot", "of-" + name, "go")
        w.call("snapshot", "restore", "of-" + name, "made-" + name)
        same(as_the_package_keeps(describe(w.dir / ("made-" + name))), want, "files of a manifest, " + name)
    shown = [json.loads(line) for line in w.call("show", json.loads(w.call("runs", "--json"))[0]["id"], "--json").splitlines()]
    agent = next(r for r in shown if r["kind"] == "run" or "agent" in r.get("data", {}))["data"]["agent"]
    again = Manifest.model_validate(agent["manifest"])
    same(sorted(again.entries), sorted(theirs.entries), "our manifest, read by the package")


def judge():
    if not os.environ.get("CAISSON"):
        sys.exit("CAISSON must name the program")
    w = Work()
    (w.dir / "src").mkdir()
    fill(w.dir / "src")
    try:
        judge_gnu_tar(w)
        asyncio.run(judge_package(w))
        asyncio.run(judge_manifests(w))
    finally:
        shutil.rmtree(w.dir, ignore_errors=True)
    print("%d comparisons with GNU tar and openai-agents, 0 differences" % checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else venv.run_inside(__file__, ["openai-agents"]))
