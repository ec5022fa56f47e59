#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Connections to addresses, and the names behind them. Prints TAP.

usage: transparent.py CAISSON-EGRESS [SANITIZERS]"""
import socket, ssl, sys, time

from world import *


@test
def listed_names_get_addresses_and_others_do_not_exist():
    with Egress(["a.test", "*.wild.test"]) as e:
        code, first = e.name("a.test")
        expect(code == 0 and len(first) == 1 and first[0].startswith("198.18."), code, first)
        expect(e.name("A.Test") == (0, first))
        expect(e.name("a.test", tcp=True) == (0, first))
        code, other = e.name("x.wild.test")
        expect(code == 0 and other != first, code, other)
        expect(e.name("a.test", kind=28) == (0, []))  # no AAAA, so that clients take the other
        expect(e.name("a.test", kind=65) == (0, []))
        expect(e.name("a.test", kind=16) == (0, []))
        expect(e.name("a.test", kind=255)[0] == 5)
        for name in "wild.test", "secret-0123.evil.test", "a.test.evil.test", "com", "4.3.2.1.in-addr.arpa":
            for kind in 1, 28, 16, 255 if name == "com" else 65:
                expect(e.name(name, kind=kind)[0] in (3, 5), name, kind)
        expect(e.name("localhost") == (0, ["127.0.0.1"]))
        n = e.note(host="secret-0123.evil.test")
        expect(n["how"] == "dns" and n["verdict"] == "refused", n)
        expect(e.note(host="a.test")["verdict"] == "allowed")


@test
def look_ups_are_answered_in_a_flood_and_tell_the_journal_little():
    with Egress(["a.test"]) as e:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(e.dns_udp)
            for i in range(20000):
                label = b"x%d" % i
                q = struct.pack(">HHHHHH", i, 0x100, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\x04evil\x04test\0\0\x01\0\x01"
                try:
                    s.send(q)
                except OSError:
                    pass
            s.send(os.urandom(100))
        time.sleep(1)
        expect(until(lambda: e.name("a.test")[0] == 0, "an answer"))
        while (line := e._line(0.3)) is not None:
            e.notes.append(line)
        expect(len(e.notes) < 600, len(e.notes))


@test
def the_name_that_was_looked_up_is_dialled_whatever_the_address():
    with Origin() as o, Origin(port=80, tls=False) as p, Egress(["a.test", "b.test"]) as e:
        _, (at,) = e.name("a.test")
        code, out = e.curl("--resolve", "a.test:443:" + at, "https://a.test/x", how="transparent")
        expect(code == 0 and "GET /x" in out, code, out)
        n = e.note(how="transparent")
        expect(n["host"] == "a.test" and n["address"] == PUBLIC and n["port"] == 443, n)
        code, out = e.curl("--resolve", "a.test:80:" + at, "http://a.test/y", how="transparent")
        expect(code == 0 and "GET /y" in out, code, out)
        # An address of its own choice does not matter: the name decides.
        code, out = e.curl("--resolve", "a.test:443:" + OTHER, "https://a.test/z", how="transparent")
        expect(code == 0 and "GET /z" in out, code, out)
        code, out = e.curl("--resolve", "a.test:443:10.0.0.1", "https://a.test/z", how="transparent")
        expect(code == 0 and "GET /z" in out, code, out)
        code, out = e.curl("--resolve", "b.test:443:" + at, "https://b.test/w", how="transparent")
        expect(code == 0 and "GET /w" in out, code, out)
        expect(e.note(host="b.test")["how"] == "transparent")


@test
def other_server_names_none_and_hidden_ones_are_refused():
    with Origin() as o, Egress(["a.test"]) as e:
        _, (at,) = e.name("a.test")
        rows = [(at, hello("c.test"), "c.test is not on"), (at, hello(None), "no server name"),
                (at, hello("a.test", ech=True), "hides which host"), (OTHER, hello("c.test"), "c.test is not on"),
                (OTHER, hello(None), "no server name"), (at, b"\x16\x03\x01\x00\x02\x05\x00", ""),
                (at, b"\x16\x03\x01\xff\xff" + b"x" * 100, ""), (at, hello("198.18.0.1"), "no server name")]
        for address, first, said in rows:
            with socket.create_connection((address, 443), 20) as s:
                s.sendall(first)
                expect(read_all(s) == b"\x15\x03\x01\x00\x02\x02\x31", said)
            expect(said in e.note(verdict="refused")["reason"], said)
        with socket.create_connection((at, 443), 20) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            expect(read_all(s) == b"")
            expect("not TLS" in e.note(verdict="refused")["reason"])
        expect(o.connections == 0)


@test
def the_host_field_decides_on_port_80():
    with Origin(port=80, tls=False) as o, Egress(["a.test"]) as e:
        _, (at,) = e.name("a.test")
        for address in at, OTHER, "169.254.169.254":
            code, out = e.curl("--connect-to", f"a.test:80:{address}:80", "http://a.test/x", how="transparent")
            expect(code == 0 and "GET /x" in out, address, code, out)
            code, out = e.curl("--connect-to", f"c.test:80:{address}:80", "http://c.test/x", how="transparent")
            expect("c.test:80 is not on this sandbox's list" in out, out)
            code, out = e.curl("-H", "Host: c.test", "--connect-to", f"a.test:80:{address}:80", "http://a.test/", how="transparent")
            expect("c.test:80 is not on this sandbox's list" in out, out)
            code, out = e.curl("-H", "Host: a.test:22", "--connect-to", f"a.test:80:{address}:80", "http://a.test/", how="transparent")
            expect("on a connection to port 80" in out, out)
        with socket.create_connection((at, 80), 20) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")  # no Host: the name that was looked up
            expect(b"200 OK" in read_all(s))
        with socket.create_connection((OTHER, 80), 20) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            expect(b"not on this sandbox's list" in read_all(s))


@test
def other_ports_go_by_the_name_that_was_looked_up():
    with Egress([{"host": "a.test", "ports": [5432]}, "b.test"], transparent=(443, 80, 5432)) as e:
        l = listening(at=(PUBLIC, 5432))
        _, (at,) = e.name("a.test")
        with socket.create_connection((at, 5432), 20) as s:
            far, _ = l.accept()
            far.sendall(b"server first")
            expect(read_exactly(s, 12) == b"server first")
            far.close()
        expect(e.note(port=5432)["host"] == "a.test")
        _, (bt,) = e.name("b.test")
        for address in bt, OTHER, "198.19.255.255":
            with socket.create_connection((address, 5432), 20) as s:
                expect(read_all(s) == b"")
        expect("not with port 5432" in e.note(host="b.test", verdict="refused")["reason"])
        expect("not on this" in e.note(host=OTHER)["reason"])
        expect("stands for no name" in e.note(host="198.19.255.255")["reason"])
        l.close()


@test
def ssh_on_port_443_is_what_it_says():
    with Egress(["a.test"]) as e:
        l = listening(at=(PUBLIC, 443))
        _, (at,) = e.name("a.test")
        with socket.create_connection((at, 443), 20) as s:
            s.sendall(b"SSH-2.0-x\r\n")
            far, _ = l.accept()
            expect(read_exactly(far, 11) == b"SSH-2.0-x\r\n")
            far.close()
        l.close()


@test
def a_listed_address_is_reached_as_such():
    with Origin() as o, Origin(port=80, tls=False) as p, \
         Egress([OTHER, {"host": "10.1.2.3", "ports": [443, 7]}], transparent=(443, 80, 7), allow_private=["10.1.2.3:7"]) as e:
        # the origin is at PUBLIC; to the listed addresses nobody listens but us, so the dial comes back as a client
        with socket.create_connection(("10.1.2.3", 443), 20) as s:
            s.sendall(hello("whatever.test"))
            expect(read_all(s) == b"")
        n = e.note(host="10.1.2.3", port=443)
        expect(n["verdict"] == "refused" and "private" in n["reason"], n)


@test
def names_come_from_the_name_servers_of_the_machine():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 5353))
    tcp = listening(at=("127.0.0.1", 5353))
    seen = []

    def answer(q, addresses, kind, cut=False):
        name_end = q.index(b"\0", 12) + 5
        flags = 0x8380 if cut else 0x8180
        out = q[:2] + struct.pack(">HHHHH", flags, 1, 0 if cut else len(addresses), 0, 0) + q[12:name_end]
        for a in [] if cut else addresses:
            out += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 30, len(a)) + a
        return out

    def serve_udp():
        while True:
            q, peer = server.recvfrom(4096)
            name = q[12:q.index(b"\0", 12)]
            kind = struct.unpack(">H", q[q.index(b"\0", 12) + 1:][:2])[0]
            seen.append((name, kind))
            if b"lost" in name and len([x for x in seen if x[0] == name]) == 1:
                continue
            if b"none" in name:
                server.sendto(q[:2] + b"\x81\x83" + q[4:], peer)
            elif b"bent" in name:  # two addresses, then another one
                server.sendto(answer(q, [socket.inet_aton("10.0.0.1" if len(seen) % 2 else PUBLIC)], 1), peer)
            elif b"six" in name:
                server.sendto(answer(q, [] if kind == 1 else [socket.inet_pton(socket.AF_INET6, "::1")], kind), peer)
            else:
                server.sendto(b"\0\0" + answer(q, [socket.inet_aton("10.9.9.9")], 1)[2:], peer)  # of somebody else
                server.sendto(answer(q, [socket.inet_aton(PUBLIC)], 1, cut=b"long" in name), peer)

    def serve_tcp():
        while True:
            s, _ = tcp.accept()
            q = read_exactly(s, struct.unpack(">H", read_exactly(s, 2))[0])
            r = answer(q, [socket.inet_aton(PUBLIC)] * 3, 1)
            s.sendall(struct.pack(">H", len(r)) + r)

    threading.Thread(target=serve_udp, daemon=True).start()
    threading.Thread(target=serve_tcp, daemon=True).start()
    with Origin() as o, Egress(["*.dns.test"]) as e:
        for name, status in ("x", 200), ("long", 200), ("none", 502), ("six", 403), ("lost", 200):
            s, head = e.connect(name + ".dns.test:443")
            expect(f"HTTP/1.1 {status}" in head, name, head)
            s.close()
        expect("there is no such name" in e.note(host="none.dns.test")["reason"])
        expect("loopback" in e.note(host="six.dns.test")["reason"])
        asked = len(seen)
        s, head = e.connect("x.dns.test:443")
        expect("200" in head and len(seen) == asked, "cached")
        s.close()
        expect(e.name("none2.dns.test")[0] == 0 and len(seen) == asked, "with a list, nothing is asked outside")
    with Egress(policy="open") as e:
        for tcp in False, True:
            code, at = e.name("x.dns.test", tcp=tcp)
            expect(code == 0 and at[0].startswith("198.18."), code, at)
            expect(e.name("none.dns.test", tcp=tcp) == (3, []))
            expect(e.name("x.dns.test", kind=28, tcp=tcp) == (0, []))
            expect(e.name("none3.dns.test", kind=28, tcp=tcp) == (3, []))
        with socket.create_connection(e.dns_tcp, 20) as s:  # gone before its answer is there
            q = struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0) + b"\x05lost2\x03dns\x04test\0\0\x01\0\x01"
            s.sendall(struct.pack(">H", len(q)) + q)
        expect(e.name("lost2.dns.test")[0] == 0)


if __name__ == "__main__":
    sys.exit(finish())
