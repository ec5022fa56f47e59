#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A chat with the real program: messages that share a session and a workspace,
questions in between, what Ctrl-C does, and lines that are edited on a terminal.

usage: chat.py CAISSON"""
import os, pty, select, signal, sys

sys.dont_write_bytecode = True
from lib import *

RULES = [{"name": "slow", "when": {"first": True, "task": "slowly"}, "reply": [{"exec_command": {"cmd": "touch began; sleep 60", "yield_time_ms": 30000}}]},
         {"name": "write", "when": {"first": True, "task": "write"}, "reply": [{"exec_command": {"cmd": "echo line >>notes; cat notes"}}]},
         {"name": "told", "when": {"after": "write"}, "reply": "notes: ${output}"},
         {"name": "other", "reply": "hello there"}]


def chat(*lines, rules=RULES, code=0, args=(), place=None, **agent):
    p = place or Place({"sandbox": {"backend": backend()}, **agent}, rules)
    done = p.call("chat", "agent.yaml", "--session", "s", *args, stdin="".join(line + "\n" for line in lines))
    assert done.returncode == code, f"exit {done.returncode}, expected {code}: {done.stdout}{done.stderr}"
    return p, done


@test
def messages_share_the_conversation_and_the_files():
    p, done = chat("write", "write")
    same(done.stdout, "notes: line\nnotes: line\nline\n")
    assert "> " not in done.stderr, "a prompt in a pipe"
    items = lines_of(expect(p.call("session", "show", "s", "--json"), 0).stdout)
    same(len([i for i in items if i.get("role") == "user"]), 2)
    newest, oldest = p.runs()
    same((p.workspace(newest["id"]) / "notes").read_text(), "line\nline\n")
    assert not p.workspace(oldest["id"]).exists()


@test
def a_later_chat_goes_on_with_both():
    p, done = chat("write")
    expect(done, 0, f"--session s --after {p.only_run()}")
    _, again = chat("write", "/files", place=p, args=["--after", p.only_run()])
    same(again.stdout, "notes: line\nline\n")
    expect(again, 0, "\nnotes\n")


@test
def a_workspace_that_moved_on_is_not_there_any_more():
    p, _ = chat("write")
    first = p.only_run()
    expect(p.run("--after", first, task="write"), 0, "line\nline")
    expect(p.run("--after", first, task="write"), 6, f"the workspace of run {first}", "moved on")
    expect(p.run("--after", "nonsense", task="write"), 6, "nonsense")


@test
def a_workspace_moves_with_what_diff_compares_it_to():
    p = Place({"sandbox": {"backend": backend()}, "manifest": {"entries": {"repo": {"type": "local_dir", "src": "src"}}}},
              [{"name": "change", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "echo more >>repo/f"}}]}, {"name": "end", "reply": "done"}],
              files={"src/f": "one\n"})
    _, done = chat("a", "b", "/diff", "/apply", place=p)
    expect(done, 0, "+more\n+more")
    same((p.dir / "src/f").read_text(), "one\nmore\nmore\n")


@test
def calls_that_wait_are_decided_in_between():
    rules = [{"name": "touch", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "touch made"}}]},
             {"name": "denied", "when": {"contains": "denied by"}, "reply": "${output}"},
             {"name": "edited", "when": {"contains": "A human changed"}, "reply": "edited"},
             {"name": "end", "reply": "done"}]
    asks = [{"tool": "exec_command", "do": "ask"}]
    p, done = chat("go", "y", rules=rules, approvals=asks)
    same(done.stdout, "done\n")
    assert (p.workspace() / "made").exists()
    p, done = chat("go", "maybe", "n", "not today", rules=rules, approvals=asks)
    expect(done, 0, "y allows it", "not today")
    assert not (p.workspace() / "made").exists()
    p = Place({"sandbox": {"backend": backend()}, "approvals": asks}, rules, env={"EDITOR": "sed -i s/made/other/", "VISUAL": ""})
    _, done = chat("go", "e", place=p)
    same(done.stdout, "edited\n")
    assert (p.workspace() / "other").exists()


@test
def who_leaves_a_question_open_finds_it_later():
    rules = [{"name": "touch", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "touch made"}}]}, {"name": "end", "reply": "done"}]
    p, done = chat("go", rules=rules, code=3, approvals=[{"tool": "exec_command", "do": "ask"}])
    expect(done, 3, f"caisson approve {p.only_run()}")
    expect(p.call("approve", p.only_run(), "--resume"), 0, "done")


@test
def a_message_is_taken_back():
    p, done = chat("write", "hello", "/undo")
    expect(done, 0, "2 items taken back")
    said = lines_of(expect(p.call("session", "show", "s", "--json"), 0).stdout)
    same([i["content"] if isinstance(i["content"], str) else i["content"][0]["text"] for i in said if i.get("role") == "user"], ["write"])


@test
def commands_tell_what_they_do_and_mistakes_end_nothing():
    p, done = chat("/files", "/undo", "/nonsense", "/help", "/budget x", "/model script:none.yaml", "hello", "/model script:book.yaml", "hello", "/budget", "/quit", "hello")
    expect(done, 0, "there is no workspace yet", "nothing was said", "no command /nonsense", "/undo", "/budget takes nothing after it", "none.yaml", "2 messages, 2 turns")
    same(done.stdout, "hello there\n")
    expect(Place({}, RULES).call("chat", "nonsense"), 2, "no agent file")


class Terminal:
    """The program on a terminal of its own, its text as it arrives."""

    def __init__(self, p, *args):
        args = args or ("chat", "agent.yaml")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(p.dir)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.execve(caisson, [caisson, *args], {**p.env, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        self.text = ""

    def see(self, what, seconds=60):
        end = time.monotonic() + seconds
        while what not in self.text:
            assert time.monotonic() < end, f"no {what!r} in {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before {what!r}: {self.text!r}")
        at = self.text.index(what) + len(what)
        seen, self.text = self.text[:at], self.text[at:]
        return seen

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Its exit status."""
        done = until(self.ended, 60)
        self.pid = 0
        return os.waitstatus_to_exitcode(done[1])

    def ended(self):
        self.drain()
        done = os.waitpid(self.pid, os.WNOHANG)
        return done if done[0] else None

    def drain(self):
        try:
            if select.select([self.fd], [], [], 0)[0]:
                os.read(self.fd, 65536)
        except OSError:  # nobody has the other end any more
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@test
def on_a_terminal_lines_are_edited_and_ctrl_c_empties_them():
    p = Place({"sandbox": {"backend": backend()}}, RULES)
    with Terminal(p) as t:
        t.see("> ")
        t.type("never said\x03")
        t.type("writX\x7fe\r")
        t.see("notes: line")
        t.see("> ")
        t.type("\x1b[A\r")  # the line before
        t.see("notes: line\r\nline")
        t.see("> ")
        t.type("\x04")
        same(t.end(), 0)


