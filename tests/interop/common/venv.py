# SPDX-License-Identifier: Apache-2.0
"""Packages for a comparison, in a folder that goes away; with CAISSON_INTEROP_VENV in that one, which stays."""
import os, shutil, subprocess, sys, tempfile


def run_inside(program, packages, words=("--judge",)):
    """Runs the program again with these packages; 77, aloud, where they cannot be had."""
    kept = os.environ.get("CAISSON_INTEROP_VENV")
    work = kept or tempfile.mkdtemp(prefix="caisson-interop-")
    # Debian's own Python has no venv without a package; another in PATH may.
    pythons = [sys.executable] + [p for p in [shutil.which("python3")] if p and p != sys.executable]
    try:
        made = None if os.path.exists(work + "/bin/pip") else subprocess.CompletedProcess([], 1)
        for python in pythons if made else []:
            made = subprocess.run([python, "-m", "venv", "--clear", work], capture_output=True, text=True)
            if made.returncode == 0:
                break
        if not made or made.returncode == 0:
            made = subprocess.run([work + "/bin/pip", "install", "-q", *packages], capture_output=True, text=True)
        if made.returncode:
            print("SKIP: %s could not be installed: %s" % (", ".join(packages), (made.stderr or made.stdout)[-200:]))
            return 77
        return subprocess.run([work + "/bin/python", program, *words]).returncode
    finally:
        if not kept:
            shutil.rmtree(work, ignore_errors=True)
