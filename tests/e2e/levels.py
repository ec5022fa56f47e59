# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is made of, from the outside: its level, its devices, and what the doctor says of both."""
import sys
from lib import *

RULES = [{"name": "look", "when": {"turn": 1}, "reply": [{"exec_command": {"cmd": "uname -r; id -u; echo x >made"}}]},
         {"name": "end", "reply": "done"}]


def doctor():
    done = subprocess.run([caisson, "doctor", "--json"], env=ENV, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


@test
def a_run_at_level_gvisor_has_a_kernel_of_its_own():
    if not shutil.which("runsc"):
        return "there is no runsc on the PATH (tools/runsc builds it)"
    p = Place({"capabilities": ["shell"], "sandbox": {"level": "gvisor"}}, RULES)
    done = expect(p.run("--json"), 0)
    assert "4.19.0-gvisor" in done.stdout, done.stdout
    assert '"isolation":"gvisor"' in done.stdout, done.stdout


@test
def the_doctor_names_levels_users_and_devices():
    facts = doctor()
    same(facts["jail"]["level: gvisor"]["state"], "enforced" if shutil.which("runsc") else "absent")
    assert facts["jail"]["level: gvisor"]["note"], facts
    if facts["jail"]["jail"]["state"] == "enforced":
        assert facts["jail"]["user ids"]["state"] in ("enforced", "absent"), facts
    same(sorted(facts["devices"]), ["dri", "fuse", "nvidia"])
    for name, it in facts["devices"].items():
        assert it["state"] in ("present", "absent", "closed") and it["note"], (name, it)


@test
def mistakes_are_told_before_anything_starts():
    for box, code, wanted in [({"level": "vm"}, 2, "expected native or gvisor"),
                              ({"backend": "local", "level": "gvisor"}, 2, "only the back-end jail has levels"),
                              ({"devices": ["cuda"]}, 2, "expected nvidia, dri or fuse"),
                              ({"devices": "fuse"}, 2, "sandbox.devices"),
                              ({"backend": "local", "devices": ["fuse"]}, 2, "only the back-end jail has devices")]:
        expect(Place({"sandbox": box}, RULES).run(), code, wanted)
    missing = [name for name, it in doctor()["devices"].items() if it["state"] == "absent"]
    for name in missing[:1]:
        expect(Place({"capabilities": ["shell"], "sandbox": {"devices": [name]}}, RULES).run(), 6, f"device {name}: there is no /dev/")


sys.exit(finish())
