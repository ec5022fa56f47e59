# SPDX-License-Identifier: Apache-2.0
"""A small internet in a network namespace: an origin with TLS at a public
address, caisson-egress in front of it, and listeners as a sandbox has them.

A test is a function with @test; it fails by raising and is skipped when it
returns a reason."""
import base64, ctypes, fcntl, json, os, pathlib, select, shutil, signal, socket, ssl, struct, subprocess, sys
import tempfile, threading, time, traceback

PROGRAM = os.path.abspath(sys.argv[1])
SANITIZED = len(sys.argv) > 2 and "address" in sys.argv[2]
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-egress-"))
PUBLIC, OTHER, PRIVATE = "93.184.216.34", "93.184.216.35", "10.1.2.3"  # all of them are here
_tests = []


def test(fn):
    _tests.append(fn)
    return fn


def finish():
    failed = 0
    why = enter_namespace()
    print(f"1..{len(_tests)}")
    if not why:
        make_certificates()
    for i, t in enumerate(_tests, 1):
        name = t.__name__.replace("_", " ")
        try:
            said = why or t()
            print(f"ok {i} - {name}" + (f" # SKIP {said}" if said else ""), flush=True)
        except Exception as e:  # every test is to be run
            failed += 1
            where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == sys.argv[0]]
            line = where[-1].lineno if where else traceback.extract_tb(e.__traceback__)[-1].lineno
            said = f"line {line}: {type(e).__name__}: {e}".replace("\n", "\n# ")
            print(f"not ok {i} - {name}\n# {said}", flush=True)
    shutil.rmtree(WORK, ignore_errors=True)
    return failed > 0


