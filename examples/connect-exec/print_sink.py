#!/usr/bin/env python3
"""A target for `galgo connect`: writes each message as a line into a file, or to standard error.

    [to.exec]
    command = ["python3", "print_sink.py"]
    settings = { file = "messages.txt" }
"""
import json
import sys


def say(line):
    print(json.dumps(line), flush=True)


out = sys.stderr
for text in sys.stdin:
    line = json.loads(text)
    if "hello" in line:
        name = line["hello"]["settings"].get("file")
        out = open(name, "a", encoding="utf-8") if name else sys.stderr
        say({"ready": {}})
    elif "batch" in line:
        for message in line["messages"]:
            payload = message.get("payload", message.get("base64"))
            print(line["lane"], message["offset"], json.dumps(payload), file=out)
        out.flush()
        say({"done": line["batch"]})
    elif "stop" in line:
        break
