#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who means ill: a model that writes to the terminal, a server that quotes the key, a
folder that says where keys go, a sandbox that puts links in its entries' places. Prints TAP.

usage: hostile.py CAISSON"""
import http.server, json, os, pathlib, pty, shutil, sqlite3, subprocess, sys, tempfile, threading

caisson = os.path.abspath(sys.argv[1])
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-hostile-"))
KEY = "sk-test-0123456789abcdef"
n = 0


def check(sentence, good, said=""):
    global n
    n += 1
    print(("" if good else "not ") + f"ok {n} - {sentence}")
    if not good:
        print("".join(f"# {line}\n" for line in str(said).splitlines()), end="")


def skip(sentence, why):
    global n
    n += 1
    print(f"ok {n} # SKIP {sentence}: {why}")


class Server(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        said = "no such key: " + self.headers.get("Authorization", "")
        body = json.dumps({"error": {"message": said}}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def folder(name):
    d = WORK / name
    d.mkdir()
    return d


def env(**more):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "CAISSON"))}
    return {**keep, "NO_COLOR": "1", **more}


def run(d, *args, **more):
    return subprocess.run([caisson, *args], cwd=d, env=env(**more), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60)


def on_terminal(d, *args):
    """What the program writes when its stdout is a terminal."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen([caisson, *args], cwd=d, env=env(), stdin=subprocess.DEVNULL, stdout=theirs,
                         stderr=subprocess.DEVNULL)
    os.close(theirs)
    out = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    p.wait(60)
    os.close(ours)
    return out


def journal_holds(d, text):
    return any(text.encode() in f.read_bytes() for f in (d / ".caisson").glob("caisson.db*"))


def agent(d, book, extra=""):
    (d / "book.yaml").write_text(book)
    (d / "agent.yaml").write_text(f"name: a\nmodel: script:{d}/book.yaml\ninstructions: x\n{extra}")


# ---- terminals ----
d = folder("terminal")
agent(d, 'rules:\n- {name: end, reply: "red \\e[31m beep \\a c1 \\x9b title \\e]0;x\\a end"}\n')
out = on_terminal(d, "run", "agent.yaml", "go")
check("an answer's escapes are shown to a terminal and not sent",
      b"\x1b" not in out and b"\\x1b[31m" in out and b"\xc2\x9b" not in out, out)
out = run(d, "run", "agent.yaml", "go").stdout
check("an answer goes to a pipe as it is", b"\x1b[31m" in out, out)

d = folder("diff")
src = folder("diff/src")
(src / "a.txt").write_text("one\n")
agent(d, "rules:\n- {name: first, when: {first: true}, reply: [{exec_command: {cmd: \"printf 'x\\\\033]0;t\\\\007\\\\233y\\\\n' > src/a.txt\"}}]}\n"
      "- {name: end, reply: done}\n",
      "capabilities: [shell]\nmanifest: {entries: {src: {type: local_dir, src: ./src}}}\nsandbox: {backend: local}\n")
run(d, "run", "agent.yaml", "go")
last = json.loads(run(d, "runs", "--json").stdout)[0]["id"]
out = on_terminal(d, "diff", last)
check("a diff's escapes are shown to a terminal and not sent, a lone C1 byte either",
      b"\x1b" not in out and b"\x9b" not in out and b"\\x9b" in out, out)

# ---- nobody reads ----
d = folder("pipe")
agent(d, "rules:\n- {name: first, when: {first: true}, reply: [{exec_command: {cmd: sleep 0.3}}, {exec_command: {cmd: sleep 9}}]}\n- {name: end, reply: done}\n",
      "capabilities: [shell]\nsandbox: {backend: local}\n")
