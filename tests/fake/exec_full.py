#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A back-end of `exec:PROGRAM` that can do all there is: examples/exec/local.py with files of its own, rest, and limits.

options: what local.py has, and {"log": FILE}, which gets a line for each request."""
import json, os, pathlib, shutil, signal, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples/exec"))
from local import Local
from sandbox_program import Process, Server


class Full(Local):
    name = "full"
    can = ["terminal", "keep", "sweep", "limits", "pause", "get", "put", "remove", "from-the-future"]

    def open(self, request):
        held = {k: {"value": v, "state": "soft"} for k, v in request.get("limits", {}).items() if k == "pids"}
        return {**super().open(request), "limits": held}


class FullServer(Server):
    def take(self, request):
        if "options" in request:
            self.log = request["options"].get("log")
        if getattr(self, "log", None):
            with open(self.log, "a") as log:
                log.write(json.dumps({"do": request["do"], "argv": request.get("argv")}) + "\n")
        super().take(request)

    def tar(self, request, *words, stdin):
        """tar in the workspace; its end is the answer."""
        made = {"credit": 1 << 20, **request, "split": False, "stdin": stdin}
        process = self.processes[request["id"]] = Process(request["id"], made, ["tar", *words], {"cwd": self.backend.root})
        self.watch(process)

    def do_get(self, request):
        paths = request.get("paths")
        there = ["."] if paths is None else [p for p in paths if os.path.lexists(self.backend.root / p)]
        self.tar(request, "-cf", "-", "--", *there, stdin=False) if there else self.tar(request, "-cf", "-", "-T", "/dev/null", stdin=False)

    def do_put(self, request):
        self.tar(request, "-xopf", "-", stdin=True)

    def do_remove(self, request):
        for path in request["paths"]:
            at = self.backend.root / path
            shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink(missing_ok=True)
        return {}

    def do_pause(self, request):
        for process in self.processes.values():
            self.backend.signal(process, signal.SIGSTOP)
        return {}

    def do_resume(self, request):
        for process in self.processes.values():
            self.backend.signal(process, signal.SIGCONT)
        return {}

    def tell_end(self, process, code, number):
        if process.request["do"] == "spawn":
            return super().tell_end(process, code, number)
        if code:
            return self.say(id=process.id, error={"code": "failed", "message": f"tar ended with {code}"})
        self.say(id=process.id, ok={})


if __name__ == "__main__":
    FullServer(Full()).run()
