"""The two ends of the audit-log example: makes the events to send, and judges what came back.

    audit_log.py prepare LOG LINES                            events on standard output
    audit_log.py verify EVENTS ACKED_BEFORE ACKED REPLAY      checks and a summary

An event is a line of the package log with its number in front and the package in a fixed place:

    <number> <date> <time> <package> <action> <the rest>
"""

import json
import sys
from collections import Counter, defaultdict
from datetime import date, timedelta

DAYS_SHOWN = 12
PACKAGES_SHOWN = 10

# Actions of the package log with a package behind them. A `status` line has the state first.
ACTIONS = {"install", "upgrade", "configure", "trigproc", "remove", "purge", "disappear"}

# What a machine without a package log gets.
SAMPLE = [
    f"2026-01-{day:02} 08:00:{n:02} {event}"
    for day in range(1, 8)
    for n, event in enumerate(
        f"{action} {package}:amd64 {versions}"
        for package in ("libc6", "bash", "curl", "openssl", "zlib1g", "tzdata", "vim", "git")
        for action, versions in (
            ("install", "<none> 1.0-1"),
            ("status half-configured", "1.0-1"),
            ("configure", "1.0-1 1.0-1"),
            ("status installed", "1.0-1"),
        )
    )
]


def parse(line):
    """(date, time, package, action, rest) of a line of the package log, or None."""
    fields = line.split()
    if len(fields) < 5:
        return None
    day, time, action = fields[:3]
    if action == "status":
        return day, time, fields[4], f"status:{fields[3]}", fields[5:]
    if action in ACTIONS:
        return day, time, fields[3], action, fields[4:]
    return None  # `startup archives unpack` and the like: no package


def prepare(log, wanted):
    """Prints `wanted` events: those of the log, then the same again, each time as many days later as
    the log covers, so that dates keep rising."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        print(f"audit-log: {error}; using a made-up log", file=sys.stderr)
        lines = SAMPLE
    events = [event for event in map(parse, lines) if event] or [parse(line) for line in SAMPLE]
    first, last = (date.fromisoformat(events[n][0]) for n in (0, -1))
    span = timedelta(days=(last - first).days + 1)
    for number in range(1, wanted + 1):
        again, index = divmod(number - 1, len(events))
        day, time, package, action, rest = events[index]
        if again:
            day = (date.fromisoformat(day) + again * span).isoformat()
        print(number, day, time, package, action, *rest)


class Checks:
    """Named checks; the last line of the output counts them."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, name, faults):
        faults = list(faults)
        if not faults:
            self.passed += 1
            print(f"ok      {name}")
            return
        self.failed += 1
        print(f"FAILED  {name}: {len(faults)} fault(s), first: {faults[0]}")


def verify(events_file, acked_before_file, acked_file, replay_file):
    with open(events_file, encoding="utf-8") as file:
        events = dict(enumerate(file.read().splitlines(), start=1))
    acked_before, acked = numbers(acked_before_file), numbers(acked_file)
    replayed = list(read_replay(replay_file))

    copies = Counter(number for _, _, number, _ in replayed)
    twice = sum(1 for count in copies.values() if count == 2)
    print(f"{len(events)} events; {len(acked_before)} acknowledged before the kill, "
          f"{len(acked)} in the end")
    print(f"{len(replayed)} messages replayed; {twice} events are there twice: their first send "
          "was stored, but the server was killed before it could say so")

    checks = Checks()
    checks.that("each event was acknowledged in the end", events.keys() - acked)
    checks.that("each acknowledged event is there", sorted(acked - copies.keys()))
    checks.that("each message is an event, byte for byte",
                (text for _, _, number, text in replayed if events.get(number) != text))
    checks.that("none is there twice from one acknowledged send",
                (n for n, count in copies.items() if count > (1 if n in acked_before else 2)))
    checks.that("offsets start at 0 and have no gaps", gaps(replayed))
    checks.that("a package is in one partition", scattered(replayed))
    checks.that("events of a package are in their order", disordered(replayed))
    summary(events, copies)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return checks.failed


def numbers(file):
    with open(file, encoding="ascii") as lines:
        return {int(line) for line in lines}


def read_replay(file):
    """(partition, offset, number, text) of each message, in the order of the replay."""
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            text = message["payload"]
            yield message["partition"], message["offset"], int(text.split(" ", 1)[0]), text


def package_of(text):
    return text.split(" ", 4)[3]


def gaps(replayed):
    expected = Counter()
    for partition, offset, _, _ in replayed:
        if offset != expected[partition]:
            yield f"partition {partition}: offset {offset} where {expected[partition]} was next"
        expected[partition] = offset + 1


def scattered(replayed):
    partitions = defaultdict(set)
    for partition, _, _, text in replayed:
        partitions[package_of(text)].add(partition)
    return (f"{package} in {found}" for package, found in partitions.items() if len(found) > 1)


def disordered(replayed):
    """Both the first copies and the last copies of a package's events must be in order: an event that
    was sent again may come twice, but never before one that precedes it."""
    first, last = defaultdict(dict), defaultdict(dict)
    for place, (_, _, number, text) in enumerate(replayed):
        first[package_of(text)].setdefault(number, place)
        last[package_of(text)][number] = place
    for copies in (first, last):
        for package, places in copies.items():
            in_order = sorted(places)
            if sorted(places, key=places.get) != in_order:
                yield package


def summary(events, copies):
    """What an auditor came for: events per day and per package, each counted once."""
    days, packages = Counter(), Counter()
    for number in copies:
        fields = events[number].split(" ", 4)
        days[fields[1]] += 1
        packages[fields[3]] += 1
    print(f"\nevents per day ({len(days)} days)")
    for day in sorted(days)[:DAYS_SHOWN]:
        print(f"  {day}  {days[day]:>8}")
    if len(days) > DAYS_SHOWN:
        rest = sum(days[day] for day in sorted(days)[DAYS_SHOWN:])
        print(f"  later       {rest:>8}")
    print(f"\nevents per package ({len(packages)} packages)")
    for package, count in packages.most_common(PACKAGES_SHOWN):
        print(f"  {count:>8}  {package}")
    if len(packages) > PACKAGES_SHOWN:
        rest = sum(count for _, count in packages.most_common()[PACKAGES_SHOWN:])
        print(f"  {rest:>8}  all others")
    print()


def main(arguments):
    match arguments:
        case ["prepare", log, lines]:
            prepare(log, int(lines))
        case ["verify", events, acked_before, acked, replay]:
            return 1 if verify(events, acked_before, acked, replay) else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
