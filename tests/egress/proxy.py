#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP proxy: CONNECT and whole URLs. Prints TAP.

usage: proxy.py CAISSON-EGRESS [SANITIZERS]"""
import socket, ssl, sys, time

from world import *


@test
def a_listed_host_is_reached_by_connect_and_its_own_certificate_is_seen():
    with Origin() as o, Egress(["a.test"]) as e:
        expect("ca_pem" not in e.ready, "nothing is terminated, but there is an authority", e.ready)
        code, out = e.curl("https://a.test/hello")
        expect(code == 0 and "GET /hello" in out, code, out)
        n = e.note(how="connect")
        expect(n["verdict"] == "allowed" and n["host"] == "a.test" and n["address"] == PUBLIC, n)
        expect(n["up"] > 200 and n["down"] > 500 and "reason" not in n, n)


@test
def a_host_that_is_not_listed_is_refused_and_the_answer_says_how_to_allow_it():
    with Origin() as o, Egress(["a.test", "*.wild.test"]) as e:
        s, head = e.connect("c.test:443")
        body = read_all(s).decode()
        expect(head.startswith("HTTP/1.1 403 Forbidden by caisson (c.test:443)\r\n"), head)
        expect("c.test:443 is not on this sandbox's list" in body and "sandbox.network.allow" in body, body)
        expect(e.note(host="c.test")["verdict"] == "refused")
        code, out = e.curl("https://wild.test/")  # a pattern does not match its own end
        expect(code == 56 and "403" in out, code, out)
        code, out = e.curl("https://www.wild.test/")
        expect(code == 0, code, out)
        code, out = e.curl("http://c.test/")
        expect("not on this sandbox's list" in out, out)
        s, head = e.connect("a.test:8443")
        expect("403" in head and "not with port 8443" in read_all(s).decode(), head)
        expect(o.connections == 1, o.connections)


@test
def the_name_in_tls_must_be_that_of_connect():
    with Origin() as o, Egress(["a.test", "b.test"]) as e:
        for name, said in ("c.test", "c.test is not a.test"), ("b.test", "b.test is not a.test"), (None, "no server name"):
            s, head = e.connect("a.test:443", rest=hello(name))
            expect("200" in head, head)
            answer = read_all(s)
            expect(answer == b"\x15\x03\x01\x00\x02\x02\x31", name, answer)
            n = e.note(how="connect", verdict="refused")
            expect(said in n["reason"], n)
        s, head = e.connect("a.test:443", rest=hello("a.test", ech=True))
        expect(read_all(s)[:1] == b"\x15", "ECH")
        expect("hides which host" in e.note(verdict="refused")["reason"])
        s, head = e.connect("a.test:443", rest=b"GET / HTTP/1.1\r\nHost: c.test\r\n\r\n")
        expect(read_all(s) == b"" and "not TLS" in e.note(verdict="refused")["reason"])
        expect(o.heads == [], o.heads)


@test
def a_hello_in_pieces_is_read_as_one():
    with Origin() as o, Egress(["a.test"]) as e:
        for name, good in ("a.test", True), ("c.test", False):
            s, head = e.connect("a.test:443")
            h = hello(name)
            for i in range(0, len(h), 40):
                s.sendall(h[i:i + 40])
                time.sleep(0.005)
            first = s.recv(1)
            expect(first == (b"\x16" if good else b"\x15"), name, first)
            s.close()


@test
def an_address_is_refused_unless_it_is_listed_itself():
    with Origin() as o, Egress(["a.test"]) as e:
        s, head = e.connect(PUBLIC + ":443")
        expect("403" in head, head)
        for odd in "0x5db8d822:443", "1572395042:443", "93.184.55330:443", "127.1:443":
            s, head = e.connect(odd)
            expect("HTTP/1.1 4" in head, odd, head)
        expect(o.connections == 0)
    with Origin() as o, Egress([PUBLIC]) as e:
        code, out = e.curl("https://" + PUBLIC + "/x")
        expect(code == 0 and "GET /x" in out, code, out)


@test
def a_name_that_turns_into_an_address_of_the_host_is_refused():
    bad = ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
           "224.0.0.1", "255.255.255.255", "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1", "64:ff9b::7f00:1",
           "2002:7f00:1::1", "198.18.0.1", "ff02::1", "::"]
    with Origin("0.0.0.0", 443) as o, Egress([f"n{i}.test" for i in range(len(bad))],
                                            resolve={f"n{i}.test": a for i, a in enumerate(bad)}) as e:
        for i, a in enumerate(bad):
            s, head = e.connect(f"n{i}.test:443")
            expect("HTTP/1.1 403" in head, a, head)
            n = e.note(host=f"n{i}.test")
            expect(n["verdict"] == "refused" and "public addresses only" in n["reason"], n)
        expect(o.connections == 0)


@test
def an_exception_is_one_address_and_one_port():
    with Origin(PRIVATE, 443) as o, Origin(PRIVATE, 8443) as p, \
         Egress([{"host": "a.test", "ports": [443, 8443]}], resolve={"a.test": PRIVATE}, allow_private=[PRIVATE + ":8443"]) as e:
        code, out = e.curl("https://a.test:8443/x")
        expect(code == 0 and "GET /x" in out, code, out)
        code, out = e.curl("https://a.test/x")
        expect(code == 56 and "403" in out, code, out)
        expect(o.connections == 0)


@test
def whole_urls_are_fetched_and_each_request_is_judged():
    with Origin(port=80, tls=False) as o, Egress(["a.test", {"host": "b.test", "ports": [80], "methods": ["GET"]}]) as e:
        code, out = e.curl("http://a.test/one", "http://a.test/two", "http://b.test/three", "http://c.test/four",
                           "http://a.test/five")
        expect(code == 0 and all(x in out for x in ("GET /one", "GET /two", "GET /three", "GET /five")), code, out)
        expect("c.test:80 is not on this sandbox's list" in out, out)
        expect([h.split()[1] for h in o.heads] == ["/one", "/two", "/three", "/five"], o.heads)
        expect(all("Proxy-Connection" not in h for h in o.heads), o.heads)
        expect(o.connections == 3, o.connections)  # one and two share one
        n = e.note(host="b.test")
        expect(n["method"] == "GET" and n["status"] == 200 and n["how"] == "proxy", n)
        expect(60 < n["up"] < 300 and 100 < n["down"] < 400, n)  # head and body, of this request alone
        code, out = e.curl("-d", "x", "http://b.test/")
        expect("not with the method POST" in out and len(o.heads) == 4, out)
        code, out = e.curl("-X", "TRACE", "http://a.test/")
        expect("TRACE is not passed on" in out and len(o.heads) == 4, out)


@test
def what_is_no_proxy_request_is_told_what_this_is():
    with Egress(["a.test"]) as e:
        for request, status in (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"), \
                (b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"), \
                (b"GET http://a.test/ HTTP/1.1\r\nHost: c.test\r\n\r\n", "400"), \
                (b"CONNECT a.test:443 HTTP/1.1\r\nHost: c.test:443\r\n\r\n", "400"), \
                (b"GET http://a.test/ HTTP/2.0\r\nHost: a.test\r\n\r\n", "505"), \
                (b"\x16\x03\x01 what\r\n\r\n", "400"):
            s = socket.create_connection(e.proxy, 20)
            s.sendall(request)
            answer = read_all(s).decode()
            expect(answer.startswith("HTTP/1.1 " + status), request, answer)


@test
def bodies_pass_both_ways_in_every_framing():
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        o.answers["/close"] = lambda head, fields: [b"HTTP/1.1 200 OK\r\n\r\nun", b"til close"]
        o.answers["/old"] = lambda head, fields: [b"HTTP/1.0 200 OK\r\n\r\nold"]
        o.answers["/chunks"] = lambda head, fields: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r",
                                                     b"\n4;x=y\r\nde", b"fg\r\n0\r\nT: u\r\n\r\n"]
        for path, want in ("/close", "until close"), ("/old", "old"), ("/chunks", "abcdefg"):
            code, out = e.curl("http://a.test" + path)
            expect(code == 0 and out == want, path, code, out)
        (WORK / "upload").write_bytes(b"0123456789" * 50)
        code, out = e.curl("-T", "upload", "http://a.test/up")
        expect(code == 0 and o.bodies[-1] == b"0123456789" * 50, code, out)
        code, out = e.curl("-T", "upload", "-H", "Transfer-Encoding: chunked", "http://a.test/up")
        expect(code == 0 and o.bodies[-1] == b"0123456789" * 50, code, out)
        code, out = e.curl("-T", "upload", "-H", "Expect: 100-continue", "http://a.test/up")
        expect(code == 0 and o.bodies[-1] == b"0123456789" * 50, code, out)
        code, out = e.curl("-I", "http://a.test/head")
        expect(code == 0 and "X-Origin: yes" in out, code, out)
        code, out = e.curl("-0", "http://a.test/close")
        expect(code == 0 and out == "until close", code, out)
        s = socket.create_connection(e.proxy, 20)
        one = b"GET http://a.test/%d HTTP/1.1\r\nHost: a.test\r\n%s\r\n"
        s.sendall(b"".join(one % (i, b"") for i in range(200)) + one % (200, b"Connection: close\r\n"))
        answer = read_all(s).decode()
        expect(answer.count("HTTP/1.1 200 OK") == 201 and answer.index("GET /7 ") < answer.index("GET /8 "), len(answer))


@test
def a_connection_that_died_while_it_rested_is_made_again():
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        s = socket.create_connection(e.proxy, 20)
        one = "%s http://a.test%s HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s"
        s.sendall((one % ("GET", "/then-die", 0, "")).encode())
        expect("last" in read_head(s) + s.recv(4).decode())
        s.sendall((one % ("GET", "/again", 0, "")).encode())
        expect("200 OK" in read_head(s))
        s.close()
        code, out = e.curl("http://a.test/die")
        expect(code == 0 and "before its response was whole" in out, code, out)
        expect(e.note(status=502)["verdict"] == "allowed")


@test
def a_websocket_passes_and_other_upgrades_do_not():
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        s = socket.create_connection(e.proxy, 20)
        s.sendall(b"GET http://a.test/echo-websocket HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        expect("101" in read_head(s))
        for i in range(20):
            s.sendall(b"ping %2d" % i)
            expect(read_exactly(s, 7) == b"ping %2d" % i)
        s.close()
        n = e.note(host="a.test")
        expect(n["status"] == 101 and n["up"] >= 140, n)
        s = socket.create_connection(e.proxy, 20)
        s.sendall(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                  b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
        expect("200 OK" in read_head(s))
        expect("h2c" not in o.heads[-1] and "HTTP2" not in o.heads[-1], o.heads[-1])


@test
def large_transfers_arrive_whole_and_a_slow_reader_costs_no_memory():
    def resident(e):
        return int([l for l in open(f"/proc/{e.process.pid}/status") if l.startswith("VmRSS")][0].split()[1])
    with Origin() as o, Origin(port=80, tls=False) as p, Egress(["a.test"]) as e:
        (WORK / "big").write_bytes(os.urandom(1 << 20) * 32)
        for url in "https://a.test/up", "http://a.test/up":
            before = resident(e)
            code, out = e.curl("-T", "big", url)
            expect(code == 0, code, out)
            code, out = e.curl("-o", "got", url.replace("up", "bytes/50000000"))
            expect(code == 0 and (WORK / "got").stat().st_size == 50000000, code, out)
            expect((WORK / "got").read_bytes()[:70000] == (bytes(range(256)) * 300)[:70000])
            s = socket.create_connection(e.proxy, 20)
            if url.startswith("https"):
                s.sendall(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n")
                expect("200" in read_head(s))
                s = client_tls(s, "a.test")
                s.sendall(b"GET /bytes/100000000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
            else:
                s.sendall(b"GET http://a.test/bytes/100000000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
            time.sleep(0.5)
            expect(SANITIZED or resident(e) - before < 8192, resident(e), before)
            s.close()


@test
def one_side_may_end_before_the_other():
    with Egress([{"host": "a.test", "ports": [2222]}]) as e:
        l = listening(at=(PUBLIC, 2222))
        s, head = e.connect("a.test:2222")
        far, _ = l.accept()
        far.sendall(b"banner")
        expect(read_exactly(s, 6) == b"banner")  # the server speaks first
        s.sendall(b"all I say")
        s.shutdown(socket.SHUT_WR)
        expect(read_all(far) == b"all I say")
        far.sendall(b"the rest")
        far.close()
        expect(read_all(s) == b"the rest")
        n = e.note(how="connect")
        expect(n["up"] == 9 and n["down"] == 14 and n["verdict"] == "allowed", n)
        l.close()


@test
def a_server_that_is_not_there_is_told_as_such():
    with Egress(["a.test", "nowhere.test"], transparent=(), resolve={"a.test": OTHER}) as e:
        code, out = e.curl("https://a.test/")
        expect(code == 56 and "502" in out, code, out)
        n = e.note(how="connect")
        expect("refused" in n["reason"] and n["verdict"] == "allowed", n)
        code, out = e.curl("http://nowhere.test/")  # the name server of this test does not answer
        expect("no name server answered" in out, code, out)


@test
def the_open_policy_reaches_public_addresses_only():
    with Origin() as o, Origin(port=80, tls=False) as p, \
         Egress(policy="open", resolve={"evil.test": "10.1.2.3"}) as e:
        code, out = e.curl("https://c.test/x")
        expect(code == 0 and "GET /x" in out, code, out)
        code, out = e.curl("http://" + PUBLIC + "/y")
        expect(code == 0 and "GET /y" in out, code, out)
        for url in "https://evil.test/", "http://10.1.2.3/", "http://169.254.169.254/", "http://[::1]/", "http://127.0.0.1/":
            code, out = e.curl(url)
            expect("public addresses only" in out or "403" in out, url, code, out)


if __name__ == "__main__":
    sys.exit(finish())
