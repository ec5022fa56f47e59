#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a run at every journal record and at every fault point inside an effect,
resumes it, and compares the result with an undisturbed run.

usage: crash.py CAISSON BACKEND

The run makes ten tool calls: commands that append a line to a file (and one to
a count of themselves), and patches that touch several files. After a resume the
final tree, the final answer and the sequence of (kind, tool, arguments) must be
those of the undisturbed run, and no command may have run twice. Several kills
at a time, each in a folder of its own. Prints TAP."""
import concurrent.futures, json, os, pathlib, shutil, subprocess, sys, tempfile

caisson, backend = os.path.abspath(sys.argv[1]), sys.argv[2]
probe = subprocess.run([caisson, "sandbox", "run", "--backend", backend, "--", "true"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True)
if probe.returncode != 0:
    print("1..0 # SKIP " + probe.stderr.strip())
    sys.exit(0)
POINTS = ["committed", "model.replied", "tool.begins", "exec.returned", "tool.performed",
          "patch.staged", "patch.rename"]
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
    rules, patches = [], 0
    for turn in range(1, 11):
        if turn % 3 == 0:
            patches += 1
            call = {"apply_patch": patch(patches)}
        else:
            call = {"exec_command": {"cmd": f"echo {turn} >>count.txt && echo line {turn} >>src/log.txt"}}
        rules.append({"name": f"t{turn}", "when": {"turn": turn}, "reply": [call]})
    rules.append({"name": "end", "reply": "All ten calls were made."})
    return {"rules": rules}


def prepare(folder):
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.txt").write_text("a0\n")
    for i in (1, 2, 3):
        (folder / f"src/old{i}.txt").write_text("old\n")
    (folder / "book.yaml").write_text(json.dumps(playbook()))
    agent = {"name": "crash", "model": "script:book.yaml", "sandbox": {"backend": backend},
             "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}
    (folder / "agent.yaml").write_text(json.dumps(agent))


def call(folder, *args, fault=None):
    env = {k: v for k, v in os.environ.items() if k != "CAISSON_FAULT"}
    if fault:
        env["CAISSON_FAULT"] = fault
    return subprocess.run([caisson, "--state", str(folder / "state"), *args], cwd=folder, env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def tree(root):
    out = {}
    for p in sorted(root.rglob("*")):
        if p.is_file():
            out[str(p.relative_to(root))] = p.read_bytes()
    return out


def result(folder):
    runs = json.loads(call(folder, "runs", "--json").stdout)
    run = runs[0]["id"]
    records = [json.loads(line) for line in call(folder, "show", run, "--json").stdout.splitlines()]
    skip = {"resumed", "interrupted", "note", "state"}
    steps = []
    for r in records:
        d = r["data"]
        if r["kind"] in skip:
            continue
        steps.append((r["kind"], d.get("name"), d.get("arguments") or d.get("input")))
    answer = [r["data"]["output"] for r in records if r["kind"] == "finish"]
    return {"runs": len(runs), "tree": tree(folder / "state/sandboxes" / run / "workspace"),
            "answer": answer, "steps": steps, "unknown": sum("unknown" in json.dumps(r["data"]) for r in records
                                                              if r["kind"] == "tool_returned")}


def differences(want, got):
    out = [k for k in ("answer", "steps", "tree") if want[k] != got[k]]
    counts = got["tree"].get("count.txt", b"").split()
    if len(counts) != len(set(counts)):
        out.append(f"a command ran twice: {counts}")
    return out


def kill_and_resume(want, point, nth):
    """None when the run ends before it passes the point for the nth time, else
    (what differs, calls with an unknown outcome)."""
    folder = WORK / f"{point}-{nth}"
    prepare(folder)
    first = call(folder, "run", "agent.yaml", "go", fault=f"{point}:{nth}")
    if first.returncode != -9:
        shutil.rmtree(folder)
        return None
    runs = json.loads(call(folder, "runs", "--json").stdout)
    second = call(folder, "resume", runs[0]["id"])
    got = result(folder)
    bad = differences(want, got)
    if second.returncode != 0:
        bad.append(f"resume: exit {second.returncode}: {second.stderr.strip()}")
    if bad:
        bad.append(f"kept in {folder}")
    else:
        shutil.rmtree(folder)
    return bad, got["unknown"]


def every_time(want, point):
    results = []
    while (r := kill_and_resume(want, point, len(results) + 1)) is not None:
        results.append(r)
    return results


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
    assert len(want["tree"]["count.txt"].split()) == 7, want["tree"]
    rows, unknown = [], 0
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for point, results in zip(POINTS, pool.map(lambda p: every_time(want, p), POINTS)):
            for nth, (bad, n) in enumerate(results, 1):
                rows.append((not bad, f"killed at {point} {nth}" + (f": differs in {bad}" if bad else "")))
                unknown += n
            rows.append((bool(results), f"point {point} was passed {len(results)} times"))
    rows.append((unknown > 0, f"{unknown} calls had an unknown outcome and were not repeated"))
    print(f"1..{len(rows)}")
    for n, (ok, said) in enumerate(rows, 1):
        print(f"{'ok' if ok else 'not ok'} {n} - {said}")
    if all(ok for ok, _ in rows):
        shutil.rmtree(WORK)
        return 0
    return 1


sys.exit(main())
