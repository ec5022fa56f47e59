#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Responses API over WebSockets, with the real program and a server that is
python3-websockets, and one that is bytes: the same events as over HTTP, one connection for
a run, and HTTP where no WebSocket is spoken. Prints TAP.

usage: websocket.py CAISSON"""
import sys

sys.dont_write_bytecode = True
import asyncio, base64, hashlib, socket, struct

from lib import *

try:
    import websockets
    import websockets.exceptions
    MISSING = None
except ImportError:
    MISSING = "python3-websockets is not installed"

KEY = "sk-socket-0123456789"
QUICK = {"retry": {"max_retries": 2, "backoff": {"initial_delay": 0.01, "max_delay": 0.02}}}


def message(text):
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}


def call(n):
    return {"type": "function_call", "id": f"f{n}", "call_id": f"c{n}", "name": "nothing", "arguments": json.dumps({"n": n}), "status": "completed"}


def events(nth, items):
    whole = {"id": f"r{nth}", "status": "completed", "output": items, "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}}
    yield {"type": "response.created", "response": {**whole, "output": [], "status": "in_progress"}}
    for i, item in enumerate(items):
        for part in item.get("content", []):
            for piece in part["text"]:
                yield {"type": "response.output_text.delta", "output_index": i, "delta": piece}
        yield {"type": "response.output_item.done", "output_index": i, "item": item}
    yield {"type": "response.completed", "response": whole}


class Sockets:
    """answer(nth, request, socket) is a coroutine that sends what the nth request gets."""

    def __init__(self, answer, **more):
        self.requests, self.heads, self.connections, self.nth = [], [], 0, 0
        ready = threading.Event()

        async def serve(ws, path=None):
            self.connections += 1
            self.heads.append((ws.path, {k.lower(): v for k, v in ws.request_headers.raw_items()}))
            try:
                async for frame in ws:
                    nth, self.nth = self.nth, self.nth + 1
                    self.requests.append(json.loads(frame))
                    await answer(nth, self.requests[-1], ws)
            except websockets.exceptions.ConnectionClosed:
                pass

        async def main():
            self.stop = asyncio.get_running_loop().create_future()
            self.loop = asyncio.get_running_loop()
            async with websockets.serve(serve, "127.0.0.1", 0, **more) as server:
                self.port = server.sockets[0].getsockname()[1]
                ready.set()
                await self.stop

        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        ready.wait(10)
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set_result, None)


def turns(*lists):
    async def answer(nth, request, ws):
        for e in events(nth, lists[min(nth, len(lists) - 1)]):
            await ws.send(json.dumps(e))
    return answer


def place(url, **agent):
    p = Place({"model": "ws/gpt-5", "capabilities": [], "settings": QUICK, **agent}, env={"KEY": KEY})
    p.write("caisson.yaml", json.dumps({"providers": {"ws": {"api": "responses", "base_url": url, "key_env": "KEY", "transport": "websocket"}}}))
    return p


def notes(p):
    return [r["data"] for r in p.records() if r["kind"] == "note" and r["data"]["note"] == "attempt_failed"]


@test
def a_run_is_one_connection_with_a_message_for_each_turn():
    if MISSING:
        return MISSING
    s = Sockets(turns([call(1)], [call(2)], [message("all done")]))
    p = place(s.url)
    lines = lines_of(expect(p.run("--json"), 0).stdout)
    same("".join(e["data"]["text"] for e in lines if e["type"] == "text_delta"), "all done")
    same([e["data"]["output"] for e in lines if e["type"] == "finish"], ["all done"])
    same((s.connections, len(s.requests)), (1, 3))
    path, heads = s.heads[0]
    same((path, heads["authorization"]), ("/v1/responses", "Bearer " + KEY))
    for r in s.requests:
        same((r["type"], r["model"], r["stream"]), ("response.create", "gpt-5", True))
    same([len(r["input"]) for r in s.requests], [1, 3, 5])
    same(notes(p), [])
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert KEY.encode() not in kept, "the key is in the state folder"
    s.close()


@test
def whole_replies_are_asked_for_over_http():
    def answer(nth, body, headers):
        return 200, "application/json", json.dumps({"id": "r", "status": "completed", "output": [message("whole")], "usage": {}}).encode()

    server = Model(answer)
    same(expect(place(server.url).run("--no-stream"), 0).stdout, "whole\n")
    same(server.paths, ["/v1/responses"])
    server.server.shutdown()


@test
def a_server_that_speaks_none_is_asked_over_http_at_once():
    def answer(nth, body, headers):
        items = [call(1)] if nth == 0 else [message("over http")]
        return 200, "text/event-stream", sse(*events(nth, items))

    server = Model(answer)  # answers a GET with 501
    p = place(server.url)
    same(expect(p.run(), 0).stdout, "over http\n")
    same((len(server.bodies), notes(p)), (2, []))
    assert "type" not in json.loads(server.bodies[0])
    server.server.shutdown()


@test
def a_key_that_is_refused_is_told():
    if MISSING:
        return MISSING

    async def refuse(path, headers):
        return http.HTTPStatus(401), [("Content-Type", "application/json")], b'{"error":{"message":"no such key","code":"invalid_api_key"}}'

    s = Sockets(turns([message("x")]), process_request=refuse)
    expect(place(s.url).run(), 5, "HTTP 401", "no such key")
    s.close()


@test
def a_server_that_is_busy_is_asked_again():
    if MISSING:
        return MISSING
    seen = []

    async def busy(path, headers):
        seen.append(path)
        return (http.HTTPStatus(429), [("Retry-After", "0")], b"slow down") if len(seen) < 3 else None

    s = Sockets(turns([message("at last")]), process_request=busy)
    p = place(s.url)
    same(expect(p.run(), 0).stdout, "at last\n")
    same([n["http_status"] for n in notes(p)], [429, 429])
    s.close()


@test
def errors_in_the_stream_are_those_of_the_api():
    if MISSING:
        return MISSING
    for code, later in (("server_is_overloaded", True), ("invalid_prompt", False)):
        async def answer(nth, request, ws):
            if nth == 0:
                await ws.send(json.dumps({"type": "error", "status": 400, "error": {"code": code, "message": "because"}}))
            else:
                await turns([message("again")])(nth, request, ws)

        s = Sockets(answer)
        p = place(s.url)
        done = expect(p.run(), 0 if later else 5, "again" if later else "because")
        same(len(s.requests), 2 if later else 1)
        s.close()


@test
def a_connection_that_was_closed_between_two_turns_is_made_anew():
    if MISSING:
        return MISSING

    async def answer(nth, request, ws):
        await turns([call(1)], [message("on a new one")])(nth, request, ws)
        if nth == 0:
            await ws.close()

    s = Sockets(answer)
    p = place(s.url)
    same(expect(p.run(), 0).stdout, "on a new one\n")
    same((s.connections, notes(p)), (2, []))
    s.close()


@test
def a_reply_that_is_cut_is_asked_for_again():
    if MISSING:
        return MISSING

    async def answer(nth, request, ws):
        if nth == 0:
            await ws.send(json.dumps({"type": "response.output_text.delta", "delta": "half"}))
            ws.transport.abort()
        else:
            await turns([message("whole")])(nth, request, ws)

    s = Sockets(answer)
    p = place(s.url)
    lines = lines_of(expect(p.run("--json"), 0).stdout)
    shown = ""
    for e in lines:
        shown = "" if e["type"] == "attempt_restarted" else shown + e["data"]["text"] if e["type"] == "text_delta" else shown
    same(shown, "whole")
    same(len(notes(p)), 1)
    s.close()


@test
def a_reply_with_two_calls_of_one_id_is_asked_for_again():
    if MISSING:
        return MISSING
    s = Sockets(turns([call(1), call(1)], [message("whole")]))
    p = place(s.url)
    same(expect(p.run(), 0).stdout, "whole\n")
    failed, = notes(p)
    assert "same id" in json.dumps(failed), failed
    same(s.nth, 2)
    s.close()


@test
def calls_at_once_have_a_connection_each():
    if MISSING:
        return MISSING
    inside, most = [0], [0]

    async def answer(nth, request, ws):
        if "worker" in request.get("instructions", ""):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            for _ in range(200):
                if most[0] == 4:
                    break
                await asyncio.sleep(0.02)
            inside[0] -= 1
            items = [message("done")]
        elif any(i.get("type") == "function_call_output" for i in request["input"]):
            items = [message("all")]
        else:
            items = [{"type": "function_call", "call_id": f"c{i}", "name": "w", "arguments": json.dumps({"input": str(i)})} for i in range(4)]
        for e in events(nth, items):
            await ws.send(json.dumps(e))

    s = Sockets(answer)
    p = place(s.url, agent_tools=["w"], agents=[{"name": "w", "instructions": "You are a worker.", "capabilities": []}])
    same(expect(p.run(), 0).stdout, "all\n")
    same((most[0], s.connections), (4, 4))
    s.close()


@test
def a_large_request_and_a_large_reply_go_through():
    if MISSING:
        return MISSING
    text = "\u2713x" * 400000
    s = Sockets(turns([message(text)]), max_size=64 << 20)
    p = place(s.url)
    p.write("task", text)
    done = subprocess.run([caisson, "run", "agent.yaml", "-"], cwd=p.dir, env=p.env, input=text, capture_output=True, text=True, timeout=120)
    same((done.returncode, done.stdout == text + "\n"), (0, True))
    same(s.requests[0]["input"][0]["content"] == text, True)
    s.close()


# ---- a server that is bytes

class Bytes:
    """Accepts, reads the handshake and one message for each entry, and writes the entry's bytes
    in pieces of `size`."""

    def __init__(self, *replies, size=None, accept=None):
        self.taken = []
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}/v1"

        def read(c, n):
            got = b""
            while len(got) < n:
                more = c.recv(n - len(got))
                if not more:
                    raise ConnectionError
                got += more
            return got

        def frame(c):
            a, b = read(c, 2)
            n = b & 127
            n = struct.unpack(">H", read(c, 2))[0] if n == 126 else struct.unpack(">Q", read(c, 8))[0] if n == 127 else n
            mask = read(c, 4)
            return a & 15, bytes(x ^ mask[i & 3] for i, x in enumerate(read(c, n)))

        def serve():
            try:
                for reply in replies:
                    c, _ = self.sock.accept()
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += read(c, 1)
                    key = [l.split(b": ")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key")][0]
                    good = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    out = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + (accept or good) + b"\r\n\r\n"
                    for i in range(0, len(out), size or len(out)):
                        c.sendall(out[i:i + (size or len(out))])
                    self.taken.append(frame(c))
                    for i in range(0, len(reply), size or len(reply)):
                        c.sendall(reply[i:i + (size or len(reply))])
                        if size:
                            time.sleep(0.0005)
                    try:
                        while True:
                            self.taken.append(frame(c))
                    except (ConnectionError, OSError):
                        pass
                    c.close()
            except OSError:
                pass
            self.sock.close()

        threading.Thread(target=serve, daemon=True).start()


def frame(data, op=1, last=True):
    n = len(data)
    head = bytes([(128 if last else 0) | op]) + (bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n))
    return head + data


def reply(text):
    return [frame(json.dumps(e).encode()) for e in events(0, [message(text)])]


@test
def bytes_that_come_one_by_one_pings_and_fragments_make_no_difference():
    first, *rest = reply("piecemeal")
    whole = json.dumps({"type": "response.output_item.done", "output_index": 0, "item": message("piecemeal")}).encode()
    wild = frame(b"are you there?", 9) + first + frame(whole[:20], 1, False) + frame(b"", 9) + frame(whole[20:30], 0, False) + frame(whole[30:], 0) + b"".join(rest[-1:])
    for size in None, 1, 7:
        s = Bytes(wild, size=size)
        p = place(s.url)
        same(expect(p.run(), 0).stdout, "piecemeal\n")
        same([t for t in s.taken[1:] if t[0] == 10], [(10, b"are you there?"), (10, b"")])


@test
def what_no_server_may_send_ends_the_attempt():
    good = b"".join(reply("then it was good"))
    for bad, said in ((b"\x81\x82\0\0\0\0{}", "masked"), (b"\xc1\x02{}", "extension"), (frame(b"\xff\xfe"), "UTF-8"),
                      (frame(b"{nothing"), "no JSON"), (frame(b"\x03\xf3going away", 8), "closed the WebSocket")):
        s = Bytes(bad, good)
        p = place(s.url)
        same(expect(p.run(), 0).stdout, "then it was good\n")
        same([said in n["error"] for n in notes(p)], [True])


@test
def a_wrong_answer_to_the_handshake_is_no_websocket():
    s = Bytes(b"", accept=b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    p = place(s.url, settings={"retry": {"max_retries": 0}})
    expect(p.run(), 5)
    same(s.taken, [])


def chat(p, *lines):
    return p.call("chat", "agent.yaml", stdin="".join(line + "\n" for line in lines))


@test
def the_runs_of_a_process_share_a_connection_that_rests():
    if MISSING:
        return MISSING
    s = Sockets(turns([message("one")]))
    expect(chat(place(s.url), "a", "b", "c"), 0)
    same((s.connections, len(s.requests)), (1, 3))
    s.close()


@test
def further_headers_are_in_the_handshake():
    if MISSING:
        return MISSING
    s = Sockets(turns([message("one")]))
    expect(place(s.url, settings={**QUICK, "extra_headers": {"X-Team": "red"}}).run(), 0)
    same(s.heads[0][1]["x-team"], "red")
    s.close()


@test
def a_server_that_hangs_is_left_after_its_time_out_and_the_connection_with_it():
    if MISSING:
        return MISSING

    async def answer(nth, request, ws):
        if nth == 0:
            await asyncio.sleep(20)
        else:
            await turns([message("late")])(nth, request, ws)
    s = Sockets(answer)
    p = place(s.url)
    provider = json.loads((p.dir / "caisson.yaml").read_text())
    provider["providers"]["ws"]["timeout"] = 1
    p.write("caisson.yaml", json.dumps(provider))
    same(expect(p.run(), 0).stdout, "late\n")
    same((s.connections, len(notes(p))), (2, 1))
    s.close()


@test
def a_cancelled_call_drops_its_connection():
    if MISSING:
        return MISSING
    began = threading.Event()

    async def answer(nth, request, ws):
        if nth == 0:
            began.set()
            await ws.wait_closed()
        else:
            await turns([message("next")])(nth, request, ws)
    s = Sockets(answer)
    p = place(s.url)
    talk = subprocess.Popen([caisson, "chat", "agent.yaml"], cwd=p.dir, env=p.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    talk.stdin.write("a\n")
    talk.stdin.flush()
    assert began.wait(20)
    talk.send_signal(signal.SIGINT)
    out, err = talk.communicate("b\n", timeout=30)
    same(out, "next\n")
    same(s.connections, 2)
    s.close()


sys.exit(finish())
