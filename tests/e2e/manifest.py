#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a workspace begins with, from elsewhere: repositories of a private host over https and what is
kept of them, submodules, downloads and archives, and what is refused before a run. Prints TAP.

usage: manifest.py CAISSON"""
import hashlib, io, ssl, sys, tarfile

sys.dont_write_bytecode = True
from lib import *

TOKEN = "sesame-open-0123456789"
SHOW = [{"name": "first", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "git -C r log --oneline 2>&1; ls -R; cat r/f"}}]},
        {"name": "end", "reply": "Done."}]
END = [{"name": "end", "reply": "Done."}]


def agent(entries, **more):
    return {"sandbox": {"backend": "local"}, "manifest": {"entries": entries}, **more}


def has(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    return f"{missing[0]} is not installed" if missing else None


def git(cwd, *args):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "protocol.file.allow=always"]
    env = {**ENV, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *who, *args], cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout.strip()


class Served(http.server.ThreadingHTTPServer):
    """Answers with answer(handler), keeps what was asked for, over TLS when `tls` is a folder with a key."""

    def __init__(self, answer, tls=None):
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                with served.lock:
                    served.asked.append((self.command, self.path, self.headers.get("Authorization")))
                answer(self)

            do_POST = do_GET

        self.asked, self.lock, self.daemon_threads = [], threading.Lock(), True
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.port = self.server_address[1]


def reply(h, status, body=b"", **headers):
    h.send_response(status)
    for k, v in headers.items():
        h.send_header(k.replace("_", "-"), v)
    h.send_header("Content-Length", str(len(body)))
    h.end_headers()
    h.wfile.write(body)


def git_backend(root):
    """The answer of a git host that wants to see a token."""
    import base64
    wanted = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()

    def answer(h):
        if h.headers.get("Authorization") != wanted:
            return reply(h, 401, b"who are you?", WWW_Authenticate="Basic realm=git")
        path, _, query = h.path.partition("?")
        body = h.rfile.read(int(h.headers.get("Content-Length") or 0))
        if "gzip" in (h.headers.get("Content-Encoding") or ""):
            import gzip
            body = gzip.decompress(body)
        env = {**ENV, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
               "REQUEST_METHOD": h.command, "CONTENT_TYPE": h.headers.get("Content-Type") or "", "CONTENT_LENGTH": str(len(body)),
               "GIT_PROTOCOL": h.headers.get("Git-Protocol") or "", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
               "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "uploadpack.allowReachableSHA1InWant", "GIT_CONFIG_VALUE_0": "true"}
        out = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, timeout=60).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        reply(h, status, rest, **{k.replace("-", "_"): v for k, v in fields.items()})

    return answer


def repository(root, name, **files):
    path = root / name
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    return commit(path, **files)


def commit(path, **files):
    for k, text in files.items():
        (path / k).write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "x")
    return git(path, "rev-parse", "HEAD")


def in_tree(folder, needle):
    return [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and needle.encode() in p.read_bytes()]


@test
def a_private_repository_comes_without_its_token_and_only_what_is_new_comes_again():
    missing = has("git", "openssl")
    if missing:
        return missing
    p = Place(env={"GIT_TOKEN": TOKEN})
    hosted = p.dir / "hosted"
    big = os.urandom(300_000).hex()
    first = repository(hosted, "o/r.git", f="one\n", big=big)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], cwd=p.dir, check=True, capture_output=True)
    server = Served(git_backend(hosted), tls=p.dir)
    p.env["GIT_SSL_CAINFO"] = str(p.dir / "cert.pem")
    entry = {"type": "git_repo", "host": f"127.0.0.1:{server.port}", "repo": "o/r", "ref": "main", "secret": {"from_env": "GIT_TOKEN"}}
    p.write("book.yaml", json.dumps({"rules": SHOW}))

    def write(**changes):
        p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", **agent({"r": {**entry, **changes}})}))

    def start(**changes):
        write(**changes)
        server.asked.clear()
        known = {r["id"] for r in p.runs()} if (p.dir / ".caisson").is_dir() else set()
        done = expect(p.run("--keep"), 0, "Done.")
        run = next(r["id"] for r in p.runs() if r["id"] not in known)
        return run, done

    run, done = start()
    ws = p.workspace(run)
    same((ws / "r/f").read_text(), "one\n")
    same(git(ws / "r", "rev-parse", "HEAD", "origin/main", "--abbrev-ref", "HEAD").split(), [first, first, "main"])
    same(git(ws / "r", "remote", "get-url", "origin"), f"https://127.0.0.1:{server.port}/o/r.git")
    same(git(ws / "r", "status", "--porcelain"), "")
    for needle in (TOKEN, str(p.dir / ".caisson/git")):
        same(in_tree(ws, needle), [])
    same(in_tree(p.dir / ".caisson", TOKEN), [])
    assert all(a[2] for a in server.asked), server.asked

    commit(hosted / "o/r.git", f="two\n")
    pushed = sum(f.stat().st_size for f in (p.dir / ".caisson/git").rglob("*") if f.is_file())
    run, _ = start()
    same((p.workspace(run) / "r/f").read_text(), "two\n")
    kept = sum(f.stat().st_size for f in (p.dir / ".caisson/git").rglob("*") if f.is_file())
    assert kept - pushed < 100_000, (pushed, kept)  # not the large file again

    start(ref=first)  # a commit by its name: asked for once
    assert server.asked
    run, _ = start(ref=first)
    same(server.asked, [])
    same((p.workspace(run) / "r/f").read_text(), "one\n")

    write()
    p.env["GIT_TOKEN"] = "wrong-token-wrong"
    done = expect(p.run(), 6, "entries.r", "git fetch failed")
    assert "wrong-token" not in done.stdout + done.stderr
    del p.env["GIT_TOKEN"]
    expect(p.run(), 6, "the variable GIT_TOKEN is not set")


@test
def submodules_come_from_the_same_place_and_from_nowhere_else():
    missing = has("git")
    if missing:
        return missing
    p = Place(rules=SHOW)
    repository(p.dir, "lib", g="library\n")
    repository(p.dir, "r", f="main\n")
    git(p.dir / "r", "submodule", "--quiet", "add", "../lib", "deps/lib")
    commit(p.dir / "r")
    entry = {"type": "git_repo", "repo": f"file://{p.dir}/r", "ref": "main"}
    for n, (wants, there) in enumerate(((True, True), (False, False))):
        p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", **agent({"r": {**entry, "submodules": wants}})}))
        known = {r["id"] for r in p.runs()} if n else set()
        expect(p.run("--keep"), 0)
        run = next(r["id"] for r in p.runs() if r["id"] not in known)
        same((p.workspace(run) / "r/deps/lib/g").exists(), there)
        same(git(p.workspace(run) / "r", "status", "--porcelain"), "")
    for url in ("https://169.254.169.254/x.git", "file:///etc", "../../../../../../../../x", "ext::sh -c true"):
        modules = f'[submodule "x"]\n\tpath = deps/lib\n\turl = {url}\n'
        commit(p.dir / "r", **{".gitmodules": modules})
        p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", **agent({"r": {**entry, "submodules": True}})}))
        expect(p.run(), 6, "submodule deps/lib", "the address" if url != "file:///etc" else "outside of the manifest's folder")


def packed():
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w:gz") as t:
        for name, text in (("top/f", b"packed\n"), ("top/d/g", b"deep\n")):
            i = tarfile.TarInfo(name)
            i.size, i.mode = len(text), 0o755
            t.addfile(i, io.BytesIO(text))
    return b.getvalue()


@test
def downloads_are_compared_and_bounded_and_led_nowhere_else():
    archive = packed()
    hits = []

    def answer(h):
        if h.path == "/far":
            return reply(h, 302, Location=f"http://127.0.0.1:{other.port}/a.tgz")
        if h.path == "/near":
            return reply(h, 301, Location="a.tgz")
        if h.path == "/round":
            return reply(h, 302, Location="/round")
        reply(h, *(200, archive) if h.path == "/a.tgz" else (404, b"no"))

    server, other = Served(answer), Served(lambda h: (hits.append(1), reply(h, 200, archive)))
    base, allow = f"http://127.0.0.1:{server.port}", [f"127.0.0.1:{server.port}"]
    digest = hashlib.sha256(archive).hexdigest()
    good = {"type": "url", "url": base + "/a.tgz", "sha256": digest, "allow_private": allow}
    p = Place(agent({"plain.tgz": good, "out": {**good, "url": base + "/near", "extract": True, "strip_components": 1}}), rules=END)
    expect(p.run("--keep"), 0, "Done.")
    ws = p.workspace()
    same((ws / "plain.tgz").read_bytes(), archive)
    same((ws / "out/f").read_text() + (ws / "out/d/g").read_text(), "packed\ndeep\n")
    same((ws / "out/f").stat().st_mode & 0o777, 0o755)
    rows = [({"sha256": "0" * 64}, "it is another file than the one that was meant"),
            ({"url": base + "/far"}, "a redirect to http://127.0.0.1"),
            ({"url": base + "/round"}, "more than 5 redirects"),
            ({"url": base + "/missing"}, "the server answers HTTP 404"),
            ({"archive_limits": {"max_input_bytes": 10}}, "gives more than 10 bytes"),
            ({"extract": True, "archive_limits": {"max_extracted_bytes": 8}}, "more than 8 bytes come out"),
            ({"extract": True, "archive_limits": {"max_members": 1}}, "more than 1 members"),
            ({"url": f"https://127.0.0.1:{server.port}/", "allow_private": []}, "127.0.0.1")]
    for change, said in rows:
        q = Place(agent({"e": {**good, **change}}), rules=END)
        expect(q.run(), 6, "entries.e", said)
    same(hits, [])
    q = Place(agent({"e": {**good, "sha256": None}}), rules=END)
    expect(q.run(), 0, "downloaded without a checksum", digest)


@test
def what_nobody_has_is_refused_before_the_run():
    mount = {"type": "s3_mount", "bucket": "b", "mount_strategy": {"type": "in_container", "pattern": {"type": "rclone"}}}
    p = Place(agent({"data": mount}), rules=END)
    expect(p.run(), 2, "agent a: manifest: entries.data: a s3_mount at /workspace/data, and nothing here can mount one")
    same((p.dir / ".caisson/sandboxes").exists(), False)
    q = Place({"sandbox": {"backend": "local"}, "manifest": {"environment": {"value": {"V": {"type": "vault", "key": "k"}}}}}, rules=END)
    expect(q.run(), 2, 'environment.V: nothing finds values of the type "vault"')


@test
def a_manifest_is_checked_and_shown_without_a_run():
    p = Place(files={"src/a": "1\n", "m.yaml": "entries:\n  a: {type: local_dir, src: src}\n  b:\n    type: local_file\n    src: missing\n"
                                            "  c: {type: url, url: 'https://example.com/x', ephemeral: true}\n  d: {type: file, content: hey}\n"})
    done = expect(p.call("manifest", "check", "m.yaml"), 2, "m.yaml:3: entries.b: src: ", "note: m.yaml:6: entries.c: without `sha256`", "4 entries, 1 problem")
    same([line.split() for line in done.stdout.splitlines()][0], ["a", "local_dir", "a", "copy", "of", "src"])
    assert "(ephemeral)" in done.stdout and "d " in done.stdout and "3 bytes" in done.stdout, done.stdout
    got = json.loads(expect(p.call("manifest", "check", "--json", "m.yaml"), 2).stdout)
    same((got["problems"], got["root"], [e["path"] for e in got["entries"]], got["entries"][1]["line"]), (1, "/workspace", ["a", "b", "c", "d"], 3))
    assert "problem" in got["entries"][1] and "problem" not in got["entries"][0], got

    p.write("m.yaml", "entries:\n  a: {type: dir}\n  ./a: {type: dir}\n")
    expect(p.call("manifest", "check", "m.yaml"), 2, "entries../a (line 3): the same place as entries.a (line 2)")
    got = json.loads(expect(p.call("manifest", "check", "--json", "m.yaml"), 2).stdout)
    assert "the same place as" in got["error"] and got["problems"] == 1, got

    p.write("agent.yaml", json.dumps({"name": "a", **agent({"f": {"type": "file", "content": "x"}})}))
    expect(p.call("manifest", "check", "agent.yaml"), 0, "1 entry, 0 problems")
    shown = json.loads(expect(p.call("manifest", "show", "agent.yaml"), 0).stdout)
    same(list(shown)[:3], ["version", "root", "entries"])
    same(shown["entries"]["f"]["content"], "x")
    p.write("again.json", json.dumps(shown))
    same(json.loads(expect(p.call("manifest", "show", "again.json"), 0).stdout), shown)
    expect(p.call("manifest", "check", "no.yaml"), 2, "cannot open no.yaml")


@test
def values_of_the_environment_are_found_and_written_nowhere():
    shows = [{"name": "first", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "echo $A-$B | tr a-z A-Z"}}]}, {"name": "end", "reply": "Done."}]
    env = {"A": {"type": "env", "name": "THE_A"}, "B": {"value": {"type": "file", "path": "b.txt"}}}
    p = Place({"sandbox": {"backend": "local"}, "manifest": {"environment": {"value": env}}}, rules=shows, files={"b.txt": "behind\n"},
              env={"THE_A": "ahead"})
    expect(p.run("--keep"), 0)
    shown = json.dumps(p.records())
    assert "AHEAD-BEHIND" in shown and "ahead" not in shown and "behind" not in shown, shown


sys.exit(finish())
