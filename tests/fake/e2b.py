#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that speaks E2B's protocol and runs what it is told as processes of this
machine: the one that makes sandboxes, and the one inside of each (RPC by Connect with
JSON, files). The official clients are its judges (tests/interop/e2b_sdk.py, e2b_sdk.mjs).

usage: e2b.py [--rooted | --rootfs FOLDER] [-- PROGRAM [ARGUMENT...]]

Runs PROGRAM with E2B_API_URL, E2B_SANDBOX_URL and E2B_API_KEY set, else prints them and
serves until its input ends. --rooted: each sandbox has a /workspace, /tmp, /etc and /home/user
of its own in a mount namespace, and snapshots hold these; --rootfs: it has a copy of FOLDER, a
root file system, and snapshots hold all of it; without these paths are those of this machine.
On loopback only; it has no isolation and ends when its parent does.

Beside the protocol, for tests:
  POST /_fault {"match": "POST /files", "times": 1, "kind": "status", "status": 503,
                "headers": {}, "body": {}}   the next requests that begin so are refused;
       "kind": "drop": closed without a reply; "cut": closed after "bytes" of it;
       "late": answered after "seconds"
  GET /_log      the requests so far     GET /_sandboxes   what there is
  POST /_expire {"id": ID}               its time is over now
  POST /_life {"seconds": n}             that a sandbox may run without a pause
  POST /_lose {"id": ID}                 it is gone as if its machine had died"""
import base64, collections, ctypes, datetime, email.parser, errno, fcntl, gzip, http.server, json, os, pathlib, pty, queue
import re, secrets, shutil, signal, socket, socketserver, struct, subprocess, sys, tempfile, termios, threading, time
import urllib.parse

KEY = "e2b_" + "0" * 40
ENVD_PORT, ENVD_VERSION, RETAINED = 49983, "0.6.9", 30
KEPT = ("workspace", "tmp", "home/user", "etc")  # what a snapshot of a rooted sandbox has
libc = ctypes.CDLL(None, use_errno=True)
codes = {"canceled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504, "not_found": 404,
         "already_exists": 409, "permission_denied": 403, "resource_exhausted": 429, "failed_precondition": 400,
         "unimplemented": 501, "internal": 500, "unavailable": 503, "unauthenticated": 401}


class Refused(Exception):
    """A reply that is an error: of Connect by its word, of REST by its number."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def get(message, *names, otherwise=None):
    """JSON of protobuf: a member by any of its spellings."""
    for n in names:
        if message.get(n) is not None:
            return message[n]
    return otherwise


# ---- processes ----

