#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a run at every journal record and at every fault point inside an effect,
resumes it, and compares the result with an undisturbed run.

usage: crash.py CAISSON BACKEND [VICTIM [TURNS [EVERY]]]

VICTIM is the harness, or, while that is stopped at a journal record, its sandbox
or the spawner of jails; then the run goes on by itself. BACKEND jail+layers is
the jail with a checkpoint after each turn; jail+two are two of them,
used in turn. EVERY 7: at each seventh record only.

The run makes a tool call in each turn: commands that append a line to a file (and
one to a count of themselves), and patches that touch several files. Afterwards the
final tree, the final answer and the sequence of (kind, tool, arguments) must be
those of the undisturbed run, and no command may have run twice. Several kills
at a time, each in a folder of its own. Prints TAP."""
import concurrent.futures, contextlib, json, os, pathlib, shutil, signal, subprocess, sys, tempfile, time

caisson = os.path.abspath(sys.argv[1])
backend, _, how = sys.argv[2].partition("+")
layers, two = how == "layers", how == "two"
victim = sys.argv[3] if len(sys.argv) > 3 else "harness"
turns = int(sys.argv[4]) if len(sys.argv) > 4 else 10
every = int(sys.argv[5]) if len(sys.argv) > 5 else 1
probe = subprocess.run([caisson, "sandbox", "run", "--backend", backend, "--", "true"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True)
if probe.returncode != 0:
    print("1..0 # SKIP " + probe.stderr.strip())
    sys.exit(0)
POINTS = ["committed", "model.replied", "tool.begins", "exec.returned", "tool.performed",
          "patch.staged", "patch.rename"] + (["checkpoint.made"] if layers else [])
if victim != "harness" or every > 1:
    POINTS = ["committed"]
# What a process of the sandbox, or of all sandboxes, is called.
NAMES = {"sandbox": ("caisson-warden", "caisson-keeper"), "spawner": ("caisson-spawner",)}
WORK = pathlib.Path(tempfile.mkdtemp(prefix="caisson-crash-"))


def patch(i):
    return f"""*** Begin Patch
