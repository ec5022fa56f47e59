# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests in Python share: sentences in TAP, folders with
agent files, and a model that is a small server on loopback.

A test is a function with @test; it fails by raising and is skipped when it
returns a reason. Tests run side by side, so each works in a folder of its own."""
import concurrent.futures, http.server, json, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, threading, time, traceback

caisson = os.path.abspath(sys.argv[1])
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-e2e-"))
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "CAISSON")) and k != "NO_COLOR"}
_tests = []


def test(fn):
    _tests.append(fn)
    return fn


def _outcome(t):
    try:
        return True, t()
    except Exception as e:  # every test is to be run
        where = traceback.extract_tb(e.__traceback__)[-1]
        for frame in traceback.extract_tb(e.__traceback__):
            if frame.filename == sys.argv[0]:
                where = frame
        return False, f"line {where.lineno}: {type(e).__name__}: {e}"


def finish(at_once=4):
    """Runs all tests; returns the exit status."""
    failed = 0
    print(f"1..{len(_tests)}")
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for i, (t, (ok, said)) in enumerate(zip(_tests, pool.map(_outcome, _tests)), 1):
            name = t.__name__.replace("_", " ")
            failed += not ok
            if ok:
                print(f"ok {i} - {name}" + (f" # SKIP {said}" if said else ""), flush=True)
            else:
                print(f"not ok {i} - {name}\n# " + said.replace("\n", "\n# "), flush=True)
    shutil.rmtree(WORK, ignore_errors=True)
    return failed > 0


class Place:
    """A folder of its own with an agent file, a playbook and sources."""

    def __init__(self, agent=None, rules=None, files=None, env=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=WORK))
        self.env = {**ENV, **(env or {})}
        for name, text in (files or {}).items():
            self.write(name, text)
        if rules is not None:
            self.write("book.yaml", json.dumps({"rules": rules}))
        if agent is not None:
            given = {} if rules is None else {"model": "script:book.yaml"}
            self.write("agent.yaml", json.dumps({"name": "a", **given, **agent}))

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def call(self, *args, stdin="", env=None, cwd=None):
        return subprocess.run([caisson, *map(str, args)], cwd=cwd or self.dir, env={**self.env, **(env or {})},
                              input=stdin, capture_output=True, text=True, timeout=120)

    def run(self, *args, task="go", **more):
        return self.call("run", "agent.yaml", task, *args, **more)

    def start(self, *args):
        # The tests may have been started under nohup; the program they start is not.
        return subprocess.Popen([caisson, *map(str, args)], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))

    def runs(self):
        return json.loads(expect(self.call("runs", "--json"), 0).stdout)

    def only_run(self):
        runs = self.runs()
        assert len(runs) == 1, runs
        return runs[0]["id"]

    def records(self, run=None):
        return lines_of(expect(self.call("show", run or self.only_run(), "--json"), 0).stdout)

    def workspace(self, run=None):
        return self.dir / ".caisson/sandboxes" / (run or self.only_run()) / "workspace"


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def expect(done, code, *texts):
    said = done.stdout + done.stderr
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {said}"
    for t in texts:
        assert t in said, f"expected {t!r} in: {said}"
    return done


def same(got, want):
    assert got == want, f"got {got!r}, expected {want!r}"


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not (got := what()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return got


def port_told(process):
    """Where the port of the sandbox is, as stderr says."""
    for line in process.stderr:
        if "of the sandbox is at 127.0.0.1:" in line:
            return int(line.rsplit(":", 1)[1])
    raise AssertionError("no port was told")


def fetch(port, path="/"):
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        s.shutdown(socket.SHUT_WR)
        got = b""
        while part := s.recv(65536):
            got += part
        return got


def fetch_when_it_listens(port, path="/"):
    def attempt():
        try:
            return fetch(port, path)
        except OSError:
            return None
    return until(attempt)


_backend = []
_backend_lock = threading.Lock()


def backend():
    """jail where there can be one, else local."""
    with _backend_lock:
        if not _backend:
            done = subprocess.run([caisson, "sandbox", "run", "--", "true"], env=ENV, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=60)
            _backend.append("jail" if done.returncode == 0 else "local")
            if done.returncode:
                print(f"# no jail here, so the back-end is local: {done.stderr.strip()}", flush=True)
        return _backend[0]


class Host:
    """A host on loopback that says ok; `asked`: (method, body) of each request."""

    def __init__(self):
        host = self
        self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                host.asked.append((self.command, body.decode()))
                self.send_response(200)
                self.send_header("Content-Length", "3")
                self.end_headers()
                self.wfile.write(b"ok\n")

            do_POST = do_PUT = do_DELETE = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def methods(self):
        return [m for m, _ in self.asked]


class Model:
    """A server on loopback. answer(nth, body, headers) gives (status, type, bytes[, headers[, cut]]) for each
    POST, or an iterator of pieces in the place of bytes, or (None, None, bytes) for a whole recorded reply, head and
    framing included; what came in is kept in `bodies`, as bytes."""

    def __init__(self, answer):
        model = self
        self.bodies, self.paths = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def send_pieces(self, status, kind, pieces):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with model.lock:
                    nth = len(model.bodies)
                    model.bodies.append(raw)
                    model.paths.append(self.path)
                status, kind, data, *more = answer(nth, json.loads(raw), self.headers)
                if status is None:
                    self.wfile.write(data)
                    self.close_connection = True
                    return
                if not isinstance(data, bytes):
                    self.send_pieces(status, kind, data)
                    return
                cut = more[1] if len(more) > 1 else len(data)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                for k, v in (more[0] if more else {}).items():
                    self.send_header(k, v)
                self.end_headers()
                self.wfile.write(data[:cut])
                self.close_connection = cut < len(data)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that went away is part of the tests

        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def sse(*events):
    out = ""
    for e in events:
        name = f"event: {e['type']}\n" if isinstance(e, dict) and "type" in e else ""
        out += f"{name}data: {e if isinstance(e, str) else json.dumps(e)}\n\n"
    return out.encode()
