# SPDX-License-Identifier: Apache-2.0
"""Sandboxes of OpenAI's Agents SDK for Python at the work of bench/box_bench.c and bench/snapshot_bench.c: lines
"sample CASE SIDE VALUE", in milliseconds. Its client for local processes isolates nothing; that for Docker gets DOCKER_HOST
and the image "box".

usage: sandbox_python.py local|docker FOLDER life ROUNDS | files N BYTES ROUNDS"""
import asyncio, io, os, pathlib, shutil, sys, tarfile, tempfile, time

from agents import set_tracing_disabled
from agents.sandbox import LocalSnapshotSpec

set_tracing_disabled(True)
kind, folder, what, *numbers = sys.argv[1:]
numbers = [int(n) for n in numbers]
work = pathlib.Path(tempfile.mkdtemp(prefix="caisson-bench-", dir=folder))
os.environ["TMPDIR"] = tempfile.tempdir = str(work)
if kind == "local":
    from agents.sandbox.sandboxes import UnixLocalSandboxClient
    client, options = UnixLocalSandboxClient(), None
else:
    import docker
    from agents.sandbox.sandboxes import DockerSandboxClient, DockerSandboxClientOptions
    engine = docker.from_env(timeout=300)
    client, options = DockerSandboxClient(engine), DockerSandboxClientOptions(image="box", network_mode="none")
LETTERS = bytes(ord("a") + i % 20 for i in range(256))


def sample(case, began):
    print("sample", case, "sdk-" + kind, round((time.perf_counter() - began) * 1e3, 3), flush=True)


def name(i):
    return f"d{i // 100}/f{i}"


def content(size):
    return os.urandom(size).translate(LETTERS)


def put(session, numbers, size):
    root = session._inner.state.manifest.root
    if kind == "local":
        for i in numbers:
            path = pathlib.Path(root) / name(i)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content(size))
        return
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for i in numbers:
            entry = tarfile.TarInfo(name(i))
            entry.size = size
            tar.addfile(entry, io.BytesIO(content(size)))
    engine.containers.get(session._inner.state.container_id).put_archive(root, made.getvalue())


async def yes(session):
    done = await session.exec("true")
    assert done.exit_code == 0, done


async def end(session):
    try:
        await session.aclose()
    finally:
        await client.delete(session)


async def life(rounds):
    for i in range(rounds + 1):
        began = time.perf_counter()
        session = await client.create(options=options, snapshot=LocalSnapshotSpec(base_path=work))
        await session.start()
        await yes(session)
        await session.stop()  # which saves it
        await end(session)
        if i:
            sample("box-life-" + ("jail" if kind == "local" else "docker"), began)


async def files(n, size, rounds):
    label = f"{n}-{'tmpfs' if kind == 'local' else 'docker'}"
    for i in range(rounds):
        session = await client.create(options=options, snapshot=LocalSnapshotSpec(base_path=work))
        await session.start()
        put(session, range(n), size)
        began = time.perf_counter()
        await session.stop()
        sample(f"snapshot-first-{label}", began)
        state = client.serialize_session_state(session._inner.state)
        await end(session)
        began = time.perf_counter()
        session = await client.resume(client.deserialize_session_state(state))
        await session.start()
        await yes(session)
        sample(f"restore-{label}", began)
        put(session, range(0, n, n // 10), size)
        began = time.perf_counter()
        await session.stop()
        sample(f"snapshot-10-{label}", began)
        await end(session)


try:
    asyncio.run({"life": life, "files": files}[what](*numbers))
finally:
    shutil.rmtree(work, ignore_errors=True)
