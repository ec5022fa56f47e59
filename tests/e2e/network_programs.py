#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More programs in a jail with a network policy: static ones that know nothing of proxies, ssh with a real server, and
what was tried at the policy's borders. Prints TAP.

usage: network_programs.py CAISSON"""
import getpass, pathlib, shutil, socket, subprocess
from hosts import *

TOOLS = os.environ["PATH"] + ":/usr/sbin:/usr/local/go/bin:" + str(pathlib.Path.home() / ".cargo/bin")


# ---- static programs ----

GO = """package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
  c := &http.Client{Transport: &http.Transport{Proxy: nil}}
  r, err := c.Get(os.Args[1])
  if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
  b, err := io.ReadAll(r.Body)
  if err != nil || r.StatusCode != 200 { os.Exit(1) }
  fmt.Print(string(b))
}
"""

RUST = """use std::io::{Read, Write};
fn main() -> std::io::Result<()> {
    let to = std::env::args().nth(1).unwrap();
    let mut s = std::net::TcpStream::connect(to.as_str())?;
    let mut b = [0; 200];
    let n = s.read(&mut b)?;
    if n == 0 { return Err(std::io::ErrorKind::UnexpectedEof.into()); }
    s.write_all(("from rust to ".to_string() + &to).as_bytes())?;
    print!("{}", String::from_utf8_lossy(&b[..n]));
    Ok(())
}
"""

# Asks for names itself, and another name server than that of the jail.
C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static int ask(const char *name, struct in_addr *out) {
  unsigned char q[300] = {1, 2, 1, 0, 0, 1}, a[600], *o = q + 12;
  for (const char *p = name; *p;) {
    size_t n = strcspn(p, ".");
    *o++ = (unsigned char)n; memcpy(o, p, n); o += n; p += n + (p[n] == '.');
  }
  *o++ = 0; *o++ = 0; *o++ = 1; *o++ = 0; *o++ = 1;
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){10, 0}, sizeof(struct timeval));
  sendto(fd, q, o - q, 0, (void *)&s, sizeof s);
  ssize_t n = recv(fd, a, sizeof a, 0);
  if (n < (o - q) + 16 || a[7] == 0) return -1;
  memcpy(out, a + n - 4, 4);
  return 0;
}
int main(int c, char **v) {
  struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(atoi(v[2]))};
  char b[200];
  if (!inet_aton(v[1], &s.sin_addr) && ask(v[1], &s.sin_addr) < 0) return puts("no such name"), 1;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (void *)&s, sizeof s) < 0) return perror("connect"), 1;
  ssize_t n = read(fd, b, sizeof b);
  if (n <= 0) return perror("read"), 1;
  dprintf(fd, "from c to %s", v[1]);
  printf("%.*s", (int)n, b);
}
"""


def built(name, source, *command, env=None):
    """The folder with the static program; or why there is none."""
    if not (tool := shutil.which(command[0], path=TOOLS)):
        return None, f"this machine has no {command[0]}"
    folder = WORK / name
    folder.mkdir(mode=0o755)
    (folder / source[0]).write_text(source[1])
    done = subprocess.run([tool, *command[1:]], cwd=folder, env={**os.environ, "PATH": TOOLS, **(env or {})},
                          capture_output=True, text=True)
    if done.returncode:
        return None, f"{command[0]} cannot build here: {done.stderr[:200]!r}"
    head = subprocess.run(["readelf", "-l", folder / "program"], capture_output=True, text=True).stdout
    return (None, f"{command[0]} made no static program here") if "INTERP" in head else (folder, None)


def bare(folder, *words):
    return sandbox("env", "-i", "/workspace/program", *map(str, words), folder=folder)


def refused(done, what):
    assert done.returncode != 0, f"{what} went through: {done.stdout}"


@test
def a_static_go_program_reaches_a_listed_host_and_no_other():
    if why := missing():
        return why
    folder, why = built("go", ("program.go", GO), "go", "build", "-o", "program", "program.go",
                        env={"CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOPROXY": "off",
                             "GOCACHE": str(WORK / "go-cache"), "GOFLAGS": ""})
    if why:
        return why
    expect(bare(folder, url(OK, "/hello?go")), 0, "hello")
    refused(bare(folder, url(EVIL, "/hello?go")), EVIL)
    refused(bare(folder, f"https://127.0.0.1:{hosts.port}/hello?go"), "an address")
    same(len([h for h in hosts.heads if "?go" in h]), 1)


@test
def a_static_rust_program_reaches_a_listed_host_and_no_other():
    if why := missing():
        return why
    folder, why = built("rust", ("program.rs", RUST), "rustc", "-O", "-C", "target-feature=+crt-static",
                        "-C", "relocation-model=static", "-o", "program", "program.rs")
    if why:
        return why
    expect(bare(folder, f"{OK}:{hosts.plain_port}"), 0, "SSH-2.0-caisson-test")
    refused(bare(folder, f"{EVIL}:{hosts.plain_port}"), EVIL)
    refused(bare(folder, f"127.0.0.1:{hosts.plain_port}"), "an address")
    until(lambda: [s for s in hosts.said if b"from rust" in s])
    same([s for s in hosts.said if b"from rust" in s], [f"from rust to {OK}:{hosts.plain_port}".encode()])