p = subprocess.Popen([caisson, "run", "--json", "agent.yaml", "go"], cwd=d, env=env(), stdin=subprocess.DEVNULL,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
while b'"tool_call"' not in p.stdout.readline():
    pass
p.stdout.close()
said = p.stderr.read()
p.wait(60)
check("a run whose events nobody reads stops, and says how to go on",
      p.returncode == 130 and b"cannot write" not in said and b"caisson resume" in said, (p.returncode, said))

# ---- keys ----
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
d = folder("key")
got = run(d, "run", "--model", "openai/x", "go", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1")
check("a key that a server quotes is in no message and no journal",
      got.returncode == 5 and KEY.encode() not in got.stderr and b"[key]" in got.stderr and not journal_holds(d, KEY),
      got.stderr)
d = folder("url")
(d / "caisson.yaml").write_text(
    "providers: {once: {api: chat, base_url: 'http://me:pass-word@127.0.0.1:1/v1', key_env: K, timeout: 1}}\n")
p = subprocess.Popen([caisson, "run", "--model", "once/x", "go"], cwd=d, env=env(K=KEY), stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
line = b""
while b"127.0.0.1" not in line and (line := p.stderr.readline()):
    pass
p.terminate()
rest = p.stderr.read()
p.wait(60)
check("a password in a base URL is in no message and no journal",
      b"127.0.0.1:1" in line and b"pass-word" not in line + rest and not journal_holds(d, "pass-word"), line + rest)

if os.geteuid() == 0:
    d = folder("theirs")
    (d / "caisson.yaml").write_text(f"providers: {{openai: {{base_url: 'http://127.0.0.1:{port}', key_env: OPENAI_API_KEY}}}}\n")
    os.chown(d / "caisson.yaml", 65534, 65534)
    got = run(d, "run", "--model", "openai/x", "go", OPENAI_API_KEY=KEY)
    check("somebody else's caisson.yaml does not say where keys go",
          b"belongs to user 65534" in got.stderr and got.returncode != 5, got.stderr)
else:
    skip("somebody else's caisson.yaml does not say where keys go", "needs root")

# ---- workspaces ----
d = folder("links")
for name in ("src", "other"):
    folder(f"links/{name}")
(d / "src/a.txt").write_text("mine\n")
(d / "other/secret.txt").write_text("of another run\n")
KEEP = "capabilities: [shell]\nmanifest: {entries: {src: {type: local_dir, src: ./%s}}}\nsandbox: {backend: local}\n"
agent(d, "rules:\n- {name: end, reply: done}\n", KEEP % "other")
run(d, "run", "agent.yaml", "go")
victim = json.loads(run(d, "runs", "--json").stdout)[0]["id"]
agent(d, "rules:\n- {name: first, when: {first: true}, reply: [{exec_command: {cmd: \"rm -r src; ln -s ../../%s/workspace/src src\"}}]}\n"
      "- {name: end, reply: done}\n" % victim, KEEP % "src")
run(d, "run", "agent.yaml", "go")
thief = json.loads(run(d, "runs", "--json").stdout)[0]["id"]
got = run(d, "diff", thief)
check("a link in an entry's place does not lead to another run's files",
      got.returncode != 0 and b"of another run" not in got.stdout, (got.stdout, got.stderr))

d = folder("half")
folder("half/src")
(d / "src/a.txt").write_text("mine\n")
agent(d, "rules:\n- {name: end, reply: done}\n", KEEP % "src")
run(d, "run", "agent.yaml", "go")
last = json.loads(run(d, "runs", "--json").stdout)[0]["id"]
db = sqlite3.connect(d / ".caisson/caisson.db")
db.execute("UPDATE record SET kind = 'sandbox_lost' WHERE kind = 'sandbox_ready'")
db.commit()
db.close()
(d / ".caisson/sandboxes" / last / "workspace/src/a.txt").unlink()  # not copied yet when it was killed
got = run(d, "apply", last)
check("apply takes nothing from a workspace that was never finished",
      got.returncode != 0 and (d / "src/a.txt").exists(), (got.stdout, got.stderr))

shutil.rmtree(WORK, ignore_errors=True)
print(f"1..{n}")
