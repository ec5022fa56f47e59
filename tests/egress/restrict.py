#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A word of the harness while connections are under way: what may write is cut, and only
reads go out from then on, or nothing. Prints TAP.

usage: restrict.py CAISSON_EGRESS [SANITIZERS]"""
import sys

sys.dont_write_bytecode = True
from world import *


def say(e, word):
    e.socket.sendall(word)
    return e.note(at="told")["reached"]


@test
def reads_go_out_and_writes_do_not_once_it_is_said():
    with Origin() as o, Origin(port=80, tls=False) as p, Egress(["a.test"], sees_requests=True) as e:
        for url in "https://a.test/x", "http://a.test/x":
            code, out = e.curl("-d", "data", url, ca="sandbox.pem")
            expect(code == 0 and "POST /x" in out, url, code, out)
        before = len(o.heads) + len(p.heads)
        expect(say(e, b"?") >= 2)
        expect(say(e, b"w") >= 2)
        for url in "https://a.test/x", "http://a.test/x":
            code, out = e.curl("-d", "data", url, ca="sandbox.pem")
            expect("nothing may be written" in out, url, code, out)
            code, out = e.curl("-X", "DELETE", url, ca="sandbox.pem")
            expect("nothing may be written" in out, url, code, out)
            code, out = e.curl("-X", "GET", "-d", "data", url, ca="sandbox.pem")
            expect("nothing may be written" in out, url, code, out)
            expect(len(o.heads) + len(p.heads) == before)
            code, out = e.curl(url, ca="sandbox.pem")
            expect(code == 0 and "GET /x" in out, url, code, out)
            before += 1
        n = e.note(verdict="refused", method="DELETE")
        expect("nothing may be written" in n["reason"], n)


@test
def a_connection_that_is_kept_open_is_judged_anew_for_each_request():
    with Origin(port=80, tls=False) as o, Egress(["a.test"], sees_requests=True) as e:
        s = socket.create_connection(e.proxy, 20)
        post = b"POST http://a.test/p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
        s.sendall(post)
        expect("200" in read_head(s))
        say(e, b"w")
        s.sendall(post)
        rest = read_all(s)
        expect(b"403" in rest, rest)
        expect(len(o.heads) == 1, o.heads)


@test
def what_nobody_can_look_into_is_cut():
    with Egress([{"host": "a.test", "ports": [2222]}], sees_requests=True) as e:
        l = listening(at=(PUBLIC, 2222))
        s = socket.create_connection(e.proxy, 20)
        s.sendall(b"CONNECT a.test:2222 HTTP/1.1\r\nHost: a.test:2222\r\n\r\n")
        expect("200" in read_head(s))
        s.sendall(b"SSH-2.0-x and more than twenty bytes\r\n")
        far, _ = l.accept()
        far.sendall(b"banner")
        expect(read_exactly(s, 6) == b"banner")
        expect(say(e, b"w") == 1)
        expect(read_all(s) == b"")
        expect("nothing may be written" in e.note(how="connect")["reason"])
        again = socket.create_connection(e.proxy, 20)
        again.sendall(b"CONNECT a.test:2222 HTTP/1.1\r\nHost: a.test:2222\r\n\r\n")
        read_head(again)
        again.sendall(b"SSH-2.0-x and more than twenty bytes\r\n")
        expect(read_all(again) == b"")
        l.close()


@test
def a_write_that_is_under_way_is_cut():
    with Origin(port=80, tls=False) as o, Egress(["a.test"], sees_requests=True) as e:
        s = socket.create_connection(e.proxy, 20)
        s.sendall(b"POST http://a.test/p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nbegin")
        until(lambda: o.connections, "a connection")
        say(e, b"w")
        read_all(s)
        expect("nothing may be written" in e.note(method="POST")["reason"])


@test
def nothing_goes_out_at_all_when_that_is_said():
    with Origin() as o, Origin(port=80, tls=False) as p, Egress(["a.test"]) as e:
        code, out = e.curl("https://a.test/x")
        expect(code == 0, out)
        say(e, b"a")
        before = len(o.heads) + len(p.heads)
        for url in "https://a.test/x", "http://a.test/x":
            code, out = e.curl(url)
            expect("nothing may be sent" in out or "403" in out, url, code, out)
        say(e, b"w")  # it only grows
        code, out = e.curl("http://a.test/x")
        expect("nothing may be sent" in out, code, out)
        expect(len(o.heads) + len(p.heads) == before)


@test
def it_may_be_so_from_the_beginning():
    with Origin(port=80, tls=False) as o, Egress(["a.test"], sees_requests=True, restrict="writes") as e:
        code, out = e.curl("-d", "x", "http://a.test/")
        expect("nothing may be written" in out, code, out)
        expect(o.heads == [])
        code, out = e.curl("http://a.test/y")
        expect("GET /y" in out, code, out)


if __name__ == "__main__":
    sys.exit(finish())
