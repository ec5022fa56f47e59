#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tools that are requests, with the real program and servers on loopback: what is sent,
where nothing is sent, what becomes of a secret that comes back. Prints TAP.

usage: http_tool.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *

SECRET = "s3cret-of-the-tool/0123"


class Web:
    """Answers GET and others by `answer(method, path, headers, body)` -> (status, headers, bytes)."""

    def __init__(self, answer):
        web = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                heads = {k.lower(): v for k, v in self.headers.items()}
                web.seen.append((self.command, self.path, heads, body))
                status, headers, data = answer(self.command, self.path, heads, body)
                self.send_response(status)
                for k, v in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(k, v)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = any

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.at = f"127.0.0.1:{self.server.server_port}"
        self.url = "http://" + self.at
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def call(tool, args, more=None, env=None, code=0, options=("--harness-tools",)):
    """One call of the tool; what the model was told of it."""
    agent = {"capabilities": [], "tools": [{"name": "ask", "schema": {"type": "object", "properties": {}, "additionalProperties": True}, "strict": False, **tool}], **(more or {})}
    p = Place(agent, [{"name": "first", "when": {"first": True}, "reply": [{"ask": args}]}, {"name": "end", "reply": "done"}], env={"TOKEN": SECRET, **(env or {})})
    done = expect(p.run(*options), code)
    if code:
        return done.stdout + done.stderr, p
    records = p.records()
    item, = [r["data"]["items"][0] for r in records if r["kind"] == "tool_returned"]
    kept = b"".join(f.read_bytes() for f in (p.dir / ".caisson").rglob("*") if f.is_file())
    assert SECRET.encode() not in kept, "the secret is in the state folder"
    return item["output"], p


@test
def arguments_stand_in_the_address_and_the_rest_in_the_query():
    web = Web(lambda *a: (200, {"Content-Type": "application/json"}, b'{"ok": [1]}'))
    said, _ = call({"http": web.url + "/v1/{city}/x?key=1", "allow_private": [web.at]}, {"city": "K\u00f6ln/../a b", "days": 3, "q": "a&b", "deep": {"x": 1}, "no": None, "yes": True})
    same(said, '{"ok": [1]}')
    same(web.seen[0][:2], ("GET", "/v1/K%C3%B6ln%2F..%2Fa%20b/x?key=1&days=3&q=a%26b&deep=%7B%22x%22%3A1%7D&yes=true"))
    said, _ = call({"http": web.url + "/v1/{city}", "allow_private": [web.at]}, {"city": ".."})
    assert "the argument city is missing, or no part" in said, said
    said, _ = call({"http": web.url + "/v1/{city}", "allow_private": [web.at]}, {})
    assert "the argument city is missing" in said, said


@test
def other_methods_send_the_rest_as_a_body():
    for method in "POST", "PUT", "PATCH":
        web = Web(lambda *a: (201, {"Content-Type": "text/plain"}, b"made"))
        said, _ = call({"http": web.url + "/items/{id}", "method": method, "headers": {"X-Kind": "a b"}, "allow_private": [web.at]}, {"id": 7, "name": "n", "n": 1.50})
        same(said, "made")
        verb, path, heads, body = web.seen[0]
        same((verb, path, json.loads(body), heads["content-type"], heads["x-kind"]), (method, "/items/7", {"name": "n", "n": 1.5}, "application/json", "a b"))


@test
def nothing_is_sent_to_addresses_that_are_not_public():
    web = Web(lambda *a: (200, {}, b"inside"))
    port = web.at.split(":")[1]
    for url in (web.url, f"http://localhost:{port}", "http://169.254.169.254/latest/meta-data", "http://10.0.0.1:81/", "http://[::1]:9/",
                "http://[::ffff:127.0.0.1]:9/", f"http://0.0.0.0:{port}/", f"http://2130706433:{port}/", "http://192.168.1.1/", "http://100.64.0.1/"):
        said, _ = call({"http": url}, {})
        assert "which is not public" in said, (url, said)
    said, _ = call({"http": web.url, "allow_private": ["127.0.0.1:1"]}, {})
    assert "which is not public" in said, said
    # A proxy of the environment would hide where it leads.
    said, _ = call({"http": web.url}, {}, env={"http_proxy": web.url, "HTTP_PROXY": web.url})
    assert "which is not public" in said, said
    same(web.seen, [])


