# SPDX-License-Identifier: Apache-2.0
"""Snapshots in other places: S3 as tests/fake plays it, with every signature checked, and folders."""
import base64, filecmp, hashlib, json, os, pathlib, random, re, shutil, sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fake"))
from lib import *
import azure_blob, gcs, s3

MIB = 1 << 20
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret+/example"}


class Store(Place):
    """A folder with sources, and a caisson.yaml that names a store."""

    def __init__(self, server=None, entry=None, env=None, seed=1):
        super().__init__(env={**KEYS, "CAISSON_TRUST_PROJECT": "1", **(env or {})})
        self.server = server
        entry = entry or {"type": "s3", "bucket": "bucket", "endpoint": server.url, "prefix": "team a/b+c"}
        self.write("caisson.yaml", json.dumps({"stores": {"there": entry}}))
        self.random = random.Random(seed)

    def fill(self, name, sizes):
        for i, size in enumerate(sizes):
            path = self.dir / name / f"d{i % 3}" / f"f{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.random.randbytes(size))
        os.symlink("f0", self.dir / name / "d0/link")

    def snap(self, *args, code=0, **more):
        return expect(self.call("snapshot", *args, **more), code)

    def forget_all(self):
        shutil.rmtree(self.dir / ".caisson", ignore_errors=True)

    def comes_back(self, name, source):
        """Pulled by a machine that has nothing, it is what was saved."""
        self.forget_all()
        self.snap("pull", name)
        out = self.dir / ("out-" + name + str(self.random.random()))
        self.snap("restore", name, out)
        trees_are_same(self.dir / source, out)
        self.snap("verify")
        shutil.rmtree(out)


def trees_are_same(a, b):
    compared = filecmp.dircmp(a, b)
    assert not compared.left_only and not compared.right_only, (compared.left_only, compared.right_only)
    for name in compared.common_files:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
        same((a / name).is_symlink(), (b / name).is_symlink())
    for name in compared.common_dirs:
        trees_are_same(a / name, b / name)


def sent(done):
    return json.loads(done.stdout.splitlines()[-1])


def part(number):
    """The first request that sends that part."""
    return lambda r, what: what if r.words.get("partNumber") == str(number) else None


@test
def a_snapshot_goes_to_a_bucket_and_comes_back():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [0, 1, 100, 70000, 3 * MIB])
    p.snap("save", "one", "src")
    said = sent(p.snap("push", "one", "--json"))
    same((said["was_there"], said["contents"], said["packs"]), (False, 6, 1))
    names = sorted(server.buckets["bucket"])
    assert all(n.startswith("team a/b+c/") for n in names), names
    same({n.split("/")[2] for n in names}, {"caisson.json", "index", "names", "packs"})
    listed = json.loads(p.snap("ls", "--store", "there", "--json").stdout)
    same([r["name"] for r in listed], ["one"])
    same(listed, json.loads(p.snap("ls", "--json").stdout))
    p.comes_back("one", "src")
    p.snap("verify", "--store", "there")
    p.snap("verify", "--store", "there", "--quick")


@test
def only_what_is_lacking_is_moved():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [1000, 50000, 2 * MIB])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    (p.dir / "src/d0/f0").write_bytes(b"changed")
    p.snap("save", "two", "src")
    said = sent(p.snap("push", "two", "--json"))
    same(said["contents"], 2)
    assert said["bytes_sent"] < 2000, said
    said = sent(p.snap("push", "two", "--json"))
    same((said["was_there"], said["bytes_sent"]), (True, 0))
    p.forget_all()
    first = sent(p.snap("pull", "one", "--json"))
    second = sent(p.snap("pull", "two", "--json"))
    same(second["contents"], 2)
    assert first["bytes_fetched"] > 2 * MIB and second["bytes_fetched"] < 2000, (first, second)
    expect(p.call("snapshot", "pull", "one", "--json"), 0, '"was_there":true')
    expect(p.call("snapshot", "pull", "one", "--as", "two"), 1, "another snapshot two", "--as NAME")
    p.snap("pull", "one", "--as", "three")
    same(p.snap("diff", "one", "three").stdout, "")


