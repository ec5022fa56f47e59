# SPDX-License-Identifier: Apache-2.0
"""One conversation in the wire forms of two providers: what a server of the Messages or
of the Gemini API sends at each turn, whole and streamed. TURNS says what the model does;
tests/interop shows that the providers' own clients understand it."""
import base64, json, struct, zlib

PATCH = "*** Begin Patch\n*** Update File: src/a.txt\n@@\n-one\n+two \u2713\n*** End Patch\n"
COMMANDS = ["cat src/a.txt", "echo \"made\" >src/new.txt"]
ANSWER = "All done \u2713"
THOUGHT = "Which files are there?"
SEAL = base64.b64encode(b"sealed by the provider").decode()
# (text, [(call id, tool, arguments)])
TURNS = [
    ("I look.", [("c1", "exec_command", {"cmd": COMMANDS[0]}), ("c2", "exec_command", {"cmd": COMMANDS[1]})]),
    ("", [("c3", "apply_patch", {"input": PATCH})]),
    (ANSWER, []),
]


def pieces(text, n=7):
    return [text[i:i + n] for i in range(0, len(text), n)]


# ---- the Messages API

def anthropic_blocks(nth):
    text, calls = TURNS[nth]
    blocks = []
    if nth == 0:
        blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": SEAL})
        blocks.append({"type": "redacted_thinking", "data": SEAL})
    if text:
        blocks.append({"type": "text", "text": text})
    return blocks + [{"type": "tool_use", "id": "toolu_" + i, "name": name, "input": args} for i, name, args in calls]


def anthropic_message(nth, model, content, reason, output):
    return {"id": f"msg_{nth}", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": reason, "stop_sequence": None,
            "usage": {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": output}}


def anthropic_events(nth, model):
    reason = "tool_use" if TURNS[nth][1] else "end_turn"
    yield {"type": "message_start", "message": anthropic_message(nth, model, [], None, 1)}
    yield {"type": "ping"}
    for i, block in enumerate(anthropic_blocks(nth)):
        kind, deltas = block["type"], []
        first = dict(block)
        if kind == "thinking":
            first.update(thinking="", signature="")
            deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "text":
            first.update(text="")
            deltas = [{"type": "text_delta", "text": p} for p in pieces(block["text"])]
        elif kind == "tool_use":
            first.update(input={})
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in ["", *pieces(json.dumps(block["input"]))]]
        yield {"type": "content_block_start", "index": i, "content_block": first}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": i, "delta": delta}
        yield {"type": "content_block_stop", "index": i}
    yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}


def anthropic(nth, body):
    if body.get("stream"):
        data = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in anthropic_events(nth, body["model"]))
        return 200, "text/event-stream; charset=utf-8", data.encode()
    reason = "tool_use" if TURNS[nth][1] else "end_turn"
    return 200, "application/json", json.dumps(anthropic_message(nth, body["model"], anthropic_blocks(nth), reason, 3)).encode()


# ---- Amazon Bedrock: the same events, framed

def bedrock_frame(name, payload, kind="event"):
    def header(key, value):
        return bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()

    key = ":event-type" if kind == "event" else ":exception-type"
    headers = header(key, name) + header(":content-type", "application/json") + header(":message-type", kind)
    data = json.dumps(payload).encode()
    head = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
    frame = head + struct.pack(">I", zlib.crc32(head)) + headers + data
    return frame + struct.pack(">I", zlib.crc32(frame))


def bedrock_stream(nth):
    return b"".join(bedrock_frame("chunk", {"bytes": base64.b64encode(json.dumps(e).encode()).decode(), "p": "abcdefg"})
                    for e in anthropic_events(nth, "m"))


# ---- the Gemini API

def gemini_parts(nth):
    text, calls = TURNS[nth]
    parts = []
    if nth == 0:
        parts.append({"text": THOUGHT, "thought": True})
    if text:
        parts.append({"text": text})
    for k, (i, name, args) in enumerate(calls):  # only the first call of a turn is sealed
        parts.append({"functionCall": {"id": i, "name": name, "args": args}, **({} if k else {"thoughtSignature": SEAL})})
    return parts


def gemini_reply(nth, parts, reason=None):
    return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **({"finishReason": reason} if reason else {})}],
            "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 2,
                              "thoughtsTokenCount": 1, "totalTokenCount": 13},
            "modelVersion": "m", "responseId": f"g{nth}"}


def gemini(nth, stream):
    parts = gemini_parts(nth)
    if not stream:
        return 200, "application/json", json.dumps(gemini_reply(nth, parts, "STOP")).encode()
    small = []
    for part in parts:
        small += [{**part, "text": p} for p in pieces(part["text"])] if "text" in part else [part]
    replies = [gemini_reply(nth, [p]) for p in small] + [gemini_reply(nth, [{"text": ""}], "STOP")]
    return 200, "text/event-stream", "".join(f"data: {json.dumps(r)}\r\n\r\n" for r in replies).encode()
