#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model of bench/: both APIs, refusals, broken and slow replies. What the measurements
rest on, and a run that gets through all of it. Prints TAP.

usage: mock.py CAISSON MOCKMODEL"""
import sys

sys.dont_write_bytecode = True
from lib import *

mock = subprocess.Popen([os.path.abspath(sys.argv[2]), "110"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
URL = mock.stdout.readline().strip()


def run(model, *how):
    p = Place({"sandbox": {"backend": "local"}, "model": model, "settings": {"retry": {"backoff": {"initial_delay": 0.01, "max_delay": 0.05}}}},
              env={"OPENAI_BASE_URL": URL})
    done = expect(p.run("--json", *how), 0)
    return lines_of(done.stdout)


def counts(model, calls, attempts):
    for how in [], ["--no-stream"]:
        events = run(model, *how)
        same(sum(e["type"] == "tool_returned" for e in events), calls)
        failed = [e["data"] for e in events if e["type"] == "note" and e["data"].get("note") == "attempt_failed"]
        assert len(failed) == attempts, f"{len(failed)} attempts failed, not {attempts}: {failed}"
        same([e["data"]["output"].strip() for e in events if e["type"] == "finish"], ["word"])


@test
def both_apis_call_tools():
    for api in "openai", "chat":
        counts(f"{api}/shell-30", 30, 0)  # no two calls are the same, so it is no loop


@test
def a_refused_request_is_made_again():
    for api in "openai", "chat":
        counts(f"{api}/shell-2!503", 2, 3)
        counts(f"{api}/shell-2!429", 2, 3)


@test
def a_broken_reply_is_asked_for_again():
    for api in "openai", "chat":
        counts(f"{api}/shell-2!cut", 2, 3)


@test
def a_slow_stream_arrives_in_pieces():
    for api in "openai", "chat":
        began = time.monotonic()
        events = run(f"{api}/stream-20~10ms")
        assert time.monotonic() - began >= 0.2, "it came at once"
        same("".join(e["data"]["text"] for e in events if e["type"] == "text_delta"), "word " * 20)


bad = finish()
mock.terminate()
mock.wait(30)
sys.exit(bad)
