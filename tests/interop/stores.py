#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores of snapshots against servers and clients of others.

usage: CAISSON=PROGRAM stores.py

1. The program against moto, which verifies S3's signatures, and against azurite.
2. AWS's, Google's and Azure's own clients against the servers that our tests play
   (tests/fake): what they accept here is what proves that those servers are strict in the
   right places.
Packages come from PyPI and npm into scratch folders; what cannot be had is skipped aloud."""
import contextlib, json, os, pathlib, random, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent / "common"), str(HERE.parents[1] / "fake")]
import azure_blob, gcs, s3, venv

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # everybody's, of the emulator
checks = 0


def same(got, want, what):
    global checks
    checks += 1
    if got != want:
        sys.exit("FAILED: %s: got %r, expected %r" % (what, got, want))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("FAILED: a server did not start")


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def go_there_and_back(what, entry, env):
    """The program puts a snapshot there, and a machine that has nothing gets it."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="caisson-stores-"))
    by = random.Random(7)
    for i, size in enumerate([0, 1, 1000, 100000, 21 << 20]):
        path = work / "src" / f"d{i % 2}" / f"file {i} + é"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(by.randbytes(size))
    (work / "caisson.yaml").write_text(json.dumps({"stores": {"there": entry}}))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS", "AZURE", "CAISSON"))} | {"CAISSON_TRUST_PROJECT": "1"} | env

    def call(*words, code=0):
        done = subprocess.run([os.environ["CAISSON"], "snapshot", *words], cwd=work, env=env, capture_output=True, text=True, timeout=300)
        same(done.returncode, code, f"{what}: {' '.join(words)}: {done.stderr}")
        return done.stdout

    for i in range(5):  # more than a page of small ones
        (work / "src/n").write_text(str(i))
        call("save", f"s{i}", "src")
        call("push", f"s{i}")
    same([r["name"] for r in json.loads(call("ls", "--store", "there", "--json"))], [f"s{i}" for i in range(5)], what)
    call("verify", "--store", "there")
    shutil.rmtree(work / ".caisson")
    call("pull", "s4")
    call("restore", "s4", "out")
    same(subprocess.run(["diff", "-r", work / "src", work / "out"]).returncode, 0, what)
    call("gc", "--store", "there", "--keep-last", "1")
    same([r["name"] for r in json.loads(call("ls", "--store", "there", "--json"))], ["s4"], what)
    call("verify", "--store", "there")
    for name in ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY"):
        if name in env:
            env[name] = "d3Jvbmc="
    call("ls", "--store", "there", code=1)
    shutil.rmtree(work)


