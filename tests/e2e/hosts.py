# SPDX-License-Identifier: Apache-2.0
"""Hosts for tests of a sandbox's network: servers on loopback that three names lead to, two of which a policy lists;
and a jail that may reach those two."""
import base64, hashlib, http.server, io, socket, ssl, subprocess, tarfile, zipfile
from lib import *

OK, EVIL, API = "ok.test", "evil.test", "api.test"  # evil.test is there, resolves, and is not listed
SECRET = f"tok-{os.urandom(8).hex()}-sEcReT"


# ---- the hosts ----

def certificates():
    run = lambda *words: subprocess.run(["openssl", *words], cwd=WORK, check=True, capture_output=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-days", "2")
    (WORK / "san").write_text("subjectAltName=" + ",".join("DNS:" + n for n in (OK, EVIL, API)))
    run("req", "-new", *ec, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=host")
    run("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "host.pem",
        "-days", "2", "-extfile", "san")


def wheel():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("demo.py", "answer = 42\n")
        z.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        z.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("demo-1.0.dist-info/RECORD", "demo.py,,\ndemo-1.0.dist-info/METADATA,,\n"
                   "demo-1.0.dist-info/WHEEL,,\ndemo-1.0.dist-info/RECORD,,\n")
    return out.getvalue()


def npm_package():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, text in ("package.json", '{"name":"demo","version":"1.0.0"}'), ("index.js", "module.exports = 42\n"):
            info = tarfile.TarInfo("package/" + name)
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def repository():
    """Files of a bare repository, as a server without git hands them out."""
    top = WORK / "repo"
    git = lambda *words: subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words], cwd=top,
                                        check=True, capture_output=True)
    top.mkdir()
    (top / "hello.txt").write_text("hello from the repository\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("update-server-info")
    return {str(p.relative_to(top / ".git")): p.read_bytes() for p in (top / ".git").rglob("*") if p.is_file()}


class Hosts:
    """One server for all names, so that only the policy tells them apart."""

    def __init__(self):
        certificates()
        hosts, wheel_bytes, package, files = self, wheel(), npm_package(), repository()
        self.heads, self.held, self.release = [], threading.Event(), threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def send(self, body, kind="text/plain", status=200):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                hosts.heads.append(self.requestline + "\n" + str(self.headers))
                path, here = self.path.split("?")[0], f"https://{OK}:{hosts.port}"
                if path == "/hello":
                    self.send(b"hello\n")
                elif path == "/echo":
                    self.send(hosts.heads[-1].encode())
                elif path == "/hold":
                    hosts.held.set()
                    hosts.release.wait(60)
                    self.send(hosts.heads[-1].encode())
                elif path == "/simple/demo/":
                    digest = hashlib.sha256(wheel_bytes).hexdigest()
                    self.send(f'<a href="/demo-1.0-py3-none-any.whl#sha256={digest}">demo</a>'.encode(), "text/html")
                elif path == "/demo-1.0-py3-none-any.whl":
                    self.send(wheel_bytes, "application/octet-stream")
                elif path == "/demo":
                    dist = {"tarball": here + "/demo-1.0.0.tgz",
                            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode()}
                    one = {"name": "demo", "version": "1.0.0", "dist": dist}
                    self.send(json.dumps({"name": "demo", "dist-tags": {"latest": "1.0.0"},
                                          "versions": {"1.0.0": one}}).encode(), "application/json")
                elif path == "/demo-1.0.0.tgz":
                    self.send(package, "application/octet-stream")
                elif path.startswith("/repo.git/") and path[10:] in files:
                    self.send(files[path[10:]])
                else:
                    self.send(b"no\n", status=404)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(WORK / "host.pem", WORK / "host.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.plain = socket.create_server(("127.0.0.1", 0))  # speaks first, as ssh and databases do
        self.plain_port, self.said = self.plain.getsockname()[1], []
        threading.Thread(target=self.greet, daemon=True).start()

    def greet(self):
        def one(s):
            try:
                s.settimeout(20)
                s.sendall(b"SSH-2.0-caisson-test\r\n")
                self.said.append(s.recv(200))
            except OSError:
                pass
            s.close()

        while True:
            threading.Thread(target=one, args=(self.plain.accept()[0],), daemon=True).start()


hosts = Hosts()


def sandbox(*command, secrets=(), env=None, ports=None, folder=None):
    """Runs in a jail that may reach ok.test and api.test at our ports."""
    ports = ports or (hosts.port, hosts.plain_port)
    words = ["sandbox", "run", "--network", "allow:" + ",".join(f"{h}:{p}" for h in (OK, API) for p in ports)]
    words += ["-w", str(folder)] if folder else []
    words += [w for h in (OK, EVIL, API) for w in ("--resolve", f"{h}=127.0.0.1")]
    words += [w for p in ports for w in ("--allow-private", f"127.0.0.1:{p}")]
    words += ["--extra-roots", str(WORK / "ca.pem")] + [w for s in secrets for w in ("--secret", s)]
    return subprocess.run([caisson, *words, "--", *command], env={**ENV, **(env or {})}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=180)


def missing():
    if backend() != "jail":
        return "no jail on this machine"
    done = sandbox("true")
    return None if done.returncode == 0 else f"no network here: {done.stderr.strip()}"


def url(host, path):
    return f"https://{host}:{hosts.port}{path}"


def reaches(needs, good, bad, wanted):
    """`good` prints `wanted`; `bad`, the same with the host that is not listed, fails, and its host hears nothing."""
    if why := missing():
        return why
    if sandbox("sh", "-c", needs).returncode:
        return f"not on this machine: {needs}"
    done = expect(sandbox("sh", "-c", good), 0)
    assert wanted in done.stdout, done.stdout + done.stderr
    done = sandbox("sh", "-c", bad)
    assert done.returncode != 0, f"{bad} went through: {done.stdout}"
    assert not [h for h in hosts.heads if EVIL in h], hosts.heads
    return None
