# SPDX-License-Identifier: Apache-2.0
"""Runs that outlive their sandboxes: they begin with snapshots, are saved meanwhile, and go on when the sandbox, its
workspace or its back-end is another one."""
import json, os, shutil, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import Model, Place, backend, expect, finish, lines_of, same, sse, test

SHELL = {"capabilities": ["shell"]}
LOST = "[The sandbox was lost"


def script(*turns, end="Done."):
    """A rule for each turn: what a command is, or a list of calls."""
    rules = []
    for i, t in enumerate(turns, 1):
        calls = [{"exec_command": {"cmd": t}}] if isinstance(t, str) else t
        rules.append({"name": f"t{i}", "when": {"turn": i}, "reply": calls})
    return rules + [{"name": "end", "reply": end}]


def agent(kind=None, **sandbox):
    return {**SHELL, "sandbox": {"backend": kind or backend(), **sandbox}}


def outputs(records):
    return [i["output"] for r in records if r["kind"] == "tool_returned" for i in r["data"]["items"]]


def of(records, kind):
    return [r["data"] for r in records if r["kind"] == kind]


def kept(place):
    """What the store has of checkpoints."""
    top = place.dir / ".caisson/snapshots"
    names = [p.name for d in ("frozen", "names") if (top / d).exists() for p in (top / d).iterdir()]
    return sorted(n for n in names if "." in n)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def saved(place, files, name="first"):
    for path, text in files.items():
        place.write("given/" + path, text)
    expect(place.call("snapshot", "save", name, "given"), 0)
    return place


def jail_only():
    return None if backend() == "jail" else "no jail can be made here"


def kinds():
    return ["jail", "local"] if backend() == "jail" else ["local"]


@test
def a_run_begins_with_a_snapshot_and_is_compared_with_it():
    for kind in kinds():
        p = saved(Place(agent(kind), script("cat a d/b; echo changed >a; echo new >d/n; rm d/b")),
                  {"a": "one\n", "d/b": "two\n"})
        expect(p.run("--from", "first", "--keep"), 0)
        assert "one\ntwo\n" in outputs(p.records())[0]
        diff = expect(p.call("diff", p.only_run()), 0).stdout
        for line in ("-one", "+changed", "+new", "deleted file mode"):
            assert line in diff, diff
        same(tree(p.workspace()), {"a": "changed\n", "d/n": "new\n"})
        expect(p.call("snapshot", "verify"), 0)
        zero = of(p.records(), "run")[0]["from"]
        same(zero["snapshot"], "first")


@test
def the_agent_file_may_name_it_and_the_command_line_another():
    p = saved(saved(Place(agent(**{"from": "first"}), script("cat a")), {"a": "one\n"}), {"a": "two\n"}, "second")
    expect(p.run(), 0)
    expect(p.run("--from", "second"), 0)
    said = [outputs(p.records(r["id"]))[0].splitlines()[-1] for r in p.runs()]
    same(sorted(said), ["one", "two"])
    expect(p.run("--from", "none"), 2, "there is no snapshot none")
    p.write("bad.yaml", json.dumps({"name": "b", **agent(**{"from": "../x"})}))
    expect(p.call("run", "bad.yaml", "go"), 2, "sandbox.from", "name of a snapshot")


@test
def of_the_manifest_only_what_does_not_last_is_laid_out_then():
    entries = {"a": {"type": "file", "content": "from the manifest\n"},
               "e": {"type": "file", "content": "fresh\n", "ephemeral": True}}
    for kind in kinds():
        p = saved(Place({**agent(kind), "manifest": {"entries": entries}}, script("cat a e; ls")),
                  {"a": "one\n", "e": "stale\n"})
        expect(p.run("--from", "first"), 0)
        assert "one\nfresh\na\ne\n" in outputs(p.records())[0], outputs(p.records())


