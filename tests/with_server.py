#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests: each in a folder of its own, on a free port of loopback or a
socket, as a user that is not root, and gone when its test is.

usage: with_server.py postgres|redis|docker|ssh PROGRAM [ARGUMENT...]

Runs PROGRAM with CAISSON_TEST_POSTGRES, CAISSON_TEST_REDIS or CAISSON_TEST_DOCKER set to the
server's URL, or with CAISSON_TEST_OPTIONS, how ssh reaches it; says why in TAP when the server is not installed or cannot run. The Docker daemon
is root's and has an image "box" of busybox. Also a module: Postgres(), Redis(), Docker() and Ssh()."""
import ctypes, glob, http.client, io, json, os, pathlib, shutil, signal, socket, subprocess, sys, tarfile, tempfile, time, urllib.parse

NOBODY = 65534


def _as_nobody():
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


class Server:
    """A process in a folder; `missing` says why there is none."""

    missing = None

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="caisson-server-"))
        self.process = None
        if os.geteuid() == 0:
            os.chown(self.dir, NOBODY, NOBODY)

    def spawn(self, *argv):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=_die_with_parent, **_as_nobody())

    def wait_for(self, answers, seconds=30):
        end = time.monotonic() + seconds
        while not answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the server did not start:\n" + (self.dir / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def stop(self, how=signal.SIGINT):
        """By its own process id; what it kept stays until close()."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()


class Postgres(Server):
    """fsync is off: what survives a power cut is not what is tested."""

    def __init__(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4])) or \
            [os.path.dirname(shutil.which("postgres") or "")]
        self.bin = found[-1]
        if not os.path.exists(os.path.join(self.bin, "initdb")):
            self.missing = "postgresql is not installed"
            return
        super().__init__()
        made = subprocess.run([f"{self.bin}/initdb", "-D", self.dir / "data", "-U", "caisson", "-A", "trust", "-E", "UTF8",
                               "--locale=C", "-N"], cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              **_as_nobody())
        if made.returncode:
            raise RuntimeError(made.stderr)
        self.url = f"postgres://caisson@/postgres?host={self.dir}"
        self.start()

    def start(self):
        self.spawn(f"{self.bin}/postgres", "-D", self.dir / "data", "-k", self.dir, "-c", "listen_addresses=",
                   "-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=32MB")
        self.wait_for(self.answers)

    def answers(self):
        return subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.dir, "-U", "caisson"],
                              stdin=subprocess.DEVNULL).returncode == 0

    def sql(self, text):
        """What psql prints for it, without decoration."""
        done = subprocess.run([f"{self.bin}/psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.url.replace("postgres://", "postgresql://"),
                               "-c", text], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


class Redis(Server):
    def __init__(self, *more):
        self.program = shutil.which("redis-server")
        if not self.program:
            self.missing = "redis-server is not installed"
            return
        super().__init__()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.more = more
        self.start()

    def start(self):
        self.spawn(self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir), "--save", "",
                   "--appendonly", "yes", "--appendfsync", "no", *self.more)
        self.wait_for(self.answers)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"PING\r\n")
                return s.recv(64)[:1] in b"+-" and True
        except OSError:
            return False


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Docker(Server):
    """A daemon without networks, with an image of one program; more: of its options. with_rclone: and
    with rclone's own plugin for volumes, in a mount namespace where nobody else's plugins are."""

    PLUGIN = """mkdir -p /run/docker/plugins "$1/plugins" "$1/volumes" "$1/cache" &&
