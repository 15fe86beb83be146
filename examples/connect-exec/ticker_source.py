#!/usr/bin/env python3
"""An origin for `galgo connect`: a message each second, numbered, going on where it was.

    [from.exec]
    command = ["python3", "ticker_source.py"]
    settings = { every_seconds = 1, upto = 100 }
"""
import json
import sys
import threading
import time


def say(line):
    print(json.dumps(line), flush=True)


hello = json.loads(sys.stdin.readline())["hello"]
every = hello["settings"].get("every_seconds", 1)
upto = hello["settings"].get("upto", float("inf"))
number = hello["position"] or 0
stop = threading.Event()


def listen():
    for text in sys.stdin:
        if "stop" in json.loads(text):  # the others say what is settled
            break
    stop.set()


threading.Thread(target=listen, daemon=True).start()
say({"ready": {}})
while number < upto and not stop.wait(every):
    number += 1
    payload = {"number": number, "at": time.time()}
    say({"messages": [{"id": f"tick-{number}", "payload": payload}], "position": number})
if not hello["once"]:
    stop.wait()