@test
def a_checkpoint_is_made_after_each_turn_that_used_the_sandbox_and_two_are_kept():
    if jail_only():
        return jail_only()
    p = saved(Place(agent(), script("echo 1 >f", "echo 2 >f", "echo 3 >f", "cat f")), {"a": "one\n"})
    p.env["CAISSON_FAULT"] = "tool.begins:4"
    same(p.run("--from", "first").returncode, -9)
    del p.env["CAISSON_FAULT"]
    names = [d["snapshot"] for d in of(p.records(), "checkpointed")]
    assert len(names) == 3 and all(d.get("frozen") for d in of(p.records(), "checkpointed"))
    same(kept(p), sorted(names[1:]))
    expect(p.call("resume", p.only_run()), 0)
    same(kept(p), [])
    layers = p.dir / ".caisson/snapshots/layers"
    same(len(list(layers.iterdir())), 1)  # that of the snapshot
    p = saved(Place(agent(), script("echo 1 >f", "cat f", "cat a", "echo 2 >f")), {"a": "one\n"})
    expect(p.run("--from", "first"), 0)
    same(["same" in d for d in of(p.records(), "checkpointed")], [False, True, True, False])  # nothing had changed


@test
def what_little_was_changed_is_copied_and_the_sandbox_stays_open():
    if jail_only():
        return jail_only()
    turns = ["echo 1 >f; ln -s f l; mkdir -p d/e; echo x >d/e/x; rm a; echo t >/tmp/t",
             "cat /tmp/t; echo 2 >>f; rm -r b; mkdir b; echo new >b/new", "exit 3", "cat f l d/e/x b/*; ls | tr '\\n' ' '"]
    p = saved(Place(agent(checkpoint="each"), script(*turns)), {"a": "one\n", "b/old": "old\n", "c": "stays\n"})
    p.env["CAISSON_FAULT"] = "tool.begins:3"
    same(p.run("--from", "first", "--keep").returncode, -9)
    del p.env["CAISSON_FAULT"]
    said = outputs(p.records())
    assert said[1].endswith("\nt\n"), said  # the same jail, with its /tmp
    layers = p.dir / ".caisson/snapshots/layers"
    same((len(kept(p)), len(list(layers.iterdir()))), (2, 3))  # that of the snapshot, and two copies
    shutil.rmtree(p.dir / ".caisson/sandboxes" / p.only_run())
    expect(p.call("resume", p.only_run()), 0)
    last = outputs(p.records())[-1]
    assert last.endswith("\n1\n2\n1\n2\nx\nnew\nb c d f l "), last
    expect(p.call("runs", "rm", p.only_run()), 0)
    expect(p.call("snapshot", "gc"), 0)
    same((kept(p), len(list(layers.iterdir()))), ([], 1))


@test
def a_plain_workspace_is_saved_too_when_the_agent_asks_for_it():
    p = Place(agent("local", checkpoint="each"), script("echo 1 >f", "echo 2 >f", "cat f"))
    p.env["CAISSON_FAULT"] = "tool.begins:3"
    same(p.run().returncode, -9)
    same(len(kept(p)), 2)
    p = Place(agent("local"), script("echo 1 >f", "cat f"))  # unasked: when ten minutes are over
    expect(p.run(), 0)
    same(of(p.records(), "sandbox_checkpoint"), [])
    same(of(p.records(), "run")[0]["checkpoint_ms"], 600000)
    p = Place(agent("local", checkpoint="never"), script("echo 1 >f"))
    expect(p.run(), 0)
    assert "checkpoint_ms" not in of(p.records(), "run")[0]
    p.write("bad.yaml", json.dumps({"name": "b", **agent("local", checkpoint="often")}))
    expect(p.call("run", "bad.yaml", "go"), 2, "expected each, never or a time like 30m")


@test
def a_checkpoint_takes_nothing_away_from_what_goes_on():
    if jail_only():
        return jail_only()
    turns = ["echo t >/tmp/t; echo h >~/h", "cat /tmp/t ~/h",
             [{"exec_command": {"cmd": "sleep 600 & echo $! >/workspace/pid; wait", "yield_time_ms": 250}}],
             "kill -0 $(cat pid) && echo still there"]
    p = Place(agent(checkpoint="each"), script(*turns))
    expect(p.run("--keep"), 0)
    said = outputs(p.records())
    assert "t\nh\n" in said[1] and "still there" in said[3], said
    assert not any("again" in d or "frozen" in d for d in of(p.records(), "checkpointed"))


