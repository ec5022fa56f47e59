# SPDX-License-Identifier: Apache-2.0
"""Environments: an image with setup commands on top, built once, used by runs; what root of a build may do and what
not; mistakes in the section. The base is one static program, so that nothing of this machine is in it; packages are
installed by tests/interop/environment.py."""
import io, sys, tarfile
from lib import *

BUSYBOX = shutil.which("busybox")
APPLETS = "sh cat chmod chown chroot cp echo grep id kill ln ls mkdir mknod mount mv ps rm rmdir sleep stat touch true"


END = [{"name": "end", "reply": "x"}]


def static_busybox():
    if not BUSYBOX:
        return None
    done = subprocess.run(["readelf", "-l", BUSYBOX], capture_output=True, text=True)
    return BUSYBOX if done.returncode == 0 and "INTERP" not in done.stdout else None


def base():
    """A tar of a root file system with one program under many names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        def add(name, kind=tarfile.REGTYPE, data=b"", mode=0o755, uid=0, link=""):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode, info.uid, info.linkname = kind, len(data), mode, uid, link
            t.addfile(info, io.BytesIO(data))
        for folder in "bin", "etc", "usr", "usr/share", "opt":
            add(folder, tarfile.DIRTYPE)
        add("bin/busybox", data=pathlib.Path(BUSYBOX).read_bytes())
        for name in APPLETS.split():
            add("bin/" + name, tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n", mode=0o644)
        add("etc/group", data=b"root:x:0:\nwww:x:33:\n", mode=0o644)
        add("etc/old", data=b"old\n", mode=0o644)
        add("etc/secret", data=b"of root\n", mode=0o600)
    return out.getvalue()


def why_not():
    if not static_busybox():
        return "there is no static busybox on this machine (package busybox-static)"
    if backend() != "jail":
        return "no jail can be made here"
    return None


WHY_NOT = why_not()
STORE = str(WORK / "images")
if not WHY_NOT:
    (WORK / "base.tar").write_bytes(base())


def place(section, rules=END):
    return Place({"capabilities": ["shell"], "environment": {"base": f"tar:{WORK}/base.tar", **section}}, rules,
              env={"CAISSON_IMAGES": STORE})


def built(p, code=0, *texts):
    done = expect(p.call("image", "build", "agent.yaml", "--json"), code, *texts)
    return json.loads(done.stdout) if code == 0 else None


def inside(p, image, script, code=0):
    return expect(p.call("sandbox", "run", "--rootfs", image, "--", "sh", "-c", script), code).stdout


@test
def what_setup_changes_is_there_in_every_sandbox_and_built_once():
    if WHY_NOT:
        return WHY_NOT
    p = place({"setup": ["echo new > /etc/new; rm /etc/old; mkdir -p /opt/tool/bin; echo 1 > /usr/share/one",
                         "test -e /etc/new && mv /usr/share/one /usr/share/two"]})
    first = built(p)
    same((first["was_there"], first["locked"]), (False, False))
    again = built(p)
    same((again["was_there"], again["image"]), (True, first["image"]))
    look = inside(p, first["image"], "cat /etc/new /usr/share/two; ls /etc /opt/tool")
    assert look.startswith("new\n1\n") and "old" not in look and "bin" in look, look
    assert "Read-only" in expect(p.call("sandbox", "run", "--rootfs", first["image"], "--", "sh", "-c", "echo x > /etc/new"), 1).stderr
    other = built(place({"setup": ["echo other > /etc/new"]}))
    assert other["image"] != first["image"], other


@test
def a_run_builds_what_it_needs():
    if WHY_NOT:
        return WHY_NOT
    network = {"allow": ["index.test:80"], "resolve": {"index.test": "127.0.0.1"}}
    p = place({"setup": ["echo from the environment > /etc/new"], "build_network": network},
              [{"name": "look", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "cat /etc/new"}}]},
               {"name": "end", "reply": "done"}])
    done = expect(p.run("--json"), 0, "from the environment")
    what = [e["data"]["what"] for e in lines_of(done.stdout) if e["type"] == "progress"]
    assert any("echo from the environment" in w for w in what), what
    kept = p.records()[0]["data"]["agent"]["environment"]
    same((kept["setup"], kept["build_network"]), (["echo from the environment > /etc/new"], network))
    assert not [e for e in lines_of(expect(p.run("--json"), 0).stdout) if e["type"] == "progress"]


@test
def root_of_a_build_gives_files_to_others_and_has_no_other_power():
    if WHY_NOT:
        return WHY_NOT
    ranged = json.loads(subprocess.run([caisson, "doctor", "--json"], capture_output=True, text=True, env=ENV).stdout)["jail"]["user ids"]
    if ranged["state"] != "enforced":
        return "a jail has one user id here: " + ranged["note"]
    p = place({"setup": [
        "id -u > /etc/who; touch /etc/www; chown 33:33 /etc/www; chmod 600 /etc/www; cat /etc/secret > /etc/copy",
        "touch /etc/suid; chmod 4755 /etc/suid; grep Cap /proc/self/status > /etc/caps",
        "{ mount -t tmpfs x /opt; mknod /etc/null c 1 3; mknod /etc/disk b 8 0; chroot / true; kill -9 1; "
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo x > /proc/sys/kernel/hostname; ls -l /proc/1/fd; "
        "cat /proc/1/environ; mount -o remount,rw /; } > /etc/tried 2>&1; true"]})
    image = built(p)["image"]
    same(inside(p, image, "cat /etc/who"), "0\n")
    assert inside(p, image, "stat -c '%u %a' /etc/www /etc/suid").split("\n")[0] == "33 600"
    assert not int(inside(p, image, "stat -c %a /etc/suid"), 8) & 0o6000
    caps = inside(p, image, "cat /etc/caps")
    for line in caps.splitlines():
        assert int(line.split()[1], 16) & ~0xfb == 0, caps  # chown, dac_override, fowner, fsetid, kill, setgid, setuid
    tried = inside(p, image, "cat /etc/tried; ls /etc /opt")
    for refused in ("mount: permission denied", "mknod: /etc/null", "mknod: /etc/disk", "chroot: ", "ip_forward", "hostname",
                    "/proc/1/fd", "/proc/1/environ"):
        assert refused in tried, f"{refused!r} is not among the refusals: {tried}"
    assert "null" not in inside(p, image, "ls /etc").split(), tried


@test
def files_on_the_disk_have_no_set_id_bits_and_the_owners_of_the_image():
    if WHY_NOT:
        return WHY_NOT
    p = place({"setup": ["touch /etc/bits; chmod 6755 /etc/bits; mkdir -m 2775 /opt/dir; true"]})
    p.env["CAISSON_IMAGES"] = own = str(WORK / "bits")  # nobody else builds there
    built(p)
    for path in pathlib.Path(own).rglob("*"):
        assert path.is_symlink() or not path.stat().st_mode & 0o6000, path


@test
def a_command_that_fails_is_told_and_leaves_nothing():
    if WHY_NOT:
        return WHY_NOT
    p = place({"setup": ["echo fine", "echo it went wrong; exit 3"]})
    p.env["CAISSON_IMAGES"] = own = str(WORK / "own")  # nobody else builds there
    built(p, 6, "`echo it went wrong; exit 3` ended with status 3", "it went wrong")
    same(os.listdir(own + "/tmp"), [])
    expect(p.run(), 6, "it went wrong")
    p = place({"packages": {"pip": ["six"]}})
    built(p, 2, "pip install six", "the base has none")


@test
def two_who_want_the_same_build_it_once():
    if WHY_NOT:
        return WHY_NOT
    p = place({"setup": ["sleep 0.5; echo two > /etc/new"]})
    both = [p.start("image", "build", "agent.yaml", "--json") for _ in range(2)]
    told = [json.loads(b.communicate(timeout=60)[0]) for b in both]
    same(sorted(t["was_there"] for t in told), [False, True])


@test
def a_lock_holds_until_the_section_changes():
    if WHY_NOT:
        return WHY_NOT
    p = place({"setup": ["echo l > /etc/new"], "lock": "made.lock"})
    expect(p.call("image", "lock", "agent.yaml"), 0, "made.lock")
    assert built(p)["locked"]
    lock = json.loads((p.dir / "made.lock").read_text())
    same(lock["packages"], {"apt": [], "pip": [], "npm": []})
    p.write("agent.yaml", json.dumps({"name": "a", "model": "script:book.yaml", "environment": {
        "base": f"tar:{WORK}/base.tar", "setup": ["echo changed > /etc/new"], "lock": "made.lock"}}))
    built(p, 1, "changed since it was made", "caisson image lock")
    p.write("made.lock", "{")
    built(p, 2, "made.lock")
    expect(place({"setup": ["true"]}).call("image", "lock", "agent.yaml"), 2, "add `lock: environment.lock`")


@test
def mistakes_are_told_before_anything_starts():
    for section, wanted in [
            ({"base": "host"}, "can be used but not built upon"),
            ({"base": "image:x", "packages": {"apt": ["--option"]}}, "expected NAME or NAME=VERSION"),
            ({"base": "image:x", "packages": {"apt": ["a b"]}}, "expected NAME or NAME=VERSION"),
            ({"base": "image:x", "packages": {"pip": ["-r/etc/passwd"]}}, "expected a requirement"),
            ({"base": "image:x", "packages": {"pip": ["git+https://example.com/x"]}}, "expected a requirement"),
            ({"base": "image:x", "packages": {"npm": ["../x"]}}, "expected NAME or NAME@VERSION"),
            ({"base": "image:x", "packages": {"pip_index": "https://u:p@example.com/"}}, "without a password"),
            ({"base": "image:x", "packages": {"apt_sources": ["deb http://a ./\nevil"]}}, "one line"),
            ({"base": "image:x", "packages": {"conda": []}}, "unknown key 'conda'"),
            ({"base": "image:x", "setup": "make"}, "setup: expected a list"),
            ({"base": "image:x", "build_network": {"alow": []}}, "build_network"),
            ({"base": "image:x", "lock": ""}, "expected the path of a file")]:
        p = Place({"environment": section}, END)
        expect(p.run(), 2, "agent.yaml", wanted)
    p = Place({"environment": {"base": "image:nowhere"}, "capabilities": ["shell"]}, END,
              env={"CAISSON_IMAGES": STORE})
    expect(p.call("image", "build", "agent.yaml"), 2, "no image is named nowhere", "caisson image")
    expect(Place({"environment": {}}, END).run(), 2, "base: expected an image")
    for box, wanted in ({"rootfs": "image:y"}, "leave one out"), ({"backend": "local"}, "back-end local builds none"):
        expect(Place({"environment": {"base": "image:x"}, "sandbox": box}, END).run(), 2, wanted)


sys.exit(finish())
