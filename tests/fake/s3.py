# SPDX-License-Identifier: Apache-2.0
"""A small server that speaks S3 and believes no signature: buckets in memory, uploads in parts,
lists by pages. That it signs as S3 does is what tests/interop/stores.py shows, with AWS's client."""
import hashlib, hmac, datetime, email.utils, re, sys, time, urllib.parse
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
import web

PAGE = 3


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_query(query):
    parts = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    quote = lambda s: urllib.parse.quote(s, safe="-_.~")
    return "&".join(sorted(f"{quote(k)}={quote(v)}" for k, v in parts))


class S3(web.Server):
    def __init__(self, key="AKIDEXAMPLE", secret="secret+/example", token=None, region="us-east-1", buckets=("bucket",), skew=0):
        self.key, self.secret, self.token, self.region, self.skew = key, secret, token, region, skew
        self.buckets = {b: {} for b in buckets}  # name: (bytes, etag, time)
        self.uploads = {}  # id: (bucket, name, {number: (bytes, etag)})
        self.n = 0
        self.knows_conditions = True
        super().__init__()

    # ---- replies

    def failure(self, status, code):
        # As S3 does, it quotes what it was sent: nothing of that may be shown.
        body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message><AWSAccessKeyId>{self.key}</AWSAccessKeyId></Error>"
        return status, {"Content-Type": "application/xml"}, body.encode()

    def xml(self, text):
        return 200, {"Content-Type": "application/xml"}, ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + text).encode()

    # ---- signatures

    def refusal(self, r):
        """None, or why a request is refused."""
        m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
                         r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})", r.header("Authorization"))
        if not m:
            return "AccessDenied"
        key, day, region, names, signature = m.groups()
        date, given = r.header("x-amz-date"), r.header("x-amz-content-sha256")
        if key != self.key:
            return "InvalidAccessKeyId"
        if (self.token or "") != r.header("x-amz-security-token"):
            return "InvalidToken"
        if region != self.region:
            return "AuthorizationHeaderMalformed"
        age = time.time() - datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        if abs(age + self.skew) > 900 or not date.startswith(day):
            return "RequestTimeTooSkewed"
        if given != "UNSIGNED-PAYLOAD" and given != hashlib.sha256(r.body).hexdigest():
            return "XAmzContentSHA256Mismatch"
        names = names.split(";")
        wanted = {"host"} | {k.lower() for k in r.headers if k.lower().startswith("x-amz-")}
        if not wanted <= set(names):
            return "AccessDenied"
        head = "".join(f"{n}:{' '.join(r.header(n).split())}\n" for n in names)
        canonical = "\n".join([r.method, r.path, canonical_query(r.query), head, ";".join(names), given])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        by = sign(sign(sign(sign(("AWS4" + self.secret).encode(), day), region), "s3"), "aws4_request")
        return None if hmac.compare_digest(sign(by, text).hex(), signature) else "SignatureDoesNotMatch"

    # ---- requests

    def answer(self, r, wrong_etag=False):
        why = self.refusal(r)
        if why:
            return self.failure(400 if why == "XAmzContentSHA256Mismatch" else 403, why)
        host = r.header("Host").split(":")[0].split(".")[0]
        path = urllib.parse.unquote(r.path)[1:]
        bucket, _, name = (host, "", path) if host in self.buckets else path.partition("/")
        if not name and r.method == "PUT":
            self.buckets.setdefault(bucket, {})
            return 200, {}, b""
        if bucket not in self.buckets:
            return self.failure(404, "NoSuchBucket")
        objects = self.buckets[bucket]
        if "uploads" in r.words and r.method == "POST":
            self.n += 1
            upload = f"up/load+{self.n}="  # characters that must be escaped
            self.uploads[upload] = (bucket, name, {})
            return self.xml(f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
                            f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if "uploadId" in r.words:
            return self.part(r, bucket, name, objects, wrong_etag)
        source = urllib.parse.unquote(r.header("x-amz-copy-source")).lstrip("/").partition("/")
        if r.method == "PUT" and source[0]:
            if source[0] not in self.buckets or source[2] not in self.buckets[source[0]]:
                return self.failure(404, "NoSuchKey")
            objects[name] = self.buckets[source[0]][source[2]][:2] + (time.time(),)
            return self.xml(f"<CopyObjectResult><ETag>&quot;{objects[name][1]}&quot;</ETag></CopyObjectResult>")
        if r.method == "PUT":
            if r.header("If-None-Match") == "*" and not self.knows_conditions:
                return self.failure(501, "NotImplemented")
            if r.header("If-None-Match") == "*" and name in objects:
                return self.failure(412, "PreconditionFailed")
            etag = hashlib.md5(r.body).hexdigest()
            objects[name] = (r.body, etag, time.time())
            return 200, {"ETag": f'"{etag}"'}, b""
        if r.method == "DELETE":
            objects.pop(name, None)
            return 204, {}, b""
        if not name:
            return self.list(r, bucket, objects)
        if name not in objects:
            return self.failure(404, "NoSuchKey")
        return self.get(r, *objects[name])

    def get(self, r, body, etag, when):
        head = {"ETag": f'"{etag}"', "Last-Modified": email.utils.formatdate(when, usegmt=True), "Accept-Ranges": "bytes"}
        m = re.fullmatch(r"bytes=(\d+)-(\d+)", r.header("Range"))
        if not m:
            return 200, head, body
        first, last = int(m[1]), min(int(m[2]), len(body) - 1)
        if first >= len(body):
            return self.failure(416, "InvalidRange")
        return 206, {**head, "Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first:last + 1]

    def list(self, r, bucket, objects):
        quote = urllib.parse.quote if r.words.get("encoding-type") == "url" else escape
        names = sorted(n for n in objects if n.startswith(r.words.get("prefix", "")))
        after = r.words.get("continuation-token", "")
        if r.words.get("delimiter"):
            return self.folders(bucket, objects, names, r, quote)
        names = [n for n in names if n > after[1:]] if after else names
        page, more = names[:PAGE], len(names) > PAGE
        items = "".join(f"<Contents><Key>{quote(n)}</Key><LastModified>{datetime.datetime.fromtimestamp(objects[n][2], datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}"
                        f"</LastModified><ETag>&quot;{objects[n][1]}&quot;</ETag><Size>{len(objects[n][0])}</Size></Contents>" for n in page)
        coding = "<EncodingType>url</EncodingType>" if "encoding-type" in r.words else ""
        token = coding + f"<NextContinuationToken>={escape(page[-1])}</NextContinuationToken>" if more else coding
        return self.xml(f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount>'
                        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>")

    def folders(self, bucket, objects, names, r, quote):
        """What a file browser sees of a prefix, without pages."""
        own, below, n = [], set(), len(r.words.get("prefix", ""))
        for name in names:
            head, slash, _ = name[n:].partition(r.words["delimiter"])
            below.add(name[:n] + head + slash) if slash else own.append(name)
        items = "".join(f"<Contents><Key>{quote(n)}</Key><LastModified>{datetime.datetime.fromtimestamp(objects[n][2], datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}"
                        f"</LastModified><ETag>&quot;{objects[n][1]}&quot;</ETag><Size>{len(objects[n][0])}</Size></Contents>" for n in own)
        items += "".join(f"<CommonPrefixes><Prefix>{quote(p)}</Prefix></CommonPrefixes>" for p in sorted(below))
        coding = "<EncodingType>url</EncodingType>" if "encoding-type" in r.words else ""
        return self.xml(f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{bucket}</Name>{coding}'
                        f"<IsTruncated>false</IsTruncated>{items}</ListBucketResult>")

    def part(self, r, bucket, name, objects, wrong_etag):
        upload = self.uploads.get(r.words["uploadId"])
        if not upload or upload[:2] != (bucket, name):
            return self.failure(404, "NoSuchUpload")
        parts = upload[2]
        if r.method == "PUT":
            etag = hashlib.md5(r.body).hexdigest()
            parts[int(r.words["partNumber"])] = (r.body, etag)
            return 200, {"ETag": '"%s"' % (etag[::-1] if wrong_etag else etag)}, b""
        if r.method == "DELETE":
            del self.uploads[r.words["uploadId"]]
            return 204, {}, b""
        if r.method != "POST":
            return self.failure(405, "MethodNotAllowed")
        text = r.body.decode()
        named = [(int(n), e.replace("&quot;", '"').strip('"')) for n, e in
                 re.findall(r"<PartNumber>(\d+)</PartNumber>\s*<ETag>(.*?)</ETag>", text)] or \
                [(int(n), e.replace("&quot;", '"').strip('"')) for e, n in
                 re.findall(r"<ETag>(.*?)</ETag>\s*<PartNumber>(\d+)</PartNumber>", text)]
        if [n for n, _ in named] != sorted(n for n, _ in named):
            return self.failure(400, "InvalidPartOrder")
        if not named or any(n not in parts or parts[n][1] != e for n, e in named):
            return self.failure(400, "InvalidPart")
        if any(len(parts[n][0]) < 5 << 20 for n, _ in named[:-1]):
            return self.failure(400, "EntityTooSmall")
        body = b"".join(parts[n][0] for n, _ in named)
        etag = hashlib.md5(b"".join(bytes.fromhex(parts[n][1]) for n, _ in named)).hexdigest() + f"-{len(named)}"
        objects[name] = (body, etag, time.time())
        del self.uploads[r.words["uploadId"]]
        return self.xml(f"<CompleteMultipartUploadResult><Key>{escape(name)}</Key><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>")