class Process:
    def __init__(self, box, config, size, tag, with_stdin, limit_ms):
        self.box, self.config, self.tag, self.size = box, config, tag, size
        self.subscribers, self.end, self.lock = [], None, threading.Lock()
        self.cancelled, self.stdin, self.master = threading.Event(), None, None
        cwd = box.path(get(config, "cwd", otherwise="") or "/")
        if not box.exists(cwd):
            raise Refused("invalid_argument", f"cwd '{cwd}' does not exist")
        argv = ["/bin/sh", "-c", 'exec "${@}"', "--", config["cmd"], *get(config, "args", otherwise=[])]
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": box.home, "USER": box.user, "LOGNAME": box.user,
               "FAKE_SANDBOX": box.id, **box.env, **get(config, "envs", otherwise={})}
        slave = None
        if size:
            self.master, slave = pty.openpty()
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        else:
            streams = {"stdin": subprocess.PIPE if with_stdin else subprocess.DEVNULL, "stdout": subprocess.PIPE,
                       "stderr": subprocess.PIPE}

        def enter():
            box.enter()
            os.chdir(cwd)
            if size:
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        try:
            self.popen = subprocess.Popen(argv, env=env, preexec_fn=enter, bufsize=0, **streams)
        except (OSError, subprocess.SubprocessError) as e:
            raise Refused("invalid_argument", f"error starting process: {e}")
        finally:
            if slave is not None:
                os.close(slave)
        self.pid, self.stdin = self.popen.pid, self.popen.stdin
        box.processes[self.pid] = self
        pipes = [("pty", self.master)] if size else [("stdout", self.popen.stdout.fileno()), ("stderr", self.popen.stderr.fileno())]
        self.readers = [threading.Thread(target=self.read, args=p, daemon=True) for p in pipes]
        self.deadline = time.monotonic() + limit_ms / 1000 if limit_ms else None
        self.timed_out = False

    def begin(self):
        for r in self.readers:
            r.start()
        threading.Thread(target=self.wait, daemon=True).start()

    def read(self, word, fd):
        while True:
            try:
                data = os.read(fd, 16384 if word == "pty" else 32768)
            except OSError:
                return
            if not data:
                return
            self.publish({"data": {word: base64.b64encode(data).decode()}})

    def publish(self, event):
        """Who reads slowly holds the process up; who is gone does not."""
        for s in list(self.subscribers):
            while not s.gone:
                try:
                    s.queue.put(event, timeout=0.2)
                    break
                except queue.Full:
                    pass

    def wait(self):
        while any(r.is_alive() for r in self.readers) and not self.cancelled.is_set():
            for r in self.readers:
                r.join(0.02 if self.popen.poll() is not None else 0.05)
            if self.deadline and time.monotonic() > self.deadline and not self.timed_out:
                self.timed_out = True
                self.signal(signal.SIGKILL)
        code = self.popen.wait()
        end = {"exitCode": code if code > 0 else -1, "exited": code >= 0, "status": f"exit status {code}"}
        if code == 0:
            del end["exitCode"]  # defaults are left out
        if code < 0:
            end["status"] = "signal: " + (signal.strsignal(-code) or "").lower()
        with self.lock:
            self.end = {"end": end}
            self.ended_at = time.monotonic()
        self.publish(self.end)

    def signal(self, number):
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.cancelled.set()
        if self.popen.poll() is not None and self.end:
            raise Refused("not_found", f"process with pid {self.pid} not found")
        self.popen.send_signal(number)

    def write(self, data, to_pty):
        if to_pty != bool(self.size):
            raise Refused("internal", "input of the wrong kind")
        try:
            if to_pty:
                os.write(self.master, data)
            elif self.stdin is None or self.stdin.closed:
                raise Refused("internal", "error writing to stdin: stdin not enabled or closed")
            else:
                view = memoryview(data)
                while view:
                    view = view[os.write(self.stdin.fileno(), view):]
        except OSError as e:
            raise Refused("internal", f"error writing to stdin: {e.strerror.lower()}")


class Subscriber:
    def __init__(self, process):
        self.queue, self.process, self.gone = queue.Queue(16), process, False
        process.subscribers.append(self)

    def close(self):
        self.gone = True
        self.process.subscribers.remove(self)


# ---- sandboxes ----

def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


