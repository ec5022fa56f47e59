#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What surrounds a run: two at once in one folder, diff and apply, outputs, what is kept
and removed, exit statuses, what goes to stdout and what to stderr. Prints TAP.

usage: together.py CAISSON"""
import pty, signal, sys

sys.dont_write_bytecode = True
from lib import *

BOX = {"sandbox": {"backend": "local"}}
SRC = {**BOX, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}}
LINES = "".join(f"line {i}\n" for i in range(1, 21))
END = {"name": "end", "reply": "The answer."}


def patch_line(n, new, old=None):
    return f"*** Begin Patch\n*** Update File: src/a.txt\n@@\n-{old or f'line {n}'}\n+{new}\n*** End Patch\n"


def first(*calls):
    return {"name": "first", "when": {"turn": 1}, "reply": list(calls)}


def bash(cmd):
    return {"exec_command": {"cmd": cmd}}


def chat(text, *calls):
    made = [{"id": f"c{i}", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for i, (n, a) in enumerate(calls)]
    message = {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}
    return 200, "application/json", json.dumps({"id": "k", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "finish_reason": "tool_calls" if made else "stop", "message": message}]}).encode()


@test
def two_runs_in_one_folder_do_not_disturb_each_other():
    meet = threading.Barrier(2, timeout=60)

    def answer(nth, body, headers):
        turn = sum(m["role"] == "assistant" for m in body["messages"])
        meet.wait()  # no run is a turn ahead of the other
        me = body["model"]
        if turn < 4:
            return chat(None, ("exec_command", {"cmd": f"echo {me} {turn} >>src/log.txt; ls src"}),
                        ("apply_patch", {"input": patch_line(turn + 1, f"{me} {turn}")}))
        return chat(f"I am {me}")

    p = Place({**SRC, "sandbox": {"backend": backend()}}, files={"src/a.txt": LINES})
    p.env["OPENAI_BASE_URL"] = Model(answer).url
    going = {m: p.start("run", "agent.yaml", "go", "--model", "chat/" + m) for m in ("one", "two")}
    for m, run in going.items():
        out, said = run.communicate(timeout=120)
        same((run.returncode, out), (0, f"I am {m}\n"))
    rows = {row["model"]: row for row in p.runs()}
    same(sorted((m, row["state"], row["turns"]) for m, row in rows.items()), [("chat/one", "done", 5), ("chat/two", "done", 5)])
    for m in going:
        ws = p.workspace(rows["chat/" + m]["id"])
        want = "".join(f"{m} {i - 1}\n" if i <= 4 else f"line {i}\n" for i in range(1, 21))
        same((ws / "src/a.txt").read_text(), want)
        same((ws / "src/log.txt").read_text(), "".join(f"{m} {i}\n" for i in range(4)))
    same((p.dir / "src/a.txt").read_text(), LINES)


def changed(n=3):
    p = Place(SRC, [first({"apply_patch": patch_line(n, "changed")}, bash("echo new >src/new.txt; rm src/gone.txt; chmod +x src/tool")), END],
              {"src/a.txt": LINES, "src/gone.txt": "x\n", "src/tool": "#!/bin/sh\n"})
    expect(p.run(), 0)
    return p, p.only_run()


def source(p):
    return {str(f.relative_to(p.dir / "src")): (f.read_bytes(), f.stat().st_mode & 0o777) for f in (p.dir / "src").rglob("*") if f.is_file()}


@test
def diff_shows_and_apply_brings_back_what_changed():
    p, run = changed()
    before = source(p)
    diff = expect(p.call("diff", run), 0).stdout
    for part in ("-line 3\n", "+changed\n", "+new\n", "gone.txt"):
        assert part in diff, diff
    same(source(p), before)
    p.write("src/a.txt", LINES.replace("line 18\n", "mine\n"))
    expect(p.call("apply", run[:12]), 0, "a.txt", "new.txt", "gone.txt")
    same((p.dir / "src/a.txt").read_text(), LINES.replace("line 18\n", "mine\n").replace("line 3\n", "changed\n"))
    same((p.dir / "src/new.txt").read_text(), "new\n")
    assert not (p.dir / "src/gone.txt").exists()
    assert (p.dir / "src/tool").stat().st_mode & 0o100
    after = source(p)
    expect(p.call("apply", run), 0)
    same(source(p), after)


@test
def what_both_changed_is_refused_and_nothing_is_written():
    p, run = changed()
    p.write("src/a.txt", LINES.replace("line 3\n", "mine\n"))
    before = source(p)
    expect(p.call("apply", run), 1, "a.txt")
    same(source(p), before)


@test
def a_diff_can_be_applied_by_other_tools():
    p, run = changed()
    diff = expect(p.call("diff", run), 0).stdout
    (p.dir / "src").joinpath("tool").chmod(0o644)
    done = subprocess.run(["git", "apply", "-"], cwd=p.dir / "src", input=diff, capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(["git", "apply", "-"], cwd=p.dir, input=diff, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + diff
    same((p.dir / "src/a.txt").read_text(), LINES.replace("line 3\n", "changed\n"))
    same((p.dir / "src/new.txt").read_text(), "new\n")
    assert not (p.dir / "src/gone.txt").exists()


@test
def runs_are_removed_with_all_they_left():
    p, run = changed()
    expect(p.run(), 0)
    other = [r["id"] for r in p.runs() if r["id"] != run][0]
    expect(p.call("runs", "rm", "zzz"), 2, "zzz")
    expect(p.call("runs", "rm", run), 0)
    same(p.only_run(), other)
    assert not (p.dir / ".caisson/sandboxes" / run).exists()
    expect(p.call("show", run), 2)
    expect(p.call("runs", "gc"), 0, "0 blobs removed")
    assert p.workspace(other).is_dir()
    expect(p.call("runs"), 0, other, "done")


@test
def a_run_that_goes_on_is_not_removed():
    p = Place(BOX, [first(bash("echo up >up; sleep 60")), END])
    going = p.start("run", "agent.yaml", "go")
    until(lambda: list(p.dir.glob(".caisson/sandboxes/*/workspace/up")))
    run = p.only_run()
    refused = p.call("runs", "rm", run)
    again = p.call("resume", run)
    going.send_signal(signal.SIGINT)
    out, said = going.communicate(timeout=60)
    same((going.returncode, out), (130, ""))
    assert f"caisson resume {run}" in said, said
    assert refused.returncode == 1 and again.returncode == 1, (refused, again)
    assert run in refused.stderr and run in again.stderr, (refused.stderr, again.stderr)
    same([r["state"] for r in p.runs()], ["interrupted"])
    expect(p.call("runs", "rm", run), 0)
    same(list((p.dir / ".caisson/sandboxes").iterdir()), [])


OUTPUTS = [{"path": "res/a.txt", "to": "out/here.txt"}, {"path": "res/b.txt"}, {"path": "missing.txt"}]
MAKES = bash("mkdir res; echo A >res/a.txt; echo B >res/b.txt; ln -s /etc/passwd res/link")


def check_outputs(p, run=None):
    run = run or p.only_run()
    same((p.dir / "out/here.txt").read_text(), "A\n")
    same((p.dir / ".caisson/sandboxes" / run / "outputs/res/b.txt").read_text(), "B\n")
    report = [r["data"] for r in p.records(run) if r["kind"] == "checkpointed"][0]["outputs"]
    same({o["path"] for o in report}, {"res/a.txt", "res/b.txt", "missing.txt"})


@test
def outputs_are_brought_out_however_a_run_ends():
    done = Place({**BOX, "outputs": OUTPUTS}, [first(MAKES), END])
    expect(done.run(), 0, "res/a.txt", "missing.txt")
    check_outputs(done)
    limit = Place({**BOX, "outputs": OUTPUTS, "limits": {"turns": 2}}, [first(MAKES), {"name": "on", "reply": [bash("true")]}])
    expect(limit.run(), 4)
    check_outputs(limit)
    failed = Place({**BOX, "outputs": OUTPUTS}, [first(MAKES), {"name": "no", "fail": True, "reply": "I won't"}])
    expect(failed.run(), 1)
    check_outputs(failed)
    late = Place({**BOX, "outputs": OUTPUTS, "limits": {"wall": "1s"}}, [first(MAKES, bash("sleep 60")), END])
    expect(late.run(), 4)
    check_outputs(late)


@test
def out_names_the_folder_of_all_outputs():
    p = Place({**BOX, "outputs": OUTPUTS}, [first(MAKES), END])
    expect(p.run("--out", "made"), 0)
    same((p.dir / "made/out/here.txt").read_text(), "A\n")
    same((p.dir / "made/res/b.txt").read_text(), "B\n")
    assert not (p.dir / "out").exists()


@test
def an_output_that_is_a_link_out_of_the_workspace_is_not_followed():
    p = Place({**BOX, "outputs": [{"path": "res/link", "to": "stolen"}]}, [first(MAKES), END])
    p.run()
    assert not (p.dir / "stolen").exists(), "it followed the link"


@test
def a_workspace_is_kept_when_it_should_be():
    p = Place(BOX, [first(bash("echo x >x.txt")), END])
    expect(p.run(), 0)
    same(list((p.dir / ".caisson/sandboxes").iterdir()), [])
    expect(p.run("--keep"), 0)
    same([f.name for f in p.dir.glob(".caisson/sandboxes/*/workspace/*")], ["x.txt"])


@test
def a_task_comes_from_stdin():
    p = Place({"capabilities": []}, [{"name": "e", "when": {"task": "(?<t>f[a-z]+)"}, "reply": "task ${t}"}])
    same(expect(p.run(task="-", stdin="please\nfetch\n"), 0).stdout, "task fetch\n")
    expect(p.run(task="-", stdin=" \n"), 2, "empty")
    expect(p.call("run", "agent.yaml"), 2, "no task")


@test
def without_an_agent_file_the_folder_is_copied():
    p = Place(rules=[{"name": "l", "when": {"turn": 1}, "reply": [bash("cat */a.txt; for f in */a.txt; do echo more >>$f; done")]},
                     {"name": "e", "when": {"contains": "line 20"}, "reply": "seen"}], files={"a.txt": LINES})
    if backend() != "jail":
        return "no jail here"
    p.env["CAISSON_MODEL"] = "script:book.yaml"
    same(expect(p.call("run", "look"), 0).stdout, "seen\n")
    same((p.dir / "a.txt").read_text(), LINES)
    assert "+more" in expect(p.call("diff", p.only_run()), 0).stdout
    expect(p.call("apply", p.only_run()), 0)
    same((p.dir / "a.txt").read_text(), LINES + "more\n")
    expect(p.call("run", "look", "again"), 2, "quotes")


@test
def model_names_are_opaque():
    seen = []

    def answer(nth, body, headers):
        seen.append(body["model"])
        return chat("ok")

    p = Place({"capabilities": []})
    p.env["OPENAI_BASE_URL"] = Model(answer).url
    names = ["a@b~c+d-e:f", "org/name:free", "x", "ft:gpt:acme::7p4lURx", "claude-4.5[1m]", "\u00fc"]
    for name in names:
        expect(p.run("--model", "chat/" + name), 0)
    same(seen, names)
    expect(p.run("--model", "nowhere/x"), 2, "nowhere")
    expect(p.run("--model", "chat/"), 2)
    expect(p.run("--model", ""), 2)


@test
def exit_statuses_tell_how_it_ended():
    loop = [{"name": "on", "reply": [bash("true")]}]
    expect(Place({**BOX, "limits": {"turns": 1}}, loop).run(), 4, "turns")
    expect(Place({"capabilities": [], "model": "script:gone.yaml"}).run(), 5, "gone.yaml")
    expect(Place(SRC, loop).run(), 6, "src")
    expect(Place({"capabilities": []}, [{"name": "no", "fail": True, "reply": "I won't"}]).run(), 1)
    p = Place({"capabilities": []}, [END])
    same(expect(p.run(), 0).stdout, "The answer.\n")
    same(expect(p.call("resume", p.only_run()), 0).stdout, "The answer.\n")


@test
def the_answer_alone_is_on_stdout():
    p = Place(BOX, [{**first(bash("echo noise; echo noise >&2")), "say": "I begin."}, END])
    done = expect(p.run(), 0)
    same(done.stdout, "The answer.\n")
    assert "I begin." in done.stderr and "exec_command" in done.stderr, done.stderr
    assert "\033" not in done.stderr and "\r" not in done.stderr, done.stderr
    json_only = expect(p.run("--json"), 0)
    assert all(isinstance(line, dict) for line in lines_of(json_only.stdout))


def on_terminal(p, *args, env=None):
    """What arrives at a terminal that is stdout and stderr."""
    master, slave = pty.openpty()
    run = subprocess.Popen([caisson, *args], cwd=p.dir, env={**p.env, "TERM": "xterm", **(env or {})}, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    try:
        while piece := os.read(master, 65536):
            out += piece
    except OSError:
        pass  # the last writer went away
    os.close(master)
    return run.wait(timeout=60), out


@test
def colour_is_for_terminals_and_not_with_no_color():
    p = Place({"capabilities": [], "model": "script:gone.yaml"})
    code, out = on_terminal(p, "run", "agent.yaml", "go")
    same(code, 5)
    assert b"\033[1;31m" in out, out
    code, out = on_terminal(p, "run", "agent.yaml", "go", env={"NO_COLOR": "1"})
    assert b"\033[1;31m" not in out and b"gone.yaml" in out, out


@test
def what_a_model_says_cannot_steer_the_terminal():
    evil = "a\033]0;owned\007b\u009b2J"
    p = Place(BOX, [{**first(bash("true # \033[2J")), "say": evil}, {"name": "end", "reply": evil}], {})
    code, out = on_terminal(p, "run", "agent.yaml", "go")
    same(code, 0)
    assert b"\033]0" not in out and b"\007" not in out and b"\xc2\x9b" not in out and b"\033[2J" not in out, out
    same(expect(p.run(), 0).stdout, evil + "\n")
    q = Place(SRC, [first(bash(r"printf 'x\033[2J\n' >src/b.txt")), END], {"src/a.txt": "one\n"})
    expect(q.run(), 0)
    code, out = on_terminal(q, "diff", q.only_run())
    assert b"+x" in out and b"\033[2J" not in out, out
    assert "+x\033[2J\n" in expect(q.call("diff", q.only_run()), 0).stdout


@test
def a_folder_that_cannot_be_written_is_told():
    if os.geteuid() != 0:
        p = Place({"capabilities": []}, [END])
        p.dir.chmod(0o555)
        done = p.run()
    else:
        p = Place({"capabilities": []}, [END])
        os.chmod(WORK, 0o755)
        p.dir.chmod(0o755)
        try:
            done = subprocess.run([caisson, "run", "agent.yaml", "go"], cwd=p.dir, env=p.env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=60, user=65534, group=65534, extra_groups=[])
        except PermissionError:
            return "another user cannot start this program here"
    assert done.returncode in (1, 2), done
    assert ".caisson" in done.stderr and "--state" in done.stderr, done.stderr


@test
def a_machine_without_namespaces_is_told_what_to_do():
    p = Place({"capabilities": ["shell"]}, [END])
    limits = "; ".join(f"echo 0 >/proc/sys/user/max_{ns}_namespaces" for ns in ("user", "mnt", "pid", "net"))
    inner = f"{limits}; exec \"$@\""
    probe = subprocess.run(["unshare", "-Ur", "sh", "-ec", inner, "-", "true"], capture_output=True, text=True)
    if probe.returncode:
        return f"cannot take namespaces away: {probe.stderr.strip()}"
    done = subprocess.run(["unshare", "-Ur", "sh", "-ec", inner, "-", caisson, "run", "agent.yaml", "go"], cwd=p.dir, env=p.env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    same((done.returncode, done.stdout), (6, ""))
    assert "cannot make a jail" in done.stderr and "sysctl" in done.stderr, done.stderr


sys.exit(finish())