@test
def large_files_go_in_parts_and_go_on_where_they_were_cut():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [30 * MIB + 5, 100, 9 * MIB])
    p.snap("save", "big", "src")
    # Every try of part 3 fails: the push ends, and what had arrived stays.
    server.faults = [lambda r: part(3)(r, ("status", 403, "AccessDenied"))]
    expect(p.call("snapshot", "push", "big"), 1, "AccessDenied")
    stopped = [int(re.search(r"partNumber=(\d+)", q)[1]) for m, _, q, n in server.seen if m == "PUT" and "partNumber" in q]
    server.seen.clear()
    said = sent(p.snap("push", "big", "--json"))
    again = [int(re.search(r"partNumber=(\d+)", q)[1]) for m, _, q, n in server.seen if m == "PUT" and "partNumber" in q]
    assert 3 in again and said["bytes_resumed"] >= 8 * MIB, (stopped, again, said)
    assert not set(again) & (set(stopped) - {3, 4}), (stopped, again)
    same(len(server.uploads), 0)
    p.comes_back("big", "src")


@test
def an_upload_that_the_store_has_forgotten_begins_again():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [20 * MIB])
    p.snap("save", "big", "src")
    server.faults = [lambda r: part(2)(r, ("status", 403, "AccessDenied"))]
    expect(p.call("snapshot", "push", "big"), 1)
    server.uploads.clear()
    p.snap("push", "big")
    p.comes_back("big", "src")


FAULTS = [("status", 503, "SlowDown"), ("status", 500, "InternalError"), ("status", 400, "RequestTimeout"), ("reset",),
          ("take", 100), ("take", 1000000), ("cut", 0), ("cut", 10), ("cut", 60), ("after", ("reset",)), ("after", ("status", 503, "SlowDown")),
          ("after", ("cut", 40))]


@test
def whatever_fails_once_is_tried_again():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [100, 20 * MIB, 70000])
    p.snap("save", "one", "src")
    kinds = [lambda r: r.method == "PUT" and "partNumber" in r.words, lambda r: r.method == "POST" and "uploads" in r.words,
             lambda r: r.method == "PUT" and "/index/" in r.path, lambda r: r.method == "PUT" and "/names/" in r.path,
             lambda r: r.method == "GET" and "list-type" in r.words, lambda r: r.method == "PUT" and "caisson.json" in r.path]
    for i, fault in enumerate(FAULTS):
        # One of each kind of request fails in this way.
        if fault[0] == "after":
            chosen = kinds[:1] + kinds[2:3] + kinds[4:5]  # what may be done twice
        else:
            chosen = kinds[i % 2::2]
        server.buckets["bucket"].clear()
        server.faults = [lambda r, k=k, f=fault: f if k(r) else None for k in chosen]
        p.snap("push", "one")
        same(len(server.faults), 0)
    p.comes_back("one", "src")


