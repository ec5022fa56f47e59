#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory: what one run teaches changes the answer of the next; it is made by runs of its own, within their
budget, after the sandbox is closed; secrets stay out; and forgetting takes it out of every place.

usage: memory.py CAISSON"""
import sys

sys.dont_write_bytecode = True
import re, sqlite3
from lib import *

NOTE = "The user wants tabs, and calls them TANGERINE."
EMPTY = {"rollout_slug": "", "rollout_summary": "", "raw_memory": ""}


def drawn(slug="tabs", note=NOTE):
    return {"rollout_slug": slug, "rollout_summary": f"Asked about indenting. {note}", "raw_memory": f"- {note}"}


def made(ids, note=NOTE):
    return {"entries": [{"group": "Formatting", "kind": "User preferences", "text": note, "from": ids}],
            "summary": [{"text": note, "from": ids}]}


def phases(one, two=None):
    """Playbooks of both phases: phase two answers with the ids that the notes name."""
    files = {"one.yaml": json.dumps({"rules": [{"name": "draw", "reply": json.dumps(one)}]})}
    two = two or made(["${id}"])
    files["two.yaml"] = json.dumps({"rules": [{"name": "make", "when": {"task": "rollout_id: (?<id>[A-Za-z0-9._-]+)"},
                                               "reply": json.dumps(two)}]})
    return files


def place(one=None, two=None, memory=None, rules=None, **agent):
    generate = {"phase_one_model": "script:one.yaml", "phase_two_model": "script:two.yaml"}
    return Place({"capabilities": [{"type": "memory", "generate": generate, **(memory or {})}], **agent},
                 rules or [{"name": "knows", "when": {"instructions": "TANGERINE"}, "reply": "tabs, as you like them"},
                           {"name": "asks", "reply": "spaces or tabs?"}], phases(one or drawn(), two))


def store(p, name="a"):
    return p.dir / ".caisson/memory" / name


def everything(p):
    """All bytes of the state folder, of the database as it stands on the disk after a clean-up."""
    db = sqlite3.connect(p.dir / ".caisson/caisson.db")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("VACUUM")
    db.close()
    return b"".join(f.read_bytes() for f in sorted((p.dir / ".caisson").rglob("*")) if f.is_file() and not f.is_symlink())


def run_of(p, agent="a"):
    return [r["id"] for r in p.runs() if r["agent"] == agent]


@test
def what_one_run_taught_changes_the_next_ones_answer_and_forgetting_takes_it_back():
    p = place()
    done = expect(p.run(task="Indent this."), 0, "spaces or tabs?")
    assert "memory: notes of 1 rollout" in done.stderr, done.stderr
    first = run_of(p)[-1]
    shown = expect(p.call("memory", "show"), 0).stdout
    assert f"(from {first}" in shown and "# Task Group: Formatting" in shown, shown
    assert NOTE in expect(p.call("memory", "show", first), 0).stdout
    same(expect(p.run(), 0).stdout, "tabs, as you like them\n")
    told = run_of(p)[0]
    for what in (told, "agent.yaml"):
        assert "TANGERINE" in expect(p.call("show", what, "--instructions"), 0).stdout
    assert b"TANGERINE" in everything(p)

    for rollout in [r["id"] for r in json.loads(expect(p.call("memory", "ls", "--json"), 0).stdout)]:
        expect(p.call("memory", "forget", rollout), 0, "caisson runs rm")
    left = everything(p)
    assert b"TANGERINE" not in left, left[max(0, left.index(b"TANGERINE") - 200):][:400]
    assert "TANGERINE" not in expect(p.call("show", told, "--instructions"), 0).stdout
    same({r["agent"] for r in p.runs()}, {"a"})  # the runs that made it are gone, those that taught it are not
    p.write("one.yaml", json.dumps({"rules": [{"name": "n", "reply": json.dumps(EMPTY)}]}))
    same(expect(p.run(), 0).stdout, "spaces or tabs?\n")
    for run in run_of(p):
        expect(p.call("audit", "verify", run), 0)


@test
def it_is_made_by_runs_with_journals_of_their_own_after_the_sandbox_is_closed():
    p = place(capabilities=["shell", {"type": "memory", "generate": {"phase_one_model": "script:one.yaml",
                                                                     "phase_two_model": "script:two.yaml"}}],
              sandbox={"backend": backend()}, rules=[{"name": "n", "when": {"first": True}, "reply": [
                  {"exec_command": {"cmd": "echo made > file"}}]}, {"name": "end", "reply": "done"}])
    expect(p.run("--snapshot", "after"), 0)
    runs = {r["agent"]: r for r in p.runs()}
    same(set(runs), {"a", "memory-phase-one", "memory-phase-two"})
    closed = next(r["ts"] for r in p.records(runs["a"]["id"]) if r["kind"] == "sandbox_close")
    asked = p.records(runs["memory-phase-one"]["id"])
    assert asked[0]["ts"] >= closed and not any(r["kind"] == "sandbox_open" for r in asked)
    assert "echo made" in json.dumps(asked[1]["data"])
    expect(p.call("snapshot", "show", "after"), 0, "file")
    assert "memory" not in p.call("snapshot", "show", "after").stdout


@test
def a_run_that_teaches_nothing_costs_no_second_phase():
    p = place(EMPTY)
    expect(p.run(), 0)
    same({r["agent"] for r in p.runs()}, {"a", "memory-phase-one"})
    expect(p.call("memory", "ls"), 0, "taught nothing")
    expect(p.call("resume", run_of(p)[0]), 0)  # prints the answer again, and notes nothing twice
    same(len((store(p) / f"sessions/{run_of(p)[0]}.jsonl").read_text().splitlines()), 1)


@test
def the_runs_of_a_session_are_one_rollout():
    p = place(EMPTY)
    for task in ("one", "two"):
        expect(p.run("--session", "talk", task=task), 0)
    lines = lines_of((store(p) / "sessions/talk.jsonl").read_text())
    same([line["input"][0]["content"] for line in lines], ["one", "two"])
    same([line["terminal_metadata"]["terminal_state"] for line in lines], ["completed"] * 2)
    same([r["id"] for r in json.loads(p.call("memory", "ls", "--json").stdout)], ["talk"])


@test
def what_failed_is_done_the_next_time_and_the_run_is_none_the_worse():
    p = place()
    p.write("two.yaml", json.dumps({"rules": [{"name": "n", "fail": True, "reply": "not today"}]}))
    expect(p.run(), 0, "memory:", "not today")
    assert (store(p) / "memories/memory_summary.md").read_text() == ""
    for name, text in phases(EMPTY).items():
        p.write(name, text)
    expect(p.run(), 0, "memory: ")
    assert NOTE in (store(p) / "memories/MEMORY.md").read_text()


@test
def entries_without_a_known_source_are_thrown_away():
    p = place(two={"entries": made(["${id}"])["entries"] + made(["nowhere"], "Invented.")["entries"] + made([], "Also.")["entries"],
                   "summary": made(["${id}"])["summary"]})
    expect(p.run(), 0)
    text = (store(p) / "memories/MEMORY.md").read_text()
    assert NOTE in text and "Invented" not in text and "Also" not in text, text
    p = place(two=made(["nowhere"]))
    expect(p.run(), 0, "no entry says which rollouts")


@test
def its_budget_is_its_own():
    p = place(memory={"generate": {"phase_one_model": "m/x", "limits": {"tokens": 1000}}}, limits={"tokens": 1000000})
    model = Model(lambda nth, body, headers: (200, "application/json", b"{}"))
    p.write("caisson.yaml", json.dumps({"providers": {"m": {"api": "responses", "base_url": model.url}}}))
    done = expect(p.run(), 0, "memory")
    assert "spaces or tabs?" in done.stdout and not model.bodies, (done.stderr, model.bodies)  # it did not fit, so nobody was asked


@test
def secrets_stay_out():
    p = place(drawn(note="The token is SESAME-12345678, or U0VTQU1FLTEyMzQ1Njc4."), sandbox={
        "backend": backend(), "network": {"allow": ["example.com"]},
        "secrets": [{"name": "TOKEN", "from_env": "TOKEN", "hosts": ["example.com"], "header": "Authorization: Bearer {}"}]},
        capabilities=["shell", {"type": "memory", "generate": {"phase_one_model": "script:one.yaml", "phase_two_model": "script:two.yaml"}}],
        rules=[{"name": "n", "reply": "it is SESAME-12345678"}])
    done = p.run(env={"TOKEN": "SESAME-12345678"})
    if done.returncode == 6:
        return f"no network for sandboxes here: {done.stderr.strip()[:100]}"
    expect(done, 0)
    kept = b"".join(f.read_bytes() for f in store(p).rglob("*") if f.is_file())
    assert b"SESAME-12345678" not in kept and b"U0VTQU1FLTEyMzQ1Njc4" not in kept and b"[secret:TOKEN]" in kept, kept


@test
def memory_of_untrusted_runs_labels_those_that_are_told_it():
    p = place(capabilities=["shell", {"type": "memory", "generate": {"phase_one_model": "script:one.yaml", "phase_two_model": "script:two.yaml"}}],
              sandbox={"backend": backend()}, manifest={"entries": {"web": {"type": "dir"}}}, untrusted={"entries": ["web"]},
              rules=[{"name": "n", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "ls"}}]}, {"name": "end", "reply": "done"}])
    expect(p.run(), 0)
    expect(p.call("memory", "ls"), 0, "untrusted (files)")
    expect(p.run(), 0)
    same(p.records(run_of(p)[0])[1]["data"]["untrusted"], "memory")


@test
def the_model_can_look_further():
    p = place(rules=[{"name": "look", "when": {"first": True, "instructions": "search_memory"},
                      "reply": [{"search_memory": {"query": "tangerine"}}, {"read_memory": {}}, {"search_memory": {"query": "nothing of it"}},
                                {"read_memory": {"path": "../index.json"}}, {"read_memory": {"path": "raw_memories/none.md"}}]},
                     {"name": "end", "when": {"tool": "read_memory"}, "reply": "seen"}, {"name": "first", "reply": "ok"}])
    expect(p.run(), 0)
    same(expect(p.run(), 0).stdout, "seen\n")
    said = {i["call_id"]: i["output"] for r in p.records(run_of(p)[0]) if r["kind"] == "tool_returned" for i in r["data"]["items"]}
    said = [said[call] for call in sorted(said)]  # they were made at the same time
    assert "MEMORY.md:" in said[0] and "raw_memories/" in said[0] and "# Task Group" in said[1], said
    assert said[2] == "Nothing is noted of it." and "expected MEMORY.md" in said[3] and "no such file" in said[4], said


@test
def of_many_rollouts_the_newest_are_put_together():
    seen = []
    def answer(nth, body, headers):
        seen.append(json.dumps(body))
        ids = re.findall(r"rollout_id: ([A-Za-z0-9._-]+)", seen[-1].replace("\\\\n", "\n").replace("\\n", "\n"))
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": json.dumps(made(ids[:1]))}]}
        return 200, "application/json", json.dumps({"id": "r", "status": "completed", "output": [said]}).encode()
    model = Model(answer)
    p = place(memory={"generate": {"phase_one_model": "script:one.yaml", "phase_two_model": "m/x", "max_raw_memories_for_consolidation": 2}})
    p.write("caisson.yaml", json.dumps({"providers": {"m": {"api": "responses", "base_url": model.url}}}))
    for name in ("one", "two", "three"):
        expect(p.run("--session", name), 0)
    same(len(seen), 3)
    order = [seen[-1].find(f"rollout_id: {name}") for name in ("three", "two")]
    assert 0 < order[0] < order[1] and "rollout_id: one" not in seen[-1], (order, seen[-1])
    listed = json.loads((store(p) / "memories/phase_two_selection.json").read_text())["selected"]
    same(sorted(s["rollout_id"] for s in listed), ["one", "three", "two"])


@test
def what_was_forgotten_while_a_model_looked_at_it_stays_forgotten():
    p = None
    def answer(nth, body, headers):
        (run,) = [r["id"] for r in p.runs() if r["agent"] == "a"]
        expect(p.call("memory", "forget", run), 0)
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": json.dumps(drawn())}]}
        return 200, "application/json", json.dumps({"id": "r", "status": "completed", "output": [said]}).encode()
    model = Model(answer)
    p = place(memory={"generate": {"phase_one_model": "m/x", "phase_two_model": "script:two.yaml"}})
    p.write("caisson.yaml", json.dumps({"providers": {"m": {"api": "responses", "base_url": model.url}}}))
    expect(p.run(), 0)
    same(len(model.bodies), 1)
    same(json.loads(p.call("memory", "ls", "--json").stdout), [])
    assert not any(NOTE.encode() in f.read_bytes() for f in store(p).rglob("*") if f.is_file())


@test
def long_items_are_noted_with_their_beginning_and_rollouts_that_taught_nothing_are_not_selected():
    p = place(EMPTY, rules=[{"name": "n", "reply": "x" * 100000}])
    expect(p.run(), 0)
    (line,) = lines_of((store(p) / f"sessions/{run_of(p)[0]}.jsonl").read_text())
    item = line["generated_items"][0]
    same((len(item["cut"]), item["type"]), (65536, "message"))
    same(json.loads((store(p) / "memories/phase_two_selection.json").read_text())["selected"], [])


@test
def a_torn_line_of_a_rollout_stays_alone():
    p = place(EMPTY)
    expect(p.run("--session", "talk"), 0)
    path = store(p) / "sessions/talk.jsonl"
    with path.open("a") as f:
        f.write('{"updated_at":"20')
    expect(p.run("--session", "talk"), 0)
    lines = path.read_text().splitlines()
    same([bool(json.loads(l)) if l.endswith("}") else None for l in lines], [True, None, True])
    same(json.loads(p.call("memory", "ls", "--json").stdout)[0]["segments"], 2)


@test
def snapshots_that_hold_a_copy_go_and_tagged_ones_are_named():
    p = place()
    expect(p.run(), 0)
    first = run_of(p)[-1]
    (p.dir / "copy").mkdir()
    (p.dir / "copy/notes.md").write_bytes((store(p) / f"memories/raw_memories/{first}.md").read_bytes())
    for name in ("loose", "held"):
        expect(p.call("snapshot", "save", name, "copy"), 0)
    expect(p.call("snapshot", "tag", "held", "release"), 0)
    (p.dir / "whole").mkdir()
    (p.dir / "whole/MEMORY.md").write_bytes((store(p) / "memories/MEMORY.md").read_bytes())
    expect(p.call("snapshot", "save", "whole", "whole"), 0)
    (p.dir / "other").mkdir()
    (p.dir / "other/x").write_text("x")
    expect(p.call("snapshot", "save", "other", "other"), 0)
    (p.dir / "there").mkdir()
    p.write("caisson.yaml", json.dumps({"stores": {n: {"type": "folder", "path": f} for n, f in (("near", "there"), ("far", "lacks"), ("new", "other"))}}))
    for name in "held", "other":
        expect(p.call("snapshot", "push", name, "--store", "near"), 0)
    done = expect(p.call("memory", "forget", first), 0, "snapshot loose held it", "snapshot held still holds it: it is kept by its tag release",
                  "snapshot held in the store near holds it; `caisson snapshot rm held --store near`", "the store far was not looked into")
    assert "snapshot other" not in done.stderr and "store new" not in done.stderr, done.stderr
    same(sorted(s["name"] for s in json.loads(p.call("snapshot", "ls", "--json").stdout)), ["held", "other"])


@test
def memories_without_reading_or_making_and_their_mistakes():
    p = place(memory={"read": False})
    expect(p.run(), 0)
    same(expect(p.run(), 0).stdout, "spaces or tabs?\n")
    reader = place(memory={"generate": False})
    expect(reader.run(), 0)
    same([r["agent"] for r in reader.runs()], ["a"])
    for memory, said in (({"type": "memory", "read": False, "generate": False}, "leave the capability out"),
                         ({"type": "memory", "store": "../x"}, "memory.store"), ({"type": "memory", "generates": True}, "unknown key"),
                         ({"type": "memory", "generate": {"limits": {"tokens": 0}}}, "tokens"),
                         ({"type": "memory", "generate": {"max_raw_memories_for_consolidation": 5000}}, "at most 4096")):
        expect(Place({"capabilities": [memory]}, [{"name": "n", "reply": "x"}]).run(), 2, "agent.yaml:", said)
    expect(reader.call("memory", "ls"), 2, "there are no memories yet")
    expect(p.call("memory", "forget", "nobody"), 2, "has nothing of nobody")


sys.exit(finish())
