#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Approvals with the real program: a run waits, other processes decide, and a
journal that was edited approves nothing.

usage: approve.py CAISSON"""
import hashlib, json, os, sqlite3, sys
from lib import *

RULES = [{"name": "first", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "touch made"}}]},
         {"name": "denied", "when": {"contains": "denied by"}, "reply": "${output}"},
         {"name": "edited", "when": {"contains": "A human changed"}, "reply": "edited"},
         {"name": "done", "reply": "done"}]


def waiting(rules=RULES, **more):
    agent = {"sandbox": {"backend": backend()}, "limits": {"turns": 9}, "outputs": [{"path": "made"}],
             "approvals": [{"tool": "exec_command", "match": "touch *", "do": "ask", "reason": "it writes"}], **more}
    p = Place(agent, rules)
    expect(p.run(), 3, "waits: call_1_first  exec_command: touch made", f"caisson approve {p.only_run()}")
    return p


def is_made(p):
    return (p.dir / ".caisson/sandboxes" / p.only_run() / "outputs/made").exists()


@test
def a_run_waits_is_approved_elsewhere_and_goes_on():
    p = waiting()
    run = p.only_run()
    same(p.runs()[0]["state"], "waiting")
    same(len(json.loads(expect(p.call("runs", "--waiting", "--json"), 0).stdout)), 1)
    expect(p.call("resume", run), 3, "waits:")
    expect(p.call("approve", run, "nonsense"), 2, "does not wait for call nonsense")
    expect(p.call("approve", run, "--as", "ann", "--reason", "looks fine"), 0, "allowed exec_command: touch made", "caisson resume")
    same(p.runs()[0]["state"], "ready")
    expect(p.call("runs", "--waiting"), 0, "no run waits")
    expect(p.call("approve", run), 2, "waits for no decision")
    assert not is_made(p)
    expect(p.call("resume", run), 0, "done")
    assert is_made(p)
    decided = [r["data"] for r in p.records() if r["kind"] == "decided"]
    same([(d["by"], d["reason"], d["allow"]) for d in decided], [("ann", "looks fine", True)])
    same(oct(os.stat(p.dir / ".caisson/key").st_mode & 0o777), "0o600")
    expect(p.call("resume", run), 0, "done")


@test
def a_denial_gives_the_model_its_reason():
    p = waiting()
    expect(p.call("approve", p.only_run(), "--deny", "not today", "--as", "bob", "--resume"), 0, "denied by bob: not today")
    assert not is_made(p)


@test
def an_edited_call_runs_as_it_was_edited():
    p = waiting()
    expect(p.call("approve", p.only_run(), "--edit", env={"EDITOR": "false", "VISUAL": ""}), 130, "nothing was decided")
    expect(p.call("approve", p.only_run(), "--edit", "--resume", env={"EDITOR": "sed -i s/made/other/", "VISUAL": ""}), 0, "edited")
    assert not is_made(p)
    tool = [r["data"] for r in p.records() if r["kind"] == "tool_call"]
    same(tool[0]["edited"], True)
    same(json.loads(tool[0]["arguments"])["cmd"], "touch other")


@test
def what_holds_for_later_calls_is_not_asked_again():
    rules = [{"name": "go", "when": {"turn": {"from": 1, "to": 3}}, "reply": [{"exec_command": {"cmd": "touch a${turn}"}}]}, RULES[-1]]
    agent = {"sandbox": {"backend": backend()}, "approvals": [{"tool": "exec_command", "do": "ask"}]}
    p = Place(agent, rules)
    expect(p.run(), 3)
    expect(p.call("approve", p.only_run(), "--like", "touch a[0-9]", "--resume"), 3)
    expect(p.call("approve", p.only_run(), "--like", "touch a*", "--for", "1h", "--resume"), 0, "done")
    same(len([r for r in p.records() if r["kind"] == "ask"]), 2)


@test
def a_rule_denies_without_asking():
    p = Place({"sandbox": {"backend": backend()}, "approvals": [{"tool": "exec_command", "match": "touch *", "do": "deny", "reason": "read only"}]}, RULES)
    expect(p.run(), 0, "denied by a rule of this agent: read only")


@test
def of_two_called_agents_with_equal_call_ids_the_one_named_is_decided():
    task = [{"name": "first", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "touch ${task}"}}]}, RULES[-1]]
    both = [{"name": "first", "when": {"first": True}, "reply": [{"worker": {"input": "one"}}, {"worker": {"input": "two"}}]}, RULES[-1]]

    def place():
        p = Place({"sandbox": {"backend": backend()}, "approvals": [{"tool": "exec_command", "do": "ask"}], "agent_tools": ["worker"],
                   "agents": [{"name": "worker", "description": "Works.", "model": "script:worker.yaml"}]},
                  both, {"worker.yaml": json.dumps({"rules": task})})
        out = expect(p.run(), 3, "touch one", "touch two").stderr
        names = {line.split()[-1]: line.split("waits: ")[1].split()[0] for line in out.splitlines() if "waits: " in line}
        same(sorted(names), ["one", "two"])
        asking = [n.split("/")[0] for n in names.values()]
        return p, next(r["id"] for r in p.runs() if r["id"] not in asking), names

    p, run, names = place()
    expect(p.call("approve", run, "call_1_first"), 2, "2 calls are named call_1_first", names["one"], names["two"])
    expect(p.call("approve", run, names["two"]), 0, "allowed exec_command: touch two")
    expect(p.call("approve", run, names["one"], "--deny", "no", "--resume"), 0, "done")
    ran = [r["data"]["arguments"] for x in p.runs() for r in p.records(x["id"]) if r["kind"] == "tool_call"]
    same([json.loads(a)["cmd"] for a in ran], ["touch two"])
    p, run, names = place()
    expect(p.call("approve", run, "--all", "--resume"), 0, "done")


# ---- what was edited


def rewrite(p, change):
    """Changes the run's records [(kind, data)] and computes the chain anew, as one can who may write the database."""
    db = sqlite3.connect(p.dir / ".caisson/caisson.db")
    no, = db.execute("SELECT no FROM runs WHERE id = ?", (p.only_run(),)).fetchone()
    rows = db.execute("SELECT ts, kind, data FROM record WHERE pos >> 32 = ? ORDER BY pos", (no,)).fetchall()
    rows = change([[ts, kind, json.loads(data)] for ts, kind, data in rows])
    db.execute("DELETE FROM record WHERE pos >> 32 = ?", (no,))
    prev = bytes(32)
    for seq, (ts, kind, data) in enumerate(rows):
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        prev = hashlib.sha256(prev + f"{seq} {ts} {kind}\n{text}".encode()).digest()
        db.execute("INSERT INTO record (pos, ts, kind, hash, data) VALUES (?, ?, ?, ?, ?)", (no << 32 | seq, ts, kind, prev, text))
    db.execute("UPDATE runs SET next = ?, head = ? WHERE no = ?", (len(rows), prev, no))
    db.commit()
    db.close()


