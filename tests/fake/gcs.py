# SPDX-License-Identifier: Apache-2.0
"""A small server that speaks the JSON API of Google Cloud Storage and gives tokens to service
accounts whose signature it has verified. tests/interop/stores.py shows that Google's own
client takes it for one."""
import base64, hashlib, json, re, subprocess, sys, time, urllib.parse

sys.dont_write_bytecode = True
import web

PAGE = 3


def unpack(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def new_key():
    """A private key in PEM, and its modulus."""
    pem = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    said = subprocess.run(["openssl", "rsa", "-noout", "-modulus"], input=pem, capture_output=True, text=True, check=True).stdout
    return pem, int(said.strip().split("=")[1], 16)


def signature_is_good(modulus, text, signature):
    """RSASSA-PKCS1-v1_5 with SHA-256 and the exponent 65537."""
    size = (modulus.bit_length() + 7) // 8
    head = bytes.fromhex("3031300d060960864801650304020105000420")
    tail = head + hashlib.sha256(text).digest()
    want = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
    return len(signature) == size and pow(int.from_bytes(signature, "big"), 65537, modulus) == int.from_bytes(want, "big")


def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    crc = 0xffffffff
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return base64.b64encode((crc ^ 0xffffffff).to_bytes(4, "big")).decode()


class GCS(web.Server):
    def __init__(self, bucket="bucket"):
        self.bucket, self.objects, self.sessions, self.n = bucket, {}, {}, 0  # name: (bytes, time)
        self.tokens = {"given"}
        self.pem, self.modulus = new_key()
        self.life = 3600
        self.tells_crc = False  # it is slow
        super().__init__()

    def account(self):
        return {"type": "service_account", "client_email": "robot@example.com", "private_key_id": "k1", "private_key": self.pem,
                "token_uri": self.url + "/token", "project_id": "p"}

    def json(self, v, status=200, **headers):
        return status, {"Content-Type": "application/json", **headers}, json.dumps(v).encode()

    def failure(self, status, reason):
        return self.json({"error": {"code": status, "message": "m", "errors": [{"reason": reason, "message": "m"}]}}, status)

    def token(self, r):
        form = dict(urllib.parse.parse_qsl(r.body.decode()))
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self.json({"error": "unsupported_grant_type"}, 400)
        head, claims, signature = form["assertion"].split(".")
        said = json.loads(unpack(claims))
        good = json.loads(unpack(head))["alg"] == "RS256" and said["iss"] == "robot@example.com" and \
            said["aud"] in (self.url + "/token", "https://oauth2.googleapis.com/token") and \
            "devstorage" in said["scope"] and said["iat"] - 60 <= time.time() < said["exp"] <= said["iat"] + 3600 and \
            signature_is_good(self.modulus, f"{head}.{claims}".encode(), unpack(signature))
        if not good:
            return self.json({"error": "invalid_grant"}, 400)
        self.n += 1
        self.tokens.add(f"token-{self.n}")
        return self.json({"access_token": f"token-{self.n}", "expires_in": self.life, "token_type": "Bearer"})

    def described(self, name):
        body, when = self.objects[name]
        updated = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + ".000Z"
        crc = {"crc32c": crc32c(body)} if self.tells_crc else {}
        return {"kind": "storage#object", **crc, "name": name, "bucket": self.bucket, "size": str(len(body)), "updated": updated,
                "timeCreated": updated, "generation": "1", "metageneration": "1", "id": name,
                "md5Hash": base64.b64encode(hashlib.md5(body).digest()).decode()}

    def answer(self, r, wrong_etag=False):
        if r.path == "/token":
            return self.token(r)
        if r.header("Authorization").removeprefix("Bearer ") not in self.tokens:
            return self.failure(401, "authError")
        if r.path.startswith(f"/upload/storage/v1/b/{self.bucket}/o"):
            return self.session(r) if "upload_id" in r.words else self.upload(r)
        m = re.fullmatch(rf"(?:/download)?/storage/v1/b/{self.bucket}/o(?:/(.*))?", r.path)
        if not m:
            return self.failure(404, "notFound")
        name = urllib.parse.unquote(m[1] or "")
        if not name:
            return self.list(r)
        if name not in self.objects:
            return self.failure(404, "notFound")
        if r.method == "DELETE":
            del self.objects[name]
            return 204, {}, b""
        if r.words.get("alt") != "media":
            return self.json(self.described(name))
        body = self.objects[name][0]
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", r.header("Range"))
        if not m:
            return 200, {"Content-Type": "application/octet-stream"}, body
        first, last = int(m[1]), min(int(m[2] or len(body)), len(body) - 1)
        if first >= len(body):
            return self.failure(416, "requestedRangeNotSatisfiable")
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first:last + 1]

    def list(self, r):
        names = sorted(n for n in self.objects if n.startswith(r.words.get("prefix", "")) and n > r.words.get("pageToken", "")[1:])
        more = {"nextPageToken": "+" + names[PAGE - 1]} if len(names) > PAGE else {}
        return self.json({"kind": "storage#objects", "items": [self.described(n) for n in names[:PAGE]], **more})

    def refused(self, r, name):
        return r.words.get("ifGenerationMatch") == "0" and name in self.objects

    def keep(self, name, body):
        self.objects[name] = (body, time.time())
        return self.json(self.described(name))

    def upload(self, r):
        name = r.words.get("name")
        if r.words["uploadType"] == "resumable":
            name = name or json.loads(r.body)["name"]
            self.n += 1
            self.sessions[str(self.n)] = (name, bytearray())
            where = f"{self.url}/upload/storage/v1/b/{self.bucket}/o?uploadType=resumable&upload_id={self.n}"
            return self.json({}, Location=where)
        body = r.body
        if r.words["uploadType"] == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', r.header("Content-Type"))[1].strip("'").encode()
            parts = r.body.split(b"--" + boundary)
            name = json.loads(parts[1].split(b"\r\n\r\n", 1)[1])["name"]
            body = parts[2].split(b"\r\n\r\n", 1)[1][:-2]
        return self.failure(412, "conditionNotMet") if self.refused(r, name) else self.keep(name, body)

    def session(self, r):
        if r.words["upload_id"] not in self.sessions:
            return self.failure(410, "gone")
        name, got = self.sessions[r.words["upload_id"]]
        if r.method == "DELETE":
            del self.sessions[r.words["upload_id"]]
            return 499, {}, b""
        m = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", r.header("Content-Range"))
        if not m:
            return self.failure(400, "badRequest")
        if m[1] is not None:
            first = int(m[1])
            if first > len(got) or int(m[2]) - first + 1 != len(r.body):
                return self.failure(400, "badRequest")
            got[len(got):] = r.body[len(got) - first:]  # what is there stays
        if m[3] != "*" and len(got) == int(m[3]):
            return self.keep(name, bytes(got))
        if m[3] == "*" and len(r.body) % (256 << 10):
            return self.failure(400, "badRequest")
        return 308, {"Range": f"bytes=0-{len(got) - 1}"} if got else {}, b""
