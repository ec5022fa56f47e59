#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Secrets: in the request which their host receives, and nowhere else. Prints TAP.

usage: secret.py CAISSON-EGRESS [SANITIZERS]"""
import base64, gzip, socket, ssl, sys, time

from world import *

VALUE = "ghp_s3cr3tValue/0123456789+abc"
MARK = "csn-secret-0123456789abcdef"
SETS = {"name": "TOKEN", "value": VALUE, "placeholder": MARK, "hosts": ["a.test"], "header": "Authorization: Bearer {}"}
FILLS = {"name": "TOKEN", "value": VALUE, "placeholder": MARK, "hosts": ["a.test"]}
CA = "sandbox.pem"


def traces(data):
    """The forms of the secret that are in there."""
    b = data if isinstance(data, bytes) else data.encode("latin-1")
    forms = {"plain": VALUE.encode(), "percent": b"ghp_s3cr3tValue%2F0123456789%2Babc", "hex": VALUE.encode().hex().encode()}
    for i in range(3):
        code = base64.b64encode(b"x" * i + VALUE.encode())
        forms[f"base64 {i}"] = code[(i * 8 + 5) // 6:-4]
        forms[f"base64url {i}"] = forms[f"base64 {i}"].replace(b"+", b"-").replace(b"/", b"_")
    return [name for name, form in forms.items() if form in b]


@test
def a_header_is_set_for_its_host_and_the_clients_own_is_dropped():
    with Origin() as o, Egress(["a.test", "b.test"], secrets=[SETS]) as e:
        code, out = e.curl("-H", "Authorization: Bearer mine", "-H", "authorization: also", "https://a.test/x", ca=CA)
        expect(code == 0 and "GET /x" in out, code, out)
        expect(o.heads[0].lower().count("authorization") == 1, o.heads)
        expect("Authorization: Bearer " + VALUE in o.heads[0], o.heads)
        expect(traces(out) == [] and "[secret:TOKEN]" in out, out)  # the origin echoes its head
        n = e.note(host="a.test")
        expect(n["secret"] == ["TOKEN"] and n["method"] == "GET" and n["status"] == 200 and n["how"] == "connect", n)
        expect(60 < n["up"] < 300 and 100 < n["down"] < 500, n)
        code, out = e.curl("-H", "Authorization: Bearer " + MARK, "https://b.test/x")
        expect(code == 0 and traces(o.heads[1]) == [] and MARK in o.heads[1], o.heads)
        expect("secret" not in e.note(host="b.test"))
        expect(traces(e.raw) == [], "event lines")


@test
def each_host_gets_its_own_secrets_only():
    other = {"name": "OTHER", "value": "another-value-987654", "placeholder": "csn-secret-other000", "hosts": ["b.test", "c.test"]}
    with Origin() as o, Egress(["a.test", "b.test", "c.test"], secrets=[SETS, other, {**SETS, "name": "C", "value": "c-value-0123456", "hosts": ["c.test"]}]) as e:
        for host in "a.test", "b.test", "c.test":
            code, out = e.curl("-H", f"X-One: {MARK}", "-H", "X-Two: csn-secret-other000", f"https://{host}/x", ca=CA)
            expect(code == 0 and "GET /x" in out and "another-value" not in out and VALUE not in out, out)
        a, b, c = o.heads
        expect(VALUE in a and "another-value" not in a and "c-value" not in a, a)
        expect("X-Two: another-value-987654" in b and VALUE not in b and "c-value" not in b and "Authorization" not in b, b)
        expect("X-Two: another-value-987654" in c and VALUE not in c and "Bearer c-value-0123456" in c, c)
        expect([e.note(host=h)["secret"] for h in ("a.test", "b.test", "c.test")] == [["TOKEN"], ["OTHER"], ["OTHER", "C"]])
        expect(traces(e.raw) == [] and b"another-value" not in e.raw and b"c-value" not in e.raw)


@test
def a_placeholder_is_replaced_in_header_values_only():
    with Origin() as o, Egress(["a.test", "b.test"], secrets=[FILLS]) as e:
        code, out = e.curl("-H", f"X-Token: t={MARK}", "-u", f"user:{MARK}", "-d", f"body={MARK}",
                           f"https://a.test/{MARK}?q={MARK}", ca=CA)
        expect(code == 0 and traces(out) == [], code, out)
        head = o.heads[0]
        expect(f"X-Token: t={VALUE}" in head, head)
        expect("Authorization: Basic " + base64.b64encode(f"user:{VALUE}".encode()).decode() in head, head)
        expect(f"POST /{MARK}?q={MARK} HTTP/1.1" in head and o.bodies[0] == f"body={MARK}".encode(), head, o.bodies)
        expect(e.note(host="a.test")["secret"] == ["TOKEN"])
        code, out = e.curl("-H", f"X-Token: {MARK}", "https://b.test/", "http://b.test:443/")
        expect(all(traces(h) == [] for h in o.heads[1:]), o.heads)
        code, out = e.curl("https://a.test/without", ca=CA)
        expect("secret" not in e.note(host="a.test") and traces(o.heads[-1]) == [])


@test
def it_works_the_same_by_the_transparent_way():
    with Origin() as o, Egress(["a.test"], secrets=[SETS]) as e:
        _, (at,) = e.name("a.test")
        code, out = e.curl("--resolve", "a.test:443:" + at, "https://a.test/1", "https://a.test/2", how="transparent", ca=CA)
        expect(code == 0 and "GET /2" in out, code, out)
        expect(all(VALUE in h for h in o.heads) and traces(out) == [], o.heads, out)
        n = e.note(how="transparent", host="a.test")
        expect(n["secret"] == ["TOKEN"] and n["address"] == PUBLIC, n)
        expect(o.connections == 1, "one connection outside for both")


@test
def a_server_that_is_not_the_host_gets_nothing():
    with Origin(OTHER, certificate="wrong") as o, Egress(["a.test"], secrets=[SETS], transparent=(80,), resolve={"a.test": OTHER}) as e:
        code, out = e.curl("https://a.test/x", ca=CA)
        expect("certificate" in out and o.heads == [], code, out)
        n = e.note(host="a.test")
        expect(n["status"] == 502 and "mismatch" in n["reason"], n)


@test
def an_echo_is_scrubbed_in_every_form_and_across_every_cut():
    b64 = lambda data: base64.b64encode(data)
    forms = [VALUE.encode(), b64(VALUE.encode()), b64(b"user:" + VALUE.encode()), b64(b"ab" + VALUE.encode() + b"z"),
             base64.urlsafe_b64encode(b"a" + VALUE.encode()), VALUE.replace("/", "%2F").replace("+", "%2B").encode(), VALUE.encode().hex().encode()]
    with Origin() as o, Egress(["a.test"], secrets=[SETS]) as e:
        for i, form in enumerate(forms):
            body = b"<" + form + b"|" + form + b">"
            for cut in range(0, len(body), 9):
                chunks = [b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:cut], body[cut:]) if p] + [b"0\r\nX-T: " + form + b"\r\n\r\n"]
                o.answers["/chunks"] = lambda head, fields: [
                    b"HTTP/1.1 200 " + form + b"\r\nX-Echo: " + form + b"\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks]
                o.answers["/length"] = lambda head, fields: [
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:cut], body[cut:]]
                o.answers["/close"] = lambda head, fields: [b"HTTP/1.1 200 OK\r\n\r\n" + body[:cut], body[cut:]]
                paths = ["/chunks", "/length", "/close"] if cut == 9 * i else ["/chunks"] if cut % 2 else ["/length"]
                for path in paths:
                    code, out = e.curl("-i", "https://a.test" + path, ca=CA)
                    expect(code == 0 and traces(out) == [] and "[secret:TOKEN]" in out and out.endswith(">"), path, i, cut, code, out)


@test
def a_response_that_cannot_be_searched_is_refused():
    with Origin() as o, Egress(["a.test"], secrets=[SETS]) as e:
        packed = gzip.compress(VALUE.encode() * 3)
        o.answers["/gzip"] = lambda head, fields: [
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed]
        code, out = e.curl("--compressed", "https://a.test/gzip", ca=CA)
        expect("compressed its response" in out and traces(out) == [], code, out)
        expect("Accept-Encoding: identity" in o.heads[0] and o.heads[0].lower().count("accept-encoding") == 1, o.heads)


@test
def a_redirect_carries_no_secret_to_another_host():
    with Origin() as o, Egress(["a.test", "b.test"], secrets=[SETS]) as e:
        (WORK / "both.pem").write_text((WORK / "ca.pem").read_text() + e.ready["ca_pem"])
        code, out = e.curl("-L", "-H", f"X-Extra: {MARK}", "https://a.test/redirect", ca="both.pem")
        expect(code == 0 and len(o.heads) == 2 and "b.test" in o.heads[1], code, out, o.heads)
        expect(VALUE in o.heads[0] and traces(o.heads[1]) == [], o.heads)


@test
def plain_http_and_trace_get_no_secret():
    with Origin() as o, Origin(port=80, tls=False) as p, Egress(["a.test"], secrets=[FILLS]) as e:
        code, out = e.curl("-H", f"X-Token: {MARK}", "http://a.test/x")
        expect("by https only" in out and p.heads == [], code, out)
        n = e.note(host="a.test", port=80)
        expect(n["verdict"] == "refused" and "secret" not in n, n)
        code, out = e.curl("http://a.test/without")
        expect(code == 0 and len(p.heads) == 1, code, out)
        code, out = e.curl("-X", "TRACE", "-H", f"X-Token: {MARK}", "https://a.test/x", ca=CA)
        expect("TRACE is not passed on" in out and o.heads == [], code, out)
    with Origin(PRIVATE, 8080, tls=False) as p, \
         Egress([{"host": "a.test", "ports": [8080]}], secrets=[SETS], resolve={"a.test": PRIVATE}, allow_private=[PRIVATE + ":8080"]) as e:
        code, out = e.curl("http://a.test:8080/x")
        expect(code == 0 and VALUE in p.heads[0] and traces(out) == [], code, out)


@test
def a_request_inside_is_for_the_host_of_the_connection():
    with Origin() as o, Egress(["a.test", "b.test"], secrets=[SETS]) as e:
        for host, status in ("b.test", 421), ("a.test:80", 421), ("a.test:443", 200), ("A.TEST", 200):
            code, out = e.curl("-i", "-H", "Host: " + host, "https://a.test/x", ca=CA)
            expect(f"HTTP/1.1 {status}" in out, host, out)
        s, head = e.connect("a.test:443")
        t = client_tls(s, "a.test", ca=CA)
        t.sendall(b"GET https://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n")
        expect(b"421" in read_all(t))
        s, head = e.connect("a.test:443", rest=hello("b.test"))
        expect(read_all(s)[:1] == b"\x15")
        expect(len(o.heads) == 2 and all("Host: a.test\n" in h + "\n" for h in o.heads), o.heads)


@test
def rules_of_methods_hold_inside_tls():
    with Origin() as o, Egress([{"host": "a.test", "methods": ["GET", "HEAD"]}]) as e:
        code, out = e.curl("https://a.test/x", ca=CA)
        expect(code == 0 and "GET /x" in out, code, out)
        for method in "POST", "DELETE", "get", "PATCH":
            code, out = e.curl("-X", method, "https://a.test/x", ca=CA)
            expect("not with the method " + method in out, code, out)
        code, out = e.curl("-I", "https://a.test/x", ca=CA)
        expect(code == 0 and "200 OK" in out, out)
        s, head = e.connect("a.test:443", rest=b"DELETE / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        expect(read_all(s) == b"")
        expect(len(o.heads) == 2, o.heads)
        n = e.note(method="POST")
        expect(n["verdict"] == "refused", n)


@test
def the_authority_is_one_that_strict_clients_accept():
    with Origin() as o, Egress(["a.test"], secrets=[SETS]) as e:
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            s, head = e.connect("a.test:443")
            c = ssl.create_default_context(cafile=WORK / CA)
            c.verify_flags |= ssl.VERIFY_X509_STRICT
            c.minimum_version = c.maximum_version = version
            c.set_alpn_protocols(["h2", "http/1.1"])
            t = c.wrap_socket(s, server_hostname="a.test")
            expect(t.selected_alpn_protocol() == "http/1.1", t.selected_alpn_protocol())
            names = t.getpeercert()["subjectAltName"]
            expect(names == (("DNS", "a.test"),), names)
            t.close()
        s, head = e.connect("a.test:443")
        c.set_alpn_protocols(["h2"])
        try:
            c.wrap_socket(s, server_hostname="a.test")
            raise AssertionError("h2 was accepted")
        except ssl.SSLError:
            pass
        expect("KEY" not in e.ready["ca_pem"])


@test
def a_websocket_inside_tls_is_scrubbed():
    with Origin() as o, Egress(["a.test"], secrets=[SETS]) as e:
        s, head = e.connect("a.test:443")
        t = client_tls(s, "a.test", ca=CA)
        t.sendall(b"GET /echo-websocket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        expect("101" in read_head(t) and "Extensions" not in o.heads[0], o.heads)
        for part in VALUE[:9].encode(), VALUE[9:].encode(), b"!":
            t.sendall(part)
            time.sleep(0.1)
        got = read_exactly(t, len(VALUE) + 1)
        expect(traces(got) == [] and got.startswith(b"[secret:TOKEN]") and got.endswith(b"!"), got)
        t.close()


@test
def ssh_to_a_host_with_a_secret_is_left_alone():
    with Egress([{"host": "a.test", "ports": [22, 443]}], secrets=[SETS], transparent=(443, 80, 22)) as e:
        l = listening(at=(PUBLIC, 22))
        s, head = e.connect("a.test:22", rest=b"SSH-2.0-client\r\n")
        far, _ = l.accept()
        expect(read_exactly(far, 16) == b"SSH-2.0-client\r\n")
        far.close()
        _, (at,) = e.name("a.test")
        s = socket.create_connection((at, 22), 20)  # the server begins
        far, _ = l.accept()
        far.sendall(b"SSH-2.0-server\r\n")
        expect(read_exactly(s, 16) == b"SSH-2.0-server\r\n")
        l.close()


if __name__ == "__main__":
    sys.exit(finish())
