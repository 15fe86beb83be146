"""Checks what came through: `check.py FILE COUNT`, a file of `galgo tail --format json`."""

import json
import sys
from collections import Counter

seen = Counter()
for line in open(sys.argv[1]):
    payload = json.loads(line)["payload"]
    body = json.loads(payload) if isinstance(payload, str) else payload
    seen[body["number"]] += 1
count = int(sys.argv[2])
missing = [number for number in range(count) if number not in seen]
twice = [number for number, times in seen.items() if times > 1]
assert not missing, f"{len(missing)} are missing, the first is {missing[0]}"
assert not twice, f"{len(twice)} are there twice, the first is {twice[0]}"
print(f"{count} messages went through RabbitMQ, each once")
