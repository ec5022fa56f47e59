#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A back-end that runs commands on another machine by ssh.

options: {host: [USER@]HOST, folder: where sandboxes are there (sandboxes), config: a file for ssh -F}. All else is
ssh's: keys, ports, jump hosts are in its configuration. One connection (ControlMaster) serves a sandbox; what it
isolates is what that account isolates. The other machine needs a POSIX sh, env, mktemp, tar and rm.

A shell there, the launcher, stands before each command and outlives it. It says in the output, behind a word that only
this call knows, that the command begins or why it cannot, and how it ended: ssh itself would wait for everybody who
holds the output, and would not tell a signal from a code."""
import os, re, secrets, shlex, shutil, signal, subprocess, tempfile
from sandbox_program import Backend, Refused, serve

# $1: the word; $2: the folder; $3: t terminal, z no input, s outputs apart. What it prints for itself goes nowhere.
LAUNCHER = r"""w=$1 d=$2 m=$3; shift 3; exec 4>&2 2>/dev/null
say() { printf '\036%s %s\036' "$w" "$1"; }
cd "$d" || { say no_folder; exit; }; unset OLDPWD
case $1 in */*) p=$1 ;; *) p=$(command -v -- "$1") ;; esac
{ [ "$p" ] && [ ! -d "$p" ] && [ -e "$p" -o "$p" = "$1" ]; } || { say no_program; exit; }
case $1 in */*) [ -f "$p" ] || { say no_program; exit; }; [ -x "$p" ] || { say denied; exit; } ;; esac
case $1 in /bin/*|/usr/*) ;; */*) IFS= read -r l <"$p"; case $l in '#!'*) l=${l#??}; l=${l# }
  [ -x "${l%% *}" ] || { say no_program; exit; } ;; esac ;; esac
trap : HUP INT QUIT TERM USR1 USR2 ALRM
say "ok $$"
case $m in z*) exec </dev/null ;; esac
case $m in *s) (exec "$@" 2>&4 4>&-) ;; *) (exec "$@" 2>&1 4>&-) ;; esac
s=$?; say "end $s"; case $m in *s) say "end $s" >&4 ;; esac"""


class Ssh(Backend):
    name = "ssh"
    can = ["terminal", "keep", "sweep"]
    begins_at_once = False

    def __init__(self):
        self.master = self.box = None
        self.control = tempfile.mkdtemp(prefix="caisson-ssh-")

    # ---- the connection ----

    def ssh(self, *options):
        config = ["-F", self.config] if self.config else []
        return ["ssh", *config, "-S", self.control + "/s", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", *options, "--", self.host]

    def connect(self, options):
        self.host, self.config = options.get("host", ""), options.get("config")
        folder = options.get("folder", "sandboxes")
        # They may be an agent file's: a host that is an option would start what it likes.
        if not re.fullmatch(r"[A-Za-z0-9_.@:%\[\]][A-Za-z0-9_.@:%\[\]-]*", self.host) or not isinstance(folder, str):
            raise Refused("invalid", "options.host: expected [USER@]HOST")
        self.folder = folder
        if self.config and not os.path.isabs(self.config):
            raise Refused("invalid", "options.config: expected an absolute path")
        self.master = subprocess.Popen(self.ssh("-M", "-N", "-o", "ServerAliveInterval=15"), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while subprocess.run(self.ssh("-O", "check"), capture_output=True).returncode:
            try:
                said = self.master.communicate(timeout=0.05)[1]
            except subprocess.TimeoutExpired:
                continue
            raise Refused("unavailable", said.decode(errors="replace").strip() or "ssh ended")

    def there(self, script, *words):
        """Runs a script on the other machine; its output."""
        done = subprocess.run([*self.ssh(), "exec sh -c " + shlex.join([script, "sh", *words])], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        if done.returncode:
            raise Refused("not_found" if done.returncode == 44 else "failed", done.stderr.strip()[-300:])
        return done.stdout

    # ---- the sandbox ----

    def open(self, request):
        state, self.kept = request.get("state"), request.get("keep", False)
        options = state.get("options", {}) if state else request["options"]
        self.connect(options)
        if state:
            self.box = self.there('cd "$1" || exit 44; pwd', state["folder"]).strip()
        else:
            self.box = self.there('umask 077; mkdir -p "$1" && cd "$1" && d=$(mktemp -d "$PWD/sandbox-XXXXXX") && mkdir "$d/workspace" && '
                                  'printf %s "$2" >"$d/label" && printf %s "$d"', self.folder, request.get("label", ""))
        self.root = self.box + "/workspace"
        return {"root": self.root, "state": {"folder": self.box, "options": options}, "describe": {"isolation": "an account", "host": self.host}}

    def command(self, request):
        word, tty = secrets.token_hex(8), request.get("terminal")
        mode = "t" if tty else ("" if request["stdin"] else "z") + ("s" if request["split"] else "")
        # Nothing of the account's environment but what any command needs.
        env = ["TERM=xterm-256color"] * bool(tty) + request["environment"]
        script = "exec env -i PATH=\"$PATH\" HOME=\"$HOME\" " + shlex.join([*env, "sh", "-c", LAUNCHER, "sh", word, request["cwd"], mode or "-", *request["argv"]])
        if len(script) > 100000:
            raise Refused("limit", "a command of more than 100,000 bytes")
        request.update(word=b"\x1e" + word.encode() + b" ", held={}, pid=0, over=set())
        return [*self.ssh("-tt" if tty else "-T"), script], {}

    # ---- what the launcher says ----

    def heard(self, server, process, stream, data):
        r, out = process.request, b""
        data = r["held"].pop(stream, b"") + data  # what may be the beginning of a word
        while data and stream not in r["over"]:
            plain, mark, rest = data.partition(b"\x1e")
            out += plain
            data = mark + rest
            if not data:
                break
            head, end = data[:len(r["word"])], data.find(b"\x1e", len(r["word"]))
            if not r["word"].startswith(head):
                out, data = out + data[:1], data[1:]
            elif end < 0 and len(data) < 64:
                r["held"][stream] = data
                break
            else:
                self.said(server, process, stream, data[len(r["word"]):end].decode(errors="replace"))
                data = data[end + 1:]
        if not r["pid"]:  # of ssh itself
            r["held"][0] = (r["held"].get(0, b"") + out)[-300:]
            return b""
        return out

    def said(self, server, process, stream, text):
        word, _, rest = text.partition(" ")
        if word == "ok" and not process.request["pid"]:
            process.request["pid"] = int(rest)
            server.say(id=process.id, ok={})
        elif word == "end":
            process.request["over"].add(stream)
            if len(process.request["over"]) == len({1, 2} if process.request["split"] else {1}):
                process.exit = int(rest)
        elif not process.request["pid"]:
            server.say(id=process.id, error={"code": word, "message": ""})
            process.request["over"] = {1, 2}
            server.drop(process)

    def tell_end(self, server, process):
        """ssh ended before the launcher said a word."""
        if process.request["pid"]:
            return False
        said = b"".join(process.request["held"].values()).decode(errors="replace")
        server.say(id=process.id, error={"code": "failed", "message": f"ssh ended with {process.exit} {said}"})
        return True

    def ended_by(self, process, code):
        """A code above 128 is what a shell tells of a signal; a launcher that was killed tells nothing."""
        if not process.request["over"]:
            return signal.SIGKILL
        return code - 128 if 128 < code <= 192 else 0

    def signal(self, process, number):
        if process.request["pid"]:
            self.there('kill "-$1" "-$2" 2>/dev/null || :', str(int(number)), str(process.request["pid"]))

    def dropped(self, process):
        """What others write there is nobody's; ssh would wait for them."""
        process.popen.kill()
        process.popen.wait()

    # ---- its end ----

    def end_connection(self):
        if self.master and self.master.poll() is None:
            subprocess.run(self.ssh("-O", "exit"), capture_output=True)
            self.master.terminate()
            self.master.wait()
        shutil.rmtree(self.control, ignore_errors=True)

    def end_processes(self):
        """All that work in the sandbox, by their folder or a mark: those of others are not to be seen there."""
        self.there('for i in 1 2 3 4 5; do n=0; for p in /proc/[0-9]*; do case $(readlink "$p/cwd" 2>/dev/null) in "$1"|"$1"/*) '
                   'kill -9 "${p#/proc/}" 2>/dev/null && n=1 ;; esac; done; [ $n = 1 ] || break; done', self.box)

    def end(self):
        if self.box and self.master.poll() is None:
            self.end_processes()
            self.there('rm -rf -- "$1"', self.box)
        self.end_connection()

    def leave(self):
        if not self.kept:
            return self.end()
        if self.box and self.master.poll() is None:
            self.end_processes()
        self.end_connection()

    def list(self, request):
        self.kept = True
        self.connect(request["options"])
        lines = self.there('cd "$1" 2>/dev/null || exit 0; find . -maxdepth 2 -path "./sandbox-*/label" -mmin "+$2" | while read -r l; do '
                           'printf "%s %s\\n" "$PWD/${l#./}" "$(cat "$l")"; done', self.folder, str(request["young_ms"] // 60000))
        found = [line.split(" ", 1) for line in lines.splitlines()]
        return [{"label": label, "state": {"folder": at[:-len("/label")], "options": request["options"]}} for at, label in found
                if request["owner"] is None or label.startswith(request["owner"] + "/")]


if __name__ == "__main__":
    serve(Ssh())