@contextlib.contextmanager
def moto():
    """Its address, a key whose signatures it verifies, and a client."""
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS")}
    server = subprocess.Popen([pathlib.Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
                              env={**env, "INITIAL_NO_AUTH_ACTION_COUNT": "4"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        import boto3
        url = f"http://127.0.0.1:{port}"
        iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        iam.create_user(UserName="u")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="u", PolicyArn=arn)
        key = iam.create_access_key(UserName="u")["AccessKey"]  # from here on signatures are verified
        s = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                         aws_secret_access_key=key["SecretAccessKey"])
        s.create_bucket(Bucket="bucket")
        yield url, {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}, s
    finally:
        stop(server)


def judge_moto():
    with moto() as (url, keys, s):
        for prefix in "plain", "with a blank + plus/é":
            go_there_and_back("moto, " + prefix, {"type": "s3", "bucket": "bucket", "endpoint": url, "prefix": prefix}, keys)
        names = [o["Key"] for o in s.list_objects_v2(Bucket="bucket")["Contents"]]
        same(sorted({n.split("/")[-2] for n in names}), ["index", "names", "packs", "plain", "é"], "what boto3 sees in moto")


def judge_s3_fake():
    import boto3, botocore.config, botocore.exceptions
    server = s3.S3(token="t/o+k=")
    make = lambda secret="secret+/example": boto3.client(
        "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=server.key, aws_secret_access_key=secret, aws_session_token="t/o+k=",
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
    c = make()
    data = random.Random(1).randbytes(11 << 20)
    for name in "a", "a b+c/é~%", "z/(1)":
        c.put_object(Bucket="bucket", Key=name, Body=b"body")
        same(c.get_object(Bucket="bucket", Key=name)["Body"].read(), b"body", name)
        same(c.get_object(Bucket="bucket", Key=name, Range="bytes=1-2")["Body"].read(), b"od", name)
    for i in range(8):
        c.put_object(Bucket="bucket", Key=f"list/{i} +", Body=b"")
    pages = c.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="list/")
    same([o["Key"] for p in pages for o in p["Contents"]], [f"list/{i} +" for i in range(8)], "pages")
    up = c.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
    cuts = [data[:6 << 20], data[6 << 20:]]
    parts = [{"PartNumber": i + 1, "ETag": c.upload_part(Bucket="bucket", Key="big", UploadId=up, PartNumber=i + 1, Body=b)["ETag"]} for i, b in enumerate(cuts)]
    c.complete_multipart_upload(Bucket="bucket", Key="big", UploadId=up, MultipartUpload={"Parts": parts})
    same(c.get_object(Bucket="bucket", Key="big")["Body"].read(), data, "an upload in parts")
    for call, word in [(lambda: make("wrong").list_objects_v2(Bucket="bucket"), "SignatureDoesNotMatch"),
                       (lambda: c.get_object(Bucket="bucket", Key="none"), "NoSuchKey"),
                       (lambda: c.put_object(Bucket="bucket", Key="a", Body=b"", IfNoneMatch="*"), "PreconditionFailed")]:
        try:
            call()
            sys.exit("FAILED: boto3 expected " + word)
        except botocore.exceptions.ClientError as e:
            same(e.response["Error"]["Code"], word, "a refusal")
    server.close()


def judge_gcs_fake():
    from google.api_core.client_options import ClientOptions
    from google.cloud import storage
    from google.oauth2 import service_account
    import google.api_core.exceptions as errors
    server = gcs.GCS()
    server.tells_crc = True
    who = service_account.Credentials.from_service_account_info(server.account(), scopes=["https://www.googleapis.com/auth/devstorage.read_write"])
    c = storage.Client(project="p", credentials=who, client_options=ClientOptions(api_endpoint=server.url))
    bucket = c.bucket("bucket")
    for name in "a", "a b+c/é~%":
        bucket.blob(name).upload_from_string(b"body")
        same(bucket.blob(name).download_as_bytes(), b"body", name)
        same(bucket.blob(name).download_as_bytes(start=1, end=2), b"od", name)
    for i in range(8):
        bucket.blob(f"list/{i} +").upload_from_string(b"")
    same([b.name for b in c.list_blobs("bucket", prefix="list/")], [f"list/{i} +" for i in range(8)], "pages")
    data = random.Random(1).randbytes(9 << 20)
    blob = bucket.blob("big", chunk_size=1 << 20)
    blob.upload_from_string(data)  # a resumable session
    same(bucket.blob("big").download_as_bytes(), data, "a resumable upload")
    same(any("upload_id" in query for _, _, query, _ in server.seen), True, "a session was used")
    bucket.blob("a").delete()
    for call, kind in [(lambda: bucket.blob("a").download_as_bytes(), errors.NotFound),
                       (lambda: bucket.blob("big").upload_from_string(b"", if_generation_match=0), errors.PreconditionFailed)]:
        try:
            call()
            sys.exit("FAILED: Google's client expected " + kind.__name__)
        except kind:
            pass
    wrong = service_account.Credentials.from_service_account_info({**server.account(), "private_key": gcs.new_key()[0]}, scopes=["x"])
    try:
        storage.Client(project="p", credentials=wrong, client_options=ClientOptions(api_endpoint=server.url)).bucket("bucket").blob("big").download_as_bytes()
        sys.exit("FAILED: a token for another key")
    except Exception as e:
        same("invalid_grant" in str(e), True, str(e))
    server.close()


def judge_azure_fake():
    import azure.storage.blob as import_blob
    server = azure_blob.Azure()
    c = import_blob.BlobServiceClient(f"{server.url}/account", credential={"account_name": "account", "account_key": azure_blob.KEY}, retry_total=0)
    box = c.get_container_client("container")
    for name in "a", "a b+c/é~%":
        box.upload_blob(name, b"body", overwrite=True)
        same(box.download_blob(name, offset=1, length=2).readall(), b"od", name)
    for i in range(8):
        box.upload_blob(f"list/{i} +", b"", overwrite=True)
    same([b.name for b in box.list_blobs(name_starts_with="list/")], [f"list/{i} +" for i in range(8)], "pages")
    blob = box.get_blob_client("big")
    import base64
    ids = [base64.b64encode(b"%06d" % i).decode() for i in range(3)]
    for i in ids:
        blob.stage_block(i, i.encode() * 1000)
    blob.commit_block_list([import_blob.BlobBlock(i) for i in ids])
    same(server.objects["big"][0], b"".join(i.encode() * 1000 for i in ids), "blocks")
    box.delete_blob("a")
    try:
        box.upload_blob("big", b"")
        sys.exit("FAILED: Azure's client expected a refusal")
    except Exception as e:
        same("BlobAlreadyExists" in str(e), True, str(e))
    server.close()


@contextlib.contextmanager
def azurite():
    """Its address with a container, or None, aloud."""
    work = tempfile.mkdtemp(prefix="caisson-azurite-")
    kept = os.environ.get("CAISSON_INTEROP_NPM")
    server = None
    try:
        if not shutil.which("npm"):
            print("SKIP: azurite: there is no npm")
            yield None
            return
        if not kept:
            made = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "azurite"], cwd=work, capture_output=True, text=True)
            if made.returncode:
                print("SKIP: azurite could not be installed: %s" % made.stderr[-200:])
                yield None
                return
        port = free_port()
        main = pathlib.Path(kept or work) / "node_modules/azurite/dist/src/blob/main.js"
        server = subprocess.Popen(["node", main, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"],
                                  cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(port, server)
        url = f"http://127.0.0.1:{port}/devstoreaccount1"
        make_container(url)
        yield url
    finally:
        if server:
            stop(server)
        shutil.rmtree(work, ignore_errors=True)


def judge_azurite():
    with azurite() as url:
        for prefix in ("plain", "with a blank + plus/é") if url else ():
            go_there_and_back("azurite, " + prefix, {"type": "azure", "account": "devstoreaccount1", "container": "container", "endpoint": url, "prefix": prefix},
                              {"AZURE_STORAGE_KEY": AZURITE_KEY})


def make_container(url):
    import base64, hashlib, hmac
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{when}\nx-ms-version:2021-08-06\n/devstoreaccount1/devstoreaccount1/container\nrestype:container"
    by = base64.b64encode(hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()).decode()
    r = urllib.request.Request(url + "/container?restype=container", method="PUT", headers={
        "x-ms-date": when, "x-ms-version": "2021-08-06", "Authorization": f"SharedKey devstoreaccount1:{by}"})
    same(urllib.request.urlopen(r).status, 201, "a container in azurite")


def judge():
    if not os.environ.get("CAISSON"):
        sys.exit("CAISSON must name the program")
    for name in "AWS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy":
        os.environ.pop(name, None)
    for judge_one in judge_s3_fake, judge_moto, judge_gcs_fake, judge_azure_fake, judge_azurite:
        judge_one()
        print("%s: %d comparisons so far" % (judge_one.__name__.removeprefix("judge_"), checks), flush=True)
    print("%d comparisons with others' clients and servers, 0 differences" % checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else
             venv.run_inside(__file__, ["moto[server]", "boto3", "google-cloud-storage", "azure-storage-blob"]))
