#!/usr/bin/env python3
"""An echo that speaks the frames by itself, from nothing but what docs/script.md says."""

import json
import struct
import sys

source, sink = sys.stdin.buffer, sys.stdout.buffer


def read():
    lengths = source.read(8)
    if len(lengths) < 8:
        sys.exit(0)
    head, body = struct.unpack("<II", lengths)
    return json.loads(source.read(head)), source.read(body)


def write(head, body=b""):
    raw = json.dumps(head).encode()
    sink.write(struct.pack("<II", len(raw), len(body)) + raw + body)
    sink.flush()


while True:
    message, body = read()
    if "open" in message:
        write({"opened": {}})
    elif "step" in message:
        session, event = message["step"]["session"], message["step"]["event"]
        (kind, request), = event["start"]["requests"][0].items()
        if kind == "generate":
            start, length = request["prompt"]["text"]
            text = body[start:start + length]
            choice = {"text": [0, length], "finish_reason": "stop"}
            action = {"done": {"item": 0, "answer": {"completion": {"choices": [choice]}}}}
        elif kind in ("prepare", "release"):
            text, action = b"", {"done": {"item": 0, "answer": {"nothing": {}}}}
        else:
            text, action = b"", {"fail": {"kind": "unsupported", "message": "an echo only"}}
        write({"did": {"session": session, "action": action, "stepped": "ok"}}, text)
