#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares apply_patch here with the one inside Codex.

usage: patch_codex.py [--ours CMD] [--codex FILE] [--seed N] [--count N]

Makes files and patches (valid, nearly valid, invalid), applies each by both
programs in folders of their own, and checks:
  - where Codex succeeds, we succeed and the trees are equal;
  - where we refuse, nothing has changed.
--ours is run in the folder with the patch on stdin (default: $CAISSON patch
-C ., and build/caisson without CAISSON).  --codex is the program; without it, it is installed by npm into
a scratch folder, and without npm the test is skipped aloud (exit 77).
"""
import argparse, glob, os, random, shlex, shutil, subprocess, sys, tempfile

PACKAGE = "@openai/codex"

# Where we differ on purpose; docs/apply_patch.md says why.
#   a move onto the file itself: Codex deletes the file, we update it;
#   bytes that are not UTF-8: Codex refuses, we apply.


def find_codex(work):
    npm = shutil.which("npm")
    if not npm:
        print("SKIP: npm is not installed, so Codex's apply_patch cannot be fetched")
        sys.exit(77)
    r = subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", work, PACKAGE],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    found = sorted(glob.glob(work + "/node_modules/@openai/codex*/vendor/*linux*/**/codex", recursive=True))
    found = [f for f in found if os.access(f, os.X_OK)]
    if r.returncode or not found:
        print("SKIP: %s could not be installed: %s" % (PACKAGE, r.stderr.decode(errors="replace")[-200:]))
        sys.exit(77)
    return found[0]


def write_tree(folder, files):
    for name, data in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)


def read_tree(folder):
    out = {}
    for root, dirs, files in os.walk(folder):
        for name in dirs:
            out[os.path.relpath(os.path.join(root, name), folder) + "/"] = None
        for name in files:
            path = os.path.join(root, name)
            with open(path, "rb") as f:
                out[os.path.relpath(path, folder)] = f.read()
    return out


class Codex:
    def __init__(self, program, work):
        self.program = os.path.join(work, "apply_patch")  # it looks at its own name
        if os.path.lexists(self.program):
            os.unlink(self.program)
        os.symlink(program, self.program)

    def apply(self, folder, patch):
        return subprocess.run([self.program], cwd=folder, input=patch, capture_output=True)


class Ours:
    def __init__(self, command):
        self.argv = shlex.split(command)
        self.argv[0] = os.path.abspath(self.argv[0])

    def apply(self, folder, patch):
        return subprocess.run(self.argv, cwd=folder, input=patch, capture_output=True)


class Bench:
    def __init__(self, codex, ours, work):
        self.codex, self.ours, self.work = codex, ours, work
        self.both = self.ours_only = self.neither = 0
        self.bad = []

    def check(self, name, files, patch):
        a, b = os.path.join(self.work, "codex"), os.path.join(self.work, "ours")
        for folder in (a, b):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            write_tree(folder, files)
        before = read_tree(b)
        ra, rb = self.codex.apply(a, patch), self.ours.apply(b, patch)
        ta, tb = read_tree(a), read_tree(b)
        why = None
        if rb.returncode not in (0, 1, 2):
            why = "ours died: exit %d" % rb.returncode
        elif ra.returncode == 0 and rb.returncode != 0:
            why = "Codex applies it, we refuse"
        elif ra.returncode == 0 and ta != tb:
            why = "trees differ"
        elif rb.returncode != 0 and tb != before:
            why = "we refuse and yet something changed"
        if ra.returncode == 0:
            self.both += 1
        elif rb.returncode == 0:
            self.ours_only += 1
        else:
            self.neither += 1
        if why:
            self.bad.append(name)
            print("FAIL %s: %s" % (name, why))
            print("  files:", files)
            print("  patch:", patch.decode(errors="replace").replace("\n", "\n         "))
            print("  codex:", ra.returncode, ra.stderr.decode(errors="replace").strip(), ta)
            print("  ours: ", rb.returncode, rb.stderr.decode(errors="replace").strip(), tb)


U = "*** Update File: f\n"
ABC = {"f": b"a\nb\nc\n"}


def body(text):
    return "*** Begin Patch\n" + text + "\n*** End Patch"


# Cases that the random ones reach too seldom: (files, patch text).
FIXED = [
    (ABC, body(U + "@@ b\n-c\n+C")),
    ({"f": b"  a  \n  b\nc\n"}, body(U + "@@\n a\n-b\n+B\n c")),
    ({"f": b"a\r\nb\r\nc\r\n"}, body(U + "@@\n a\n-b\n+B\n c")),
    ({"f": b"a\nb"}, body(U + "@@\n-a\n+A")),
    ({"f": b"a\nb\r\nc\r\nd\n"}, body(U + "@@\n a\n-b\n+B\n c")),
    ({"f": b"a\r\nb\nc\nd\n"}, body(U + "@@\n b\n+B\n c")),
    ({"f": b"a\nb\r\nc\r\nd\ne\n"}, body(U + "@@\n a\n-b\n-c\n+B\n+C\n+D\n d")),
    ({"f": b"a\rb\nc\n"}, body(U + "@@\n-c\n+C")),
    ({"f": b"a\r\r\nc\r\n"}, body(U + "@@\n-a\n+C")),
    ({"f": b"a\nb\rc\n"}, body(U + "@@\n-b\n+B")),
    ({"f": b"a\nb\r"}, body(U + "@@\n-a\n+B")),
    ({"f": b"a\r\nb"}, body(U + "+q")),
    ({"f": b"a\nb\n\n"}, body(U + "+q")),
    ({"f": b""}, body(U + "+x")),
    ({"f": b"a\n"}, body(U + "-a")),
    ({"f": b"a\nb\na\n"}, body(U + "@@\n-a\n+X\n*** End of File")),
    (ABC, body(U + "@@\n-a\n+X\n*** End of File")),
    (ABC, body(U + "@@ a\n+x")),
    (ABC, body(U + "@@\n b\n@@\n+q")),
    (ABC, body(U + "@@\n-a\n+X\n" + U + "@@\n-X\n+Y")),
    ({"f": b"a\nb\n"}, body(U + "@@\n+x\n@@\n-b\n+y")),
    ({"f": b"a\nb\n"}, body(U + "@@\n+x\n@@\n b\n+y")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-a\n+A\n@@\n+x")),
    (ABC, body(U + "@@\n+x\n@@\n+y")),
    ({"f": b"a\nb\na\n"}, body(U + "@@\n-a\n+X\n*** End of File\n@@\n+q")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-b\n+X\n*** End of File\n@@\n-b\n+Y\n*** End of File")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-b\n-\n+B\n+")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-b\n-\n+B")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-b\n+B\n+\n ")),
    ({"f": b" a\nb\n"}, body(U + "@@\n a\n-b\n \n+")),
    ({"f": b" a\nb\n"}, body(U + "@@\n a\n b\n \n+x")),
    ({"f": b" a\nb\n"}, body(U + "@@\n a\n b\n-\n+")),
    ({"f": b" a\n  b\n"}, body(U + "@@\n a\n-b\n+B\n \n*** End of File")),
    ({"f": b"a\n"}, body(U + "@@\n \n+q")),
    ({"f": b"a\nb\n"}, body(U + "@@ a\n-\n+q")),
    ({"f": b"\n"}, body(U + "@@\n-\n+q")),
    ({"f": "“q” – x\u00a0y\nb\nc\n".encode()}, body(U + '@@\n "q" - x y\n-b\n+B')),
    ({"f": "\u0085a\u1680\nc\n".encode()}, body(U + "@@\n-a\n+C")),
    ({"f": b"\x1ca\x1f\nc\n"}, body(U + "@@\n-a\n+C")),
    ({"f": b"\xef\xbb\xbfa\nc\n"}, body(U + "@@\n-c\n+C")),
    ({"f": b"a\0\nc\n"}, body(U + "@@\n-c\n+C")),
    ({"f": b"a\nb\nc\n"}, body(U + "@@\n-a\n+A\n\n@@\n-c\n+C")),
    ({"f": b"a\n\nb\n"}, body(U + "@@\n-a\n+A\n\n\n@@\n-b\n+B")),
    ({"f": b"a\nb\n"}, body(U + "@@\n-a\n+A\n\n\n")),
    ({"f": b"a\nb\n"}, body(U + "\n@@\n-a\n+A")),
    (ABC, body(U + "@@   \n-b\n+B")),
    (ABC, body(U + "@@\t\n-b\n+B")),
    (ABC, body(U + "@@ a  \n-b\n+B")),
    (ABC, body(U + "@@ a  \n-c\n+B\n*** End of File  ")),
    (ABC, body(U + "@@x\n-b\n+B")),
    (ABC, body(U + "@@\n-a\n+A\n*** End of File\n-b\n+B")),
    (ABC, body(U + "@@")),
    (ABC, body(U + "@@\n*** End of File")),
    (ABC, body(U + "@@ b\n@@ c\n-x\n+y")),
    (ABC, body(U + "@@ -1,2 +1,2 @@\n-b\n+B")),
    (ABC, body(U + "@@\n-c\n+C\n@@\n-a\n+A")),
    (ABC, body(U + "*** Move to: g\n\n@@\n-a\n+A")),
    (ABC, body(U + "*** Move to: x/y/z\n@@\n-a\n+A")),
    ({"f": b"a\n", "d/q": b"1"}, body(U + "*** Move to: d\n@@\n-a\n+A")),
    ({"f": b"a\nb\n", "g": b"q\n"}, body(U + "*** Move to: g\n@@\n-a\n+A")),
    (ABC, body(U + "*** Move to: g")),
    (ABC, body("*** Update File: d/../f\n@@\n-a\n+A")),
    (ABC, body("*** Add File: d/\n+A")),
    ({"d/f": b"a\n"}, body("*** Add File: d\n+A")),
    ({"d": b"a\n"}, body("*** Add File: d/x\n+A")),
    ({"d/f": b"a\n"}, body("*** Delete File: d/f")),
    ({"d/f": b"a\n"}, body("*** Delete File: d")),
    ({"f": b"\xff\xfe\n"}, body("*** Delete File: f")),
    ({"f": b"a\n"}, body("*** Update File: f\n-a\n+b\n*** Update File: ./f\n-b\n+c")),
    ({"f": b"a\n"}, body("*** Update File: f\n*** Move to: g\n-a\n+b\n*** Update File: g\n-b\n+c")),
    ({"f": b"a\n"}, body("*** Update File: f\n*** Move to: g\n-a\n+b\n*** Add File: f\n+c")),
    ({"f": b"q\n"}, body("*** Delete File: f\n*** Add File: f\n+a")),
    ({"f": b"q\n"}, body("*** Delete File: f\n*** Delete File: f")),
    ({}, body("*** Add File: f\n+a\n*** Update File: f\n-a\n+b")),
    ({}, body("*** Add File: f\n+a\n*** Delete File: f")),
    ({}, body("*** Add File: x/y\n+c\n*** Add File: x\n+c")),
    ({}, body("*** Add File: q\n+1\n*** Add File: q\n+2")),
    ({"f": b"a\nb"}, body("*** Add File: f\n+x")),
    ({}, body("*** Add File: g")),
    ({}, body("*** Add File:  a b \n+1")),
    ({}, body("*** Add File: \n+1")),
    ({"f": b"a\n"}, body("  *** Update File: f  \n-a\n+A")),
    ({}, body("*** Add File: f\n+1\n  *** Add File: g\n+2")),
    ({}, body("*** Add File: z\n+1\n\n")),
    (ABC, body("*** Add File: z\n+1\n*** Delete File: nope")),
    (ABC, body(U + "@@\n a\n+x\n*** End Patch")),
    (ABC, body(U + "@@\n a\n+x\n*** End Patch\njunk")),
    (ABC, body(U + "@@\n a\n+x\n  *** End Patch")),
    ({}, "  \n  *** Begin Patch  \n*** Add File: a\n+1\n  *** End Patch \n\n"),
    ({}, "<<'EOF'\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nEOF\n"),
    ({}, '<<"EOF"\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nEOF'),
    ({}, "<<EOF\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nxxEOF"),
    ({}, "<<'XX'\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nXX"),
    ({}, "<<'EOF'\r\n*** Begin Patch\r\n*** Add File: z\r\n+1\r\n*** End Patch\r\nEOF\r\n"),
    ({}, "*** Begin Patch\n*** Environment ID: x\n*** Add File: a\n+1\n*** End Patch"),
    ({}, "*** Begin Patch\n*** End Patch"),
    ({}, "*** Begin Patch"),
    ({}, "Here:\n*** Begin Patch\n*** Add File: a\n+1\n*** End Patch"),
    ({}, "*** Begin Patch\n*** Add File: a\n+1\n*** End Patch\nok"),
]

WORDS = ["def f():", "    return 1", "", "  x = 2", "}", "{", "# note", "end", "a", "b", "a", "\tif y:", "— dash", "“q”",
         "  ", "z\u00a0z", "*** star", "@@ at", "+plus", "-minus", "long line with several words in it"]
PLAIN = {"—": "-", "“": '"', "”": '"', "\u00a0": " "}


class Maker:
    """Random files and a patch for them."""

    def __init__(self, rng):
        self.r = rng

    def line(self):
        r = self.r
        return r.choice(WORDS) if r.random() < 0.6 else "%s%d" % (" " * r.randrange(5), r.randrange(30))

    def lines(self):
        return [self.line() for _ in range(self.r.choice([0, 1, 2, 3, 5, 8, 13, 30]))]

    def data(self, lines):
        r = self.r
        style = r.choice(["lf"] * 6 + ["crlf", "mixed", "nolast", "nolast"])
        text = ""
        for i, l in enumerate(lines):
            end = "\r\n" if style == "crlf" or (style == "mixed" and r.random() < 0.5) else "\n"
            text += l + ("" if style == "nolast" and i == len(lines) - 1 else end)
        return text.encode()

    def blur(self, line):
        """An old line as a model may misquote it."""
        p = self.r.random()
        if p < 0.80:
            return line
        if p < 0.86:
            return line.rstrip()
        if p < 0.90:
            return line + self.r.choice([" ", "\t", "  "])
        if p < 0.94:
            return line.strip()
        if p < 0.97:
            return "".join(PLAIN.get(c, c) for c in line)
        if p < 0.985:
            return line + "x"
        return ""

    def hunk(self, lines, at):
        """Edits lines[at:]; returns the hunk and where it ended."""
        r = self.r
        out, ctx = [], r.randrange(4)
        start = min(len(lines), at + r.randrange(4))
        if r.random() < 0.3 and start > at:
            out.append("@@ " + self.blur(lines[r.randrange(at, start)]))
        elif r.random() < 0.9 or at:
            out.append("@@")
        i = start
        for _ in range(ctx):
            if i < len(lines):
                out.append(self.context(lines[i]))
                i += 1
        for _ in range(r.randrange(1, 4)):
            if r.random() < 0.5 and i < len(lines):
                out.append("-" + self.blur(lines[i]))
                i += 1
            else:
                out.append("+" + self.line())
        for _ in range(r.randrange(4)):
            if i < len(lines):
                out.append(self.context(lines[i]))
                i += 1
        if i == len(lines) and r.random() < 0.3:
            out.append(r.choice(["*** End of File"] * 3 + ["", " "]))
        elif r.random() < 0.03:
            out.append("*** End of File")
        return out, i

    def context(self, line):
        b = self.blur(line)
        return "" if b == "" and self.r.random() < 0.5 else " " + b

    def update(self, path, lines):
        r = self.r
        out = ["*** Update File: " + path]
        if r.random() < 0.15:
            out.append("*** Move to: " + r.choice(["moved/%d.txt" % r.randrange(3), "n.txt", "b.txt"]))
        at = 0
        for k in range(r.choice([1, 1, 1, 2, 3])):
            h, at = self.hunk(lines, at)
            if k and not h[0].startswith("@@"):
                h.insert(0, "@@")
            out += h
            if r.random() < 0.05:
                out.append("")
        return out

    def damage(self, text):
        """Sometimes breaks the form."""
        r = self.r
        p = r.random()
        lines = text.split("\n")
        if p < 0.04:
            del lines[r.randrange(len(lines))]
        elif p < 0.08:
            lines.insert(r.randrange(len(lines)), r.choice(["", " ", "junk", "@@", "*** End of File", "*** Foo", "\t"]))
        elif p < 0.10:
            i = r.randrange(len(lines))
            lines[i] = "  " + lines[i] + " "
        elif p < 0.13:
            return text.replace("\n", "\r\n")
        elif p < 0.15:
            return "<<'EOF'\n" + text + "\nEOF\n"
        return "\n".join(lines)

    def case(self):
        r = self.r
        known = {n: self.lines() for n in r.sample(["a.txt", "b.txt", "d/c.py", "d/e/f.h"], r.randrange(1, 5))}
        files = {n: self.data(l) for n, l in known.items()}
        out = ["*** Begin Patch"]
        for _ in range(r.choice([1, 1, 2, 2, 3, 5])):
            p, name = r.random(), r.choice(sorted(known))
            if p < 0.2:
                out.append("*** Add File: " + r.choice(["new%d.txt" % r.randrange(3), "d/new.py", "x/y/z.txt", name]))
                out += ["+" + self.line() for _ in range(r.randrange(4))]
            elif p < 0.3:
                out.append("*** Delete File: " + (name if r.random() < 0.9 else "none.txt"))
            else:
                out += self.update(name if r.random() < 0.97 else "none.txt", known[name])
        out.append("*** End Patch")
        text = self.damage("\n".join(out)) + r.choice(["", "\n", "\n\n"])
        return files, text.encode()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--ours", default=os.environ.get("CAISSON", "build/caisson") + " patch -C .")
    ap.add_argument("--codex")
    ap.add_argument("--seed", type=int, default=None)
    ap.add_argument("--count", type=int, default=400)
    args = ap.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(1 << 32)
    work = tempfile.mkdtemp(prefix="patch-interop-")
    try:
        codex = Codex(args.codex or find_codex(work), work)
        bench = Bench(codex, Ours(args.ours), work)
        for i, (files, text) in enumerate(FIXED):
            bench.check("fixed %d" % i, files, text.encode())
        print("seed %d" % seed, flush=True)
        maker = Maker(random.Random(seed))
        for i in range(args.count):
            files, text = maker.case()
            if not moves_onto_itself(text):
                bench.check("random %d" % i, files, text)
        print("%d patches: %d applied by Codex, %d only by us, %d refused by both, %d differences"
              % (bench.both + bench.ours_only + bench.neither, bench.both, bench.ours_only, bench.neither,
                 len(bench.bad)))
        sys.exit(1 if bench.bad else 0)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def moves_onto_itself(text):
    lines = [l.strip() for l in text.decode().split("\n")]
    return any(a.startswith("*** Update File: ") and b.startswith("*** Move to: ")
               and a.split(": ", 1)[1] == b.split(": ", 1)[1] for a, b in zip(lines, lines[1:]))


if __name__ == "__main__":
    main()
