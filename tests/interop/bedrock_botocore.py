#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""botocore, the library of AWS's own clients, as the judge of what we send to Bedrock and
of what our tests play.

usage: CAISSON=PROGRAM bedrock_botocore.py

1. The real program asks a server here, which signs each request again with botocore's
   signer, of the same moment: the signatures must be equal.
2. botocore's client for Bedrock reads the streams that our tests play (tests/e2e/wires.py):
   it must find the events that were meant.
The package comes from the registry into a scratch folder; without pip the test is skipped
aloud (exit 77)."""
import http.server, json, os, pathlib, shutil, subprocess, sys, tempfile, threading

sys.dont_write_bytecode = True
TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/e2e"))
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
MODELS = ["anthropic.claude-v2", "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
          "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0", "a b~c+d&e"]
checks = 0


def inside_of_a_venv():
    work = tempfile.mkdtemp(prefix="caisson-botocore-")
    try:
        made = subprocess.run([sys.executable, "-m", "venv", work + "/v"], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([work + "/v/bin/pip", "install", "-q", "botocore"], capture_output=True, text=True)
        if made.returncode:
            print("SKIP: botocore could not be installed: %s" % (made.stderr or made.stdout)[-200:])
            return 77
        return subprocess.run([work + "/v/bin/python", __file__, "--judge"]).returncode
    finally:
        shutil.rmtree(work, ignore_errors=True)


def same(got, want, what):
    global checks
    checks += 1
    if got != want:
        sys.exit("FAILED: %s: got %r, expected %r" % (what, got, want))


def serve(seen):
    import wires

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, dict(self.headers), body))
            streamed = "stream" in self.path
            data = wires.bedrock_stream(2) if streamed else wires.anthropic(2, {"model": "m"})[2]
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.amazon.eventstream" if streamed else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def sign_again(path, headers, body, url, keys):
    """What botocore makes of the same request at the same moment."""
    import datetime
    from botocore import auth, awsrequest, credentials
    date = headers["X-Amz-Date"]
    signed = {k: v for k, v in headers.items() if k.lower() in ("host", "x-amz-security-token")}
    request = awsrequest.AWSRequest(method="POST", url=url + path, data=body, headers=signed)
    request.context["timestamp"] = date
    signer = auth.SigV4Auth(credentials.Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]), "bedrock", "eu-central-1")
    request.headers["X-Amz-Date"] = date
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request)


def judge_signatures():
    seen = []
    server = serve(seen)
    url = "http://127.0.0.1:%d" % server.server_address[1]
    for token in ({}, {"AWS_SESSION_TOKEN": "a/token+with=signs" * 20}):
        for model in MODELS:
            for how in [], ["--no-stream"]:
                work = tempfile.mkdtemp(prefix="caisson-bedrock-")
                (pathlib.Path(work) / "agent.yaml").write_text(json.dumps({"name": "a", "capabilities": [], "model": "bedrock/" + model}))
                env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS", "CAISSON"))}
                env.update(KEYS, AWS_REGION="eu-central-1", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=url, **token)
                done = subprocess.run([os.environ["CAISSON"], "run", "agent.yaml", "Say \u201chi\u201d", *how], cwd=work, env=env,
                                      capture_output=True, text=True, timeout=60)
                shutil.rmtree(work, ignore_errors=True)
                same(done.returncode, 0, done.stderr)
                path, headers, body = seen[-1]
                got = headers["Authorization"].split("Signature=")[1]
                same(got, sign_again(path, headers, body, url, KEYS), "signature of %s" % path)
    server.shutdown()


def judge_streams():
    import botocore.session
    import wires
    server = serve([])
    session = botocore.session.get_session()
    session.set_credentials("AKIDEXAMPLE", "x" * 20)
    client = session.create_client("bedrock-runtime", region_name="us-east-1", endpoint_url="http://127.0.0.1:%d" % server.server_address[1])
    reply = client.invoke_model_with_response_stream(modelId="m", body=b"{}")
    events = [json.loads(e["chunk"]["bytes"]) for e in reply["body"]]
    same(events, list(wires.anthropic_events(2, "m")), "events of a stream")
    server.shutdown()


def judge():
    if not os.environ.get("CAISSON"):
        sys.exit("CAISSON must name the program")
    judge_streams()
    judge_signatures()
    print("%d comparisons with botocore, 0 differences" % checks)


if __name__ == "__main__":
    sys.exit(judge() if sys.argv[1:] == ["--judge"] else inside_of_a_venv())
