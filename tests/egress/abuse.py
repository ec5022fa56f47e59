#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A sandbox that means ill: floods, slow requests, smuggling, caps; and what the
process itself may still do. Prints TAP.

usage: abuse.py CAISSON-EGRESS [SANITIZERS]"""
import concurrent.futures, socket, ssl, sys, time

from world import *


def status(e, key):
    return [l.split(None, 1)[1].strip() for l in open(f"/proc/{e.process.pid}/status") if l.startswith(key + ":")][0]


@test
def the_process_has_given_up_what_it_does_not_need():
    with Egress(["a.test"]) as e:
        expect(status(e, "NoNewPrivs") == "1")
        expect(int(status(e, "CapEff"), 16) == int(status(e, "CapPrm"), 16) == 0)
        expect(status(e, "Threads") == "1")
        expect(open(f"/proc/{e.process.pid}/environ").read() == "")
        if not SANITIZED:
            expect(status(e, "Seccomp") == "2")
        fds = os.listdir(f"/proc/{e.process.pid}/fd")
        expect(len(fds) == 3 + 1 + 5 + 1, fds)  # 0-2, the harness, the listeners, epoll


@test
def it_ends_with_the_harness_and_says_what_is_wrong_with_a_configuration():
    e = Egress(["a.test"])
    s, head = e.connect("nobody.test:443")
    e.socket.close()
    expect(e.process.wait(20) == 0)
    for text, said in (b'{"policy":"allow"}', "listeners"), (b"{", "JSON"), (b"", "JSON"):
        a, b = socket.socketpair()
        p = subprocess.Popen([PROGRAM], preexec_fn=lambda: os.dup2(b.fileno(), 3), pass_fds=[3], env={})
        b.close()
        a.sendall(struct.pack("<I", len(text)) + text)
        expect(said in a.recv(4096).decode() and p.wait(20) == 1)
        a.close()


@test
def ten_thousand_connections_change_nothing():
    with Origin() as o, Egress(["a.test"], caps={"connections": 64, "header_ms": 60000}) as e:
        before = int(status(e, "VmRSS").split()[0])
        held, full = [], 0
        for i in range(10000):
            s = socket.create_connection(e.proxy, 20)
            if i < 80:
                held.append(s)
            else:
                full += s.recv(100).startswith(b"HTTP/1.1 503")
                s.close()
        expect(full == 10000 - 80, full)
        for s in held:
            s.close()
        until(lambda: e.curl("https://a.test/x")[0] == 0, "service after the flood")
        after = int(status(e, "VmRSS").split()[0])
        expect(SANITIZED or after - before < 4096, before, after)
        time.sleep(0.2)
        lines = e.raw.count(b"\n")
        expect(lines < 200, lines)
        n = e.note(seconds=15, verdict="refused")
        expect("connections already" in n["reason"], n)


@test
def slow_heads_and_silent_connections_are_cut():
    with Origin(port=80, tls=False) as p, Origin() as o, \
         Egress(["a.test", "b.test"], caps={"header_ms": 400, "idle_ms": 1200}, secrets=[
             {"name": "T", "value": "0123456789", "header": "A: {}", "hosts": ["b.test"]}]) as e:
        _, (at,) = e.name("a.test")
        _, (bt,) = e.name("b.test")
        begin = time.monotonic()
        slow = [socket.create_connection(to, 20) for to in (e.proxy, (at, 443), (at, 80), (bt, 443), e.dns_tcp)]
        slow.append(e.connect("b.test:443")[0])
        ended = {}
        while len(ended) < len(slow) and time.monotonic() - begin < 30:
            for i, s in enumerate(slow):
                if i in ended:
                    continue
                try:
                    s.sendall(b"\x16\x03\x01\x02\x00"[:1] if i in (1, 3, 5) and i not in ended and time.monotonic() - begin < 0.05 else b"A")
                    s.settimeout(0.01)
                    if s.recv(1000) == b"":
                        ended[i] = time.monotonic() - begin
                except TimeoutError:
                    pass
                except OSError:
                    ended[i] = time.monotonic() - begin
            time.sleep(0.02)
        expect(len(ended) == len(slow) and all(t < 20 for t in ended.values()), ended)
        s, head = e.connect("a.test:443", rest=hello("a.test"))  # a tunnel that rests
        expect(s.recv(1) == b"\x16")
        begin = time.monotonic()
        read_all(s)
        expect(1 < time.monotonic() - begin < 15, time.monotonic() - begin)
        expect("nothing moved" in e.note(reason="nothing moved for too long")["reason"])


@test
def bytes_are_capped_in_both_directions():
    with Origin(port=80, tls=False) as p, Origin() as o, Egress(["a.test"], caps={"bytes_up": 4 << 20}) as e:
        begin = time.monotonic()
        with open("/dev/zero", "rb") as zero:
            r = subprocess.run(["curl", "-sS", "--proxy", "http://%s:%d" % e.proxy, "--cacert", WORK / "ca.pem", "-X", "POST",
                                "-T", "-", "https://a.test/up"], stdin=zero, capture_output=True, env={}, timeout=60)
        expect(r.returncode != 0 and time.monotonic() - begin < 30, r)
        n = e.note(how="connect")
        expect("cap of 4194304 bytes up" in n["reason"] and n["up"] < (4 << 20) + 70000, n)
        code, out = e.curl("http://a.test/x")
        expect(code != 0 or "cap" in out or out == "", code, out)
        expect("cap of" in e.note(verdict="refused")["reason"])
    with Origin(port=80, tls=False) as p, Egress(["a.test"], caps={"bytes_down": 1 << 20}) as e:
        code, out = e.curl("http://a.test/bytes/100000000")
        expect(code == 18 and len(out) < (1 << 20) + 70000, code, len(out))
        expect("bytes down" in e.note(host="a.test")["reason"])


@test
def what_two_readers_may_read_differently_does_not_pass():
    head = "POST http://a.test/1 HTTP/1.1\r\nHost: a.test\r\n"
    inner = "GET http://a.test/smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
    rows = [head + f"Content-Length: {len(inner)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            head + f"Transfer-Encoding: chunked\r\nContent-Length: {len(inner)}\r\n\r\n0\r\n\r\n" + inner,
            head + f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n" + inner,
            head + f"Content-Length: 0, {len(inner)}\r\n\r\n" + inner,
            head + f"Content-Length: +{len(inner)}\r\n\r\n" + inner,
            head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
            head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + inner,
            head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
            head + " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            head + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            head + "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            head + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            head + "X: y\0\r\n\r\n" + inner, head + "Host: c.test\r\n\r\n" + inner,
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n".replace("\r\n", "\n") + inner,
            "GET http://a.test/ HTTP/1.1\r\nHost: c.test\r\n\r\n" + inner,
            "GET http://a.test@c.test/ HTTP/1.1\r\nHost: c.test\r\n\r\n" + inner,
            "GET http://a.test\\@c.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n" + inner,
            "GET http://a.test/x y HTTP/1.1\r\nHost: a.test\r\n\r\n" + inner,
            "GET http://a.test/\r\n\r\n" + inner]
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        for row in rows:
            s = socket.create_connection(e.proxy, 20)
            s.sendall(row.encode("latin-1"))
            answer = read_all(s)
            expect(answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 50"), row, answer)
            expect(answer.count(b"HTTP/1.1") == 1, row, answer)
        expect(o.heads == [], o.heads)
        chunks = head + "Transfer-Encoding: chunked\r\n\r\n"
        for row in ("3\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "ffffffffffffffff1\r\n", "-1\r\n",
                    "3;\x01\r\nabc\r\n0\r\n\r\n", "0\r\nContent-Length: 9\r\n\r\n"):
            s = socket.create_connection(e.proxy, 20)
            s.sendall((chunks + row + inner).encode("latin-1"))
            answer = read_all(s)
            expect(b"200 OK" not in answer, row, answer)
        time.sleep(0.2)
        expect(not any("smuggled" in h for h in o.heads), o.heads)


@test
def a_server_that_means_ill_gets_no_say():
    bad = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
           b"HTTP/1.1 200 OK\nX: y\n\n", b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"nonsense\r\n\r\n",
           b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100000, b"HTTP/3 200\r\n\r\n", b""]
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        for i, answer in enumerate(bad):
            o.answers["/bad"] = lambda head, fields: [answer]
            code, out = e.curl("-i", "http://a.test/bad")
            expect(code == 0 and "HTTP/1.1 502" in out, i, code, out[:500])
        # What it says behind a response is not the answer to the next request.
        o.answers["/split"] = lambda head, fields: [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"]
        code, out = e.curl("http://a.test/split", "http://a.test/next")
        expect(code == 0 and "forged" not in out and "GET /next" in out, code, out)


@test
def many_at_once_are_served():
    with Origin() as o, Origin(port=80, tls=False) as p, \
         Egress(["a.test", "b.test"], secrets=[{"name": "T", "value": "0123456789", "header": "A: {}", "hosts": ["b.test"]}]) as e:
        urls = [("https://a.test/", "ca.pem"), ("http://a.test/", "ca.pem"), ("https://b.test/", "sandbox.pem")]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for code, out in pool.map(lambda i: e.curl(urls[i % 3][0] + str(i), ca=urls[i % 3][1]), range(150)):
                expect(code == 0 and "GET /" in out, code, out)


@test
def connections_that_end_anywhere_leave_nothing_behind():
    with Origin() as o, Origin(port=80, tls=False) as p, \
         Egress(["a.test", "b.test"], secrets=[{"name": "T", "value": "0123456789", "header": "A: {}", "hosts": ["b.test"]}]) as e:
        count = lambda: len(os.listdir(f"/proc/{e.process.pid}/fd"))
        before = count()
        texts = [b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n" + hello("a.test"),
                 b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test\r\n\r\n" + hello("b.test"),
                 b"GET http://a.test/bytes/1000000 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                 b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
        for text in texts:
            for at in range(0, len(text) + 1, 3):
                with socket.create_connection(e.proxy, 20) as s:
                    if at % 2:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.sendall(text[:at])
        until(lambda: count() == before, "all descriptors closed")


if __name__ == "__main__":
    sys.exit(finish())