@test
def a_reply_that_is_cut_anywhere_is_found():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [5000, 70000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    is_pack = lambda r: r.method == "GET" and "/packs/" in r.path
    for at in list(range(0, 300, 37)) + [1000, 40000, 75000]:
        server.faults = [lambda r, at=at: ("cut", at) if is_pack(r) else None] * 1
        p.comes_back("one", "src")
        same(server.faults, [])


@test
def bytes_that_were_changed_on_the_way_are_fetched_again():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [5000, 70000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    for at in 10, 3000, 50000:
        server.faults = [lambda r, at=at: ("flip", at) if "/packs/" in r.path else None]
        p.comes_back("one", "src")


@test
def a_wrong_etag_makes_the_upload_begin_again():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [20 * MIB])
    p.snap("save", "one", "src")
    server.faults = [lambda r: part(2)(r, ("etag",))]
    p.snap("push", "one")
    p.comes_back("one", "src")


@test
def damage_there_is_told_and_the_other_snapshots_stay():
    server = s3.S3()
    p = Store(server)
    p.fill("old", [3000])
    p.fill("new", [4000, 200])
    p.snap("save", "old", "old")
    p.snap("push", "old")
    p.snap("save", "new", "new")
    p.snap("push", "new")
    objects = server.buckets["bucket"]
    newest = max((n for n in objects if "/packs/" in n), key=lambda n: objects[n][2])
    whole = objects[newest]
    for damage in (lambda b: b[:100], lambda b: b[:1000] + bytes([b[1000] ^ 1]) + b[1001:], lambda b: None):
        bad = damage(whole[0])
        if bad is None:
            del objects[newest]
        else:
            objects[newest] = (bad, *whole[1:])
        found = expect(p.call("snapshot", "verify", "--store", "there"), 1, "snapshot new", "cannot be restored")
        assert "snapshot old" not in found.stdout, found.stdout
        p.comes_back("old", "old")
        p.forget_all()
        done = p.call("snapshot", "pull", "new")
        assert done.returncode in (1, 2) and "packs/" in done.stderr, done.stderr
        assert not json.loads(p.snap("ls", "--json").stdout)
    objects[newest] = whole
    p.comes_back("new", "new")


def closed(text):
    """A record with its check sum, as somebody who forges one would make it."""
    return text + hashlib.sha256(text).hexdigest().encode() + b"\n"


@test
def forged_records_and_indexes_are_refused():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [3000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    objects = server.buckets["bucket"]
    record = next(n for n in objects if "/names/" in n)
    index = next(n for n in objects if "/index/" in n)
    line = objects[record][0][:-65]
    for name, text, word in [(record, closed(b"{}\n"), "missing"), (record, b"\xff", "names/"), (index, b"caisson-index 1\n", "damaged"),
                             (record, closed(line.replace(b'"one"', b'"two"')), "another name"),
                             (record, line.replace(b'"files":', b'"files":1') + objects[record][0][-65:], "check sum"),
                             (record, closed(re.sub(rb'"packs":\[.*\]', b'"packs":["../../x"]', line)), "damaged"),
                             (index, objects[index][0][:-1] + b"x", "damaged")]:
        kept = objects[name]
        objects[name] = (text, *kept[1:])
        p.forget_all()
        expect(p.call("snapshot", "pull", "one"), 2, word)
        expect(p.call("snapshot", "verify", "--store", "there"), 1)
        objects[name] = kept
    p.comes_back("one", "src")


@test
def what_nobody_needs_is_dropped_there():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [3000])
    names = []
    for i in range(5):
        (p.dir / "src/n").write_text(str(i) * 1000)
        p.snap("save", f"s{i}", "src")
        names.append(f"s{i}")
    p.snap("tag", "s0", "release")
    p.snap("push", *names)
    before = len(server.buckets["bucket"])
    dry = json.loads(p.snap("gc", "--store", "there", "--keep-last", "2", "--keep-tagged", "--dry-run", "--json").stdout)
    same(sorted(dry["forgotten"]), ["s1", "s2"])
    same(len(server.buckets["bucket"]), before)
    p.snap("gc", "--store", "there", "--keep-last", "2", "--keep-tagged")
    same([r["name"] for r in json.loads(p.snap("ls", "--store", "there", "--json").stdout)], ["s0", "s3", "s4"])
    p.snap("verify", "--store", "there")
    p.comes_back("s4", "src")
    same(json.loads(p.snap("ls", "--store", "there", "--json").stdout)[0]["tag"], "release")
    p.snap("rm", "--store", "there", "s0", "s3", "s4")
    p.snap("gc", "--store", "there")
    same([n.split("/")[-1] for n in server.buckets["bucket"]], ["caisson.json"])
    expect(p.call("snapshot", "pull", "s0"), 2, "no snapshot s0")


@test
def gc_there_waits_for_pushes_and_pushes_for_gc():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [3000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    import time
    objects = server.buckets["bucket"]
    objects["team a/b+c/locks/push-x"] = (b"push\n", "e", time.time())
    expect(p.call("snapshot", "gc", "--store", "there"), 1, "push-x")
    objects["team a/b+c/locks/push-x"] = (b"push\n", "e", time.time() - 7 * 3600)  # long dead
    p.snap("gc", "--store", "there")
    same([n for n in objects if "locks" in n], [])
    objects["team a/b+c/locks/gc-x"] = (b"gc\n", "e", time.time())
    p.snap("rm", "--store", "there", "one")
    expect(p.call("snapshot", "push", "one"), 1, "gc-x")
    same([n for n in objects if "locks/push" in n], [])


@test
def a_name_there_is_taken_once():
    server = s3.S3()
    p = Store(server)
    p.fill("a", [10])
    p.fill("b", [20])
    p.snap("save", "x", "a")
    p.snap("push", "x")
    p.forget_all()
    p.snap("save", "x", "b")
    expect(p.call("snapshot", "push", "x"), 1, "another snapshot x")
    # Where a server knows no conditions they are left out.
    server.knows_conditions = False
    p.snap("rm", "--store", "there", "x")
    p.snap("push", "x")
    p.comes_back("x", "b")


@test
def a_bucket_can_be_a_part_of_the_hosts_name():
    server = s3.S3()
    entry = {"type": "s3", "bucket": "bucket", "endpoint": f"http://localhost:{server.port}", "addressing": "virtual", "prefix": "p"}
    p = Store(server, entry)
    p.fill("src", [10])
    p.snap("save", "x", "src")
    done = p.call("snapshot", "push", "x")
    if done.returncode and "resolve" in done.stderr:
        return "bucket.localhost has no address here"
    expect(done, 0)
    p.comes_back("x", "src")


@test
def keys_come_from_a_command_and_are_asked_for_again():
    server = s3.S3(token="session")
    entry = {"type": "s3", "bucket": "bucket", "endpoint": server.url,
             "credentials": {"command": ["sh", "-c", "echo x >>asked; cat keys.json"]}}
    p = Store(server, entry)
    p.write("keys.json", json.dumps({"Version": 1, "AccessKeyId": server.key, "SecretAccessKey": server.secret, "SessionToken": "session"}))
    p.fill("src", [10])
    p.snap("save", "x", "src")
    p.snap("push", "x")
    same((p.dir / "asked").read_text(), "x\n")
    p.comes_back("x", "src")
    p.write("keys.json", "nothing")
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "AccessKeyId")


@test
def no_key_is_shown_and_nothing_goes_elsewhere_untold():
    server = s3.S3()
    p = Store(server)
    p.fill("src", [10])
    p.snap("save", "x", "src")
    done = expect(p.call("snapshot", "push", "x", env={"AWS_SECRET_ACCESS_KEY": "another-secret"}), 1, "SignatureDoesNotMatch")
    assert "another-secret" not in done.stderr and "AKID" not in done.stderr, done.stderr
    expect(p.call("snapshot", "push", "x", env={"AWS_ACCESS_KEY_ID": ""}), 2, "AWS_ACCESS_KEY_ID")
    p.write("caisson.yaml", json.dumps({"stores": {"there": {"type": "s3", "bucket": "bucket", "endpoint": "https://192.0.2.1"}}}))
    expect(p.call("snapshot", "push", "x", env={"CAISSON_TRUST_PROJECT": "0"}), 2, "caisson trust")
    for text in (f for f in (p.dir / ".caisson").rglob("*") if f.is_file()):
        assert b"secret+/example" not in text.read_bytes(), text


@test
def mistakes_in_the_file_are_told_by_line():
    for entry, word in [({"type": "ftp"}, "s3, gcs, azure or folder"), ({"type": "s3"}, "bucket"), ({"type": "s3", "bucket": "b b b"}, "bucket"),
                        ({"type": "s3", "bucket": "abc", "account": "x"}, "unknown key account"), ({"type": "folder"}, "path"),
                        ({"type": "s3", "bucket": "abc", "endpoint": "http://user:pw@h"}, "endpoint"),
                        ({"type": "s3", "bucket": "abc", "prefix": "/x"}, "prefix"), ({"type": "s3", "bucket": "abc", "parallel": 99}, "parallel"),
                        ({"type": "s3", "bucket": "abc", "credentials": {"command": []}}, "command"),
                        ({"type": "s3", "bucket": "abc", "keys": {}}, "keys")]:
        p = Store(entry=entry)
        done = expect(p.call("snapshot", "ls", "--store", "there"), 2, word, "caisson.yaml:")
        assert "pw@" not in done.stderr


@test
def a_folder_is_a_store_too():
    p = Store(entry={"type": "folder", "path": "disk"})
    expect(p.call("snapshot", "ls", "--store", "there"), 2, "disk")
    (p.dir / "disk").mkdir()
    expect(p.call("snapshot", "ls", "--store", "there"), 2, "no snapshots at")
    p.fill("src", [100, 20 * MIB])
    p.snap("save", "x", "src")
    p.snap("push", "x")
    p.comes_back("x", "src")
    p.snap("verify", "--store", "there")


def sealed_store(server, text="one " + "11" * 32 + "\n"):
    p = Store(server, {"type": "s3", "bucket": "bucket", "endpoint": server.url, "keys": {"file": "keys"}})
    p.write("keys", text)
    (p.dir / "keys").chmod(0o600)
    return p


@test
def an_encrypted_store_tells_nothing():
    server = s3.S3()
    p = sealed_store(server)
    for name in "src", "more":
        p.fill(name, [10, 100, 70000, 17 * MIB])
        (p.dir / name / "secret-name").write_text("a text that nobody may read")
    p.snap("save", "telling", "src")
    p.snap("push", "telling")
    for name, (body, _, _) in server.buckets["bucket"].items():
        assert "telling" not in name, name
        for word in b"telling", b"secret-name", b"nobody may read", b"created_ms":
            assert word not in body, (name, word)
    p.comes_back("telling", "src")
    p.snap("verify", "--store", "there")
    same([r["name"] for r in json.loads(p.snap("ls", "--store", "there", "--json").stdout)], ["telling"])
    # The same again is the same bytes, so that an upload can go on.
    p.forget_all()
    p.snap("save", "again", "src")
    same(sent(p.snap("push", "again", "--json"))["packs"], 0)
    p.snap("save", "cut", "more")
    server.faults = [lambda r: part(3)(r, ("status", 403, "AccessDenied"))]
    expect(p.call("snapshot", "push", "cut"), 1)
    assert sent(p.snap("push", "cut", "--json"))["bytes_resumed"] >= 8 * MIB
    p.comes_back("cut", "more")


@test
def what_was_altered_in_an_encrypted_store_is_found():
    server = s3.S3()
    p = sealed_store(server)
    p.fill("src", [10, 3000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    (p.dir / "src/d0/f0").write_bytes(b"x")
    p.snap("save", "two", "src")
    p.snap("push", "two")
    objects = server.buckets["bucket"]
    names = sorted(n for n in objects if n.startswith("names/"))
    packs = sorted(n for n in objects if n.startswith("packs/"))
    for name in [n for n in objects if n != "caisson.json"]:
        kept = objects[name]
        for at in 0, 18, 25, 60, len(kept[0]) - 1:
            objects[name] = (kept[0][:at] + bytes([kept[0][at] ^ 1]) + kept[0][at + 1:], *kept[1:])
            expect(p.call("snapshot", "verify", "--store", "there"), 1)
        objects[name] = (kept[0][:-1], *kept[1:])
        expect(p.call("snapshot", "verify", "--store", "there"), 1)
        objects[name] = kept
    for a, b in (names, packs):  # each is sound, and in the other's place
        objects[a], objects[b] = objects[b], objects[a]
        expect(p.call("snapshot", "verify", "--store", "there"), 1)
        p.forget_all()
        assert p.call("snapshot", "pull", "one").returncode
        objects[a], objects[b] = objects[b], objects[a]
    p.snap("verify", "--store", "there")


@test
def keys_of_a_store_can_be_changed_and_the_wrong_ones_open_nothing():
    server = s3.S3()
    old, new = "old " + "11" * 32 + "\n", "new " + "22" * 32 + "\n"
    p = sealed_store(server, old)
    p.fill("src", [10, 3000])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    p.write("keys", old + new)
    (p.dir / "src/d0/f0").write_bytes(b"x")
    p.snap("save", "two", "src")
    same(sent(p.snap("push", "two", "--json"))["contents"], 2)
    expect(p.call("snapshot", "push", "one"), 0, "there already")
    p.comes_back("two", "src")
    p.snap("pull", "one")
    p.write("keys", new)
    expect(p.call("snapshot", "pull", "one", "--as", "x"), 2, "no snapshot one")
    p.write("keys", "other " + "33" * 32)
    assert p.call("snapshot", "ls", "--store", "there").returncode
    p.write("caisson.yaml", json.dumps({"stores": {"there": {"type": "s3", "bucket": "bucket", "endpoint": server.url}}}))
    expect(p.call("snapshot", "pull", "one"), 1, "is encrypted")
    (p.dir / "keys").chmod(0o644)
    p = Store(server, {"type": "s3", "bucket": "bucket", "endpoint": server.url, "prefix": "plain"})
    p.fill("src", [10])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    p.write("caisson.yaml", json.dumps({"stores": {"there": {"type": "s3", "bucket": "bucket", "endpoint": server.url, "prefix": "plain", "keys": {"file": "k"}}}}))
    p.write("k", old)
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "chmod 600")
    (p.dir / "k").chmod(0o600)
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "not encrypted")


@test
def a_tag_that_is_set_after_a_push_goes_with_the_next_one():
    def tag_there():
        return json.loads(p.snap("ls", "--store", "there", "--json").stdout)[0].get("tag")

    for keys in None, {"file": "k"}:
        server = s3.S3()
        p = Store(server, {"type": "s3", "bucket": "bucket", "endpoint": server.url, **({"keys": keys} if keys else {})})
        p.write("k", "one " + "11" * 32 + "\n")
        (p.dir / "k").chmod(0o600)
        p.fill("src", [10])
        p.snap("save", "x", "src")
        p.snap("push", "x")
        p.snap("tag", "x", "release")
        p.write("k", "one " + "11" * 32 + "\ntwo " + "22" * 32 + "\n")  # its record has the older key
        done = sent(p.snap("push", "x", "--json"))
        same((done["was_there"], done["tagged"], done["packs"], tag_there()), (True, True, 0, "release"))
        same("tagged" in sent(p.snap("push", "x", "--json")), False)
        p.snap("tag", "x")
        p.snap("push", "x")
        same(tag_there(), "release")  # one that only the store has stays
        same([n for n in server.buckets["bucket"] if n.startswith("locks/")], [])
        p.snap("gc", "--store", "there", "--keep-last", "1", "--keep-tagged")
        p.comes_back("x", "src")


# ---- the snapshots of this machine, encrypted

def sealed_here(stores=None, keys=None):
    """A place whose own snapshots are encrypted with the key in k1; k2 is another."""
    p = Store(entry={"type": "folder", "path": "there"})
    (p.dir / "there").mkdir()
    for i in 1, 2:
        p.write(f"k{i}", f"k{i} " + f"{i}{i}" * 32 + "\n")
        (p.dir / f"k{i}").chmod(0o600)
    configure(p, keys or {"file": "k1"}, stores)
    return p


def configure(p, keys, entry=None):
    said = {"stores": {"there": entry or {"type": "folder", "path": "there"}}}
    p.write("caisson.yaml", json.dumps({**said, "snapshots": {"keys": keys}} if keys else said))


@test
def snapshots_that_are_encrypted_here_go_to_stores_of_either_kind_and_come_back():
    for entry in None, {"type": "folder", "path": "there", "keys": {"file": "k2"}}:
        p = sealed_here(entry)
        p.fill("src", [10, 70000, 3 * MIB])
        (p.dir / "src/secret-name").write_text("a text that nobody may read")
        p.snap("save", "one", "src")
        p.snap("tag", "one", "kept")
        p.snap("push", "one")
        p.comes_back("one", "src")
        for path in (p.dir / ".caisson/snapshots").rglob("*"):
            body = path.read_bytes() if path.is_file() else b""
            for word in b"secret-name", b"nobody may read", b"created_ms", b"kept":
                assert word not in body, (path, word)


@test
def without_the_key_of_this_machines_snapshots_nothing_is_done():
    p = sealed_here()
    p.fill("src", [10])
    p.snap("save", "one", "src")
    for keys, text in (({"file": "k2"}, "not among the keys"), (None, "snapshots.keys"), ({"file": "lacks"}, "lacks"),
                       ({"command": ["cat", "nothing"]}, "keys of snapshots")):
        configure(p, keys)
        for command in ["ls"], ["save", "two", "src"], ["gc"], ["push", "one"], ["verify"]:
            done = p.call("snapshot", *command)
            assert done.returncode and text in done.stderr, (keys, command, done.stderr)
    configure(p, {"command": ["cat", str(p.dir / "k1")]})
    p.snap("verify")
    expect(p.call("snapshot", "ls", env={"CAISSON_TRUST_PROJECT": "0"}), 2, "caisson trust")
    expect(p.call("trust"), 0)
    assert "snapshot keys: the command cat" in p.call("trust").stdout
    configure(p, {"file": "k1", "more": 1})
    expect(p.call("snapshot", "ls"), 2, "snapshots.keys")


@test
def snapshots_are_carried_over_into_an_encrypted_store():
    p = sealed_here()
    configure(p, None)
    p.fill("src", [10])
    p.snap("save", "one", "src")
    configure(p, {"file": "k1"})
    expect(p.call("snapshot", "ls"), 1, "not encrypted")
    configure(p, None)
    p.snap("push", "one")
    configure(p, {"file": "k1"})
    p.comes_back("one", "src")


# ---- Google Cloud Storage and Azure


def google(entry=None, env=None):
    server = gcs.GCS()
    p = Store(server, {"type": "gcs", "bucket": "bucket", "endpoint": server.url, "prefix": "a b/c+d",
                       **(entry or {"credentials": {"file": "account.json"}})}, env)
    p.write("account.json", json.dumps(server.account()))
    (p.dir / "account.json").chmod(0o600)
    return server, p


def microsoft(credentials=None, env=None):
    server = azure_blob.Azure()
    p = Store(server, {"type": "azure", "account": "account", "container": "container", "endpoint": f"{server.url}/account", "prefix": "a b/c+d",
                       **(credentials or {})}, env or {"AZURE_STORAGE_KEY": azure_blob.KEY})
    return server, p


def goes_there_and_back(p, is_resumed, fault):
    p.fill("src", [0, 100, 70000, 20 * MIB + 3])
    p.snap("save", "one", "src")
    p.snap("push", "one")
    p.comes_back("one", "src")
    p.snap("verify", "--store", "there")
    (p.dir / "src/more").write_bytes(p.random.randbytes(25 * MIB))
    p.snap("save", "two", "src")
    p.server.faults = [fault]
    expect(p.call("snapshot", "push", "two"), 1)
    said = sent(p.snap("push", "two", "--json"))
    assert not is_resumed or said["bytes_resumed"] >= 8 * MIB, said
    p.server.faults = [lambda r, f=f: f if r.method == "GET" and ("packs" in r.path) else None for f in (("cut", 400), ("status", 503, "x"), ("reset",))]
    p.comes_back("two", "src")
    p.snap("rm", "--store", "there", "one", "two")
    p.snap("gc", "--store", "there")
    same([n.split("/")[-1] for n in p.server.objects], ["caisson.json"])
    p.forget_all()
    p.fill("b", [20])
    p.snap("save", "x", "b")
    p.snap("push", "x")
    (p.dir / "b/n").write_text("n")
    p.forget_all()
    p.snap("save", "x", "b")
    expect(p.call("snapshot", "push", "x"), 1, "another snapshot x")


@test
def snapshots_go_to_google_cloud_storage_with_a_service_account():
    if not shutil.which("openssl"):
        return "no openssl to make a key with"
    server, p = google()
    goes_there_and_back(p, True, lambda r: ("status", 403, "forbidden") if r.header("Content-Range").startswith("bytes 16777216-") else None)
    (p.dir / "account.json").chmod(0o644)
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "chmod 600")
    p.write("account.json", json.dumps({**server.account(), "private_key": gcs.new_key()[0]}))
    (p.dir / "account.json").chmod(0o600)
    done = expect(p.call("snapshot", "ls", "--store", "there"), 1, "a token for the store")
    assert "PRIVATE" not in done.stderr
    p.write("account.json", json.dumps({**server.account(), "private_key": "nonsense"}))
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "no RSA key")