@test
def it_needs_the_word_of_the_operator():
    said, _ = call({"http": "http://127.0.0.1:9/"}, {}, code=1, options=())
    assert "--harness-tools" in said, said


@test
def a_secret_goes_to_its_host_only_and_is_taken_out_of_what_comes_back():
    other = Web(lambda m, p, heads, body: (200, {"Content-Type": "text/plain"}, json.dumps(heads).encode()))
    web = Web(lambda m, p, heads, body: (302, {"Location": other.url + "/there"}, b"") if p == "/away"
              else (302, {"Location": "home?x=1#part"}, b"") if p == "/a/back" else (200, {"Content-Type": "text/plain"}, ("you sent " + heads.get("authorization", "nothing")).encode()))
    both = [web.at, other.at]
    said, _ = call({"http": web.url + "/x", "header_env": {"Authorization": "TOKEN"}, "allow_private": both}, {})
    same(said, "you sent [secret:TOKEN]")
    same(web.seen[0][2]["authorization"], SECRET)
    said, _ = call({"http": web.url + "/a/back", "header_env": {"Authorization": "TOKEN"}, "allow_private": both}, {})
    same(said, "you sent [secret:TOKEN]")
    same(web.seen[-1][1], "/a/home?x=1")
    said, _ = call({"http": web.url + "/away", "header_env": {"Authorization": "TOKEN"}, "allow_private": both}, {})
    assert "authorization" not in json.loads(said), said
    same(other.seen[0][1], "/there")
    # A redirect leads no further than an address of the file could.
    said, _ = call({"http": web.url + "/away", "allow_private": [web.at]}, {})
    assert "which is not public" in said, said
    said, _ = call({"http": web.url, "header_env": {"Authorization": "NOT_SET"}, "allow_private": both}, {})
    assert "the variable NOT_SET is not set" in said, said


@test
def redirects_end_and_change_the_method_as_browsers_do():
    hops = {"/loop": (302, "/loop"), "/303": (303, "/end"), "/307": (307, "/end"), "/ftp": (302, "ftp://x/y")}
    web = Web(lambda m, p, heads, body: (hops[p][0], {"Location": hops[p][1]}, b"") if p in hops else (200, {"Content-Type": "text/plain"}, m.encode() + b" " + body))
    for path, want in (("/303", "GET "), ("/307", 'POST {"a":1}')):
        said, _ = call({"http": web.url + path, "method": "POST", "allow_private": [web.at]}, {"a": 1})
        same(said, want)
    for path, want in (("/loop", "more than 5 redirects"), ("/ftp", "redirect")):
        said, _ = call({"http": web.url + path, "allow_private": [web.at]}, {})
        assert want in said, said


