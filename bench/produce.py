"""The producer process of a trial: `python -m bench.produce PEER`; reads commands, one JSON line each."""

import json
import sys
import time
from importlib import import_module
from typing import Any

from bench.apps.producer import Producer


def carry_out(producer: Producer, command: dict[str, Any]) -> dict[str, Any]:
    """Do what one line asks for; the answer says when it was sent."""
    match command["do"]:
        case "prepare":
            producer.prepare()
        case "put":
            first, count = command["first"], command["count"]
            producer.put(first, command.get("due") or [None] * count)
        case "trickle":
            return {"calls": _trickle(producer, command["first"], command["gaps"])}
        case unknown:
            raise ValueError(unknown)
    return {}


def _trickle(producer: Producer, first: int, gaps: list[float]) -> list[tuple[float, float]]:
    """One task after each gap; when each call began and when it had returned."""
    calls = []
    for number, gap in enumerate(gaps, first):
        time.sleep(gap)
        began = time.time()
        producer.put_one(number)
        calls.append((began, time.time()))
    return calls


def main() -> None:
    """Answer each line of the standard input until it ends."""
    producer = import_module(f"bench.apps.{sys.argv[1]}").Producer()
    for line in sys.stdin:
        answer = carry_out(producer, json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