*** Add File: src/new{i}.txt
+made by patch {i}
*** Update File: src/a.txt
@@
-a{i - 1}
+a{i}
*** Delete File: src/old{i}.txt
*** End Patch
"""


def playbook():
    rules, patches = [], [0, 0]
    for turn in range(1, turns + 1):
        other = two and turn % 2 == 0
        if turn % 3 == 0:
            patches[other] += 1
            text = patch(patches[other])
            call = {"apply_patch": {"input": text} if two else text}
        else:
            call = {"exec_command": {"cmd": f"echo {turn} >>count.txt && echo line {turn} >>src/log.txt"}}
        if other:
            next(iter(call.values()))["sandbox"] = "other"
        rules.append({"name": f"t{turn}", "when": {"turn": turn}, "reply": [call]})
    rules.append({"name": "end", "reply": "All calls were made."})
    return {"rules": rules}


def prepare(folder):
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.txt").write_text("a0\n")
    for i in range(1, turns // 3 + 1):
        (folder / f"src/old{i}.txt").write_text("old\n")
    (folder / "book.yaml").write_text(json.dumps(playbook()))
    agent = {"name": "crash", "model": "script:book.yaml",
             "sandbox": {"backend": backend, **({"checkpoint": "each"} if layers else {})},
             "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}
    if two:
        one = {**agent.pop("sandbox"), "manifest": agent.pop("manifest")}
        agent["sandboxes"] = {"one": one, "other": one}
    (folder / "agent.yaml").write_text(json.dumps(agent))


def environment(fault):
    env = {k: v for k, v in os.environ.items() if k != "CAISSON_FAULT"}
    return {**env, "CAISSON_FAULT": fault} if fault else env


def call(folder, *args, fault=None):
    return subprocess.run([caisson, "--state", str(folder / "state"), *args], cwd=folder, env=environment(fault),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def processes():
    """pid: (parent, name, state)"""
    out = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = pathlib.Path("/proc", pid, "stat").read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        out[int(pid)] = (int(parent), text[text.index("(") + 1:text.rindex(")")], state)
    return out


def beneath(top, names):
    """Those below a process that are called so and live."""
    all_of = processes()
    below = {top}
    while more := {p for p, (parent, _, _) in all_of.items() if parent in below} - below:
        below |= more
    return [p for p in below if all_of.get(p, (0, "", "Z"))[1] in names and all_of[p][2] != "Z"]


def run_and_kill_below(folder, fault):
    """Runs it; while it is stopped at the point, what is below it is killed. None: it never was."""
    p = subprocess.Popen([caisson, "--state", str(folder / "state"), "run", "agent.yaml", "go"], cwd=folder,
                         env=environment(fault + ":stop"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    pid, status = os.waitpid(p.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        p.stderr.close()
        p.returncode = os.waitstatus_to_exitcode(status)
        return None
    for one in beneath(pid, NAMES[victim]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    end = time.monotonic() + 20
    while beneath(pid, NAMES[victim] + NAMES["sandbox"] * (victim == "spawner")) and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(pid, signal.SIGCONT)
    try:
        _, said = p.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        p.kill()
        _, said = p.communicate()
    return p.returncode, said


def tree(root):
    out = {}
    for p in sorted(root.rglob("*")):
        if p.is_file():
            out[str(p.relative_to(root))] = p.read_bytes()
    return out


def result(folder):
    runs = json.loads(call(folder, "runs", "--json").stdout)
    run = runs[0]["id"]
    call(folder, "diff", run)  # layers become a folder
    records = [json.loads(line) for line in call(folder, "show", run, "--json").stdout.splitlines()]
    skip = {"resumed", "interrupted", "note", "state", "sandbox_checkpoint", "checkpointed"}
    steps = []
    for r in records:
        d = r["data"]
        if r["kind"] in skip:
            continue
        steps.append((r["kind"], d.get("name"), d.get("arguments") or d.get("input")))
    answer = [r["data"]["output"] for r in records if r["kind"] == "finish"]
    top = folder / "state/sandboxes"
    return {"runs": len(runs), "tree": tree(top / run / "workspace"), "other": two and tree(top / f"{run}.other/workspace"),
            "answer": answer, "steps": steps, "unknown": sum("unknown" in json.dumps(r["data"]) for r in records
                                                              if r["kind"] == "tool_returned")}


def differences(want, got):
    out = [k for k in ("answer", "steps", "tree", "other") if want[k] != got[k]]
    for files in (got["tree"], got["other"] or {}):
        counts = files.get("count.txt", b"").split()
        if len(counts) != len(set(counts)):
            out.append(f"a command ran twice: {counts}")
    return out


def kill_and_resume(want, point, nth):
    """None when the run ends before it passes the point for the nth time, else
    (what differs, calls with an unknown outcome)."""
    folder = WORK / f"{point}-{nth}"
    prepare(folder)
    if victim == "harness":
        first = call(folder, "run", "agent.yaml", "go", fault=f"{point}:{nth}").returncode == -9
    else:
        first = run_and_kill_below(folder, f"{point}:{nth}")
    if not first:
        shutil.rmtree(folder)
        return None
    if victim == "harness":
        runs = json.loads(call(folder, "runs", "--json").stdout)
        second = call(folder, "resume", runs[0]["id"])
        first = (second.returncode, second.stderr)
    got = result(folder)
    bad = differences(want, got)
    if first[0] != 0:
        bad.append(f"it ended: exit {first[0]}: {first[1].strip()}")
    if bad:
        bad.append(f"kept in {folder}")
    else:
        shutil.rmtree(folder)
    return bad, got["unknown"]


def every_time(want, point, first=1, step=every):
    results, nth = [], first
    while (r := kill_and_resume(want, point, nth)) is not None:
        results.append((nth, r))
        nth += step
    return results


def at_all_points(want, pool):
    """(point, [(nth, result)]) for each; several at once."""
    if len(POINTS) > 1:
        return list(zip(POINTS, pool.map(lambda p: every_time(want, p), POINTS)))
    parts = pool.map(lambda k: every_time(want, POINTS[0], 1 + k * every, 3 * every), range(3))
    return [(POINTS[0], sorted((r for part in parts for r in part), key=lambda r: r[0]))]


def main():
    prepare(WORK / "plain")
    plain = call(WORK / "plain", "run", "agent.yaml", "go")
    if plain.returncode == 6 and backend == "jail":
        print(f"1..1\nok 1 - crash test # SKIP no jail here: {plain.stderr.strip().splitlines()[0]}")
        shutil.rmtree(WORK)
        return 0
    if plain.returncode != 0:
        print(f"1..1\nnot ok 1 - the undisturbed run: {plain.returncode} {plain.stderr}")
        return 1
    want = result(WORK / "plain")
    made = [len(t["count.txt"].split()) for t in (want["tree"], want["other"]) if t]
    assert sum(made) == turns - turns // 3, want
    rows, unknown = [], 0
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for point, results in at_all_points(want, pool):
            for nth, (bad, n) in results:
                rows.append((not bad, f"{victim} killed at {point} {nth}" + (f": differs in {bad}" if bad else "")))
                unknown += n
            rows.append((bool(results), f"point {point} was passed {len(results)} times"))
    if len(POINTS) > 1:
        rows.append((unknown > 0, f"{unknown} calls had an unknown outcome and were not repeated"))
    print(f"1..{len(rows)}")
    for n, (ok, said) in enumerate(rows, 1):
        print(f"{'ok' if ok else 'not ok'} {n} - {said}")
    if all(ok for ok, _ in rows):
        shutil.rmtree(WORK)
        return 0
    return 1


sys.exit(main())
