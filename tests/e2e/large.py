# SPDX-License-Identifier: Apache-2.0
"""Snapshots of large files and of many, within bounded memory: saved, pushed to a store, pulled and restored.

usage: large.py PROGRAM [long]    long: a file of 5 GB and 200,000 files"""
import hashlib, json, os, shutil, sys

sys.dont_write_bytecode = True
from lib import *

LONG = "long" in sys.argv[2:]
MIB = 1 << 20
FILE_BYTES = 5000 * MIB if LONG else 100 * MIB
FILES = 200000 if LONG else 2000
# Up to 8 MiB for each of 4 requests, what zstd and the program itself take, and of each file its name and digest.
PEAK_KIB = 128 << 10
PEAK_KIB_A_FILE = 1
SANITIZED = subprocess.run(["nm", "-D", caisson], capture_output=True, text=True).stdout.find("__asan_init") >= 0


def measured(p, *words):
    """Runs it; the peak of its memory in KiB."""
    running = subprocess.Popen([caisson, "snapshot", *words], cwd=p.dir, env=p.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = status
    same((status, words), (0, words))
    return usage.ru_maxrss


def goes_through(p, limit_kib):
    p.env["CAISSON_STATE"] = str(p.dir / "state")
    (p.dir / "disk").mkdir()
    p.write("caisson.yaml", json.dumps({"stores": {"there": {"type": "folder", "path": str(p.dir / "disk")}}}))
    peaks = {words[0]: measured(p, *words) for words in
             [("save", "x", "src"), ("push", "x"), ("verify", "--store", "there")]}
    shutil.rmtree(p.dir / "state")
    peaks |= {words[0] + "-back": measured(p, *words) for words in [("pull", "x"), ("restore", "x", "out"), ("verify",)]}
    print("# peaks in MiB: " + ", ".join(f"{k} {v >> 10}" for k, v in peaks.items()), flush=True)
    if not SANITIZED:
        assert max(peaks.values()) <= limit_kib, (peaks, limit_kib)


def digest(path):
    sum = hashlib.sha256()
    with open(path, "rb") as f:
        while data := f.read(MIB):
            sum.update(data)
    return sum.hexdigest()


@test
def a_large_file_goes_through_bounded_memory():
    p = Place()
    (p.dir / "src").mkdir()
    with open(p.dir / "src/big", "wb") as f:  # a hole, and what hardly packs at its end and in between
        f.truncate(FILE_BYTES)
        for at in range(0, FILE_BYTES, FILE_BYTES // 8):
            f.seek(at)
            f.write(os.urandom(MIB * 4))
    goes_through(p, PEAK_KIB)
    same(digest(p.dir / "out/big"), digest(p.dir / "src/big"))
    shutil.rmtree(p.dir)


@test
def many_small_files_go_through_bounded_memory():
    p = Place()
    for i in range(FILES):
        if i % 500 == 0:
            (p.dir / f"src/d{i // 500}").mkdir(parents=True)
        (p.dir / f"src/d{i // 500}/f{i}").write_text(f"file {i}\n" * (i % 7))
    goes_through(p, PEAK_KIB + FILES * PEAK_KIB_A_FILE)
    done = subprocess.run(["diff", "-r", "src", "out"], cwd=p.dir, capture_output=True, text=True)
    same((done.returncode, done.stdout), (0, ""))
    shutil.rmtree(p.dir)


sys.exit(finish())
