#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is printed for programs: the lines of --json against docs/events.schema.json and
docs/events.md, the records of `caisson show`, and the schemas of `caisson schema`
against the files that the loader takes and refuses. Prints TAP.

usage: events.py CAISSON SOURCE YAML_TO_JSON"""
import pathlib, re, subprocess, sys

sys.dont_write_bytecode = True
from lib import *

try:
    import jsonschema
except ImportError:
    print("1..1\nok 1 - events # SKIP python3-jsonschema is not installed")
    sys.exit(0)
source, yaml_to_json = pathlib.Path(sys.argv[2]), sys.argv[3]
SCHEMA = json.loads((source / "docs/events.schema.json").read_text())
EVENTS = jsonschema.Draft202012Validator(SCHEMA)
TYPES = set(SCHEMA["properties"]["type"]["enum"])
PATCH = "*** Begin Patch\n*** Update File: src/a.txt\n@@\n-one\n+two\n*** End Patch\n"
RULES = [
    {"name": "look", "when": {"turn": 1}, "say": "I look.",
     "reply": [{"exec_command": {"cmd": "cat src/a.txt; echo \"caf\u00e9 \\\\ \\\"x\\\"\""}}, {"exec_command": {"cmd": "exit 3"}}]},
    {"name": "patch", "when": {"turn": 2}, "reply": [{"apply_patch": PATCH}]},
    {"name": "odd", "when": {"turn": 3}, "reply": [{"apply_patch": "no patch"}, {"view_image": {"path": "src/a.txt"}}]},
    {"name": "end", "reply": "Done: \u2713 \"quoted\""},
]


def check_lines(lines, run):
    """Each is as the schema says, those with seq count from 0, all are of that run."""
    for line in lines:
        bad = next(iter(EVENTS.iter_errors(line)), None)
        assert bad is None, f"{json.dumps(line)}: {bad.message}"
        same(line["run"], run)
    records = [line for line in lines if "seq" in line]
    same([r["seq"] for r in records], list(range(len(records))))
    return records


def check_journal(place, lines, run):
    kept = [{"type": r["kind"], "run": run, "seq": r["seq"], "data": r["data"]} for r in place.records(run)]
    same(check_lines(lines, run), kept)


@test
def a_run_with_tools_prints_what_the_schema_says_and_what_is_kept():
    p = Place({"sandbox": {"backend": backend()}, "outputs": [{"path": "src/a.txt"}, {"path": "none.txt"}],
               "limits": {"wall": "5m"}, "manifest": {"entries": {"src": {"type": "local_dir", "src": "src"}}}},
              RULES, {"src/a.txt": "one\n"})
    done = expect(p.run("--json"), 0)
    lines = lines_of(done.stdout)
    check_journal(p, lines, p.only_run())
    kinds = {line["type"] for line in lines}
    for kind in ("run", "input", "sandbox_open", "sandbox_ready", "model_call", "model_replied", "tool_call", "note",
                 "tool_returned", "state", "sandbox_checkpoint", "checkpointed", "timer_set", "timer_cancel",
                 "finish", "sandbox_close"):
        assert kind in kinds, f"no {kind} among {kinds}"
    again = expect(p.call("resume", p.only_run(), "--json"), 0)
    same(again.stdout, "")


@test
def a_failed_and_a_limited_run_print_what_the_schema_says():
    endless = [{"name": "again", "reply": [{"exec_command": {"cmd": "true"}}]}]
    p = Place({"sandbox": {"backend": "local"}, "limits": {"turns": 2}}, endless)
    check_journal(p, lines_of(expect(p.run("--json"), 4).stdout), p.only_run())
    q = Place({"capabilities": []}, [{"name": "no", "fail": True, "reply": "I won't"}])
    check_journal(q, lines_of(expect(q.run("--json"), 1).stdout), q.only_run())
    r = Place({"sandbox": {"backend": "local"}, "manifest": {"entries": {"x": {"type": "local_dir", "src": "gone"}}}}, RULES)
    lines = lines_of(expect(r.run("--json"), 6).stdout)
    check_journal(r, lines, r.only_run())
    assert "sandbox_lost" in {line["type"] for line in lines}


@test
def what_streams_and_what_is_tried_again_is_as_the_schema_says():
    def answer(nth, body, headers):
        delta = [{"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": d}
                 for d in ("Hel", "lo")]
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}
        end = [{"type": "response.output_item.done", "output_index": 0, "item": item},
               {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item], "usage": {
                   "input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}}]
        data = sse(*delta, *end)
        if nth == 0:
            return 500, "application/json", b'{"error":{"message":"later"}}', {"retry-after-ms": "1"}
        return 200, "text/event-stream", data, {}, len(sse(*delta)) if nth == 1 else len(data)

    p = Place({"model": "openai/x", "capabilities": []})
    p.env.update(OPENAI_BASE_URL=Model(answer).url)
    lines = lines_of(expect(p.run("--json"), 0).stdout)
    check_journal(p, lines, p.only_run())
    said = [line["type"] for line in lines if line["type"] in ("text_delta", "attempt_restarted", "note")]
    same(said, ["note", "text_delta", "text_delta", "note", "attempt_restarted", "text_delta", "text_delta"])
    same("".join(line["data"]["text"] for line in lines if line["type"] == "text_delta"), "HelloHello")


@test
def the_document_names_every_type_of_the_schema_and_no_other():
    text = (source / "docs/events.md").read_text()
    text = text[text.index("## The first record"):text.index("## Exit status")]
    named = set()
    for line in text.splitlines():
        if line.startswith("| `"):
            named |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    for paragraph in text.split("\n\n"):
        if "belong to the closed list" in paragraph:
            named |= set(re.findall(r"`(\w+)`", paragraph))
    same(sorted(named), sorted(TYPES))


@test
def the_schema_names_every_event_and_effect_of_the_machine():
    text = (source / "src/run/event.h").read_text()
    words = set(re.findall(r"\bX\(\s*[A-Z_]+,\s*(\w+)\)", text))
    assert len(words) > 30, words
    assert words <= TYPES, words - TYPES


def as_json(text):
    return json.loads(subprocess.run([yaml_to_json], input=text, capture_output=True, text=True, check=True).stdout)


def validator(what):
    schema = json.loads(expect(Place().call("schema", what), 0).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@test
def the_schema_takes_the_demo_and_what_init_writes():
    agent = validator("agent")
    agent.validate(as_json((source / "demo/agent.yaml").read_text()))
    p = Place()
    expect(p.call("init"), 0)
    text = (p.dir / "agent.yaml").read_text()
    agent.validate(as_json(text))
    agent.validate(as_json(re.sub(r"^# (outputs:|  - )", r"\1", text, flags=re.M)))
    validator("project").validate(as_json("model: x/y\nproviders: {x: {api: chat, base_url: 'http://h/v1', key_env: K, timeout: 9}}\n"))


REFUSED = [
    "model: x/y\n", "name: a\nmodle: x\n", "name: a\nlimits: {turn: 3}\n", "name: a\nlimits: {turns: -1}\n",
    "name: a\nlimits: {wall: soon}\n", "name: [a]\n", "name: a\ncapabilities: [fly]\n", "name: a\ncapabilities: shell\n",
    "name: a\nsandbox: {backend: docker2}\n", "name: a\nsandbox: {imagine: x}\n", "name: a\nsandbox: {environment: {A: 1}}\n",
    "name: a\noutputs: [{to: x}]\n", "name: a\noutputs: [{path: x, too: y}]\n", "name: a\nsettings: {temprature: 1}\n",
    "name: a\nmanifest: {entrys: {}}\n", "name: a\nmanifest: {entries: {x: {type: nonsense}}}\n",
    "name: a\nmanifest: {entries: {x: {type: file, contents: y}}}\n", "name: a\nmanifest: {entries: {x: {type: file}}}\n",
    "name: a\nmanifest: {entries: {x: {type: dir, children: {y: {type: file, content: z, mode: 1}}}}}\n",
    "name: a\nmanifest: {entries: {x: {type: local_dir, source: y}}}\n", "name: a\nmanifest: {entries: {x: {type: git_repo, repo: a/b}}}\n",
    "name: a\nmanifest: {environment: {A: b}}\n", "name: a\nmanifest: {version: 2}\n", "name: a\nmanifest: {root: here}\n",
    "name: a\ninstructions: x\ninstructions_file: y\n",
    "name: a\nsandbox: {limits: {memory: lots}}\n", "name: a\nsandbox: {limits: {ram: 1GiB}}\n", "name: a\nsandbox: {limits: {pids: 1.5}}\n",
    "name: a\nsandbox: {limits: {wall: 1d}}\n", "name: a\nsandbox: {strict: maybe}\n",
]
TAKEN = [
    "name: a\n", "name: a\nlimits: {wall: 90}\n", "name: a\nlimits: {wall: 90s, output: 5}\n", "name: a\nsandbox: {rootfs: host}\n",
    "name: a\nmanifest: {version: 1, root: /w, environment: {value: {A: b}}, entries: {x: {type: file, content: y, "
    "description: d, ephemeral: true, permissions: {owner: 6, group: 4, other: 0}}}}\n",
    "name: a\nmanifest: {entries: {x: {type: local_dir}, y: {type: dir, children: {z: {type: file, content_base64: eA==}}}}}\n",
    "name: a\nsandbox: {strict: false, limits: {memory: 1GiB, swap: 0, pids: 256, cpu: 1.0, disk: 2GiB, inodes: 100000, "
    "open_files: 1024, file_size: 4GiB, command_wall: 10m, wall: 1h, output: 64MiB}}\n",
    "name: a\nsandbox: {limits: {memory: none, pids: none, cpu: 0.5, wall: 90, output: 1048576, file_size: 1.5g}}\n",
    "name: a\nsettings: {temperature: 0.5, reasoning: {effort: low}, extra_body: {x: 1}, tool_choice: auto}\n",
]
BAD_PROJECTS = [
    "modle: x\n", "providers: {x: {api: chat}}\n", "providers: {x: {base_url: 'ftp://h'}}\n", "providers: {x: {base_url: 'http://h', kee: x}}\n",
    "providers: {x: {base_url: 'http://h', api: soap}}\n", "providers: {x: {base_url: 'http://h', timeout: soon}}\n",
    "providers: {x: {base_url: 'http://h', timeout: 0}}\n", "providers: {x: {base_url: 'http://h', custom_tools: 1}}\n",
    "providers: {x: {base_url: 'http://h', null_content: 1}}\n",
    "providers: {x: {base_url: 'http://h', key_env: [a]}}\n", "providers: {x: {base_url: 5}}\n", "providers: {x: {base_url: 'http://h', timeout: 86401}}\n", "providers: []\n", "model: [a]\n",
]


def loads(text):
    p = Place(rules=[{"name": "end", "reply": "ok"}])
    p.write("agent.yaml", text)
    done = p.run("--model", "script:book.yaml")
    return done.returncode != 2, done.stderr


@test
def the_schema_refuses_what_the_loader_refuses():
    agent = validator("agent")
    for text in REFUSED:
        taken, said = loads(text)
        assert not taken, f"loaded: {text}"
        assert not agent.is_valid(as_json(text)), f"the schema takes: {text} though: {said}"


@test
def the_schema_takes_what_the_loader_takes():
    agent = validator("agent")
    for text in TAKEN:
        taken, said = loads(text)
        assert taken, f"{text}: {said}"
        agent.validate(as_json(text))


@test
def the_schema_of_projects_refuses_what_the_loader_refuses():
    project = validator("project")
    for text in BAD_PROJECTS:
        p = Place({"capabilities": []}, [{"name": "end", "reply": "ok"}], {"caisson.yaml": text})
        expect(p.run(), 2, "caisson.yaml:")
        assert not project.is_valid(as_json(text)), f"the schema takes: {text}"


sys.exit(finish())