mount --bind "$1/plugins" /run/docker/plugins &&
{ setpriv --pdeathsig KILL rclone serve docker --base-dir "$1/volumes" --cache-dir "$1/cache" --config /dev/null \\
    </dev/null >"$1/rclone.log" 2>&1 & } && shift && exec "$@" """

    def __init__(self, *more, with_rclone=False):
        self.more = more
        self.with_rclone = with_rclone
        dirs = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self.program = shutil.which("dockerd", path=dirs)
        self.busybox = shutil.which("busybox", path=dirs)
        if not self.program or not self.busybox:
            self.missing = "docker.io or busybox-static is not installed"
        elif with_rclone and not all(shutil.which(t, path=dirs) for t in ("rclone", "fusermount3", "setpriv")):
            self.missing = "rclone or fuse3 is not installed"
        elif os.geteuid() != 0:
            self.missing = "a Docker daemon of its own takes root"
        if self.missing:
            return
        super().__init__()
        os.chown(self.dir, 0, 0)
        self.socket = self.dir / "socket"
        self.url = f"unix://{self.socket}"
        try:
            self.start()
        except RuntimeError as e:
            self.missing = "dockerd does not start here: " + str(e).strip().splitlines()[-1][-200:]
            self.close()
            return
        self.import_busybox()

    def spawn(self, *argv):
        def die_with_parent():
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if self.with_rclone:
            argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", self.PLUGIN, "sh", self.dir, *argv]
        env = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}  # which rclone of Debian 12 refuses
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                            preexec_fn=die_with_parent)

    def start(self):
        self.spawn(self.program, "--iptables=false", "--ip6tables=false", "--bridge=none", "-H", self.url, "--data-root",
                   str(self.dir / "data"), "--exec-root", str(self.dir / "exec"), "--pidfile", str(self.dir / "pid"), *self.more)
        self.wait_for(self.answers, 60)

    def answers(self):
        try:
            return self.ask("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, kind="application/json"):
        """Status and answer; a body that is no bytes is sent as JSON."""
        c = UnixHTTP(self.socket)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        c.request(method, path, data, {"Content-Type": kind} if data is not None else {})
        r = c.getresponse()
        text = r.read()
        c.close()
        try:
            return r.status, json.loads(text) if text.strip() else None
        except ValueError:
            return r.status, text

    def import_tar(self, name, data, *changes):
        query = "".join("&changes=" + urllib.parse.quote(c) for c in changes)
        status, said = self.ask("POST", f"/v1.41/images/create?fromSrc=-&repo={name}&tag=latest{query}", data, "application/x-tar")
        if status != 200 or b"error" in json.dumps(said).encode():
            raise RuntimeError(f"import of {name}: {status} {said}")

    def busybox_tar(self):
        """A root file system of one program."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name in ("bin", "tmp", "home", "root", "etc"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            tar.add(os.path.realpath(self.busybox), "bin/busybox")
            for name in subprocess.run([self.busybox, "--list"], capture_output=True, text=True).stdout.split():
                if name != "busybox":
                    entry = tarfile.TarInfo(f"bin/{name}")
                    entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                    tar.addfile(entry)
            users = b"root:x:0:0::/root:/bin/sh\nworker:x:1234:1234::/home:/bin/sh\n"
            entry = tarfile.TarInfo("etc/passwd")
            entry.size = len(users)
            tar.addfile(entry, io.BytesIO(users))
        return made.getvalue()

    def import_busybox(self):
        made = self.busybox_tar()
        self.import_tar("box", made, "ENV PATH=/bin")
        self.import_tar("box-worker", made, "ENV PATH=/bin", "USER worker")
        self.import_tar("box-root", made, "ENV PATH=/bin", "USER root")

    def containers(self):
        return self.ask("GET", "/v1.41/containers/json?all=1")[1]

    def volumes(self):
        return self.ask("GET", "/v1.41/volumes")[1]["Volumes"] or []

    def close(self):
        self.stop(signal.SIGTERM)
        with open("/proc/self/mounts") as mounts:
            left = [line.split()[1] for line in mounts if str(self.dir) in line]
        for path in sorted(left, reverse=True):
            subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


class Ssh(Server):
    """An OpenSSH server, as a user that is not root. `url` is what examples/exec/ssh.py takes, as a back-end's options."""

    def __init__(self):
        self.sshd = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not self.sshd or not shutil.which("ssh"):
            self.missing = "openssh-server or openssh-client is not installed"
            return
        super().__init__()
        self.client = pathlib.Path(tempfile.mkdtemp(prefix="caisson-ssh-client-"))
        self.url = json.dumps({"options": {"host": "box", "config": str(self.client / "config")}})
        try:
            self.start()
        except (RuntimeError, subprocess.CalledProcessError) as e:
            self.missing = "sshd does not start here: " + (str(e).strip().splitlines() or [""])[-1][-200:]
            self.close()

    def start(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        for key in (self.client / "key", self.dir / "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
        (self.dir / "home").mkdir()
        shutil.copy(self.client / "key.pub", self.dir / "keys")
        (self.dir / "config").write_text(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {self.dir}/host
AuthorizedKeysFile {self.dir}/keys
PidFile none
UsePAM no
StrictModes no
MaxStartups 100
MaxSessions 100
""")
        is_root, user = os.geteuid() == 0, "box"
        argv = [self.sshd, "-D", "-e", "-f", str(self.dir / "config")]
        if is_root:  # in a mount namespace where nobody has another name, a shell and a home, and is not locked
            rows = [f"box:x:{NOBODY}:{NOBODY}::{self.dir}/home:/bin/sh\n" if line.startswith("nobody:") else line
                    for line in open("/etc/passwd")]
            (self.dir / "passwd").write_text("".join(rows))
            # With a group tty it would give terminals to that, which it may not.
            (self.dir / "group").write_text(f"box:x:{NOBODY}:\n")
            for path in self.dir.iterdir():
                os.chown(path, NOBODY, NOBODY)
            argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"', str(self.dir),
                    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", *argv]
        else:
            import pwd
            user = pwd.getpwuid(os.geteuid()).pw_name
        host = (self.dir / "host.pub").read_text().split()
        (self.client / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
        (self.client / "config").write_text(f"""Host box
HostName 127.0.0.1
Port {port}
User {user}
IdentityFile {self.client}/key
IdentitiesOnly yes
UserKnownHostsFile {self.client}/known
StrictHostKeyChecking yes
""")
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=_die_with_parent)
        self.wait_for(lambda: self.ssh("true") == 0)
        if self.ssh("true", "-tt"):
            raise RuntimeError("it cannot give terminals as an ordinary user")

    def ssh(self, command, *options):
        return subprocess.run(["ssh", "-F", self.client / "config", "-o", "BatchMode=yes", *options, "box", command],
                              stdin=subprocess.DEVNULL, capture_output=True).returncode

    def close(self):
        super().close()
        shutil.rmtree(self.client, ignore_errors=True)


KINDS = {"ssh": (Ssh, "CAISSON_TEST_OPTIONS"), "postgres": (Postgres, "CAISSON_TEST_POSTGRES"), "redis": (Redis, "CAISSON_TEST_REDIS"),
         "docker": (Docker, "CAISSON_TEST_DOCKER")}


def main():
    kind, variable = KINDS[sys.argv[1]]
    server = kind()
    if server.missing:
        print(f"1..0 # SKIP {server.missing}")
        return 0
    with server:
        return subprocess.run(sys.argv[2:], env={**os.environ, variable: server.url}).returncode


if __name__ == "__main__":
    sys.exit(main())
