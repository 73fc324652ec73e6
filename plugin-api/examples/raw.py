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


def answer(step, body):
    """What a step comes to: an action and its text."""
    event = step.get("event")
    if event is None:
        # `host plugin check` sends what is no event, too, in front of the body.
        event, body = json.loads(body[:step["head_bytes"]]), body[step["head_bytes"]:]
    (kind, request), = event["start"]["requests"][0].items()
    if kind == "generate" and "text" in request["prompt"]:
        start, length = request["prompt"]["text"]
        choice = {"text": [0, length], "finish_reason": "stop"}
        return {"done": {"item": 0, "answer": {"completion": {"choices": [choice]}}}}, body[start:start + length]
    if kind in ("prepare", "release"):
        return {"done": {"item": 0, "answer": {"nothing": {}}}}, b""
    return {"fail": {"kind": "unsupported", "message": "an echo only"}}, b""


while True:
    message, body = read()
    if "open" in message:
        write({"opened": {}})
    elif "step" in message:
        session = message["step"]["session"]
        try:
            action, text = answer(message["step"], body)
        except Exception:
            action, text = {"fail": {"kind": "protocol", "message": "an event that is none"}}, b""
        write({"did": {"session": session, "action": action, "stepped": "ok"}}, text)
    elif "close" in message:
        write({"closed": {"threads": 0}})
