# SPDX-License-Identifier: Apache-2.0
"""What servers that play object stores have in common: requests as bytes, and faults.

`faults` is a list of functions; each gets a request and returns None or what is to happen to it:
    ("status", 503, "SlowDown")   the answer
    ("reset",)                    the connection is reset before an answer
    ("cut", n)                    the answer ends after n bytes, head included
    ("take", n)                   n bytes of the body are read, then the connection is reset
    ("after", action)             the request is carried out first, and then that happens
    ("flip", n)                   byte n of the answer's body is another one
    ("etag",)                     a wrong ETag is told and kept
A fault counts for one request: it is taken off the list when it has said something but None."""
import http.server, socket, struct, threading, urllib.parse


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        self.path, _, self.query = target.partition("?")
        self.words = dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))

    def header(self, name, otherwise=""):
        return self.headers.get(name, otherwise)


class Server:
    """answer(request) of a subclass gives (status, headers, body)."""

    def __init__(self):
        server = self
        self.lock = threading.RLock()
        self.faults, self.seen = [], []  # seen: (method, path, query, bytes of the body)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, socket.timeout):
                    self.close_connection = True

            def reset(self):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def read_body(self):
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    while self.rfile.readline().strip():
                        pass
                    return b"".join(parts)
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def any(self):
                probe = Request(self.command, self.path, self.headers, b"")
                fault = server.take_fault(probe)
                if fault and fault[0] == "take":
                    self.rfile.read(min(fault[1], int(self.headers.get("Content-Length") or 0)))
                    return self.reset()
                request = Request(self.command, self.path, self.headers, self.read_body())
                with server.lock:
                    server.seen.append((request.method, request.path, request.query, len(request.body)))
                after = fault and fault[0] == "after"
                if after or not fault or fault[0] in ("cut", "flip", "etag"):
                    with server.lock:
                        status, headers, body = server.answer(request, fault and fault[0] == "etag")
                fault = fault[1] if after else fault
                if fault and fault[0] == "status":
                    status, headers, body = server.failure(fault[1], fault[2])
                if fault and fault[0] == "reset":
                    return self.reset()
                if fault and fault[0] == "flip" and body:
                    at = fault[1] % len(body)
                    body = body[:at] + bytes([body[at] ^ 0x40]) + body[at + 1:]
                self.reply(status, headers, body, fault[1] if fault and fault[0] == "cut" else None)

            def reply(self, status, headers, body, cut):
                headers = {"Content-Length": str(len(body)), **headers}
                head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
                data = head.encode() + (b"" if self.command == "HEAD" else body)
                if cut is None:
                    self.wfile.write(data)
                    return
                self.wfile.write(data[:cut])
                self.wfile.flush()
                self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = any

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def take_fault(self, request):
        with self.lock:
            for fault in list(self.faults):
                what = fault(request)
                if what:
                    self.faults.remove(fault)
                    return what
        return None

    def close(self):
        self.http.shutdown()
        self.http.server_close()