def until(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError("not in time: " + what)


# ---- the namespace ----

def enter_namespace():
    """A network of our own, in which any port and address can be used."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(0x40000000 | (0 if uid == 0 else 0x10000000)) < 0:
        return f"no network namespace ({os.strerror(ctypes.get_errno())})"
    if uid != 0:
        for name, text in ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"):
            pathlib.Path("/proc/self", name).write_text(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, running, loopback
    # ip route add local 0.0.0.0/0 dev lo: every IPv4 address is here
    message = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 255, 3, 254, 2, 0)
    message += struct.pack("=HHI", 8, 4, 1)  # RTA_OIF: lo
    head = struct.pack("=IHHII", 16 + len(message), 24, 0x605, 1, 0)  # RTM_NEWROUTE, create, ack
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(head + message)
        error = struct.unpack("=i", s.recv(4096)[16:20])[0]
    return f"no route ({os.strerror(-error)})" if error else None


def make_certificates():
    names = ["a.test", "b.test", "c.test", "api.test", "www.wild.test", "slow.test"]
    run = lambda *words: subprocess.run(["openssl", *words], cwd=WORK, check=True, capture_output=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-days", "2")
    for file, sans in ("origin", ["DNS:" + n for n in names] + ["IP:" + PUBLIC]), ("wrong", ["DNS:other.test"]):
        (WORK / "san").write_text("subjectAltName=" + ",".join(sans))
        run("req", "-new", *ec, "-keyout", file + ".key", "-out", file + ".csr", "-subj", "/CN=origin")
        run("x509", "-req", "-in", file + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", file + ".pem", "-days", "2", "-extfile", "san")


# ---- the origin ----

class Origin:
    """Answers as the path says, and keeps what it was asked."""

    def __init__(self, address=PUBLIC, port=443, tls=True, certificate="origin"):
        self.heads, self.bodies, self.connections, self.answers = [], [], 0, {}
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind((address, port))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(WORK / (certificate + ".pem"), WORK / (certificate + ".key"))
            self.tls.set_alpn_protocols(["http/1.1"])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            s.settimeout(60)
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            f = s.makefile("rb")
            while self._one(s, f):
                pass
            if self.tls:
                s.unwrap()
        except (OSError, ValueError):
            pass
        finally:
            s.close()

    def _one(self, s, f):
        lines = []
        while True:
            line = f.readline()
            if not line:
                return False
            if line == b"\r\n":
                break
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        head = "\n".join(lines)
        fields = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:])}
        method, path, _ = lines[0].split(" ")
        self.heads.append(head)
        if fields.get("expect") == "100-continue":
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        if "content-length" in fields:
            left = int(fields["content-length"])
            while left and (part := f.read(min(left, 1 << 16))):
                left -= len(part)
                body += part if len(body) < 1 << 20 else b""
        elif fields.get("transfer-encoding") == "chunked":
            while n := int(f.readline(), 16):
                body += f.read(n)
                f.readline()
            f.readline()
        self.bodies.append(body)
        return self._answer(s, f, method, path, head, fields, body)

    def _answer(self, s, f, method, path, head, fields, body):
        def send(status, text, *more):
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *more, "", ""]
            s.sendall("\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else text))
            return True
        if path in self.answers:
            raw = self.answers[path](head, fields)
            for part in raw:
                s.sendall(part)
                time.sleep(0.02)
            return False
        if path == "/redirect":
            return send("302 Found", b"", "Location: https://b.test/echo")
        if path == "/die":
            return False
        if path == "/then-die":
            send("200 OK", b"last")
            return False
        if path.startswith("/bytes/"):
            n = int(path.split("/")[2])
            s.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n".encode())
            block = bytes(range(256)) * 256
            while n > 0:
                s.sendall(block[:n])
                n -= len(block)
            return True
        if path == "/echo-websocket":
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := f.read1(4096):
                s.sendall(data)
            return False
        return send("200 OK", head.encode("latin-1") + b"\n" + body[:1000], "X-Origin: yes")


# ---- the process ----

def listening(kind=socket.SOCK_STREAM, at=("127.0.0.1", 0)):
    s = socket.socket(socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(at)
    if kind == socket.SOCK_STREAM:
        s.listen(1024)
    return s


class Egress:
    def __init__(self, hosts=(), policy="allow", transparent=(443, 80), resolve=None, **config):
        hosts = [{"host": h} if isinstance(h, str) else h for h in hosts]
        names = ["a.test", "b.test", "c.test", "api.test", "www.wild.test", "wild.test", "slow.test"]
        sockets = [(listening(), "proxy", 3128), (listening(socket.SOCK_DGRAM), "dns_udp", 53),
                   (listening(), "dns_tcp", 53)]
        self.proxy, self.dns_udp, self.dns_tcp = (s.getsockname() for s, _, _ in sockets)
        sockets += [(listening(at=("0.0.0.0", p)), "tcp", p) for p in transparent]
        self.config = {"policy": policy, "hosts": hosts, "resolve": {**{n: PUBLIC for n in names}, **(resolve or {})},
                       "extra_roots": (WORK / "ca.pem").read_text(), "dns": {"servers": ["127.0.0.1:5353"]},
                       "listeners": [{"kind": k, "port": p} for _, k, p in sockets], **config}
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen([PROGRAM], preexec_fn=lambda: os.dup2(theirs.fileno(), 3), pass_fds=[3],
                                        env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        theirs.close()
        text = json.dumps(self.config).encode()
        data = struct.pack("<I", len(text)) + text
        sent = socket.send_fds(ours, [data], [s.fileno() for s, _, _ in sockets])
        ours.sendall(data[sent:])
        for s, _, _ in sockets:
            s.close()
        self.socket, self._rest, self.raw = ours, b"", b""
        self.notes = []
        self.ready = self._line()
        if "error" in self.ready:
            raise AssertionError(self.ready["error"])
        if self.ready.get("ca_pem"):
            (WORK / "sandbox.pem").write_text(self.ready["ca_pem"])

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.socket.close()
        status = self.process.wait(20)
        if what[0] is None and status != 0:
            raise AssertionError(f"caisson-egress ended with {status}")

    def _line(self, seconds=20):
        while b"\n" not in self._rest:
            if not select.select([self.socket], [], [], seconds)[0]:
                return None
            got = self.socket.recv(65536)
            if not got:
                raise AssertionError(f"caisson-egress ended: {self.process.wait(20)}")
            self._rest += got
            self.raw += got
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def note(self, seconds=20, **wanted):
        """The next note with these members; others are kept in .notes."""
        end = time.monotonic() + seconds
        while True:
            for i, n in enumerate(self.notes):
                if all(n.get(k) == v for k, v in wanted.items()):
                    return self.notes.pop(i)
            line = self._line(max(0, end - time.monotonic()))
            if line is None:
                raise AssertionError(f"no note {wanted} among {self.notes}")
            self.notes.append(line)

    # ---- as the sandbox ----

    def curl(self, *words, how="proxy", ca="ca.pem", seconds=20):
        """(exit status, output) of curl through the proxy, or as it is."""
        via = ["--proxy", "http://%s:%d" % self.proxy] if how == "proxy" else ["--noproxy", "*"]
        r = subprocess.run(["curl", "-sS", "--max-time", str(seconds), "--cacert", WORK / ca, *via, *words],
                           capture_output=True, env={"PATH": os.environ["PATH"]}, cwd=WORK)
        return r.returncode, r.stdout.decode("latin-1") + r.stderr.decode("latin-1")

    def connect(self, target, host=None, rest=b""):
        """(socket, head) of a CONNECT."""
        s = socket.create_connection(self.proxy, 20)
        s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {host or target}\r\n\r\n".encode() + rest)
        return s, read_head(s)

    def name(self, name, kind=1, tcp=False):
        """(code, addresses) of a look-up."""
        q = struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0)
        q += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
        if tcp:
            with socket.create_connection(self.dns_tcp, 20) as s:
                s.sendall(struct.pack(">H", len(q)) + q)
                n = struct.unpack(">H", read_exactly(s, 2))[0]
                r = read_exactly(s, n)
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(20)
                s.connect(self.dns_udp)
                s.send(q)
                r = s.recv(4096)
        count = struct.unpack(">H", r[6:8])[0]
        at = len(q)
        return r[3] & 15, [socket.inet_ntoa(r[at + 12 + i * 16:at + 16 + i * 16]) for i in range(count)]


def read_exactly(s, n):
    out = b""
    while len(out) < n:
        got = s.recv(n - len(out))
        if not got:
            raise EOFError(out)
        out += got
    return out


def read_head(s):
    out = b""
    while b"\r\n\r\n" not in out:
        got = s.recv(1)
        if not got:
            return out.decode("latin-1")
        out += got
    return out.decode("latin-1")


def read_all(s):
    out = b""
    try:
        while got := s.recv(65536):
            out += got
    except ConnectionError:
        pass
    return out


def client_tls(s, name, ca="ca.pem", **more):
    c = ssl.create_default_context(cafile=WORK / ca)
    if ca != "ca.pem":
        c.verify_flags |= ssl.VERIFY_X509_STRICT
    return c.wrap_socket(s, server_hostname=name, **more)


def hello(name=None, ech=False):
    """The first message of a client, as bytes."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    o = c.wrap_bio(into, out, server_hostname=name)
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    b = out.read()
    if ech:  # one more extension, and all lengths around it
        extra = struct.pack(">HH", 0xfe0d, 8) + b"\0" * 8
        n = len(b) - 5 + len(extra)
        at = 5 + 4 + 2 + 32
        at += 1 + b[at]
        at += 2 + struct.unpack(">H", b[at:at + 2])[0]
        at += 1 + b[at]
        size = struct.unpack(">H", b[at:at + 2])[0] + len(extra)
        b = b[:3] + struct.pack(">H", n) + b[5:6] + struct.pack(">I", n - 4)[1:] + b[9:at] + struct.pack(">H", size) + b[at + 2:] + extra
    return b


def expect(condition, *said):
    if not condition:
        raise AssertionError(" | ".join(str(s) for s in said))
