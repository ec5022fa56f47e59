# SPDX-License-Identifier: Apache-2.0
"""The protocol of `backend: exec:PROGRAM` (docs/exec-backend.md), for programs in Python.

A back-end is a class with `name`, `can` and
    open(request) -> {"root": ..., ...}   makes the sandbox, or finds that of request["state"] again
    command(request) -> (argv, options)   what to start here for a command, and options of subprocess.Popen
    signal(process, number)               to the command's process group
    end()                                 ends all there is; leave() only lets go of it
and `serve(backend)` does the rest: lines, streams, credit, terminals. Everything happens in one thread."""
import base64, collections, fcntl, json, os, pty, selectors, signal, struct, subprocess, sys, termios

PIECE = 32 << 10


class Refused(Exception):
    """An answer that is an error: its code and its text."""


class Process:
    """A command, which is a process here, with its streams."""

    def __init__(self, number, request, argv, options):
        self.id, self.request, self.credit = number, request, request["credit"]
        self.outputs, self.waiting, self.closes, self.exit, self.master = {}, collections.deque(), False, None, -1
        self.stdin = -1
        split, tty = request["split"], request.get("terminal")
        ours, theirs = [], []
        if tty:
            self.master, slave = pty.openpty()
            resize(self.master, tty)
            ours, theirs = [self.master], [slave]
            streams = {"stdin": slave, "stdout": slave, "stderr": slave}
            options = {**options, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
            self.stdin = os.dup(self.master)
            self.outputs[self.master] = 1
        else:
            streams = {"stdin": subprocess.DEVNULL}
            if request["stdin"]:
                inner, self.stdin = os.pipe()
                theirs.append(inner)
                streams["stdin"] = inner
            for stream in (1, 2) if split else (1,):
                outer, inner = os.pipe()
                self.outputs[outer] = stream
                theirs.append(inner)
                streams[("stdout", "stderr")[stream - 1]] = inner
            if not split:
                streams["stderr"] = streams["stdout"]
        try:
            self.popen = subprocess.Popen(argv, start_new_session=True, **streams, **options)
        except OSError:
            for fd in (*self.outputs, self.stdin):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        for fd in (*self.outputs, self.stdin):
            if fd >= 0:
                os.set_blocking(fd, False)


def resize(fd, size):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", size["rows"], size["cols"], 0, 0))


class Server:
    def __init__(self, backend):
        self.backend, self.processes, self.is_over = backend, {}, False
        self.selector = selectors.DefaultSelector()
        # Who has ended is known by a byte in a pipe.
        wake, woken = os.pipe()
        for fd in (wake, woken):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self.selector.register(wake, selectors.EVENT_READ, lambda: os.read(wake, 4096))
        self.selector.register(0, selectors.EVENT_READ, self.read_requests)
        self.come = b""

    def say(self, **message):
        text = json.dumps(message).encode() + b"\n"
        while text:
            text = text[os.write(1, text):]

    def read_requests(self):
        piece = os.read(0, 1 << 16)
        if not piece:  # whoever told us what to do is gone
            self.is_over = True
            return
        *lines, self.come = (self.come + piece).split(b"\n")
        for line in lines:
            self.take(json.loads(line))

    def take(self, request):
        if request["do"] == "credit":
            process = self.processes.get(request["of"])
            if process:
                process.credit += request["bytes"]
                self.watch(process)
            return
        try:
            answer = getattr(self, "do_" + request["do"], self.unknown)(request)
        except Refused as e:
            return self.say(id=request["id"], error={"code": e.args[0], "message": e.args[1]})
        except OSError as e:
            return self.say(id=request["id"], error={"code": "failed", "message": str(e)})
        if answer is not None:
            self.say(id=request["id"], ok=answer)

    def unknown(self, request):
        raise Refused("unsupported", f"request {request['do']!r}")

    # ---- the sandbox ----

    def do_hello(self, request):
        return {"protocol": 1, "name": self.backend.name, "can": self.backend.can}

    def do_open(self, request):
        return self.backend.open(request)

    def do_destroy(self, request):
        if "state" in request:  # of `list`
            self.backend.open({"options": {}, **request})
        for process in list(self.processes.values()):
            self.drop(process)
        self.backend.end()
        return {}

    def do_leave(self, request):
        self.backend.leave()
        return {}

    def do_list(self, request):
        return {"sandboxes": self.backend.list(request)}

    # ---- commands ----

    def do_spawn(self, request):
        argv, options = self.backend.command(request)
        process = self.processes[request["id"]] = Process(request["id"], request, argv, options)
        if self.backend.begins_at_once:
            self.say(id=request["id"], ok={})
        self.watch(process)

    def process(self, request):
        process = self.processes.get(request["of"])
        if not process:
            raise Refused("not_found", "the command has ended")
        return process

    def do_write(self, request):
        process = self.process(request)
        if process.stdin < 0 or process.closes:
            raise Refused("closed", "")
        if request.get("end"):
            process.closes = True
        process.waiting.append((request["id"], base64.b64decode(request.get("data", ""))))
        self.feed(process)

    def do_signal(self, request):
        self.backend.signal(self.process(request), request["signal"])
        return {}

    def do_resize(self, request):
        resize(self.process(request).master, request)
        return {}

    def do_end(self, request):
        if request["of"] in self.processes:
            process = self.processes[request["of"]]
            self.backend.signal(process, signal.SIGKILL)
            self.drop(process)
        return {}

    # ---- streams ----

    def set(self, fd, event, fn):
        """Watches a descriptor, or (fn None) does not any more."""
        key = self.selector.get_map().get(fd)
        if key and not fn:
            self.selector.unregister(fd)
        elif fn and not key:
            self.selector.register(fd, event, fn)

    def watch(self, process):
        for fd in process.outputs:
            self.set(fd, selectors.EVENT_READ, (lambda fd=fd: self.forward(process, fd)) if process.credit > 0 else None)

    def forward(self, process, fd):
        """A piece of output; the number of bytes, 0 at the end, -1 when there are none now."""
        try:
            data = os.read(fd, min(PIECE, process.credit))
        except BlockingIOError:
            return -1
        except OSError:  # of a terminal that nobody has open any more
            data = b""
        if not data:
            self.set(fd, 0, None)
            if process.outputs.pop(fd) and fd != process.master:
                os.close(fd)
            return 0
        n = len(data)
        data = self.backend.heard(self, process, process.outputs[fd], data)
        if data:
            process.credit -= len(data)
            self.say(event="output", of=process.id, stream=process.outputs[fd], data=base64.b64encode(data).decode())
        if process.credit <= 0:
            self.watch(process)
        return n

    def feed(self, process):
        """Writes what waits, and answers what was taken."""
        while process.waiting:
            number, data = process.waiting[0]
            try:
                n = os.write(process.stdin, data) if data else 0
            except BlockingIOError:
                process.waiting[0] = number, data
                return self.set(process.stdin, selectors.EVENT_WRITE, lambda: self.feed(process))
            except OSError:
                process.waiting.popleft()
                self.say(id=number, error={"code": "closed", "message": ""})
                continue
            process.waiting[0] = number, data[n:]
            if n == len(data):
                process.waiting.popleft()
                self.say(id=number, ok={})
        self.set(process.stdin, 0, None)
        if process.closes:
            os.close(process.stdin)
            process.stdin = -1

    def settle(self):
        """Tells the ends of those that have ended and whose output was sent."""
        self.backend.tidy({process.popen.pid for process in self.processes.values()})
        for process in list(self.processes.values()):
            if process.exit is None:
                process.exit = process.popen.poll()
            if process.exit is None:
                continue
            left = True
            for fd in list(process.outputs):  # what it left there; children may hold it open
                n = 1
                while n > 0 and process.credit > 0:
                    n = self.forward(process, fd)
                left = left and n <= 0
            if left:
                self.tell_end(process, process.exit, self.backend.ended_by(process, process.exit))
                self.drop(process)

    def tell_end(self, process, code, number):
        if self.backend.tell_end(self, process):
            return
        self.say(event="exit", of=process.id, **({"signal": number} if number else {"code": code & 255}))

    def drop(self, process):
        for number, _ in process.waiting:
            self.say(id=number, error={"code": "closed", "message": ""})
        fds = {*process.outputs, process.stdin, process.master}
        for fd in fds - {-1}:
            self.set(fd, 0, None)
            os.close(fd)
        self.processes.pop(process.id)
        self.backend.dropped(process)

    def run(self):
        while not self.is_over:
            for key, _ in self.selector.select():
                if key.fd in self.selector.get_map():  # unless one before it took that away
                    key.data()
            self.settle()
        self.backend.gone()


class Backend:
    """What most back-ends have in common."""

    can = ["terminal"]
    begins_at_once = True  # a command has begun when command() has come back

    def heard(self, server, process, stream, data):
        """What of the bytes is the command's output."""
        return data

    def signal(self, process, number):
        os.killpg(process.popen.pid, number)

    def ended_by(self, process, code):
        return -code if code < 0 else 0

    def tell_end(self, server, process):
        """True: it was told in another way."""

    def dropped(self, process):
        """Nobody wants to hear of it any more."""

    def tidy(self, known):
        """Something has ended; known: process ids of the commands."""

    def leave(self):
        self.end()

    def end(self):
        pass

    def gone(self):
        """The harness ended without a word."""
        self.leave()


def serve(backend):
    try:
        Server(backend).run()
    except (BrokenPipeError, KeyboardInterrupt):
        backend.gone()
