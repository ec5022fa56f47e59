#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A back-end that isolates nothing: commands are processes of this machine in a folder of their own. It shows what a
program of `backend: exec:PROGRAM` does, and the tests of all back-ends run over it.

options: {folder: PATH}, where sandboxes are kept; else a temporary one, and none of them outlives this program."""
import ctypes, fcntl, os, pathlib, shutil, signal, tempfile, time
from sandbox_program import Backend, Refused, serve

PR_SET_CHILD_SUBREAPER = 36


def children(pid):
    try:
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Local(Backend):
    name = "local"
    can = ["terminal", "keep", "sweep"]

    def __init__(self):
        # Processes whose parents have ended become children of this one, so that none escapes.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.box = None
        self.is_kept = False

    def hold(self):
        """Whoever uses a sandbox holds its lock."""
        self.lock = open(self.box / "label")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused("conflict", f"{self.box} is in use")

    def open(self, request):
        folder, state = request["options"].get("folder"), request.get("state")
        self.is_kept = bool(folder or state) and request.get("keep", False)
        if state:
            self.box = pathlib.Path(state["folder"])
            if not self.box.is_dir():
                raise Refused("not_found", f"the folder {self.box} is gone")
        else:
            self.box = pathlib.Path(tempfile.mkdtemp(prefix="sandbox-", dir=folder)).resolve()
            (self.box / "label").write_text(request.get("label", ""))
            (self.box / "workspace").mkdir()
        self.hold()
        self.root = self.box / "workspace"
        return {"root": str(self.root), "state": {"folder": str(self.box)}, "describe": {"isolation": "none"}}

    def command(self, request):
        cwd, environment = request["cwd"], dict(v.split("=", 1) for v in request["environment"])
        environment.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
        environment.setdefault("HOME", str(self.root))
        if request.get("terminal"):
            environment.setdefault("TERM", "xterm-256color")
        if not os.path.isdir(cwd):
            raise Refused("no_folder", "")
        program = request["argv"][0]
        found = os.path.join(cwd, program) if "/" in program else shutil.which(program, path=environment["PATH"])
        if not found or not os.path.isfile(found):
            raise Refused("no_program", "")
        if not os.access(found, os.X_OK):
            raise Refused("denied", "it may not be executed")
        return request["argv"], {"cwd": cwd, "env": environment, "executable": found}

    def tidy(self, known):
        for pid in children(os.getpid()):
            if pid not in known:  # it had a parent that has ended
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    def end_processes(self):
        """Every descendant, also those that come while this looks."""
        while found := children(os.getpid()):
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            while found:
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break
            time.sleep(0.001)

    def end(self):
        self.end_processes()
        if self.box:
            shutil.rmtree(self.box, ignore_errors=True)

    def leave(self):
        self.end_processes()
        if self.box and not self.is_kept:
            self.end()

    def list(self, request):
        """Sandboxes that nobody uses."""
        found, folder = [], request["options"].get("folder")
        for label in pathlib.Path(folder).glob("sandbox-*/label") if folder else []:
            text, age_ms = label.read_text(), (time.time() - label.stat().st_mtime) * 1000
            with open(label) as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
            if age_ms >= request["young_ms"] and (request["owner"] is None or text.startswith(request["owner"] + "/")):
                found.append({"label": text, "state": {"folder": str(label.parent)}})
        return found


if __name__ == "__main__":
    serve(Local())
