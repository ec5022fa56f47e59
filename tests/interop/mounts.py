#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mounts in a jail over servers of others: moto, which verifies S3's signatures, and azurite.

usage: CAISSON=PROGRAM mounts.py"""
import json, os, pathlib, re, shutil, socket, ssl, subprocess, sys, tempfile, threading

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent)]
import stores

WORK = """cat rw/in; mkdir -p 'rw/d é/e' && echo one > 'rw/d é/e/f' && echo two >> 'rw/d é/e/f' && mv 'rw/d é/e/f' 'rw/d é/g'
head -c 7000000 /dev/zero > rw/big; printf X | dd of=rw/big bs=1 seek=6999999 conv=notrunc 2>/dev/null; ls rw; rm rw/in; ! touch ro/x; wc -c < rw/big"""
SEE = "cat ro/d*/g; ls ro; tail -c 1 ro/big; wc -c < ro/big"


def run(what, entry, env, commands):
    """What the commands print, with the storage at rw and, read-only, at ro."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="caisson-mounts-"))
    rules = [{"name": f"t{i}", "when": {"turn": i}, "reply": [{"exec_command": {"cmd": c, "yield_time_ms": 30000}}]} for i, c in enumerate(commands, 1)]
    (work / "book.yaml").write_text(json.dumps({"rules": rules + [{"name": "end", "reply": "Done."}]}))
    common = {"mount_strategy": {"type": "in_container", "pattern": {"type": "rclone"}}, **entry}
    (work / "agent.yaml").write_text(json.dumps({"name": "a", "model": "script:book.yaml",
                                                 "manifest": {"entries": {"rw": {**common, "read_only": False}, "ro": common}}}))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS", "AZURE", "CAISSON"))} | env
    done = subprocess.run([os.environ["CAISSON"], "run", "agent.yaml", "go"], cwd=work, env=env, capture_output=True, text=True, timeout=300)
    stores.same(done.returncode, 0, f"{what}: {done.stderr}")
    told = subprocess.run([os.environ["CAISSON"], "runs", "--json"], cwd=work, env=env, capture_output=True, text=True).stdout
    shown = subprocess.run([os.environ["CAISSON"], "show", json.loads(told)[0]["id"], "--json"], cwd=work, env=env, capture_output=True, text=True).stdout
    for value in env.values():
        if len(value) > 20 and value in (env.get("MOUNT_ID"), env.get("MOUNT_KEY")):
            stores.same(value in shown + done.stdout + done.stderr, False, f"{what}: a key in the journal")
    shutil.rmtree(work)
    found = []
    for line in shown.splitlines():
        for item in json.loads(line)["data"].get("items", []) if "data" in json.loads(line) else []:
            if isinstance(item, dict) and item.get("type") == "function_call_output":
                found.append(item["output"].partition("Output:\n")[2])
    return found


def judge_moto():
    with stores.moto() as (url, keys, s):
        s.put_object(Bucket="bucket", Key="p/in", Body=b"first\n")
        entry = {"type": "s3_mount", "bucket": "bucket", "prefix": "p", "endpoint_url": url, "s3_provider": "Other", "region": "us-east-1",
                 "access_key_id": {"from_env": "MOUNT_ID"}, "secret_access_key": {"from_env": "MOUNT_KEY"}}
        env = {"MOUNT_ID": keys["AWS_ACCESS_KEY_ID"], "MOUNT_KEY": keys["AWS_SECRET_ACCESS_KEY"]}
        stores.same(run("moto", entry, env, [WORK])[0], "first\nbig\nd é\nin\ntouch: cannot touch 'ro/x': Read-only file system\n7000000\n", "moto: written")
        stores.same(run("moto", entry, env, [SEE])[0], "one\ntwo\nbig\nd é\nX7000000\n", "moto: seen by a later run")
        stores.same(sorted(o["Key"] for o in s.list_objects_v2(Bucket="bucket")["Contents"]), ["p/big", "p/d é/g"], "moto: what boto3 sees")


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for end in a, b:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def proxy(work, name, port):
    """A proxy that takes whatever it is asked for to that port, and has a certificate for the name: rclone before
    1.61 says ACCOUNT.ENDPOINT, by https, whatever its endpoint is."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name,
                    "-keyout", work / "key.pem", "-out", work / "cert.pem"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(work / "cert.pem", work / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(s):
        head = b""
        while b"\r\n\r\n" not in head:
            head += s.recv(4096) or b"\r\n\r\n"
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            inner = tls.wrap_socket(s, server_side=True)
            there = socket.create_connection(("127.0.0.1", port))
        except OSError:
            return
        threading.Thread(target=pump, args=(inner, there), daemon=True).start()
        pump(there, inner)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def judge_azurite():
    version = re.search(r"v1\.(\d+)", subprocess.run(["rclone", "version"], capture_output=True, text=True).stdout)
    with stores.azurite() as url, tempfile.TemporaryDirectory() as work:
        if not url:
            return
        env, endpoint = {"MOUNT_KEY": stores.AZURITE_KEY}, url
        if int(version[1]) < 61:
            endpoint = "blob.localhost"
            env["https_proxy"] = proxy(pathlib.Path(work), "devstoreaccount1.blob.localhost", int(url.split(":")[2].split("/")[0]))
            env["SSL_CERT_FILE"] = work + "/cert.pem"
        entry = {"type": "azure_blob_mount", "account": "devstoreaccount1", "container": "container", "endpoint": endpoint, "account_key": {"from_env": "MOUNT_KEY"}}
        run("azurite", entry, env, ["echo first > rw/in"])
        stores.same(run("azurite", entry, env, [WORK])[0], "first\nbig\nd é\nin\ntouch: cannot touch 'ro/x': Read-only file system\n7000000\n", "azurite: written")
        stores.same(run("azurite", entry, env, [SEE])[0], "one\ntwo\nbig\nd é\nX7000000\n", "azurite: seen by a later run")


def judge():
    for name in "AWS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy":
        os.environ.pop(name, None)
    if not shutil.which("rclone") or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("SKIP: rclone and /dev/fuse are needed")
        return 77
    judge_moto()
    judge_azurite()
    print("%d comparisons, 0 differences" % stores.checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else stores.venv.run_inside(__file__, ["moto[server]", "boto3"]))
