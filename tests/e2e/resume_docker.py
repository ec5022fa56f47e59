# SPDX-License-Identifier: Apache-2.0
"""Runs that outlive containers of a real Docker daemon: the container is removed with its volume while the run goes, or
while nobody has it; the workspace goes from the jail into a container and back."""
import json, os, sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.dirname(here)]
from lib import Model, Place, backend, expect, finish, same, sse, test
from with_server import Docker

docker = Docker()
if docker.missing:
    print("1..0 # SKIP " + docker.missing)
    sys.exit(0)
LOST = "[The sandbox was lost"


def agent(**sandbox):
    return {"capabilities": ["shell"], "sandbox": {"backend": "docker", "image": "box", "host": docker.url, **sandbox}}


def script(*commands):
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c}}]} for i, c in enumerate(commands, 1)]
    return rules + [{"name": "end", "reply": "Done."}]


def outputs(place):
    return [i["output"] for r in place.records() if r["kind"] == "tool_returned" for i in r["data"]["items"]]


def of(place, kind):
    return [r["data"] for r in place.records() if r["kind"] == kind]


def remove(run):
    """The run's container with its volume, as an operator would."""
    gone = [c["Id"] for c in docker.containers() if any(run in n for n in c["Names"])]
    for one in gone:
        status, said = docker.ask("DELETE", f"/v1.41/containers/{one}?force=1&v=1")
        assert status == 204, said
    for v in docker.volumes():
        if run in v["Name"] or not docker.containers():
            docker.ask("DELETE", f"/v1.41/volumes/{v['Name']}?force=1")
    return len(gone)


@test
def a_container_that_was_removed_under_a_run_is_replaced_with_the_last_checkpoint():
    place = []

    def answer(nth, body, headers):
        commands = ["echo 1 >>f", "echo 2 >>f", "cat f", None]
        if nth == 2:
            remove(place[0].only_run())
        item = {"type": "function_call", "id": f"f{nth}", "call_id": f"c{nth}", "name": "exec_command",
                "arguments": json.dumps({"cmd": commands[nth]}), "status": "completed"}
        if commands[nth] is None:
            item = {"type": "message", "role": "assistant", "id": "m", "status": "completed",
                    "content": [{"type": "output_text", "text": "Done.", "annotations": []}]}
        done = {"id": f"r{nth}", "object": "response", "status": "completed", "model": "m", "output": [item],
                "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        return 200, "text/event-stream", sse({"type": "response.completed", "response": done})

    model = Model(answer)
    place.append(Place({"model": "openai/m", **agent(checkpoint="each")},
                       env={"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"}))
    expect(place[0].run("--keep"), 0)
    said = outputs(place[0])
    assert said[2].startswith(LOST) and "\n1\n" in said[2], said[2]
    same(len(of(place[0], "sandbox_lost")), 1)


@test
def one_that_is_gone_when_the_run_is_resumed_is_replaced_too():
    p = Place({**agent(checkpoint="each"), "manifest": {"entries": {"s": {"type": "local_dir", "src": "s"}}}},
              script("echo 1 >>s/a", "echo 2 >>s/a", "cat s/a"), {"s/a": "as it was\n"})
    p.env["CAISSON_FAULT"] = "exec.returned:3"
    same(p.run().returncode, -9)
    del p.env["CAISSON_FAULT"]
    remove(p.only_run())
    expect(p.call("resume", p.only_run()), 0)
    said = outputs(p)[2]
    assert said.startswith(LOST) and "outcome of this command is unknown" in said, said
    assert "+1\n+2\n" in expect(p.call("diff", p.only_run()), 0).stdout


@test
def a_container_is_one_of_several_sandboxes_and_its_loss_is_not_the_others():
    if backend() != "jail":
        return "no jail can be made here"
    box = {**agent(checkpoint="each")["sandbox"]}
    rules = script("echo 1 >>f", "echo 2 >>f", "test ! -e f; echo 3 >g", "", "cat f; cat g")
    for turn, to in ((1, "box"), (2, "box"), (5, "box")):
        rules[turn - 1]["reply"][0]["exec_command"]["sandbox"] = to
    rules[3]["reply"] = [{"copy_files": {"from": "here", "to": "box", "paths": ["g"]}},
                         {"copy_files": {"from": "box", "to": "here", "paths": ["f"]}}]
    p = Place({"sandboxes": {"here": {"backend": "jail"}, "box": box}}, rules)
    p.env["CAISSON_FAULT"] = "exec.returned:2"
    same(p.run("--keep").returncode, -9)
    del p.env["CAISSON_FAULT"]
    same(remove(p.only_run()), 1)
    p.write("book.yaml", json.dumps({"rules": rules}))
    expect(p.call("resume", p.only_run()), 0)
    said = outputs(p)
    assert said[1].startswith("[The sandbox box was lost") and "outcome of this command is unknown" in said[1], said[1]
    same([d["restored"]["sandbox"] for d in of(p, "sandbox_lost")], ["box"])
    assert said[-1].endswith("\n1\n3\n"), said
    top = p.dir / ".caisson/sandboxes" / p.only_run()
    same([(top / "workspace" / n).read_text() for n in "fg"], ["1\n", "3\n"])
    expect(p.call("sandbox", "gc"), 0)
    same([c for c in docker.containers() if any(p.only_run() in n for n in c["Names"])], [])


@test
def a_run_begins_with_a_snapshot_in_a_container_and_is_saved():
    p = Place(agent(), script("cat a; echo new >b"), {"given/a": "one\n"})
    expect(p.call("snapshot", "save", "first", "given"), 0)
    expect(p.run("--from", "first", "--snapshot", "second"), 0)
    assert "one\n" in outputs(p)[0], outputs(p)
    same(expect(p.call("snapshot", "diff", "first", "second"), 0).stdout, "A b\n")


@test
def a_run_moves_from_a_container_to_the_jail_and_back():
    if backend() != "jail":
        return "no jail can be made here"
    p = Place(agent(), script("echo 1 >>f", "echo 2 >>f; uname", "echo 3 >>f", "cat f"))
    for fault, to in (("model.replied:2", None), ("model.replied:1", "jail")):
        p.env["CAISSON_FAULT"] = fault
        done = p.call("resume", p.only_run(), "--backend", to) if to else p.run("--keep")
        same(done.returncode, -9)
        if to:
            same([c for c in docker.containers() if any(p.only_run() in n for n in c["Names"])], [])
    del p.env["CAISSON_FAULT"]
    expect(p.call("resume", p.only_run(), "--backend", "docker"), 0)
    assert outputs(p)[3].endswith("\n1\n2\n3\n"), outputs(p)
    same([d["backend"] for d in of(p, "note") if d["note"] == "backend"], ["jail", "docker"])


try:
    status = finish()
finally:
    docker.close()
sys.exit(status)