def index(rows, kind):
    return max(i for i, r in enumerate(rows) if r[1] == kind)


def allow_instead(rows):
    rows[index(rows, "note")][2]["decision"]["allow"] = True
    del rows[index(rows, "note")][2]["decision"]["items"]
    return rows


def other_arguments(rows):
    for kind in ("ask", "model_replied"):
        data = rows[index(rows, kind)][2]
        call = data if kind == "ask" else data["items"][0]
        call["arguments"] = call["arguments"].replace("made", "else")
    return rows


def other_rules(rows):
    agent = rows[0][2]["agent"]
    agent["approvals"][0]["reason"] = "as you like"
    rows[0][2]["agent_sha256"] = hashlib.sha256(json.dumps(agent, separators=(",", ":")).encode()).hexdigest()
    rows[index(rows, "ask")][2]["reason"] = "as you like"
    return rows


def forged_note(rows):
    ask = index(rows, "ask")
    rows.append([rows[-1][0], "note", {"note": "decision", "effect": ask, "decision": {"allow": True, "by": "ann"}, "mac": "0" * 64}])
    return rows


def forged_event(rows):
    ask = index(rows, "ask")
    call = {k: v for k, v in rows[ask][2].items() if k not in ("why", "reason")}
    rows.append([rows[-1][0], "decided", {"effect": ask, "note": ask, "allow": True, "by": "ann"}])
    rows.append([rows[-1][0], "tool_call", call])
    return rows


def forged_state(rows):
    rows[0][2]["step_version"] = 99
    rows.append([rows[-1][0], "decided", {"effect": index(rows, "ask"), "note": 1, "allow": True, "by": "ann"}])
    return rows


def same_again(rows):
    return rows


for name, decides, change in [("a_denial_turned_into_a_yes", ["--deny", "no"], allow_instead),
                              ("other_arguments_than_were_approved", [], other_arguments),
                              ("other_rules_than_the_approver_saw", [], other_rules),
                              ("a_decision_without_the_key", None, forged_note),
                              ("an_event_without_a_decision", None, forged_event),
                              ("an_event_before_a_state_to_start_from", None, forged_state)]:
    def refused(decides=decides, change=change):
        p = waiting()
        if decides is not None:
            expect(p.call("approve", p.only_run(), *decides), 0)
        rewrite(p, change)
        done = p.call("resume", p.only_run())
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert "edited" in done.stderr or "step version" in done.stderr, done.stderr
        assert not is_made(p)
    refused.__name__ = f"{name}_approves_nothing"
    test(refused)


@test
def a_journal_rewritten_to_the_same_still_goes_on():
    p = waiting()
    expect(p.call("approve", p.only_run()), 0)
    rewrite(p, same_again)
    expect(p.call("resume", p.only_run()), 0, "done")


def raised(rows):
    rows[index(rows, "note")][2]["decision"]["limits"]["turns"] = 500
    rows[index(rows, "resumed")][2]["limits"]["turns"] = 500
    return rows


def raised_without_a_note(rows):
    last = rows[-1][0]
    return rows + [[last, "resumed", {"ask": [], "limits": {"turns": 500}, "note": index(rows, "note")}]]


def raised_by_the_event(rows):
    rows[index(rows, "resumed")][2]["limits"]["turns"] = 500
    return rows


@test
def limits_that_were_raised_by_rewriting_the_journal_are_refused():
    for change, said in ((raised, "decision is not signed"), (raised_by_the_event, "nobody who holds this folder's key raised"),
                         (raised_without_a_note, "nobody who holds this folder's key raised"), (same_again, None)):
        p = waiting()
        run = p.only_run()
        expect(p.call("resume", run, "--limits", "turns=19"), 3)
        rewrite(p, change)
        done = p.call("resume", run)
        expect(done, 1 if said else 3, *([said] if said else []))


@test
def a_decision_of_another_key_approves_nothing():
    p = waiting()
    expect(p.call("approve", p.only_run()), 0)
    (p.dir / ".caisson/key").unlink()
    expect(p.call("resume", p.only_run()), 1, "not signed with this folder's key")


sys.exit(finish())