@test
def ctrl_c_stops_the_answer_and_not_the_chat():
    p = Place({"sandbox": {"backend": backend()}}, RULES)
    with Terminal(p) as t:
        t.see("> ")
        t.type("slowly\r")
        until(lambda: any((p.dir / ".caisson/sandboxes").glob("*/workspace/began")))
        t.type("\x03")
        t.see("stopped")
        t.see("> ")
        t.type("hello\r")
        t.see("hello there")
        t.see("> ")
        t.type("\x04")
        same(t.end(), 0)
        same(sorted(r["state"] for r in p.runs()), ["cancelled", "done"])


@test
def a_run_says_where_it_is():
    p = Place({"name": "fixer", "sandbox": {"backend": backend()}, "limits": {"wall": "10m"}},
              [{"name": "begin", "when": {"first": True}, "reply": [{"exec_command": {"cmd": "until [ -e end ]; do sleep 0.02; done", "yield_time_ms": 30000}}]}, {"name": "end", "reply": "done"}])
    with Terminal(p, "run", "agent.yaml", "go") as t:
        t.see("fixer  turn 1  0 tokens  $0.0000  10:00 left  exec_command: until")
        t.see("$0.0000  9:5")  # drawn anew although nothing happens
        (p.workspace() / "end").touch()
        t.see("fixer  turn 2")
        t.see("done (final)")
        same(t.end(), 0)


@test
def a_signal_leaves_a_run_that_can_be_resumed():
    p = Place({"sandbox": {"backend": backend()}}, RULES)
    with Terminal(p) as t:
        t.see("> ")
        t.type("slowly\r")
        until(lambda: any((p.dir / ".caisson/sandboxes").glob("*/workspace/began")))
        os.kill(t.pid, signal.SIGTERM)
        t.see("caisson resume")
        same(t.end(), 130)
        assert p.runs()[0]["state"] in ("interrupted", "running"), p.runs()


sys.exit(finish())