@test
def a_token_for_google_comes_from_a_variable_or_a_command():
    if not shutil.which("openssl"):
        return "no openssl to make a key with"
    for entry, env in [({"credentials": {"token_env": "TOKEN"}}, {"TOKEN": "given"}), ({"credentials": {"command": ["echo", "given"]}}, {}),
                       ({"credentials": {"command": ["echo", '{"access_token": "given", "expires_in": 3600}']}}, {})]:
        _, p = google(entry, env)
        p.fill("src", [10])
        p.snap("save", "x", "src")
        p.snap("push", "x")
        p.comes_back("x", "src")
    _, p = google({"credentials": {"command": ["echo", "two words"]}})
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "is none")
    _, p = google({"credentials": {"command": ["echo", "wrong"]}})
    expect(p.call("snapshot", "ls", "--store", "there"), 1, "401 authError")


@test
def snapshots_go_to_azure_with_the_accounts_key():
    _, p = microsoft()
    goes_there_and_back(p, True, lambda r: ("status", 403, "AuthorizationFailure") if r.words.get("comp") == "block" and base64.b64decode(r.words["blockid"]).endswith(b"-000002") else None)
    done = expect(p.call("snapshot", "ls", "--store", "there", env={"AZURE_STORAGE_KEY": "d3Jvbmc="}), 1, "403 AuthenticationFailed")
    assert azure_blob.KEY not in done.stderr and "d3Jvbmc" not in done.stderr
    expect(p.call("snapshot", "ls", "--store", "there", env={"AZURE_STORAGE_KEY": "?"}), 2, "base64")
    expect(p.call("snapshot", "ls", "--store", "there", env={"AZURE_STORAGE_KEY": ""}), 2, "AZURE_STORAGE_KEY")


@test
def a_shared_access_signature_lets_in_too():
    server, p = microsoft(env={"AZURE_STORAGE_SAS_TOKEN": "?sig=a%2Bb&sv=2021-08-06"})
    p.fill("src", [10, 9 * MIB])
    p.snap("save", "x", "src")
    p.snap("push", "x")
    p.comes_back("x", "src")
    server, p = microsoft({"credentials": {"command": ["echo", json.dumps({"sas": "sig=a%2Bb&sv=2021-08-06"})]}}, {"X": "x"})
    p.fill("src", [10])
    p.snap("save", "x", "src")
    p.snap("push", "x")
    p.comes_back("x", "src")
    done = expect(p.call("snapshot", "ls", "--store", "there"), 0)
    server.sas = "sig=other"
    done = expect(p.call("snapshot", "ls", "--store", "there"), 1)
    assert "a%2Bb" not in done.stderr and "a+b" not in done.stderr


sys.exit(finish())
