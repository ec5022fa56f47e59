#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A jail in a container of Docker: with the default profile it is refused and
the doctor says what to do; with what it says, it works.

usage: CAISSON=PROGRAM docker_jail.py

A dockerd of our own runs on a socket of its own, without a network; where none
is installed it comes from the distribution's packages into a scratch folder.
Without root, apt or runc the test is skipped aloud (exit 77)."""
import json, os, pathlib, shutil, subprocess, sys, tempfile, time

CAISSON = pathlib.Path(os.environ.get("CAISSON", "build/caisson")).resolve()
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-docker-"))
OPEN = [f"--security-opt={o}=unconfined" for o in ("seccomp", "apparmor", "systempaths")]
failed = 0


def check(name, ok, said=""):
    global failed
    failed += not ok
    print(f"ok - {name}" if ok else f"not ok - {name}\n# {said}")


def skip(why):
    print("SKIP:", why)
    shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(77)


def fetch():
    if shutil.which("dockerd") and shutil.which("docker"):
        return
    got = subprocess.run(["apt-get", "download", "docker.io", "containerd"], cwd=WORK, capture_output=True, text=True)
    if got.returncode:
        skip("docker could not be fetched: " + got.stderr[-200:])
    for package in WORK.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, WORK], check=True)
    os.environ["PATH"] = f"{WORK}/usr/bin:{WORK}/usr/sbin:" + os.environ["PATH"]


if os.geteuid() != 0 or not shutil.which("apt-get") or not shutil.which("runc"):
    skip("it takes root, apt-get and runc")
fetch()
socket = f"unix://{WORK}/socket"
daemon = subprocess.Popen(["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
                           "-H", socket, "--data-root", WORK / "data", "--exec-root", WORK / "exec",
                           "--pidfile", WORK / "pid"], stdout=open(WORK / "log", "w"), stderr=subprocess.STDOUT)


def docker(*args):
    return subprocess.run(["docker", "-H", socket, *map(str, args)], capture_output=True, text=True, timeout=120)


def inside(*args):
    """This machine's programs in an empty image."""
    options, words = args[:args.index("--")], args[args.index("--") + 1:]
    binds = [f"-v={p}:{p}:ro" for p in ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache") if os.path.exists(p)]
    return docker("run", "--rm", "--network=none", *binds, f"-v={CAISSON.parent}:/build:ro", "--tmpfs=/tmp:exec",
                  "-w=/tmp", *options, "empty", f"/build/{CAISSON.name}", *words)


try:
    end = time.monotonic() + 60
    while docker("version").returncode:
        if time.monotonic() > end or daemon.poll() is not None:
            print("SKIP: dockerd does not start:", (WORK / "log").read_text()[-300:])
            sys.exit(77)
        time.sleep(0.2)
    (WORK / "nothing").mkdir()
    subprocess.run(["tar", "-C", WORK / "nothing", "-cf", WORK / "nothing.tar", "."], check=True)
    docker("import", WORK / "nothing.tar", "empty")
    for who in ([], ["--user=1000"]):
        name = "root" if not who else "user 1000"
        got = inside(*who, "--", "sandbox", "run", "--", "id")
        check(f"with the default profile {name} is refused and told what to do",
              got.returncode == 2 and "--security-opt seccomp=unconfined" in got.stderr, got)
        got = inside(*who, "--", "doctor", "--json")
        jail = json.loads(got.stdout)["jail"]
        check(f"the doctor says so to {name}, whole", got.returncode == 6 and jail["jail"]["state"] == "absent" and
              "systempaths=unconfined" in jail["jail"]["note"], got.stdout[:2000])
    got = inside("--user=1000", *OPEN, "--", "sandbox", "run", "--", "id", "-u")
    check("with what it says a user's jail works", got.stdout == "1000\n", got)
    got = inside("--cap-add=SYS_ADMIN", *OPEN, "--", "sandbox", "run", "--", "id", "-u")
    check("with what it says root's jail works", got.stdout == "1000\n", got)
    got = inside(*OPEN, "--", "sandbox", "run", "--", "id")
    check("root without CAP_SYS_ADMIN is told of it", got.returncode == 2 and "SYS_ADMIN" in got.stderr, got)
    got = inside("--user=1000", *OPEN, "--", "doctor", "--json")
    jail = json.loads(got.stdout)["jail"]
    check("the doctor says which limits are lost", got.returncode == 0 and jail["limit: memory"]["state"] == "soft" and
          jail["limit: cpu"]["state"] == "absent", got.stdout[:2000])
    got = inside("--user=1000", *OPEN, "--", "sandbox", "run", "--memory", "64MiB", "--strict", "--", "true")
    check("strict refuses what would be soft", got.returncode == 2 and "memory is soft" in got.stderr, got)
finally:
    daemon.terminate()
    daemon.wait(30)
    subprocess.run(f"grep -s {WORK} /proc/self/mounts | cut -d' ' -f2 | sort -r | xargs -r umount -l", shell=True)
    shutil.rmtree(WORK, ignore_errors=True)
sys.exit(failed > 0)
