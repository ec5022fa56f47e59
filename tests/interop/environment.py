#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packages of Debian and of Python in an environment, as root, as an ordinary user, in containers of a real Docker daemon
and at E2B, a service of tests/fake over that root file system: a small Debian is made, an agent file names two packages of
apt and two of pip from local indexes, and a run uses all four. The second start builds nothing, a lock keeps versions when
newer ones come, and nothing but the indexes was reached. But for the name of the back-end the agent file is the same
everywhere; so the indexes are what everybody could reach, port 80 of a public address, in a network of the test's own.

usage: CAISSON=PROGRAM environment.py

Without root, debootstrap, iproute2 or a jail it is skipped aloud (exit 77), and so are containers without docker.io."""
import ctypes, hashlib, http.server, io, json, os, pathlib, pwd, shutil, subprocess, sys, tempfile, threading, zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/fake"))
from with_server import Docker
import e2b as fake_e2b

HOST = "11.22.33.44"  # public, and nobody's that this network leads to

CAISSON = pathlib.Path(os.environ.get("CAISSON", "build/caisson")).resolve()
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("CAISSON", "OPENAI"))}
checks = failed = 0


def ok(good, what, more=""):
    global checks, failed
    checks += 1
    failed += not good
    print(("ok" if good else "not ok"), checks, "-", what, ("" if good else "\n# " + str(more).replace("\n", "\n# ")), flush=True)


def skip(why):
    print("environment: skipped:", why)
    sys.exit(77)


def deb(work, name, version, depends=""):
    """A package with one program that prints its version."""
    top = work / f"{name}-{version}"
    (top / "DEBIAN").mkdir(parents=True)
    (top / "usr/bin").mkdir(parents=True)
    program = top / "usr/bin" / name
    program.write_text(f"#!/bin/sh\necho {name} {version}\n")
    program.chmod(0o755)
    (top / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.com>\n"
        + (f"Depends: {depends}\n" if depends else "") + "Description: a test\n")
    script = top / "DEBIAN/postinst"  # what packages do as root
    script.write_text(f"#!/bin/sh\nset -e\nmkdir -p /var/lib/{name}\nchown www-data:www-data /var/lib/{name}\n")
    script.chmod(0o755)
    out = work / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(top), str(out)], check=True, capture_output=True)
    return out


def wheel(name, version):
    out = io.BytesIO()
    info = f"{name}-{version}.dist-info/"
    with zipfile.ZipFile(out, "w") as z:
        z.writestr(f"{name}.py", f"version = '{version}'\n")
        z.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(info + "RECORD", "".join(f"{f},,\n" for f in (f"{name}.py", info + "METADATA", info + "WHEEL", info + "RECORD")))
    return out.getvalue()


class Indexes:
    """A flat repository of apt and a simple index of pip."""

    def __init__(self, work):
        self.files, self.asked, self.work = {}, [], work
        indexes = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                indexes.asked.append(self.path)
                body = indexes.files.get(self.path.replace("/./", "/"))
                self.send_response(200 if body is not None else 404)
                if self.path.startswith("/pip/") and self.path.endswith("/"):
                    self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 80), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def offer(self, debs, wheels):
        listed = []
        for path in debs:
            data = path.read_bytes()
            self.files["/apt/" + path.name] = data
            control = subprocess.run(["dpkg-deb", "-f", str(path)], capture_output=True, text=True, check=True).stdout
            listed.append(control.rstrip("\n") + f"\nFilename: {path.name}\nSize: {len(data)}\n"
                          f"SHA256: {hashlib.sha256(data).hexdigest()}\n")
        self.files["/apt/Packages"] = "\n".join(listed).encode()
        for name in {n for n, _ in wheels}:
            links = ""
            for n, version in wheels:
                if n == name:
                    file = f"{name}-{version}-py3-none-any.whl"
                    self.files[f"/pip/{name}/{file}"] = wheel(name, version)
                    links += f'<a href="{file}">{file}</a>\n'
            self.files[f"/pip/{name}/"] = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def debian(work):
    """A small Debian with pip, as an archive; it knows no repository."""
    root = work / "debian"
    done = subprocess.run(["debootstrap", "--variant=minbase", "--include=python3-pip", "bookworm", str(root)],
                          capture_output=True, text=True, timeout=900)
    if done.returncode:
        skip("debootstrap: " + done.stdout[-300:] + done.stderr[-300:])
    (root / "etc/apt/sources.list").write_text("")
    subprocess.run(["tar", "-C", str(root), "-cf", str(work / "debian.tar"), "."], check=True)
    return work / "debian.tar"


def enter_network():
    """From now on there are a loopback interface and our address, and nothing else."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        skip("no network of its own can be made: " + os.strerror(ctypes.get_errno()))
    for words in ("link set lo up", f"addr add {HOST}/32 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)


def agent(base):
    return {
        "name": "a", "model": "script:book.yaml", "capabilities": ["shell"],
        "environment": {
            "base": f"tar:{base}",
            "packages": {"apt": ["first", "second"], "apt_sources": [f"deb [trusted=yes] http://{HOST}/apt ./"],
                         "pip": ["third", "fourth>=1"], "pip_index": f"http://{HOST}/pip/"},
            "setup": ["first > /usr/share/was-there"],
            "build_network": {"allow": [HOST]},
            "lock": "environment.lock"}}


BOOK = {"rules": [
    {"name": "use", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "first; second; cat /usr/share/was-there; python3 -c "
     "'import third, fourth; print(third.version, fourth.version)'; stat -c %U /var/lib/first"}}]},
    {"name": "end", "reply": "done"}]}