@test
def what_is_no_text_and_what_went_wrong_is_told():
    def answer(m, p, heads, body):
        return {"/png": (200, {"Content-Type": "image/png; x"}, b"\x89PNG"), "/bin": (200, {"Content-Type": "application/octet-stream"}, b"\0" * 77),
                "/no": (404, {"Content-Type": "text/html"}, b"gone"), "/bad": (200, {"Content-Type": "text/plain"}, b"a\xff\xfeb"),
                "/big": (200, {"Content-Type": "text/plain"}, b"x" * (5 << 20))}[p]

    web = Web(answer)
    said = {path: call({"http": web.url + path, "allow_private": [web.at]}, {})[0] for path in ("/png", "/bin", "/no", "/bad", "/big")}
    same(said["/png"], [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="}])
    same((said["/bin"], said["/no"]), ("[77 bytes of type application/octet-stream]", "The call failed: HTTP 404\ngone"))
    assert said["/bad"].startswith("a") and said["/bad"].endswith("b"), said["/bad"]
    assert len(said["/big"]) < 50000 and "left out" in said["/big"] and "cut after" in said["/big"], said["/big"][:200]


@test
def a_server_that_hangs_is_left_after_the_time_out():
    def hang(*a):
        time.sleep(6)
        return 200, {}, b"late"

    web = Web(hang)
    began = time.monotonic()
    said, _ = call({"http": web.url, "allow_private": [web.at]}, {}, {"tool_settings": [{"tool": "ask", "timeout": "1s"}]})
    same(said, "Tool 'ask' timed out after 1 seconds.")
    assert time.monotonic() - began < 5


def ask_often(web, asked, settings, more=None, tool=None):
    """Calls of one tool, a turn each; the place, after the run."""
    agent = {"capabilities": [], "tools": [{"name": "ask", "schema": {"type": "object", "properties": {}, "additionalProperties": True}, "strict": False, "http": web.url, "allow_private": [web.at], **(tool or {})}],
             "tool_settings": settings, **(more or {})}
    entries = [{"name": f"e{i}", "when": {"turn": i + 1}, "reply": [{"ask": args}]} for i, args in enumerate(asked)]
    p = Place(agent, entries + [{"name": "end", "reply": "done"}])
    p.done = p.run("--harness-tools")
    return p


def told(p):
    return [(r["data"].get("cached"), r["data"]["items"][0]["output"]) for r in p.records() if r["kind"] == "tool_returned"]


@test
def the_same_call_is_answered_by_an_earlier_result():
    def answer(m, p, heads, body):
        n = len(web.seen)
        return (500, {}, b"no") if "fail" in p else (200, {"Content-Type": "image/png"}, b"x") if "png" in p else (200, {"Content-Type": "text/plain"}, f"result {n}".encode())

    for cache, others in ((True, []), (False, [{"tool": "x*", "cache": True}])):
        web = Web(answer)
        asked = [{"q": 1}, {"q": 2}, {"q": 1}, {"q": "fail"}, {"q": "fail"}, {"q": "png"}, {"q": "png"}]
        p = ask_often(web, asked, others + [{"tool": "a*", "cache": cache}])
        expect(p.done, 0)
        said = told(p)
        first = [r["seq"] for r in p.records() if r["kind"] == "tool_returned"]
        if not cache:
            same(([s[0] for s in said], len(web.seen)), ([None] * 7, 7))
            assert not any("call" in r["data"] for r in p.records() if r["kind"] == "tool_returned")
            continue
        same([s[0] for s in said], [None, None, first[0], None, None, None, first[5]])
        same((said[0][1], said[2][1], said[6][1]), ("result 1", "result 1", said[5][1]))
        assert said[4][1].startswith("The call failed: HTTP 500"), said
        same(len(web.seen), 5)


@test
def a_run_that_goes_on_finds_what_it_found_before():
    web = Web(lambda *a: (200, {"Content-Type": "text/plain"}, b"result %d" % len(web.seen)))
    rules = [{"tool": "ask", "match": {"q": "stop"}, "do": "ask"}]
    p = ask_often(web, [{"q": 1}, {"q": "stop"}, {"q": 1}], [{"tool": "ask", "cache": True}], {"approvals": rules})
    expect(p.done, 3)
    expect(p.call("approve", p.only_run(), "--as", "ann", "--resume", "--harness-tools"), 0, "done")
    same([s[1] for s in told(p)], ["result 1", "result 2", "result 1"])
    same(len(web.seen), 2)


@test
def mistakes_are_told_with_their_line():
    p = Place({"capabilities": []})
    for tool, said in (({"http": "ftp://x"}, "expected http://"), ({"http": "http://{host}/"}, "a host"), ({"http": "http://u:p@h/"}, "a host"),
                       ({"http": "http://h:{port}/"}, "a host"), ({"http": "http://h/", "method": "BREW"}, "GET, POST"), ({"http": "http://h/", "headers": {"A\nB": "x"}}, "names of headers"),
                       ({"http": "http://h/", "headers": {"A": "x\ny"}}, "names of headers"), ({"http": "http://h/", "allow_private": ["localhost:1"]}, "ADDRESS:PORT"),
                       ({"http": "http://h/", "command": ["x"]}, "unknown key tools.command")):
        p.write("agent.yaml", json.dumps({"name": "a", "model": "script:x", "capabilities": [], "tools": [{"name": "t", **tool}]}))
        expect(p.run("--harness-tools"), 2, said, "agent.yaml:1")


sys.exit(finish())
