# SPDX-License-Identifier: Apache-2.0
"""A small server that speaks Azure Blob Storage and checks SharedKey signatures, as block blobs
need it. tests/interop/stores.py shows that Azure's own client takes it for one, and
runs the program against azurite."""
import base64, hashlib, hmac, re, sys, time, urllib.parse
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
import web

PAGE = 3
KEY = base64.b64encode(b"a key of an account, no more").decode()


class Azure(web.Server):
    def __init__(self, account="account", container="container", sas="sig=a%2Bb&sv=2021-08-06"):
        self.account, self.container, self.sas = account, container, sas
        self.objects, self.blocks = {}, {}  # name: (bytes, time); (name, id): bytes
        super().__init__()

    def failure(self, status, code):
        return status, {"Content-Type": "application/xml", "x-ms-error-code": code}, \
            f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>the key {KEY}</Message></Error>".encode()

    def is_let_in(self, r):
        sas = dict(urllib.parse.parse_qsl(self.sas))
        if "sig" in r.words:
            return all(r.words.get(k) == v for k, v in sas.items())
        head = lambda n: r.header(n)
        length = head("Content-Length")
        lines = [r.method, head("Content-Encoding"), head("Content-Language"), "" if length == "0" else length, head("Content-MD5"),
                 head("Content-Type"), "" if head("x-ms-date") else head("Date"), head("If-Modified-Since"), head("If-Match"),
                 head("If-None-Match"), head("If-Unmodified-Since"), head("Range")]
        lines += [f"{k}:{v.strip()}" for k, v in sorted((k.lower(), v) for k, v in r.headers.items()) if k.startswith("x-ms-")]
        lines.append(f"/{self.account}{r.path}")
        lines += [f"{k.lower()}:{v}" for k, v in sorted(r.words.items())]
        want = base64.b64encode(hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()).decode()
        return hmac.compare_digest(r.header("Authorization"), f"SharedKey {self.account}:{want}")

    def answer(self, r, wrong_etag=False):
        if not self.is_let_in(r):
            return self.failure(403, "AuthenticationFailed")
        top = f"/{self.account}/{self.container}"
        if r.path == top and r.words.get("restype") == "container":
            return self.list(r) if r.words.get("comp") == "list" else (201, {}, b"")
        if not r.path.startswith(top + "/"):
            return self.failure(404, "ContainerNotFound")
        name = urllib.parse.unquote(r.path[len(top) + 1:])
        comp = r.words.get("comp")
        if r.method == "PUT" and comp == "block":
            self.blocks[name, r.words["blockid"]] = r.body
            return 201, {}, b""
        if r.method == "PUT" and comp == "blocklist":
            ids = re.findall(r"<(?:Uncommitted|Latest)>(.*?)</", r.body.decode())
            if any((name, i) not in self.blocks for i in ids):
                return self.failure(400, "InvalidBlockList")
            return self.keep(name, b"".join(self.blocks.pop((name, i)) for i in ids))
        if r.method == "PUT":
            if r.header("If-None-Match") == "*" and name in self.objects:
                return self.failure(409, "BlobAlreadyExists")
            if r.header("x-ms-blob-type") != "BlockBlob":
                return self.failure(400, "InvalidHeaderValue")
            return self.keep(name, r.body)
        if name not in self.objects:
            return self.failure(404, "BlobNotFound")
        if r.method == "DELETE":
            del self.objects[name]
            return 202, {}, b""
        return self.get(r, *self.objects[name])

    def keep(self, name, body):
        self.objects[name] = (body, time.time())
        return 201, self.headers_of(name), b""

    def headers_of(self, name):
        when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.objects[name][1]))
        return {"ETag": '"0x1"', "Last-Modified": when, "x-ms-request-id": "r", "x-ms-version": "2021-08-06"}

    def get(self, r, body, when):
        head = {**self.headers_of(next(n for n, v in self.objects.items() if v[0] is body)), "x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", r.header("Range") or r.header("x-ms-range"))
        if not m:
            return 200, head, body
        first, last = int(m[1]), min(int(m[2]), len(body) - 1)
        if first >= len(body):
            return self.failure(416, "InvalidRange")
        return 206, {**head, "Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first:last + 1]

    def list(self, r):
        names = sorted(n for n in self.objects if n.startswith(r.words.get("prefix", "")) and n > r.words.get("marker", "")[1:])
        items = "".join(f"<Blob><Name>{escape(n)}</Name><Properties><Last-Modified>{self.headers_of(n)['Last-Modified']}</Last-Modified><Etag>0x1</Etag>"
                        f"<Content-Length>{len(self.objects[n][0])}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>" for n in names[:PAGE])
        more = "!" + escape(names[PAGE - 1]) if len(names) > PAGE else ""
        return 200, {"Content-Type": "application/xml"}, (f"<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"{self.container}\">"
                                                          f"<Blobs>{items}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>").encode()