@test
def a_command_that_had_begun_when_all_was_lost_is_told_and_not_repeated():
    for kind in kinds():
        turns = ["echo 1 >>f", "echo 2 >>f", "echo 3 >>f; echo side >>" + ("~/s" if kind == "jail" else "s"), "cat f"]
        p = Place(agent(kind, checkpoint="each"), script(*turns))
        p.env["CAISSON_FAULT"] = "exec.returned:3"
        same(p.run("--keep").returncode, -9)
        del p.env["CAISSON_FAULT"]
        run = p.only_run()
        shutil.rmtree(p.dir / ".caisson/sandboxes" / run)
        expect(p.call("resume", run), 0)
        records = p.records()
        said = outputs(records)
        assert said[2].startswith(LOST) and "exec_command" in said[2] and "echo 3" in said[2], said[2]
        assert "echo 2" not in said[2] and "outcome of this command is unknown" in said[2], said[2]
        assert "\n1\n2\n" in said[3] and LOST not in said[3], said[3]
        lost = of(records, "sandbox_lost")
        same([d["restored"]["snapshot"] for d in lost], [of(records, "checkpointed")[1]["snapshot"]])


@test
def a_model_that_was_being_asked_reads_of_the_loss():
    p = Place(agent("local", checkpoint="each"), script("echo 1 >>f", "echo 2 >>f", "cat f"))
    p.env["CAISSON_FAULT"] = "model.replied:3"
    same(p.run("--keep").returncode, -9)
    del p.env["CAISSON_FAULT"]
    shutil.rmtree(p.dir / ".caisson/sandboxes" / p.only_run())
    expect(p.call("resume", p.only_run()), 0)
    lost = of(p.records(), "sandbox_lost")
    assert len(lost) == 1 and lost[0]["items"][0]["content"].startswith(LOST), lost
    assert all(LOST not in o for o in outputs(p.records()))
    expect(p.call("audit", "verify"), 0)


@test
def without_a_checkpoint_it_begins_anew():
    p = Place({**agent("local", checkpoint="never"),
               "manifest": {"entries": {"s": {"type": "local_dir", "src": "s"}}}},
              script("echo 1 >>s/a", "cat s/a"), {"s/a": "as it was\n"})
    p.env["CAISSON_FAULT"] = "tool.begins:2"
    same(p.run("--keep").returncode, -9)
    del p.env["CAISSON_FAULT"]
    shutil.rmtree(p.dir / ".caisson/sandboxes" / p.only_run())
    expect(p.call("resume", p.only_run()), 0)
    said = outputs(p.records())[1]
    assert said.startswith(LOST) and "echo 1" in said and "those that the work began with" in said, said
    same(expect(p.call("diff", p.only_run()), 0).stdout, "")


@test
def what_diff_compares_with_outlives_the_folder():
    p = Place({**agent("local", checkpoint="each"),
               "manifest": {"entries": {"s": {"type": "local_dir", "src": "s"}}}},
              script("echo 1 >>s/a", "echo 2 >>s/a", "true"), {"s/a": "as it was\n"})
    p.env["CAISSON_FAULT"] = "tool.begins:3"
    same(p.run().returncode, -9)
    del p.env["CAISSON_FAULT"]
    shutil.rmtree(p.dir / ".caisson/sandboxes" / p.only_run())
    p.write("s/a", "as it was\nbut more\n")
    expect(p.call("resume", p.only_run()), 0)
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "+1\n+2\n" in diff and "more" not in diff, diff


