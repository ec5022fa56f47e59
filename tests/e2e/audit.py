#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What proves that a run's record is whole notices every way of altering it: in the
database, in an exported file, at its end; and the steps that wrote a file are told.
Prints TAP.

usage: audit.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *
import hashlib, shutil, sqlite3

PATCH = "*** Begin Patch\n*** Update File: src/a.txt\n@@\n-one\n+two\n*** End Patch\n"
LONG = "x" * 70000
RULES = [
    {"name": "patch", "when": {"turn": 1}, "reply": [{"apply_patch": PATCH}]},
    {"name": "make", "when": {"turn": 2}, "reply": [{"exec_command": {"cmd": "echo made >made.txt; touch -d 2001-01-01 made.txt"}}]},
    {"name": "end", "reply": "done " + LONG},
]


def place(**more):
    return Place({"sandbox": {"backend": "local"}, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}},
                  "outputs": [{"path": "made.txt"}], **more}, rules=RULES, files={"src/a.txt": "one\n", "src/b.txt": "b\n"})


def ran():
    p = place()
    expect(p.run(), 0)
    return p


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def database(p):
    return sqlite3.connect(p.dir / ".caisson/caisson.db")


def broken(p, *texts):
    return expect(p.call("audit", "verify"), 1, "BROKEN", *texts)


@test
def a_run_that_nobody_touched_is_whole():
    p = ran()
    n = len(p.records())
    expect(p.call("audit", "verify"), 0, "whole", f"{n} records")
    found = lines_of(expect(p.call("audit", "verify", "--json", p.only_run()), 0).stdout)
    same([(f["run"], f["whole"], f["records"]) for f in found], [(p.only_run(), True, n)])
    same(found[0]["head"], p.records()[-1]["hash"])


@test
def records_that_were_altered_removed_or_cut_off_are_found():
    for sql, said in (("UPDATE record SET data = replace(data, 'made', 'MADE') WHERE kind = 'tool_call'", "altered"),
                      ("UPDATE record SET ts = ts + 1 WHERE kind = 'input'", "altered"),
                      ("DELETE FROM record WHERE kind = 'input'", "missing"),
                      ("DELETE FROM record WHERE pos = (SELECT max(pos) FROM record)", "missing"),
                      ("UPDATE blobs SET size = 3, zstd = 0, bytes = X'616263'", "blob")):
        p = ran()
        with database(p) as db:
            assert db.execute(sql).rowcount > 0, sql
        broken(p, said)


@test
def an_export_proves_itself():
    p = ran()
    run = p.only_run()
    text = expect(p.call("audit", "export", run), 0).stdout
    file = p.dir / "run.audit"
    file.write_text(text)
    expect(p.call("audit", "verify", "--file", file), 0, run, "whole")
    assert any(LONG in line for line in text.splitlines()), "the content of a record that is a blob is missing"
    lines = text.splitlines(keepends=True)
    call = next(i for i, line in enumerate(lines) if '"kind":"tool_call"' in line)
    moved = next(i for i, line in enumerate(lines) if '"content"' in line)
    head = json.loads(lines[0])
    for what, changed in (("altered", lines[:call] + [lines[call].replace("apply_patch", "apply_PATCH")] + lines[call + 1:]),
                          ("missing", lines[:call] + lines[call + 1:]),
                          ("cut off", lines[:-1]),
                          ("no end", lines[:-1] + [lines[-1].rstrip("\n")]),
                          ("content was altered", lines[:moved] + [lines[moved].replace("xxx", "xyx", 1)] + lines[moved + 1:]),
                          ("not signed", [json.dumps({**head, "records": head["records"] - 1}) + "\n"] + lines[1:]),
                          ("not the head", lines[1:]),
                          ("is empty", [])):
        file.write_text("".join(changed))
        expect(p.call("audit", "verify", "--file", file), 1, "BROKEN", what)


@test
def a_chain_made_anew_is_found_by_who_has_the_key_only():
    p = ran()
    lines = lines_of(expect(p.call("audit", "export", p.only_run()), 0).stdout)
    prev = bytes(32)
    for r in lines[1:]:
        r["stored"] = r["stored"].replace("made.txt", "MADE.txt")
        prev = hashlib.sha256(prev + f"{r['seq']} {r['ts']} {r['kind']}\n{r['stored']}".encode()).digest()
        r["hash"] = prev.hex()
    lines[0]["head"] = prev.hex()
    file = p.dir / "forged"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    expect(p.call("audit", "verify", "--file", file), 1, "not signed with the key")
    elsewhere = Place()
    expect(elsewhere.call("audit", "verify", "--file", file), 0, "whole", "who signed its end was not checked")


@test
def erased_content_is_told_and_not_called_an_alteration():
    p = ran()
    with database(p) as db:
        db.execute("DELETE FROM refs")
        db.execute("DELETE FROM blobs")
    expect(p.call("audit", "verify"), 0, "whole", "erased")
    file = p.dir / "run.audit"
    file.write_text(expect(p.call("audit", "export", p.only_run()), 0).stdout)
    expect(p.call("audit", "verify", "--file", file), 0, "whole", "erased")


@test
def a_decision_that_was_put_in_is_found():
    p = place(approvals=[{"tool": "exec_command", "do": "ask"}])
    expect(p.run(), 3)
    expect(p.call("approve", p.only_run(), "--resume"), 0)
    expect(p.call("audit", "verify"), 0, "1 decisions")
    shutil.move(p.dir / ".caisson/key", p.dir / "old-key")
    broken(p, "was not signed with the key")


@test
def the_steps_that_wrote_a_file_are_told():
    p = ran()
    run = p.only_run()
    seqs = {r["data"]["name"]: r["seq"] for r in p.records() if r["kind"] == "tool_call"}

    def steps(path):
        found = json.loads(expect(p.call("audit", "file", "--json", run, path), 0).stdout)
        return found.get("sha256"), [(s["what"], s["seq"], s.get("before"), s.get("after")) for s in found["steps"]]

    ready = next(r["seq"] for r in p.records() if r["kind"] == "sandbox_ready")
    collected = next(r["seq"] for r in p.records() if r["kind"] == "checkpointed")
    one, two, made = sha("one\n"), sha("two\n"), sha("made\n")
    same(steps("src/a.txt"), (two, [("copied", ready, None, one), ("patched", seqs["apply_patch"], one, two)]))
    same(steps("/workspace/src/b.txt"), (sha("b\n"), [("copied", ready, None, sha("b\n"))]))
    # The command set its modification time to 2001; what tells is the change time.
    same(steps("./made.txt"), (made, [("changed", seqs["exec_command"], None, made), ("collected", collected, None, made)]))
    expect(p.call("audit", "file", run, "src/none"), 2, "knows nothing about src/none")
    expect(p.call("audit", "file", run, "made.txt"), 0, "changed", "exec_command echo made")


sys.exit(finish())
