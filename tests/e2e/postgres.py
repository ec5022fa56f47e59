#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs whose journal is in PostgreSQL: harnesses that die, take over from each other and lose
their connection; who may own what; what is wrong is said. Prints TAP.

usage: postgres.py CAISSON [KILLS [SEED]]"""
import pathlib, random, sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import *
import with_server

KILLS, TURNS = int(sys.argv[2]) if len(sys.argv) > 2 else 50, 6
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(1 << 32)
server = with_server.Postgres()
if server.missing:
    print(f"1..0 # SKIP {server.missing}")
    sys.exit(0)


def database(name):
    """A database of its own."""
    server.sql(f"CREATE DATABASE {name}")
    return server.url.replace("/postgres?", f"/{name}?")


def sql(url, text):
    done = subprocess.run([f"{server.bin}/psql", "-qAtX", "-v", "ON_ERROR_STOP=1", url, "-c", text],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def place(name, turns=TURNS, agent=None):
    """A folder with an agent each of whose turns runs a command that is counted."""
    p = Place()
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": f"echo {i} >>{p.dir}/count; sleep 0.02"}}]}
             for i in range(1, turns + 1)] + [{"name": "end", "reply": "All were made."}]
    p.write("book.yaml", json.dumps({"rules": rules}))
    p.write("agent.yaml", json.dumps({"name": name, "model": "script:book.yaml", "sandbox": {"backend": "local"},
                                      **(agent or {})}))
    return p


def count(p):
    path = p.dir / "count"
    return path.read_text().split() if path.exists() else []


def runs_of(p, url):
    return json.loads(expect(p.call("--state", url, "runs", "--json"), 0).stdout)


def kinds(p, url, run):
    return [r["kind"] for r in lines_of(expect(p.call("--state", url, "show", run, "--json"), 0).stdout)]


@test
def kills_and_no_command_runs_twice():
    """One of two harnesses on one database is killed at a random moment; two others want its
    run at the same time. Each run ends once, and no command ran twice."""
    url, dice = database("kills"), random.Random(SEED)
    print(f"# seed {SEED}", flush=True)
    began = resumed = unknown = 0
    for n in range(KILLS):
        victim, other = place(f"victim{n}"), place(f"other{n}")
        a = victim.start("--state", url, "run", "agent.yaml", "go")
        b = other.start("--state", url, "run", "agent.yaml", "go")
        turn, later = dice.randrange(TURNS + 1), dice.uniform(0, 0.06)
        until(lambda: a.poll() is not None or len(count(victim)) >= turn)
        time.sleep(later)
        a.kill()
        a.communicate()
        mine = [r["id"] for r in runs_of(victim, url) if r["agent"] == f"victim{n}"]
        assert len(mine) <= 1, mine
        if mine:
            began += 1
            both = [victim.start("--state", url, "resume", mine[0]) for _ in range(2)]
            said = [p.communicate(timeout=100) for p in both]
            for p, (out, err) in zip(both, said):
                assert p.returncode == 0 or "in use by another process" in err or "just now" in err, (n, p.returncode, err)
            if not any(p.returncode == 0 for p in both):
                expect(victim.call("--state", url, "resume", mine[0]), 0, "All were made.")
            seen = kinds(victim, url, mine[0])
            same(seen.count("finish"), 1)
            same((seen[0], seen.count("input")), ("run", 1))
            resumed += "resumed" in seen
            unknown += any("unknown" in json.dumps(r["data"]) for r in lines_of(victim.call("--state", url, "show", mine[0], "--json").stdout)
                           if r["kind"] == "tool_returned")
            expect(victim.call("--state", url, "audit", "verify", mine[0]), 0)
        else:
            same(count(victim), [])
        lines = count(victim)
        assert len(lines) == len(set(lines)) and lines == sorted(lines), (n, lines)
        out, err = b.communicate(timeout=100)
        same((b.returncode, out, count(other)), (0, "All were made.\n", [str(i) for i in range(1, TURNS + 1)]))
    ended = sql(url, "SELECT count(*), count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE owner <> '') FROM caisson.runs "
                     "WHERE next > 0").split("|")
    same(ended, [str(KILLS + began)] * 2 + ["0"])
    print(f"# {began} of {KILLS} had begun, {resumed} were resumed, {unknown} had a command with an unknown outcome", flush=True)
    assert resumed > KILLS // 4, resumed
    assert unknown > 0 or KILLS < 50, unknown  # of a dozen it may be none


@test
def a_run_goes_on_from_elsewhere_with_the_same_folder():
    url = database("elsewhere")
    p, q = place("a"), place("a")
    q.env["CAISSON_STATE"] = str(p.dir / ".caisson")
    expect(p.call("--state", url, "run", "agent.yaml", "go", env={"CAISSON_FAULT": "committed:9"}), -9)
    run = runs_of(q, url)[0]
    same(run["state"], "interrupted")
    expect(q.call("--state", url, "resume", run["id"]), 0, "All were made.")
    lines = count(p)
    assert len(lines) == len(set(lines)) and len(lines) >= TURNS - 1, lines
    same(runs_of(p, url)[0]["state"], "done")


@test
def a_lost_connection_is_made_anew():
    url = database("lost")
    p = place("a", turns=25)
    a = p.start("--state", url, "run", "agent.yaml", "go")
    for _ in range(6):
        until(lambda: a.poll() is not None or len(count(p)) > 1)
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lost'")
        time.sleep(0.1)
    out, err = a.communicate(timeout=100)
    same((a.returncode, out), (0, "All were made.\n"))
    same(count(p), [str(i) for i in range(1, 26)])
    expect(p.call("--state", url, "audit", "verify"), 0)


@test
def a_server_that_restarts_is_waited_for_and_one_that_stays_away_ends_the_run():
    mine = with_server.Postgres()
    with mine:
        p = place("a", turns=30)
        a = p.start("--state", mine.url, "run", "agent.yaml", "go")
        until(lambda: len(count(p)) > 2)
        mine.stop()
        assert a.poll() is None
        mine.start()
        out, err = a.communicate(timeout=100)
        same((a.returncode, out, len(count(p))), (0, "All were made.\n", 30))
        q = place("b", turns=30)
        b = q.start("--state", mine.url, "run", "agent.yaml", "go")
        until(lambda: len(count(q)) > 2)
        mine.stop()
        began = time.monotonic()
        out, err = b.communicate(timeout=100)
        took = time.monotonic() - began
        assert b.returncode not in (0, -9) and "not usable for 30 s" in err and 20 < took < 60, (b.returncode, took, err)
        mine.start()
        run = [r["id"] for r in runs_of(q, mine.url) if r["agent"] == "b"]
        expect(q.call("--state", mine.url, "resume", run[0]), 0, "All were made.")
        lines = count(q)
        assert len(lines) == len(set(lines)), lines


@test
def a_lease_of_another_machine_holds_until_it_ends():
    url = database("leases")
    p = place("a")
    expect(p.call("--state", url, "run", "agent.yaml", "go", env={"CAISSON_FAULT": "committed:7"}), -9)
    run = runs_of(p, url)[0]["id"]
    now = "(extract(epoch FROM clock_timestamp()) * 1000)::int8"
    sql(url, f"UPDATE caisson.runs SET owner = 'boot:1:2:3', lease_until = {now} + 30000")
    same(runs_of(p, url)[0]["state"], "running")
    expect(p.call("--state", url, "resume", run), 1, "in use by another process")
    expect(p.call("--state", url, "runs", "rm", run), 1, "in use by another process")
    sql(url, f"UPDATE caisson.runs SET lease_until = {now} - 1")
    fence = int(sql(url, "SELECT fence FROM caisson.runs"))
    expect(p.call("--state", url, "resume", run), 0)
    same(sql(url, "SELECT fence, owner FROM caisson.runs"), f"{fence + 1}|")
    expect(p.call("--state", url, "runs", "rm", run), 0)
    same(sql(url, "SELECT (SELECT count(*) FROM caisson.runs) + (SELECT count(*) FROM caisson.record)"), "0")


@test
def who_was_fenced_off_writes_nothing_more():
    url = database("fenced")
    p = place("a", turns=30)
    a = p.start("--state", url, "run", "agent.yaml", "go")
    until(lambda: len(count(p)) > 2)
    sql(url, "UPDATE caisson.runs SET fence = fence + 1, owner = 'boot:1:2:3'")
    at = int(sql(url, "SELECT next FROM caisson.runs"))
    out, err = a.communicate(timeout=100)
    assert a.returncode not in (0, 130) and "was taken over by boot:1:2:3" in err, (a.returncode, err)
    same(int(sql(url, "SELECT next FROM caisson.runs")), at)
    same(int(sql(url, "SELECT max(seq) + 1 FROM caisson.record")), at)


@test
def many_make_the_tables_at_once():
    url = database("fresh")
    p = place("a")
    many = [p.start("--state", url, "runs") for _ in range(8)]
    for m in many:
        out, err = m.communicate(timeout=100)
        assert m.returncode == 0, err
    same(sql(url, "SELECT count(*) FROM caisson.meta"), "1")


@test
def what_is_newer_or_not_ours_is_left_alone():
    url = database("newer")
    p = place("a")
    expect(p.call("--state", url, "runs"), 0)
    sql(url, "UPDATE caisson.meta SET format = 99")
    expect(p.call("--state", url, "runs"), 2, "format 99", "newer caisson")
    other = database("other")
    sql(other, "CREATE SCHEMA caisson; CREATE TABLE caisson.runs(x int)")
    expect(p.call("--state", other, "runs"), 1, "already exists")
    same(sql(other, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'caisson'"), "1")
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    expect(p.call("--state", server.url.replace("/postgres?", "/latin?"), "runs"), 2, "createdb -E UTF8")


@test
def a_password_is_taken_from_files_and_variables_only():
    p = place("a")
    for url in ("postgres://u:hush@127.0.0.1/db", "postgresql://127.0.0.1/db?user=u&password=hush"):
        done = expect(p.call("--state", url, "runs"), 2, "--state: a password does not belong there", "PGPASSFILE")
        assert "hush" not in done.stderr, done.stderr
        p.write("caisson.yaml", json.dumps({"state": url}))
        done = expect(p.call("runs"), 2, "caisson.yaml:1: state", "a password does not belong there")
        assert "hush" not in done.stderr, done.stderr
    (p.dir / "caisson.yaml").unlink()
    for url in ("postgres://u:hu/sh@127.0.0.1/db", "postgres://u:hush@127.0.0.1:99999/db", "postgres://u:hu sh@h/db"):
        done = expect(p.call("runs", env={"CAISSON_STATE": url}), 2)
        assert "hu" not in done.stderr.replace("thus", ""), done.stderr
    url = database("secret")
    server.sql("CREATE ROLE ada LOGIN PASSWORD 'swordfish'; GRANT ALL ON DATABASE secret TO ada")
    hba = server.dir / "data/pg_hba.conf"
    hba.write_text("local all ada scram-sha-256\n" + hba.read_text())
    server.sql("SELECT pg_reload_conf()")
    mine = url.replace("caisson@", "ada@")
    until(lambda: p.call("--state", mine, "runs").returncode != 0)
    expect(p.call("--state", mine, "runs"), 1, "no password supplied")
    p.write("pass", "*:*:*:ada:swordfish\n")
    (p.dir / "pass").chmod(0o600)
    expect(p.call("--state", mine, "run", "agent.yaml", "go", env={"PGPASSFILE": str(p.dir / "pass")}), 0, "All were made.")
    expect(p.call("--state", mine, "runs", env={"PGPASSWORD": "swordfish"}), 0, "done")
    expect(p.call("runs", env={"CAISSON_STATE": mine.replace("ada@", "ada:swordfish@")}), 0, "done")
    for f in p.dir.rglob("*"):
        if f.is_file() and f.name != "pass":
            assert b"swordfish" not in f.read_bytes(), f
    assert "swordfish" not in sql(url, "SELECT string_agg(convert_from(data, 'UTF8'), '') FROM caisson.record")


@test
def caisson_yaml_names_the_database_and_the_folder_stays():
    url = database("project")
    p = place("a")
    p.write("caisson.yaml", json.dumps({"state": url}))
    run = expect(p.run(), 0, "All were made.") and p.only_run()
    same(sql(url, "SELECT id, state FROM caisson.runs"), f"{run}|done")
    assert (p.dir / ".caisson").is_dir() and not (p.dir / ".caisson/caisson.db").exists()
    same(p.call("--state", p.dir / "other", "runs").stdout, "")
    p.write("caisson.yaml", json.dumps({"state": "postgres://db.example.com/x"}))
    expect(p.call("runs"), 2, "another machine", "caisson trust")
    p.write("caisson.yaml", json.dumps({"state": "./folder"}))
    expect(p.call("runs"), 2, "expected postgres://", "--state")


@test
def a_decision_is_believed_only_with_the_key():
    url = database("asked")
    agent = {"approvals": [{"tool": "exec_command", "do": "ask"}]}
    p = place("a", turns=1, agent=agent)
    expect(p.call("--state", url, "run", "agent.yaml", "go"), 3)
    run = runs_of(p, url)[0]["id"]
    expect(p.call("--state", url, "approve", run), 0)
    q = place("a", turns=1, agent=agent)
    expect(q.call("--state", url, "resume", run), 1, "not signed with this folder's key")
    (q.dir / ".caisson/key").write_bytes((p.dir / ".caisson/key").read_bytes())
    expect(q.call("--state", url, "resume", run), 0, "All were made.")


@test
def nobody_there_is_said_at_once():
    p = place("a")
    began = time.monotonic()
    expect(p.call("--state", "postgres://127.0.0.1:1/db", "runs"), 1, "refused")
    expect(p.call("--state", server.url.replace("/postgres?", "/nosuch?"), "runs"), 2, 'database "nosuch" does not exist')
    assert time.monotonic() - began < 10


status = finish()
server.close()
sys.exit(status)
