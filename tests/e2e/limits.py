#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people and models are told of a sandbox's limits: options of `sandbox run`, the tool's output
in a run, what strict refuses, and what the doctor lists. Prints TAP.

usage: limits.py CAISSON"""
import os, subprocess, sys

sys.dont_write_bytecode = True
from lib import *

NAMES = ["memory", "swap", "pids", "cpu", "disk", "inodes", "open_files", "file_size", "command_wall", "wall", "output"]


def sandbox(*args):
    return Place().call("sandbox", "run", "--backend", backend(), *args)


def doctor():
    facts = json.loads(Place().call("doctor", "--json").stdout)["jail"]
    return {name: facts[f"limit: {name}"]["state"] for name in NAMES}


@test
def the_doctor_lists_every_limit_with_its_state():
    states = doctor()
    assert set(states.values()) <= {"enforced", "soft", "absent"}, states
    if backend() == "jail":
        same(states["open_files"], "enforced")
        same(states["wall"], "enforced")


@test
def a_kill_by_a_limit_is_told_on_stderr_and_a_crash_is_not():
    done = expect(sandbox("--wall", "500ms", "--", "sleep", "60"), 137, "killed: the sandbox's time of 500 ms is over")
    same(done.stdout, "")
    done = expect(sandbox("--output", "10KiB", "--", "yes"), 137, "killed: the limit of 10 KiB of output")
    same(len(done.stdout), 10240)
    same(expect(sandbox("--wall", "1m", "--", "sh", "-c", "kill -9 $$"), 137).stderr, "")
    same(expect(sandbox("--wall", "1m", "--", "sh", "-c", "exit 3"), 3).stderr, "")
    if doctor()["memory"] == "enforced":
        expect(sandbox("--memory", "64MiB", "--", "tail", "/dev/zero"), 137,
               "killed: the sandbox's memory limit of 64 MiB was reached")


@test
def a_limit_that_cannot_be_is_a_mistake_of_the_caller():
    expect(sandbox("--memory", "plenty", "--", "true"), 2, "limit memory: expected a size like 512MiB")
    expect(sandbox("--pids", "0", "--", "true"), 2, "limit pids: expected from 1")


@test
def strict_names_what_is_missing_and_runs_nothing():
    p = Place(files={"w/keep": ""})
    done = p.call("sandbox", "run", "--backend", backend(), "-w", "w", "--disk", "1GiB", "--strict", "--", "touch", "made")
    expect(done, 2, "strict: not every limit would be enforced: disk is ")
    assert not (p.dir / "w/made").exists()
    strict = {"sandbox": {"backend": backend(), "limits": {"disk": "1GiB"}, "strict": True}}
    expect(Place(strict, [{"name": "end", "reply": "ok"}]).run(), 6, "disk is ")
    loose = {"sandbox": {"backend": backend(), "limits": {"disk": "1GiB"}}}
    expect(Place(loose, [{"name": "end", "reply": "ok"}]).run(), 0)


@test
def the_model_reads_which_limit_it_was():
    p = Place({"sandbox": {"backend": backend(), "limits": {"command_wall": "300ms"}}},
              [{"name": "slow", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "sleep 60"}}]},
               {"name": "end", "reply": "done"}])
    expect(p.run(), 0)
    told = [r["data"]["items"][0]["output"] for r in p.records() if r["kind"] == "tool_returned"]
    assert told[0].endswith("[killed: the limit of 300 ms for one command was reached]\n"), told


@test
def the_record_of_a_sandbox_says_what_it_had():
    p = Place({"sandbox": {"backend": backend(), "limits": {"output": "1MiB", "pids": 99}}}, [{"name": "end", "reply": "ok"}])
    expect(p.run(), 0)
    limits = next(r for r in p.records() if r["kind"] == "sandbox_ready")["data"]["sandbox"]["limits"]
    same(sorted(limits), sorted(NAMES))
    same(limits["output"], {"state": "enforced", "value": 1048576})
    if backend() == "jail":
        same(limits["pids"]["value"], 99)


def children(pid):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text().rpartition(")")
        except OSError:  # it has ended
            continue
        if int(rest.split()[1]) == pid:
            found.append((int(stat.parent.name), head.partition("(")[2]))
    return found


@test
def a_sandbox_that_dies_is_told_and_replaced_over_the_same_workspace():
    if backend() != "jail":
        return
    p = Place({"sandbox": {"backend": "jail"}},
              [{"name": "begin", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "echo kept >file; sleep 60", "yield_time_ms": 30000}}]},
               {"name": "look", "when": {"after": "begin"}, "reply": [{"exec_command": {"cmd": "cat file"}}]},
               {"name": "end", "reply": "done"}])
    run = p.start("run", "agent.yaml", "go")

    def warden():
        for spawner, name in children(run.pid):
            if name.startswith("caisson-spawner") and (p.dir / ".caisson/sandboxes").exists():
                if any(f.stat().st_size for f in (p.dir / ".caisson/sandboxes").glob("*/workspace/file")):
                    return next((pid for pid, name in children(spawner) if name.startswith("caisson-warden")), 0)
        return 0
    os.kill(until(warden), 9)
    said = "".join(run.communicate(timeout=60))
    same((run.returncode, "done" in said), (0, True))
    told = [r["data"]["items"][0]["output"] for r in p.records() if r["kind"] == "tool_returned"]
    assert "the sandbox died: its first process was killed" in told[0], told
    assert "kept" in told[1], told


sys.exit(finish())
