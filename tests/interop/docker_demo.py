#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo agent repairs its program in a container of a real Docker daemon: nothing of its agent file is different but
the back-end. The image holds this machine's compiler and the programs it needs.

usage: CAISSON=PROGRAM docker_demo.py

Without root, docker.io, busybox-static or a compiler it is skipped aloud (exit 77)."""
import glob, io, os, pathlib, shutil, subprocess, sys, tarfile, tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from with_server import Docker

CAISSON = pathlib.Path(os.environ.get("CAISSON", "build/caisson")).resolve()
PROGRAMS = """sh cc gcc make as ld ar ranlib ls cat sed grep head tail cut sort uniq tr find rm cp mv mkdir ln chmod touch test
[ expr env tar diff wc printf stty stat id date uname mawk awk xargs sleep tee true false pwd dirname basename mktemp cmp""".split()
TASK = "Find out why the tests fail, fix the code, and prove it."


def compiler_image():
    """A root file system with the compiler of this machine, as a tar archive."""
    paths = set()

    def add(p):
        p = os.path.join(os.path.realpath(os.path.dirname(p)), os.path.basename(p))
        if p in paths or not os.path.lexists(p):
            return
        paths.add(p)
        if os.path.islink(p):
            add(os.path.join(os.path.dirname(p), os.readlink(p)))

    for name in PROGRAMS:
        if found := shutil.which(name, path="/usr/bin:/bin"):
            add(found)
    asked = subprocess.run(["cc", "-print-libgcc-file-name"], capture_output=True, text=True).stdout.strip()
    for f in glob.glob(os.path.dirname(asked) + "/**", recursive=True):
        if not os.path.isdir(f) and os.path.basename(f) not in ("cc1plus", "lto1", "f951") and \
                (not f.endswith(".a") or f.endswith(("libgcc.a", "libgcc_eh.a"))):
            add(f)
    libs = os.path.dirname(subprocess.run(["cc", "-print-file-name=libc.so"], capture_output=True, text=True).stdout.strip())
    for pattern in ("*crt*.o", "libc.so*", "libc_nonshared.a", "libm.so*", "libmvec*", "libgcc_s*", "ld-linux*", "bfd-plugins/*"):
        for f in glob.glob(f"{libs}/{pattern}"):
            add(f)
    for loader in glob.glob("/lib64/ld-*"):
        add(loader)
    for f in [p for p in paths if os.access(p, os.X_OK) and not os.path.islink(p)]:
        for line in subprocess.run(["ldd", f], capture_output=True, text=True).stdout.splitlines():
            for word in line.split():
                if word.startswith("/"):
                    add(word)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "lib", "lib64", "sbin"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(entry)
        for name in ("tmp", "home", "etc", "usr/lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for p in sorted(paths):
            tar.add(p, p.lstrip("/"), recursive=False)
        tar.add("/usr/include", "usr/include", filter=lambda i: None if "/c++" in i.name else i)
    return made.getvalue()


if not shutil.which("cc") or not shutil.which("make"):
    print("SKIP: there is no compiler here")
    sys.exit(77)
server = Docker()
if server.missing:
    print("SKIP:", server.missing)
    sys.exit(77)
work = pathlib.Path(tempfile.mkdtemp(prefix="caisson-docker-demo-"))
failed = 0


def check(name, ok, said=""):
    global failed
    failed += not ok
    print(f"ok - {name}" if ok else f"not ok - {name}\n# {said}")


try:
    server.import_tar("compiler", compiler_image(), "ENV PATH=/usr/bin")
    shutil.copytree(ROOT / "demo", work / "demo")
    shutil.rmtree(work / "demo/inventory/build", ignore_errors=True)
    with open(work / "demo/agent.yaml", "a") as agent:
        agent.write("sandbox: {backend: docker, image: compiler}\n")
    env = {**os.environ, "DOCKER_HOST": server.url}

    def caisson(*args):
        return subprocess.run([CAISSON, *args], cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)

    got = caisson("run", "demo/agent.yaml", TASK)
    check("the demo agent repairs its program in a container", got.returncode == 0 and "22 passed, 0 failed" in got.stdout, got)
    run = caisson("runs").stdout.split()[0]
    got = caisson("apply", run)
    check("its changes are brought back", got.returncode == 0 and "src/money.c" in got.stdout, got)
    shutil.rmtree(work / "demo/inventory/build", ignore_errors=True)
    got = subprocess.run(["make", "clean", "test"], cwd=work / "demo/inventory", capture_output=True, text=True,
                         env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    check("and the tests pass here", got.returncode == 0, got)
    check("no container and no volume is left", server.containers() == [] and server.volumes() == [], server.containers())
finally:
    server.close()
    shutil.rmtree(work, ignore_errors=True)
sys.exit(failed > 0)
