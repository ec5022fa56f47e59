# SPDX-License-Identifier: Apache-2.0
"""Ordinary work inside of a jail: what the walls must not get in the way of.
Programs that this machine lacks are skipped aloud, as are those of /usr/local,
which a jail does not have."""
import fcntl, os, pathlib, pty, select, shutil, struct, subprocess, tempfile, termios, time

from lib import ENV, WORK, caisson, finish, test, backend

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


def lacking(*programs):
    if backend() != "jail":
        return "no jail can be made here"
    missing = [p for p in programs if not shutil.which(p, path=PATH)]
    return f"this machine has no {', '.join(missing)}" if missing else None


class Folder:
    def __init__(self, **files):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=WORK))
        for name, text in files.items():
            self.put(name.replace("__", "."), text)

    def put(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, script, *more, timeout=180):
        done = subprocess.run([caisson, "sandbox", "run", "-w", str(self.dir), *more, "--", "sh", "-ec", script],
                              env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"exit {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        return done.stdout


@test
def a_c_project_builds_in_parallel_and_passes_its_tests():
    if why := lacking("make", "gcc"):
        return why
    f = Folder()
    names = [f"part{i}" for i in range(12)]
    for i, n in enumerate(names):
        f.put(f"{n}.c", f"#include <stdio.h>\nint {n}(void);\nint {n}(void) {{ return {i}; }}\n")
    f.put("main.c", "#include <stdio.h>\n" + "".join(f"int {n}(void);\n" for n in names) +
          "int main(void) { printf(\"%d\\n\", " + " + ".join(f"{n}()" for n in names) + "); return 0; }\n")
    f.put("Makefile", "OBJ := main.o " + " ".join(f"{n}.o" for n in names) +
          "\nsum: $(OBJ)\n\t$(CC) -g -o $@ $(OBJ) -pthread\n%.o: %.c\n\t$(CC) -g -O1 -c $< -o $@\n"
          "check: sum\n\ttest \"$$(./sum)\" = 66 && echo passed\n")
    assert "passed" in f.run("make -j2 sum >log && make check && make -q sum && touch part3.c && make -j2 check")


@test
def a_python_test_suite_runs():
    if why := lacking("python3"):
        return why
    f = Folder(test_all__py='''
import asyncio, concurrent.futures, http.server, multiprocessing, os, signal, socket, sqlite3, subprocess, sys, \
    tempfile, threading, time, unittest, urllib.request, venv

def square(n):
    return n * n

class Everything(unittest.TestCase):
    def test_processes(self):
        with multiprocessing.Pool(2) as pool:
            self.assertEqual(pool.map(square, range(50)), [n * n for n in range(50)])
        with concurrent.futures.ProcessPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(square, [3, 4])), [9, 16])
        self.assertEqual(subprocess.run(["sh", "-c", "exit 5"]).returncode, 5)

    def test_shared_memory(self):
        from multiprocessing import shared_memory
        m = shared_memory.SharedMemory(create=True, size=1 << 20)
        m.buf[7] = 42
        m.close(); m.unlink()

    def test_threads_and_signals(self):
        seen = []
        signal.signal(signal.SIGALRM, lambda *a: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        t = threading.Thread(target=time.sleep, args=(0.05,)); t.start(); t.join()
        self.assertEqual(seen, [1])

    def test_files(self):
        with tempfile.TemporaryDirectory() as d:
            db = sqlite3.connect(d + "/x.db"); db.execute("pragma journal_mode=wal")
            db.execute("create table t(a)"); db.execute("insert into t values(1)"); db.commit()
            os.mkfifo(d + "/f"); os.symlink("x", d + "/l"); os.link(d + "/x.db", d + "/h")
            os.chmod(d + "/h", 0o600); os.utime(d + "/h", (1, 1))

    def test_a_server_of_its_own(self):
        s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        threading.Thread(target=s.serve_forever, daemon=True).start()
        self.assertEqual(urllib.request.urlopen(f"http://127.0.0.1:{s.server_port}/").status, 200)
        s.shutdown()
        a, b = socket.socketpair(); a.send(b"x"); self.assertEqual(b.recv(1), b"x")
        u = socket.socket(socket.AF_INET6); u.bind(("::1", 0))

    def test_asyncio(self):
        async def go():
            p = await asyncio.create_subprocess_exec("echo", "hi", stdout=subprocess.PIPE)
            return (await p.communicate())[0]
        self.assertEqual(asyncio.run(go()), b"hi\\n")

unittest.main()
''')
    f.run("/usr/bin/python3 test_all.py && ls >/dev/null")


@test
def a_debugger_stops_and_looks_at_a_program():
    if why := lacking("gdb", "gcc"):
        return why
    f = Folder(a__c="int twice(int n);\nint twice(int n) { return 2 * n; }\nint main(void) { return twice(21) != 42; }\n")
    out = f.run("gcc -g -O0 -o a a.c && gdb -nx -batch -iex 'set debuginfod enabled off' -ex 'break twice' -ex run "
                "-ex 'print n' -ex bt -ex 'print n=21' -ex continue ./a 2>&1")
    assert "= 21" in out and "#1 " in out and "exited normally" in out, out


@test
def a_debugger_attaches_to_a_process_of_the_same_sandbox():
    if why := lacking("gdb"):
        return why
    out = Folder().run("sleep 60 & gdb -nx -batch -iex 'set debuginfod enabled off' -p $! -ex 'info proc' 2>&1 || :; "
                       "kill $!")
    assert "process" in out and "Operation not permitted" not in out, out


@test
def system_calls_can_be_traced():
    if why := lacking("strace"):
        return why
    out = Folder().run("strace -f -o log sh -c 'cat /etc/hostname; true' && grep -c execve log && strace -c -o sum true")
    assert "caisson" in out


@test
def perl_does_its_work():
    if why := lacking("perl"):
        return why
    out = Folder().run("""perl -e '
        open my $f, ">", "x" or die; print $f "a=1\\nb=2\\n"; close $f;
        my %h = do { local (@ARGV, $/) = ("x"); map { /(\\w)=(\\d)/g } <> };
        my $pid = open(my $p, "-|") // die; if (!$pid) { print "child"; exit }
        print "$h{a}$h{b}", <$p>; close $p; kill 0, $$ or die; utime 1, 1, "x"; print -M "x" > 1000 ? " old" : "";'""")
    assert out == "12child old", out


@test
def git_keeps_history():
    if why := lacking("git"):
        return why
    out = Folder().run("""
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main repo; cd repo; echo one >a; git add a; git commit -qm one
        git checkout -qb side; echo two >>a; git commit -qam two; git checkout -q main; echo b >b; git add b
        git commit -qm b; git merge -q --no-edit side; git worktree add -q ../tree side; git tag v1
        git stash list; git gc -q; git fsck --no-progress; git clone -q . ../copy; cd ../copy
        git log --oneline | wc -l; git describe --tags; git grep -c two; git bisect start HEAD HEAD~2 >/dev/null
        git format-patch -q -1 HEAD~1 --stdout | git mailinfo /dev/null /dev/null >/dev/null; echo fine""")
    assert out.split()[-1] == "fine" and "v1" in out, out


def on_terminal(command, talk):
    """Runs it with a terminal; talk(read_until, write, resize) leads the conversation."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    p = subprocess.Popen([caisson, "sandbox", "run", "--", *command], env={**ENV, "TERM": "xterm"}, stdin=theirs,
                         stdout=theirs, stderr=theirs, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    seen = b""

    def read_until(word):
        nonlocal seen
        end = time.monotonic() + 60
        while word not in seen:
            assert time.monotonic() < end, f"no {word!r} in {seen!r}"
            if select.select([ours], [], [], 1)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:
                    break
        assert word in seen, f"no {word!r} in {seen!r}"
        seen = seen[seen.index(word) + len(word):]

    talk(read_until, lambda b: os.write(ours, b),
         lambda r, c: fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", r, c, 0, 0)))
    code = p.wait(60)
    os.close(ours)
    assert code == 0, code


@test
def a_terminal_program_is_told_of_its_size_and_of_keys():
    if why := lacking("sh", "stty"):
        return why

    def talk(read_until, write, resize):
        read_until(b"30 100")
        read_until(b"ready")  # its trap is set
        resize(40, 120)
        read_until(b"now 40 120")
        write(b"\x03")  # to its group, not to ours
        read_until(b"interrupted")
        write(b"word\r")
        read_until(b"<word>")

    on_terminal(["sh", "-c", "tty >/dev/null && stty size; trap 'echo now $(stty size)' WINCH; "
                 "trap 'echo interrupted; go=1' INT; echo ready; "
                 "while [ -z \"$go\" ]; do sleep 0.05; done; read -r x; echo \"<$x>\""], talk)


@test
def an_editor_and_a_pager_work_on_a_terminal():
    if why := lacking("less", "python3"):
        return why

    def talk(read_until, write, resize):
        read_until(b"line 3\r")
        write(b"G")
        read_until(b"line 999")
        write(b"q")

    on_terminal(["sh", "-c", "i=1; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done >/tmp/x; less /tmp/x"], talk)


@test
def node_runs_threads_children_and_servers():
    if why := lacking("node"):
        return why
    f = Folder(a__js='''
const fs = require("fs"), http = require("http"), { execFileSync } = require("child_process");
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (!isMainThread) { parentPort.postMessage(7); return; }
fs.writeFileSync("x", execFileSync("echo", ["hi"]));
fs.watch(".").close();
new Worker(__filename).on("message", n => {
  const s = http.createServer((q, r) => r.end("served")).listen(0, "127.0.0.1", () =>
    http.get({ port: s.address().port, host: "127.0.0.1" }, r => r.on("data", d => { console.log(n + String(d)); s.close(); })));
});
''')
    assert f.run("node a.js") == "7served\n"


@test
def java_compiles_and_runs():
    if why := lacking("javac", "java"):
        return why
    f = Folder(A__java='''
import java.util.stream.*;
public class A { public static void main(String[] a) throws Exception {
  Thread t = new Thread(() -> System.out.println(IntStream.range(0, 1000).parallel().sum())); t.start(); t.join();
  System.out.println(new ProcessBuilder("true").start().waitFor()); } }
''')
    assert f.run("javac A.java && java -Xmx256m A") == "499500\n0\n"


@test
def go_programs_run():
    go = shutil.which("go", path=PATH + ":/usr/local/go/bin")
    if why := lacking() or (None if go else "this machine has no go"):
        return why
    f = Folder(a__go='''package main
import ("fmt"; "net"; "os/exec"; "sync"; "time")
func main() {
  var w sync.WaitGroup
  for i := 0; i < 100; i++ { w.Add(1); go func() { time.Sleep(time.Millisecond); w.Done() }() }
  w.Wait()
  l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
  go net.Dial("tcp", l.Addr().String()); if _, err := l.Accept(); err != nil { panic(err) }
  out, err := exec.Command("echo", "hi").Output(); fmt.Print(string(out), err, "\\n") }
''')
    built = subprocess.run([go, "build", "-o", "a", "a.go"], cwd=f.dir, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod",
                           "GOTOOLCHAIN": "local", "GO111MODULE": "off", "GOCACHE": str(f.dir / "cache"), "GOPROXY": "off"},
                           capture_output=True, text=True)
    if built.returncode:
        return f"go cannot build here: {built.stderr[:100]}"
    assert f.run("./a") == "hi\n<nil>\n"


@test
def small_tools_work():
    if why := lacking("tar", "gzip", "find", "xargs", "awk", "sed", "sort", "diff"):
        return why
    out = Folder().run("""
        mkdir -p d/e; seq 1 20000 >d/e/f; tar czf d.tgz d; mkdir out; tar xzf d.tgz -C out; diff -r d out/d
        find d -type f | xargs -P2 -n1 sha256sum | awk '{print length($1)}'; sed -i s/1/x/ d/e/f
        sort --parallel=2 -R d/e/f | sort -c 2>/dev/null || echo mixed; cp -a d g; mv g h; rm -r h; ln -s d l; df . >/dev/null
        ps ax >/dev/null 2>&1 || :; id -un; date -u >/dev/null; nice -n 5 true; timeout 1 sleep 0.01; nproc >/dev/null
        ulimit -c 0; dd if=/dev/urandom of=r bs=64k count=4 2>/dev/null; flock r true; mktemp >/dev/null; sync r""")
    assert out.split() == ["64", "mixed", "user"], out


raise SystemExit(finish())