@test
def a_static_c_program_that_asks_for_names_itself_reaches_a_listed_host_and_no_other():
    if why := missing():
        return why
    folder, why = built("c", ("program.c", "#include <stdlib.h>\n#include <sys/socket.h>\n" + C), "gcc", "-static",
                        "-D_GNU_SOURCE", "-w", "-o", "program", "program.c")
    if why:
        return why
    expect(bare(folder, OK, hosts.plain_port), 0, "SSH-2.0-caisson-test")
    done = bare(folder, EVIL, hosts.plain_port)
    refused(done, EVIL)
    assert "no such name" in done.stdout, done
    refused(bare(folder, "127.0.0.1", hosts.plain_port), "an address")
    refused(bare(folder, "93.184.216.34", hosts.plain_port), "an address")
    until(lambda: [s for s in hosts.said if b"from c" in s])
    same([s for s in hosts.said if b"from c" in s], [f"from c to {OK}".encode()])


# ---- libraries ----

@test
def pythons_own_library_reaches_it():
    def fetch(host):
        return f"python3 -c 'import urllib.request as u; print(u.urlopen(\"{url(host, '/hello')}\", timeout=20).read())'"
    return reaches("command -v python3", fetch(OK), fetch(EVIL), "hello")


@test
def pythons_requests_reaches_it():
    """The one that pip brings where there is no other."""
    def fetch(host):
        return ("python3 -c 'try: import requests as r\nexcept ImportError: from pip._vendor import requests as r\n"
                f"print(r.get(\"{url(host, '/hello')}\", timeout=20).text)'")
    return reaches("python3 -c 'import requests' || python3 -c 'import pip._vendor.requests'", fetch(OK), fetch(EVIL),
                   "hello")


@test
def node_reaches_it_without_a_proxy():
    def fetch(host):
        return (f"node -e 'require(\"https\").get(\"{url(host, '/hello')}\", r => r.pipe(process.stdout))"
                ".on(\"error\", e => { console.error(e); process.exit(1) })'")
    return reaches("command -v node", fetch(OK), fetch(EVIL), "hello")


# ---- ssh ----

class Sshd:
    """A real server with a configuration of its own, on loopback; it ends after ten minutes at the latest."""

    def __init__(self):
        self.dir = WORK / "sshd"
        self.dir.mkdir(mode=0o700)
        self.client = WORK / "ssh-client"
        self.client.mkdir(mode=0o755)
        self.made = None
        self.user = getpass.getuser()
        for name in self.dir / "host", self.client / "key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True)
        (self.dir / "authorized").write_bytes((self.client / "key.pub").read_bytes())
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.log = self.dir / "log"
        (self.dir / "config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.dir}/host\nAuthorizedKeysFile {self.dir}/authorized\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n"
            "AcceptEnv none\nX11Forwarding no\n")
        key = (self.dir / "host.pub").read_text()
        (self.client / "known").write_text("".join(f"[{h}]:{self.port} {key}" for h in (OK, EVIL)))
        if os.getuid() == 0 and not os.path.isdir("/run/sshd"):
            os.mkdir("/run/sshd", 0o755)
            self.made = "/run/sshd"
        self.process = subprocess.Popen(["timeout", "600", shutil.which("sshd", path=TOOLS), "-D", "-f",
                                         self.dir / "config", "-E", self.log], stdin=subprocess.DEVNULL)

    def ready(self):
        def listens():
            assert self.process.poll() is None, "sshd ended: " + self.log.read_text()
            return self.log.exists() and "Server listening" in self.log.read_text()
        until(listens)
        return self

    def heard(self):
        return self.log.read_text().count("Connection from")

    def options(self):
        return (f"-F none -i /workspace/key -o UserKnownHostsFile=/workspace/known -o StrictHostKeyChecking=yes "
                f"-o BatchMode=yes -o ConnectTimeout=20")

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        if self.made:
            os.rmdir(self.made)


