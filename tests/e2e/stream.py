#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/stream.c prints deltas when they come: the server sends each only after the
one before was printed. Prints TAP.

usage: stream.py PROGRAM"""
import sys

sys.dont_write_bytecode = True
from lib import *

PIECES = ["Hel", "lo, ", "world \u2713"]


@test
def deltas_are_printed_when_they_come():
    printed = [threading.Event() for _ in PIECES]

    def pieces():
        head = {"id": "k", "object": "chat.completion.chunk", "model": "m"}
        for text, event in zip(PIECES, printed):
            yield sse({**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
            assert event.wait(30), "it was not printed"
        yield sse({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                  {**head, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}, "[DONE]")

    p = Place()
    p.env["OPENAI_BASE_URL"] = Model(lambda nth, body, headers: (200, "text/event-stream", pieces())).url
    run = subprocess.Popen([caisson, "chat/m", "Who?"], cwd=p.dir, env=p.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    late = threading.Timer(60, run.kill)
    late.start()
    got = b""
    for text, event in zip(PIECES, printed):
        while not got.decode(errors="ignore").endswith(text):
            piece = os.read(run.stdout.fileno(), 4096)
            assert piece, run.stderr.read()
            got += piece
        event.set()
    out, said = run.communicate(timeout=60)
    late.cancel()
    same((run.returncode, (got + out).decode(), said), (0, "".join(PIECES) + "\n7 tokens\n", b""))


sys.exit(finish())
