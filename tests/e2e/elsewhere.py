# SPDX-License-Identifier: Apache-2.0
"""Back-ends whose sandboxes are elsewhere, for tests that several of them must pass: a Docker daemon of the test's own, and
a service of tests/fake for E2B."""
import importlib.util, pathlib, sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS)]
from lib import backend
from with_server import Docker


class Machines:
    """`found` has (what the section `sandbox` needs, what the environment needs) of each; why others are not there is said."""

    def __init__(self, wanted):
        self.found, self.ends, missing = {"local": ({}, {})}, [], {}
        if backend() == "jail":
            self.found["jail"] = ({}, {})
        if "docker" in wanted:
            server = Docker()
            if server.missing:
                missing["docker"] = server.missing
            else:
                self.found["docker"] = ({"image": "box"}, {"DOCKER_HOST": server.url})
                self.ends.append(server.close)
        if "e2b" in wanted:
            spec = importlib.util.spec_from_file_location("fake_e2b", TESTS / "fake/e2b.py")
            fake_e2b = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(fake_e2b)
            fake = fake_e2b.Fake(rooted=True)
            self.ends.append(fake.__exit__)
            try:
                fake_e2b.Sandbox(fake.service, {}, "base").kill()
                self.found["e2b"] = ({}, fake.env)
            except (fake_e2b.Refused, OSError) as e:
                missing["e2b"] = f"no mount namespaces for its service: {e}"
        for name, why in missing.items():
            print(f"# SKIP {name}: {why}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        for end in self.ends:
            end()