@test
def a_workspace_that_goes_under_a_live_run_is_made_anew():
    place = []

    def answer(nth, body, headers):
        commands = [["echo 1 >>f"], ["echo 2 >>f"], ["cat f"] + 3 * ["cat f; sleep 0.1"], []]
        folder = place[0].dir / ".caisson/sandboxes" / place[0].only_run() if nth == 2 else place[0].dir / "none"
        while folder.exists():  # a checkpoint is being made meanwhile
            shutil.rmtree(folder, ignore_errors=True)
        items = [{"type": "function_call", "id": f"f{nth}{i}", "call_id": f"c{nth}{i}", "name": "exec_command",
                  "arguments": json.dumps({"cmd": c}), "status": "completed"} for i, c in enumerate(commands[nth])]
        said = {"type": "message", "role": "assistant", "id": "m", "status": "completed",
                "content": [{"type": "output_text", "text": "Done.", "annotations": []}]}
        done = {"id": f"r{nth}", "object": "response", "status": "completed", "model": "m", "output": items or [said],
                "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        return 200, "text/event-stream", sse({"type": "response.completed", "response": done})

    for kind in kinds():
        model = Model(answer)
        p = Place({"model": "openai/m", **agent(kind, checkpoint="each")},
                  env={"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"})
        place[:] = [p]
        expect(p.run("--keep"), 0)
        said = outputs(p.records())
        assert all("\n1\n" in o for o in said[2:]) and any(o.startswith(LOST) for o in said[2:]), said[2:]
        same(len(of(p.records(), "sandbox_lost")), 1)


@test
def a_run_goes_on_in_a_sandbox_of_another_back_end():
    if jail_only():
        return jail_only()
    p = saved(Place(agent(), script("echo 1 >>f", "echo 2 >>f", "cat f; pwd", "cat f")), {"a": "one\n"})
    for fault, kind in (("tool.begins:2", "local"), ("tool.begins:2", "jail")):
        p.env["CAISSON_FAULT"] = fault
        done = p.run("--from", "first", "--keep") if kind == "local" else p.call("resume", p.only_run(), "--backend", "local")
        same(done.returncode, -9)
    del p.env["CAISSON_FAULT"]
    expect(p.call("resume", p.only_run(), "--backend", "mars"), 2, "unknown back-end")
    expect(p.call("resume", p.only_run(), "--backend", "jail"), 0)
    said = outputs(p.records())
    assert "\n1\n2\n" in said[3], said
    same([d["backend"] for d in of(p.records(), "note") if d["note"] == "backend"], ["local", "jail"])
    expect(p.call("audit", "verify"), 0)


@test
def gc_leaves_alone_what_a_run_that_was_stopped_needs():
    if jail_only():
        return jail_only()
    p = saved(Place(agent(), script("echo 1 >>f", "echo 2 >>f", "cat a f")), {"a": "one\n"})
    p.env["CAISSON_FAULT"] = "tool.begins:3"
    same(p.run("--from", "first", "--keep").returncode, -9)
    del p.env["CAISSON_FAULT"]
    expect(p.call("snapshot", "rm", "first"), 0)
    expect(p.call("snapshot", "gc"), 0)
    expect(p.call("resume", p.only_run()), 0)
    assert "one\n1\n2\n" in outputs(p.records())[2]
    diff = expect(p.call("diff", p.only_run()), 0).stdout
    assert "+1\n+2\n" in diff and "one" not in diff, diff
    shutil.rmtree(p.dir / ".caisson/sandboxes")
    done = json.loads(expect(p.call("snapshot", "gc", "--json"), 0).stdout)
    assert done["bytes"] > 0, done


@test
def the_end_of_a_run_is_saved_from_its_layers():
    if jail_only():
        return jail_only()
    p = saved(Place(agent(), script("echo 1 >f; rm a")), {"a": "one\n", "b": "two\n"})
    expect(p.run("--from", "first", "--snapshot", "second"), 0)
    same(expect(p.call("snapshot", "diff", "first", "second"), 0).stdout, "D a\nA f\n")
    p.write("book.yaml", json.dumps({"rules": script("cat b f")}))
    expect(p.run("--from", "second"), 0)
    expect(p.call("snapshot", "verify"), 0)


@test
def before_its_provider_ends_a_sandbox_another_takes_its_place():
    def answer(nth, body, headers):
        if nth == 2:
            time.sleep(1.8)  # more than half of its life is over, and not all
        call = {"type": "function_call", "id": f"f{nth}", "call_id": f"c{nth}", "name": "exec_command",
                "arguments": json.dumps({"cmd": f"word{nth}"}), "status": "completed"}
        said = {"type": "message", "role": "assistant", "id": "m", "status": "completed",
                "content": [{"type": "output_text", "text": "Done.", "annotations": []}]}
        done = {"id": f"r{nth}", "object": "response", "status": "completed", "model": "m",
                "output": [call if nth < 5 else said], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        return 200, "text/event-stream", sse({"type": "response.completed", "response": done})

    model = Model(answer)
    answers = [{"match": "word", "output": "it ran"}]
    p = Place({"model": "openai/m", "manifest": {"entries": {"f": {"type": "file", "content": "kept"}}},
               **agent("fake", answers=answers, session_ms=3000)},
              env={"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"})
    expect(p.run("--keep"), 0)
    said = outputs(p.records())
    same(["it ran" in o for o in said], [True] * 5)
    moved = ["time of the sandbox was over" in o for o in said]
    assert any(moved[:3]) and not moved[0], said
    same(tree(p.workspace()), {"f": "kept"})


sys.exit(finish())