class User:
    def __init__(self, work, name, base, backend="jail", env=None):
        self.name, self.folder, self.env = f"{name}, {backend}", work / f"of-{name}-{backend}", env or {}
        self.made = work / f"debs-{name}-{backend}"
        self.folder.mkdir()
        self.made.mkdir()
        (self.folder / "agent.yaml").write_text(json.dumps({**agent(base), "sandbox": {"backend": backend}}))
        (self.folder / "book.yaml").write_text(json.dumps(BOOK))
        self.ids = None if name == "root" else pwd.getpwnam(name)
        if self.ids:
            shutil.chown(self.folder, self.ids.pw_uid, self.ids.pw_gid)

    def call(self, *words):
        who = {} if not self.ids else {"user": self.ids.pw_uid, "group": self.ids.pw_gid, "extra_groups": []}
        return subprocess.run([str(CAISSON), *words], cwd=self.folder, capture_output=True, text=True, timeout=600,
                              stdin=subprocess.DEVNULL, **who,
                              env={**CLEAN, **self.env, "CAISSON_IMAGES": str(self.folder / "images"), "HOME": str(self.folder)})


def uses(user, indexes):
    debs = [deb(user.made, "first", "1.0"), deb(user.made, "second", "2.0", "helper"), deb(user.made, "helper", "0.1")]
    indexes.files.clear()
    indexes.offer(debs, [("third", "3.0"), ("fourth", "1.5")])
    done = user.call("run", "agent.yaml", "go", "--json")
    ok(done.returncode == 0 and "first 1.0\\nsecond 2.0\\nfirst 1.0\\n3.0 1.5\\nwww-data" in done.stdout,
       f"{user.name}: a run has the packages, and what their scripts did", done.stdout[-2500:] + done.stderr[-2500:])
    indexes.asked.clear()
    done = user.call("run", "agent.yaml", "go")
    ok(done.returncode == 0 and not indexes.asked, f"{user.name}: the second start builds nothing", indexes.asked)
    done = user.call("image", "lock", "agent.yaml")
    lock = json.loads((user.folder / "environment.lock").read_text()) if done.returncode == 0 else {}
    ok(lock.get("packages") == {"apt": ["first=1.0", "helper=0.1", "second=2.0"], "pip": ["fourth==1.5", "third==3.0"], "npm": []},
       f"{user.name}: the lock has each version, also of what others needed", done.stderr + json.dumps(lock))
    indexes.offer(debs + [deb(user.made, "first", "1.1")], [("third", "3.0"), ("third", "3.1"), ("fourth", "1.5")])
    done = user.call("image", "build", "agent.yaml", "--json")
    built = json.loads(done.stdout) if done.returncode == 0 else {}
    ok(built.get("locked") and not built.get("was_there") and "first=1.0" in built["resolved"]["apt"] and
       "third==3.0" in built["resolved"]["pip"], f"{user.name}: the lock holds when newer ones are there", done.stdout + done.stderr)
    left = [f for f in (user.folder / "images/tmp").glob("*")]
    ok(not left, f"{user.name}: nothing is left of builds", left)


def main():
    if os.geteuid() != 0:
        skip("it needs root, to make a Debian")
    for program in "debootstrap", "dpkg-deb", "ip":
        if not shutil.which(program):
            skip(f"{program} is not installed")
    if subprocess.run([str(CAISSON), "sandbox", "run", "--", "true"], capture_output=True, env=CLEAN, stdin=subprocess.DEVNULL).returncode:
        skip("no jail can be made here")
    work = pathlib.Path(tempfile.mkdtemp(prefix="caisson-environment-"))
    work.chmod(0o755)
    name = "csnenv"
    try:
        base = debian(work)
        enter_network()
        indexes = Indexes(work)
        uses(User(work, "root", base), indexes)
        with fake_e2b.Fake(rootfs=work / "debian") as fake:
            uses(User(work, "root", base, "e2b", fake.env), indexes)
            ok(not fake.service.sandboxes and len(fake.service.snapshots) == 2, "root, e2b: nothing is left but both snapshots",
               (fake.service.sandboxes, fake.service.snapshots))
        server = Docker()
        if server.missing:
            print("# containers are not tried:", server.missing)
        else:
            with server:
                uses(User(work, "root", base, "docker", {"DOCKER_HOST": server.url}), indexes)
        if subprocess.run(["useradd", "--no-create-home", "--add-subids-for-system", "--system", "--shell", "/bin/sh", name],
                          capture_output=True).returncode:
            print("# an ordinary user is not tried: useradd cannot make one with lent ids here")
        else:
            uses(User(work, name, base), indexes)
    finally:
        subprocess.run(["userdel", name], capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"environment: {checks - failed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
