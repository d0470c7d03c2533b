"""The runner's end of a producer process."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.arena import Place
from bench.contenders.contender import Contender
from bench.processes import Ended, running, tail


class Enqueuer:
    """Asks a peer's producer for tasks."""

    def __init__(self, process: subprocess.Popen[str], place: Place) -> None:
        self._process = process
        self._place = place

    def prepare(self) -> None:
        """Make the peer's tables or queues."""
        self._ask(do="prepare")

    def put(self, first: int, count: int) -> None:
        """Enqueue tasks that are due now."""
        self._ask(do="put", first=first, count=count)

    def schedule(self, first: int, due: Sequence[float]) -> None:
        """Enqueue tasks ahead of their instants, in seconds since the epoch."""
        self._ask(do="put", first=first, count=len(due), due=list(due))

    def trickle(self, first: int, gaps: Sequence[float]) -> list[tuple[float, float]]:
        """Enqueue tasks one at a time, each due now, with a pause before each.

        Returns when each call began and when it had returned.
        """
        calls: list[tuple[float, float]] = self._ask(do="trickle", first=first, gaps=list(gaps))["calls"]
        return calls

    def _ask(self, **command: object) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise Ended("the producer has no pipes")
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Ended(f"its producer ended: {tail(self._place.log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def enqueuer(contender: Contender, place: Place) -> Iterator[Enqueuer]:
    """A producer process of this peer."""
    environment = {**place.environment, **(contender.environment or {})}
    command = [sys.executable, "-m", "bench.produce", contender.app]
    with running(command, place.log, environment) as process:
        yield Enqueuer(process, place)