class Sandbox:
    def __init__(self, service, body, template):
        self.service, self.id = service, "i" + secrets.token_hex(9)
        self.token, self.traffic = secrets.token_hex(16), secrets.token_hex(8)
        self.body, self.env, self.metadata = body, body.get("envVars") or {}, body.get("metadata") or {}
        self.template, self.processes, self.state = template, {}, "running"
        self.started = time.time()
        self.timeout(body.get("timeout", 15))
        self.user, self.home, self.holder = "user", os.environ.get("HOME", "/"), None
        if service.rooted:
            self.home = "/home/user"
            self.dir = service.dir / self.id
            self.dir.mkdir()
            self.root = self.dir / "root"
            known = service.snapshot_of(template)
            if service.rootfs:
                copy(known["files"] if known else service.rootfs, self.root)
                (self.root / "home/user").mkdir(parents=True, exist_ok=True)
                self.hold(f"mount --rbind /proc {self.root}/proc; mount --rbind /dev {self.root}/dev")
                return
            for name in KEPT[1:]:
                (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
                if known:
                    copy(known["files"] / name, self.dir / name)
                    continue
                (self.dir / name).mkdir()
                for entry in os.listdir("/etc") if name == "etc" else ():
                    (self.dir / name / entry).symlink_to("/.etc/" + entry)
            if known:
                copy(known["files"] / "workspace", self.dir / "workspace")
            self.hold(self.own_folders())

    # Folders of its own over those of this machine.
    def own_folders(self):
        root = self.root
        root.mkdir(exist_ok=True)
        (self.dir / "workspace").mkdir(exist_ok=True)
        return f"""mount -t tmpfs tmpfs {root}
for d in /*; do
  n={root}$d
  case $d in /proc | /workspace | /tmp | /home | /etc) continue ;; esac
  if [ -L "$d" ]; then cp -P "$d" "$n"; elif [ -d "$d" ]; then mkdir "$n" && mount --rbind "$d" "$n"; fi
done
mkdir -p {root}/proc {root}/.etc
mount --rbind /proc {root}/proc
mount --rbind /etc {root}/.etc
for d in {" ".join(KEPT)}; do mkdir -p {root}/$d; mount --bind {self.dir}/$d {root}/$d; done"""

    # A namespace, kept by a process that sleeps.
    def hold(self, mounts):
        script = f"""set -e
mount --make-rprivate /
{mounts}
echo ready
exec sleep 100000"""
        user = [] if os.geteuid() == 0 else ["-U", "-r"]
        self.holder = subprocess.Popen(["unshare", *user, "-m", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env={"PATH": os.environ["PATH"], "FAKE_SANDBOX": self.id})
        if self.holder.stdout.readline() != b"ready\n":
            raise Refused(500, "no namespace: " + self.holder.stderr.read().decode()[-300:])
        self.spaces = [os.open(f"/proc/{self.holder.pid}/ns/{n}", os.O_RDONLY | os.O_CLOEXEC) for n in
                       (["user"] if user else []) + ["mnt"]]

    def enter(self):
        """In a child, before it becomes a program."""
        if not self.holder:
            return
        for fd in self.spaces:
            if libc.setns(fd, 0) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        os.chroot(self.root)
        os.chdir("/")

    def path(self, path):
        path = path.replace("~", self.home, 1) if path.startswith("~") else path
        return os.path.normpath(os.path.join(self.home, path))

    def host(self, path):
        """Where a path inside is on this machine."""
        path = self.path(path)
        if self.service.rootfs:
            return str(self.root) + path
        if self.holder:
            for name in KEPT:
                if path == "/" + name or path.startswith(f"/{name}/"):
                    return str(self.dir) + path
        return path

    def exists(self, path):
        return os.path.isdir(self.host(path))

    def timeout(self, seconds):
        """No later than the account's plan lets it run."""
        self.end_at = min(time.time() + seconds, self.started + self.service.life)

    def marked(self):
        """Its processes, found by a variable that all of them have."""
        mark, found = b"FAKE_SANDBOX=" + self.id.encode(), []
        for p in os.listdir("/proc"):
            if p.isdigit():
                try:
                    with open(f"/proc/{p}/environ", "rb") as f:
                        if mark in f.read().split(b"\0"):
                            found.append(int(p))
                except OSError:
                    pass
        return found

    def send_all(self, number):
        for pid in self.marked():
            if not (self.holder and pid == self.holder.pid and number != signal.SIGKILL):
                try:
                    os.kill(pid, number)
                except OSError:
                    pass

    def kill(self):
        self.state = "gone"
        quiet = 0
        while quiet < 2:  # who forks is stopped first, and looked for again
            self.send_all(signal.SIGSTOP)
            self.send_all(signal.SIGKILL)
            for p in list(self.processes.values()):
                p.popen.poll()
            alive = [p for p in self.marked() if state_of(p) not in "ZX"]
            quiet = 0 if alive else quiet + 1
        if self.holder:
            self.holder.wait()
            for fd in self.spaces:
                os.close(fd)
            shutil.rmtree(self.dir, ignore_errors=True)

    def pause(self):
        if self.state == "paused":
            raise Refused(409, "the sandbox is paused already")
        self.send_all(signal.SIGSTOP)
        self.state = "paused"

    def resume(self, seconds):
        was_paused = self.state == "paused"
        if was_paused:
            self.state, self.started = "running", time.time()
            self.send_all(signal.SIGCONT)
        self.timeout(seconds) if was_paused else self.timeout(max(seconds, self.end_at - time.time()))
        return was_paused

    def snapshot(self, name):
        """One of a name that is there already takes its place."""
        own = name or "snapshot-" + secrets.token_hex(6)
        files = self.service.dir / secrets.token_hex(6)
        if self.service.rootfs:
            copy(self.root, files)
        elif self.holder:
            for part in KEPT:
                (files / part).parent.mkdir(parents=True, exist_ok=True)
                copy(self.dir / part, files / part)
        id = f"team/{own}:default" if name else own
        self.service.snapshots[own] = {"files": files, "reply": {"snapshotID": id, "names": [id]}, "box": self.id}
        return self.service.snapshots[own]["reply"]

    def reply(self):
        return {"templateID": self.template, "sandboxID": self.id, "clientID": "c", "envdVersion": ENVD_VERSION,
                "envdAccessToken": self.token, "trafficAccessToken": self.traffic, "domain": "127.0.0.1"}

    def detail(self):
        def stamp(t):
            return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).isoformat().replace("+00:00", "Z")
        return {"templateID": self.template, "sandboxID": self.id, "clientID": "c", "envdVersion": ENVD_VERSION,
                "startedAt": stamp(self.started), "endAt": stamp(self.end_at), "cpuCount": 2, "memoryMB": 512,
                "diskSizeMB": 1024, "state": self.state, "metadata": self.metadata}

    def find(self, selector, live=True):
        pid, tag = get(selector, "pid"), get(selector, "tag")
        for p in list(self.processes.values()):
            if (p.pid == pid or (tag and p.tag == tag)) and (not (live and p.end)):
                return p
        raise Refused("not_found", f"process with {'pid' if pid else 'tag'} {pid or tag} not found")


def copy(there, here):
    """What cannot be read is left out."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(there), str(here)], stderr=subprocess.DEVNULL)


class Service:
    def __init__(self, rooted, rootfs=None):
        self.rooted, self.rootfs = rooted or bool(rootfs), rootfs
        self.sandboxes, self.once, self.snapshots = {}, {}, {}
        self.faults, self.log, self.lock, self.life = [], [], threading.Lock(), 86400
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="caisson-fake-e2b-"))
        threading.Thread(target=self.expire, daemon=True).start()

    def expire(self):
        while True:
            time.sleep(0.05)
            for b in list(self.sandboxes.values()):
                if b.state == "running" and time.time() > b.end_at:
                    b.pause() if b.body.get("autoPause") else self.drop(b)

    def drop(self, box):
        self.sandboxes.pop(box.id, None)
        box.kill()

    def snapshot_of(self, name):
        """By its name, which may have a team and a tag."""
        return self.snapshots.get(name.split("/")[-1].split(":")[0])

    def need(self, id):
        if id not in self.sandboxes:
            raise Refused(404, f"sandbox \"{id}\" doesn't exist or you don't have access to it")
        return self.sandboxes[id]

    def close(self):
        for b in list(self.sandboxes.values()):
            self.drop(b)
        shutil.rmtree(self.dir, ignore_errors=True)

    def fault(self, line):
        with self.lock:
            for f in self.faults:
                if f["times"] and line.startswith(f["match"]):
                    f["times"] -= 1
                    return f
        return None


# ---- HTTP ----

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, service = "HTTP/1.1", None
    wbufsize = -1  # a reply leaves in one piece when it can

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_body(self):
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return body

    def reply(self, status, value=None, headers=None, raw=None, kind="application/json"):
        data = raw if raw is not None else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        if data or status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def serve(self):
        body = self.read_body()
        url = urllib.parse.urlsplit(self.path)
        self.query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        line = f"{self.command} {url.path}"
        self.cut = None
        if not url.path.startswith("/_"):
            self.service.log.append({"m": self.command, "p": self.path, "h": dict(self.headers), "b": body.decode("latin-1")})
            f = self.service.fault(line)
            if f and f["kind"] == "late":
                time.sleep(f["seconds"])
            elif f and f["kind"] == "drop":
                self.close_connection = True
                return
            elif f and f["kind"] == "cut":
                self.cut = f["bytes"]
            elif f:
                self.reply(f["status"], f.get("body", {"code": f["status"], "message": "so it was asked for"}), f.get("headers"))
                return
        try:
            self.route(url.path, body)
        except Refused as e:
            status = e.code if isinstance(e.code, int) else codes[e.code]
            self.reply(status, {"code": e.code, "message": e.message})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = serve

    def route(self, path, body):
        if path.startswith("/_"):
            return self.meddle(path, body)
        if path == "/health" or path.startswith(("/files", "/process.Process/", "/filesystem.Filesystem/")):
            return self.envd(path, body)
        if self.headers.get("X-API-KEY") != KEY:
            raise Refused(401, "Invalid API key")
        self.control(path, body)

    def meddle(self, path, body):
        s, given = self.service, json.loads(body or b"{}")
        if path == "/_fault":
            s.faults.append({"times": 1, "kind": "status", **given})
        elif path == "/_log":
            return self.reply(200, s.log)
        elif path == "/_sandboxes":
            return self.reply(200, [{**b.detail(), "body": b.body, "processes": len(b.marked())} for b in s.sandboxes.values()])
        elif path == "/_life":
            s.life = given["seconds"]
            for b in s.sandboxes.values():
                b.timeout(b.end_at - time.time())
        elif path == "/_expire":
            s.sandboxes[given["id"]].end_at = 0
        elif path == "/_lose":
            s.drop(s.sandboxes[given["id"]])
        self.reply(200, {})

    # -- the service that makes sandboxes --

    def control(self, path, body):
        s = self.service
        given = json.loads(body) if body else {}
        parts = path.strip("/").split("/")
        if parts[0] == "v2":
            parts = parts[1:]
            if self.command == "GET" and parts == ["sandboxes"]:
                return self.list()
        if self.command == "POST" and parts == ["sandboxes"]:
            return self.create(given)
        if self.command == "GET" and parts == ["snapshots"]:
            wanted, box = self.query.get("name", ""), self.query.get("sandboxID")
            return self.page([v["reply"] for k, v in s.snapshots.items()
                              if (not wanted or v is s.snapshot_of(wanted)) and box in (None, v["box"])])
        if self.command == "DELETE" and parts[0] == "templates" and len(parts) > 1:
            known = s.snapshot_of(urllib.parse.unquote(parts[-1]))
            if not known:
                raise Refused(404, "template not found")
            s.snapshots = {k: v for k, v in s.snapshots.items() if v is not known}
            shutil.rmtree(known["files"], ignore_errors=True)
            return self.reply(204)
        if parts[0] != "sandboxes" or len(parts) not in (2, 3):
            raise Refused(404, "no such path")
        box, what = s.need(parts[1]), (self.command, *parts[2:])
        if what == ("GET",):
            self.reply(200, box.detail())
        elif what == ("DELETE",):
            s.drop(box)
            self.reply(204)
        elif what == ("POST", "connect"):
            self.reply(201 if box.resume(given["timeout"]) else 200, box.reply())
        elif what == ("POST", "timeout"):
            box.timeout(given["timeout"])
            self.reply(204)
        elif what == ("POST", "pause"):
            box.pause()
            self.reply(204)
        elif what == ("POST", "snapshots"):
            self.reply(201, box.snapshot(given.get("name")))
        elif what == ("PUT", "network"):
            box.body["network"] = given
            self.reply(204)
        else:
            raise Refused(404, "no such path")

    def create(self, given):
        s, once = self.service, self.headers.get("Idempotency-Key")
        with s.lock:
            if once and once in s.once:
                return self.reply(201, s.once[once].reply())
        template = given.get("templateID")
        if template not in ("base", "other") and not s.snapshot_of(str(template)):
            raise Refused(404, f"template '{template}' not found")
        box = Sandbox(s, given, template)
        s.sandboxes[box.id] = box
        if once:
            s.once[once] = box
        self.reply(201, box.reply())

    def list(self):
        wanted = dict(urllib.parse.parse_qsl(self.query.get("metadata", "")))
        states = self.query.get("state", "running,paused").split(",")
        found = [b for b in list(self.service.sandboxes.values()) if b.state in states and
                 all(b.metadata.get(k) == v for k, v in wanted.items())]
        self.page([b.detail() for b in found])

    def page(self, found):
        at, limit = int(self.query.get("nextToken") or 0), int(self.query.get("limit") or 100)
        more = {"X-Next-Token": str(at + limit)} if at + limit < len(found) else {}
        self.reply(200, found[at:at + limit], more)

    # -- the service inside --

    def envd(self, path, body):
        box = self.service.sandboxes.get(self.headers.get("E2b-Sandbox-Id"))
        if box and box.state == "paused" and (box.body.get("autoResume") or {}).get("enabled"):
            box.resume(300)
        if not box or box.state != "running" or self.headers.get("E2b-Sandbox-Port") != str(ENVD_PORT):
            return self.reply(502, {"code": 502, "message": "The sandbox was not found", "sandboxId": ""})
        if path == "/health":
            return self.reply(204)
        if self.headers.get("X-Access-Token") != box.token:
            return self.reply(401, {"code": "unauthenticated", "message": "invalid access token"})
        if path == "/files":
            return self.files_get(box) if self.command == "GET" else self.files_post(box, body)
        service, method = path.strip("/").split("/")
        if service == "process.Process" and method in ("Start", "Connect"):
            size = struct.unpack(">I", body[1:5])[0]
            return self.stream(box, method, json.loads(body[5:5 + size]))
        fn = globals().get(f"{service.split('.')[1].lower()}_{method}")
        if not fn:
            raise Refused("unimplemented", method)
        self.reply(200, fn(box, json.loads(body or b"{}")) or {})

    def files_get(self, box):
        path = box.host(self.query["path"])
        if os.path.isdir(path):
            raise Refused(400, "path is a directory")
        try:
            with open(path, "rb") as f:
                self.reply(200, raw=f.read(), kind="application/octet-stream")
        except FileNotFoundError:
            raise Refused(404, f"path '{path}' does not exist")

    def files_post(self, box, body):
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("application/octet-stream"):
            files = [(self.query["path"], body)]
        else:
            files = list(multipart(kind, body))
            if "path" in self.query:
                files = [(self.query["path"], files[0][1])]
        for path, data in files:
            os.makedirs(os.path.dirname(box.host(path)), exist_ok=True)
            with open(box.host(path), "wb") as f:
                f.write(data)
        self.reply(200, [{"path": box.path(p), "name": os.path.basename(p), "type": "file"} for p, _ in files])

    def envelope(self, value, flags=0):
        data = json.dumps(value).encode()
        data = struct.pack(">BI", flags, len(data)) + data
        if self.cut is not None:
            data = data[:self.cut]
            self.cut -= len(data)
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
        self.wfile.flush()
        if self.cut == 0:
            raise BrokenPipeError

    def stream(self, box, method, message):
        self.send_response(200)
        self.send_header("Content-Type", "application/connect+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        subscriber = None
        try:
            limit = int(self.headers.get("connect-timeout-ms") or 0)
            if method == "Start":
                size = get(message, "pty")
                size = size and (size["size"]["rows"], size["size"]["cols"])
                p = Process(box, message["process"], size, get(message, "tag"), get(message, "stdin", otherwise=True), limit)
                subscriber = Subscriber(p)
                p.begin()
            else:
                p = box.find(message["process"], live=False)
                subscriber = Subscriber(p)
            self.envelope({"event": {"start": {"pid": p.pid}}})
            self.pump(p, subscriber, float(self.headers.get("Keepalive-Ping-Interval") or 90))
            end = {"error": {"code": "deadline_exceeded", "message": "the command took too long"}} if p.timed_out else {}
            self.envelope(end, 2)
        except Refused as e:
            self.envelope({"error": {"code": e.code, "message": e.message}}, 2)
        except OSError:
            self.close_connection = True
            return
        finally:
            if subscriber:
                subscriber.close()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def pump(self, p, subscriber, every):
        quiet = time.monotonic()
        while True:
            try:
                event = subscriber.queue.get(timeout=0.1)
            except queue.Empty:
                if p.end and subscriber.queue.empty():
                    event = p.end
                elif p.box.state == "gone":
                    raise BrokenPipeError
                elif time.monotonic() - quiet > every:
                    event = {"keepalive": {}}
                else:
                    self.look()
                    continue
            quiet = time.monotonic()
            if "end" in event and p.timed_out:
                return
            self.envelope({"event": event})
            if "end" in event:
                return

    def look(self):
        """Notices a client that went away."""
        try:
            if self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                raise BrokenPipeError
        except BlockingIOError:
            pass


def multipart(kind, body):
    boundary = b"--" + re.search(r'boundary="?([^";]+)', kind).group(1).encode()
    for part in body.split(boundary)[1:-1]:
        head, _, data = part[2:].partition(b"\r\n\r\n")
        name = re.search(r'filename="([^"]*)"', head.decode()).group(1)
        yield name, data[:-2]


# ---- RPC without streams ----

def process_List(box, m):
    return {"processes": [{"config": p.config, "pid": p.pid, **({"tag": p.tag} if p.tag else {})}
                          for p in box.processes.values() if not p.end]}


def process_SendInput(box, m):
    given = m["input"]
    word = "pty" if "pty" in given else "stdin"
    box.find(m["process"]).write(base64.b64decode(given[word]), word == "pty")


def process_CloseStdin(box, m):
    p = box.find(m["process"])
    if p.size:
        raise Refused("unknown", "cannot close stdin for PTY process")
    if p.stdin:
        p.stdin.close()


def process_SendSignal(box, m):
    names = {"SIGNAL_SIGKILL": signal.SIGKILL, "SIGNAL_SIGTERM": signal.SIGTERM, 9: signal.SIGKILL, 15: signal.SIGTERM}
    if m.get("signal") not in names:
        raise Refused("unimplemented", f"invalid signal: {m.get('signal')}")
    box.find(m["process"]).signal(names[m["signal"]])


def process_Update(box, m):
    p, size = box.find(m["process"]), m["pty"]["size"]
    if p.master is None:
        raise Refused("internal", "tty not assigned to process")
    fcntl.ioctl(p.master, termios.TIOCSWINSZ, struct.pack("HHHH", size["rows"], size["cols"], 0, 0))


def entry(box, path):
    host = box.host(path)
    try:
        st = os.lstat(host)
    except OSError:
        raise Refused("not_found", f"file not found: {path}")
    kind = "FILE_TYPE_SYMLINK" if os.path.islink(host) else "FILE_TYPE_DIRECTORY" if os.path.isdir(host) else "FILE_TYPE_FILE"
    when = datetime.datetime.fromtimestamp(st.st_mtime, datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    import stat
    return {"name": os.path.basename(path), "type": kind, "path": box.path(path), "size": str(st.st_size), "mode": st.st_mode & 0o7777,
            "permissions": stat.filemode(st.st_mode), "owner": "user", "group": "user", "modifiedTime": when}


def filesystem_Stat(box, m):
    return {"entry": entry(box, m["path"])}


def filesystem_MakeDir(box, m):
    try:
        os.makedirs(box.host(m["path"]))
    except FileExistsError:
        raise Refused("already_exists", f"directory already exists: {m['path']}")
    return {"entry": entry(box, m["path"])}


def filesystem_Move(box, m):
    shutil.move(box.host(m["source"]), box.host(m["destination"]))
    return {"entry": entry(box, m["destination"])}


def filesystem_ListDir(box, m):
    path, depth, found = m["path"], get(m, "depth", otherwise=1), []
    if not os.path.isdir(box.host(path)):
        raise Refused("not_found", f"directory not found: {path}")

    def walk(at, left):
        for name in sorted(os.listdir(box.host(at))):
            child = os.path.join(at, name)
            found.append(entry(box, child))
            if left > 1 and found[-1]["type"] == "FILE_TYPE_DIRECTORY":
                walk(child, left - 1)
    walk(path, depth or 1)
    return {"entries": found}


def filesystem_Remove(box, m):
    host = box.host(m["path"])
    shutil.rmtree(host, ignore_errors=True) if os.path.isdir(host) and not os.path.islink(host) else pathlib.Path(host).unlink(True)


# ---- the program ----

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, (BrokenPipeError, ConnectionResetError, ValueError)):
            super().handle_error(request, client_address)


class Fake:
    """As a module: with Fake() as f: ... f.env."""

    def __init__(self, rooted=False, rootfs=None):
        self.service = Service(rooted, rootfs)
        self.server = Server(("127.0.0.1", 0), type("H", (Handler,), {"service": self.service}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.env = {"E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": KEY}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.server.shutdown()
        self.service.close()


def main():
    words = sys.argv[1:]
    rooted, rootfs = words[:1] == ["--rooted"], None
    words = words[rooted:]
    if words[:1] == ["--rootfs"]:
        rootfs, words = words[1], words[2:]
    libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    with Fake(rooted, rootfs) as fake:
        if words[:1] == ["--"]:
            return subprocess.run(words[1:], env={**os.environ, **fake.env}).returncode
        for k, v in fake.env.items():
            print(f"{k}={v}")
        sys.stdout.flush()
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
