#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""AGENTS.md and skills of a workspace that is elsewhere, in containers and at E2B: what the model is told, how a skill comes
there, what is told when the run goes on.

usage: skills_elsewhere.py CAISSON"""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from elsewhere import Machines
from lib import Place, expect, finish, json, same, test

OWN = "---\nname: own\ndescription: Of the workspace.\n---\nOwn body.\n"
FORMS = "---\nname: forms\ndescription: Fills in forms.\n---\nRun scripts/fill.sh.\n"
SKILLS = ["workspace", {"local": "./mine"}, {"inline": {"name": "tiny", "description": "A tiny one.", "content": "Tiny body.", "files": {"ref/a.txt": "A"}}}]
TOLD = ["Use tabs.", "Test it.", "- own: Of the", "- forms: Fills", "- tiny: A tiny"]


def turn(number, **call):
    return {"name": f"t{number}", "when": {"turn": number, "instructions": TOLD}, "reply": [call]}


def each(check):
    """On every one that is there."""
    for where in ("docker", "e2b"):
        if where in machines.found:
            sandbox, env = machines.found[where]
            check(lambda rules, **more: Place(
                {"capabilities": ["shell", {"type": "skills", "sources": SKILLS}], "sandbox": {"backend": where, "cwd": "repo", **sandbox},
                 "manifest": {"entries": {"repo": {"type": "local_dir", "src": "repo"}, ".agents/own/SKILL.md": {"type": "file", "content": OWN},
                                          "AGENTS.md": {"type": "file", "content": "Use tabs."}}}, **more},
                rules + [{"name": "end", "when": {"instructions": TOLD}, "reply": "Done."}, {"name": "lost", "reply": "not told"}],
                {"repo/AGENTS.md": "Test it.\n", "mine/forms/SKILL.md": FORMS, "mine/forms/scripts/fill.sh": "echo filled\n"}, env))
    return None if {"docker", "e2b"} & machines.found.keys() else "nothing of it is here"


def outputs(place):
    return [i["output"] for r in place.records() if r["kind"] == "tool_returned" for i in r["data"]["items"]]


@test
def a_model_is_told_and_skills_come_when_they_are_loaded():
    def check(place):
        p = place([turn(1, exec_command={"cmd": "pwd; ls ../.agents"}), turn(2, load_skill={"skill_name": "own"}), turn(3, load_skill={"skill_name": "forms"}),
                   turn(4, load_skill={"skill_name": "tiny"}), turn(5, load_skill={"skill_name": "forms"}),
                   turn(6, exec_command={"cmd": "cd ../.agents; cat tiny/ref/a.txt tiny/SKILL.md; sh forms/scripts/fill.sh; ls -l forms/SKILL.md"})])
        same(expect(p.run(), 0).stdout, "Done.\n")
        first, own, forms, tiny, again, look = outputs(p)
        assert first.endswith("/repo\nown\n"), first  # nothing is there before it is asked for
        same([(json.loads(o)["status"], json.loads(o)["content"]) for o in (own, forms, tiny, again)],
             [("already_loaded", "Own body."), ("loaded", "Run scripts/fill.sh."), ("loaded", "Tiny body."), ("already_loaded", "Run scripts/fill.sh.")])
        assert "Aname" in look.replace("---\n", "") and "filled" in look and "-r--r--r--" in look, look
        shown = expect(p.call("show", p.only_run(), "--instructions"), 0).stdout
        assert shown.index("===== AGENTS.md") < shown.index("===== repo/AGENTS.md"), shown
    return each(check)


@test
def a_run_that_goes_on_is_told_the_same_and_has_its_skills():
    def check(place):
        p = place([turn(1, load_skill={"skill_name": "forms"}), turn(2, exec_command={"cmd": "rm -f ../AGENTS.md AGENTS.md; sh ../.agents/forms/scripts/fill.sh"})],
                  approvals=[{"tool": "exec_command", "do": "ask"}])
        expect(p.run(), 3)
        expect(p.call("approve", p.only_run(), "--all"), 0)
        same(expect(p.call("resume", p.only_run()), 0).stdout, "Done.\n")
        assert "filled" in outputs(p)[1], outputs(p)
    return each(check)


with Machines(["docker", "e2b"]) as machines:
    status = finish()
sys.exit(status)
