#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images that a real Docker daemon fetches from a registry on loopback: how far it is, and who we are there, by the
files and programs of docker's own client.

usage: docker_pull.py CAISSON"""
import base64, gzip, hashlib, http.server, io, pathlib, subprocess, sys, tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import Place, WORK, expect, finish, json, lines_of, os, same, test, threading
from with_server import Docker

server = Docker()
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)
USER, PASSWORD = "me", "pass-" + os.urandom(8).hex()


def layer(*files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data, link in files:
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(data)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


busybox = pathlib.Path(os.path.realpath(server.busybox)).read_bytes()
applets = subprocess.run([server.busybox, "--list"], capture_output=True, text=True).stdout.split()
FIRST = layer(("bin/busybox", busybox, ""), *((f"bin/{a}", b"", "busybox") for a in applets if a != "busybox"))
PACKED = gzip.compress(FIRST, 1)
KIND = "application/vnd.docker."


def image(name):
    """A manifest, and what it speaks of: the second of the two layers is this image's alone."""
    second = layer(("etc/second", b"second layer\n", ""), (f"etc/{name}", b"", ""))
    layers = [PACKED, gzip.compress(second)]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
                         "rootfs": {"type": "layers", "diff_ids": [digest(FIRST), digest(second)]}}).encode()
    return json.dumps({
        "schemaVersion": 2, "mediaType": KIND + "distribution.manifest.v2+json",
        "config": {"mediaType": KIND + "container.image.v1+json", "size": len(config), "digest": digest(config)},
        "layers": [{"mediaType": KIND + "image.rootfs.diff.tar.gzip", "size": len(p), "digest": digest(p)} for p in layers],
    }).encode(), {digest(b): b for b in [config, *layers]}


def registry(is_private):
    manifest, blobs = image("private" if is_private else "public")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, with_body=True):
            knows = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            status, kind, body = 404, "application/json", b"{}"
            if is_private and self.headers.get("Authorization") != "Basic " + knows:
                status = 401
            elif self.path == "/v2/":
                status = 200
            elif "/manifests/" in self.path:
                status, kind, body = 200, KIND + "distribution.manifest.v2+json", manifest
            elif self.path.rsplit("/", 1)[1] in blobs:
                status, kind, body = 200, "application/octet-stream", blobs[self.path.rsplit("/", 1)[1]]
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="registry"')
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if "/manifests/" in self.path:
                self.send_header("Docker-Content-Digest", digest(manifest))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        do_GET = answer

        def do_HEAD(self):
            self.answer(False)

        def log_message(self, *args):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return f"127.0.0.1:{made.server_port}"


PUBLIC, PRIVATE = registry(False), registry(True)


def place(image, config=None, env=None):
    p = Place({"capabilities": ["shell"], "sandbox": {"backend": "docker", "image": image}},
              [{"name": "look", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "cat /etc/second"}}]}, {"name": "end", "reply": "Done."}],
              env={"DOCKER_HOST": server.url, **(env or {})})
    p.env["DOCKER_CONFIG"] = str(p.dir / "docker")
    if config is not None:
        p.write("docker/config.json", config if isinstance(config, str) else json.dumps(config))
    return p


def ran(p, *more):
    done = expect(p.run("--json", *more), 0, "second layer")
    assert PASSWORD not in done.stdout + done.stderr
    for path in p.dir.rglob("*"):
        assert not path.is_file() or path.is_relative_to(p.dir / "docker") or PASSWORD.encode() not in path.read_bytes(), path
    return done


@test
def what_is_public_needs_no_name_and_how_far_it_is_is_told():
    p = place(f"{PUBLIC}/lib/public", "this is no JSON")
    what = [e["data"]["what"] for e in lines_of(ran(p).stdout) if e["type"] == "progress"]
    assert what and what[-1] == f"fetching image {PUBLIC}/lib/public: 2 of 2 layers", what


@test
def who_is_unknown_to_a_registry_hears_how_to_become_known():
    said = expect(place(f"{PRIVATE}/unknown").run(), 6, "does not give it to somebody unknown").stderr
    assert f"docker login {PRIVATE}" in said, said
    wrong = {"auths": {PRIVATE: {"auth": base64.b64encode(b"me:wrong-password").decode()}}}
    said = expect(place(f"{PRIVATE}/unknown", wrong).run(), 6, "whom docker's config.json names").stderr
    assert "wrong-password" not in said
    expect(place(f"{PRIVATE}/unknown", "{").run(), 6, "docker/config.json", "no JSON")


@test
def a_password_in_the_file_is_used_and_told_to_nobody():
    for i, key in enumerate((PRIVATE, f"https://{PRIVATE}/v1/")):
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        ran(place(f"{PRIVATE}/by/file{i}", {"auths": {key: {"auth": auth}}}))


@test
def a_program_that_keeps_passwords_is_asked():
    folder = WORK / "programs"
    folder.mkdir()
    program = folder / "docker-credential-test"
    program.write_text(f"""#!/bin/sh
read -r who
[ "$1 $who" = "get {PRIVATE}" ] || {{ echo credentials not found in native keychain; exit 1; }}
echo '{{"ServerURL": "x", "Username": "{USER}", "Secret": "{PASSWORD}"}}'
""")
    broken = folder / "docker-credential-broken"
    broken.write_text(f"#!/bin/sh\necho {PASSWORD}; exit 7\n")
    for f in program, broken:
        f.chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    ran(place(f"{PRIVATE}/by/helper", {"credHelpers": {PRIVATE: "test"}, "credsStore": "broken"}, path))
    ran(place(f"{PRIVATE}/by/store", {"credsStore": "test"}, path))
    ran(place(f"{PUBLIC}/by/store", {"credsStore": "test"}, path))
    said = expect(place(f"{PRIVATE}/by/broken", {"credsStore": "broken"}, path).run(), 6, "docker-credential-broken get ended with status 7")
    assert PASSWORD not in said.stdout + said.stderr
    expect(place(f"{PRIVATE}/by/gone", {"credsStore": "gone"}, path).run(), 6, "docker-credential-gone")
    expect(place(f"{PRIVATE}/by/strange", {"credsStore": "../../x"}, path).run(), 6, "is strange")


try:
    status = finish()
finally:
    server.close()
sys.exit(status)