@test
def ssh_and_git_over_it_reach_a_real_server_by_name():
    if why := missing():
        return why
    for program in "sshd", "ssh-keygen":
        if not shutil.which(program, path=TOOLS):
            return f"this machine has no {program} (package openssh-server)"
    if sandbox("sh", "-c", "command -v ssh && command -v git").returncode:
        return "no ssh or git on this machine"
    server = Sshd()
    try:
        server.ready()

        def inside(command):
            return sandbox("sh", "-c", command, ports=[server.port], folder=server.client)

        def ssh(host, port=server.port):
            return f"ssh {server.options()} -p {port} {server.user}@{host}"

        done = expect(inside(f"printf 'to the host' | {ssh(OK)} 'echo told: $(cat); exit 7'"), 7, "told: to the host")
        size = 3000000
        done = expect(inside(f"{ssh(OK)} 'head -c {size} /dev/zero' | wc -c"), 0)
        same(done.stdout.strip(), str(size))
        clone = f"GIT_SSH_COMMAND='ssh {server.options()}' git clone -q ssh://{server.user}@%s:{server.port}{WORK}/repo /tmp/r"
        expect(inside(f"{clone % OK} && cat /tmp/r/hello.txt && git -C /tmp/r log --oneline"), 0,
               "hello from the repository", "one")
        heard = server.heard()
        assert heard == 3, server.log.read_text()
        refused(inside(f"{ssh(EVIL)} true"), "ssh")
        refused(inside(clone % EVIL), "git")
        refused(inside(f"{ssh(OK, hosts.plain_port)} true"), "another port")
        refused(inside(f"{ssh('127.0.0.1')} -o HostKeyAlias={OK} true"), "an address")
        same(server.heard(), heard)
    finally:
        server.end()
    return None


# ---- what was tried at the borders: rows 14 and 15 of SECURITY.md, with a policy on ----

METADATA = "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1", "2852039166", "0xa9fea9fe", \
    "169.254.43518", "[::ffff:169.254.169.254]", "metadata.google.internal"


@test
def metadata_services_and_the_harness_are_out_of_reach_with_a_policy():
    """Each way on each form of the address; what listens here on every address hears nothing."""
    if why := missing():
        return why
    if sandbox("sh", "-c", "command -v curl").returncode:
        return "no curl on this machine"
    here = [socket.create_server(("0.0.0.0", 0)) for _ in range(2)]
    for s in here:
        s.settimeout(0.2)
    port = here[0].getsockname()[1]
    own = [f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"0.0.0.0:{port}", f"{OK}:{port}", f"127.1:{port}"]
    script = ""
    for to in (*METADATA, *own):
        for how in "", "--noproxy '*'", f"-x http://127.0.0.1:3128", f"-p -x http://127.0.0.1:3128":
            script += (f"if curl -gsS -m 10 -f {how} http://{to}/latest/meta-data/ >out 2>&1; then echo \"WENT {to} {how}\"; "
                       f"cat out; fi; tried=$((tried + 1))\n")
    done = expect(sandbox("sh", "-c", f"cd /tmp\n{script}echo tried $tried"), 0, f"tried {4 * (len(METADATA) + len(own))}")
    assert "WENT" not in done.stdout, done.stdout
    for s in here:
        try:
            s.accept()
            raise AssertionError("somebody came through")
        except socket.timeout:
            pass


ASK = r'''
import socket, struct, sys
def question(name, kind):
    return struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + \
        b"\0" + struct.pack(">HH", kind, 1)
def udp(server, name, kind):
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.5 if ":" in server else 5)
    try:
        s.sendto(question(name, kind), (server, 53))
        return s.recv(4000)
    except OSError:
        return b""
def tcp(server, name, kind):
    try:
        s = socket.create_connection((server, 53), 5)
        q = question(name, kind)
        s.sendall(struct.pack(">H", len(q)) + q)
        whole = s.makefile("rb")
        return whole.read(struct.unpack(">H", whole.read(2))[0])
    except (OSError, struct.error):  # also: no answer
        return b""
bad = 0
for way in udp, tcp:
    for server in "127.0.0.1", "8.8.8.8", "1.1.1.1", "2001:4860:4860::8888":
        good = way(server, "OK", 1)
        if not (len(good) > 12 and good[3] & 15 == 0 and good[7] == 1 and good[-4:-2] in (b"\xc6\x12", b"\xc6\x13")) and ":" not in server:
            bad += 1; print("no answer of ours", way.__name__, server, good)
        for name in "stolen-data.OK", "stolen-data.example.com", "EVIL", "example.com", "a" * 63 + ".OK":
            for kind in (16,) if ":" in server else (1, 28, 16, 255, 252, 65):
                r = way(server, name, kind)
                if r and (r[3] & 15 == 0 or r[7]):
                    bad += 1; print("answered", way.__name__, server, name, kind, r)
for server, port in ("8.8.8.8", 853), ("1.1.1.1", 853), ("8.8.8.8", 443), ("8.8.8.8", 5353):
    try:
        s = socket.create_connection((server, port), 5)
        s.sendall(b"\x16\x03\x01\0\x05hello")
        s.settimeout(5)
        r = s.recv(100)
        if r[:1] not in (b"", b"\x15"):
            bad += 1; print("talked", server, port, r)
    except OSError:
        pass
print("bad", bad)
'''


@test
def no_question_gets_an_answer_from_outside_with_a_policy():
    if why := missing():
        return why
    if sandbox("sh", "-c", "command -v python3").returncode:
        return "no python3 on this machine"
    done = expect(sandbox("python3", "-c", ASK.replace("OK", OK).replace("EVIL", EVIL)), 0)
    same(done.stdout.strip(), "bad 0")


sys.exit(finish())
