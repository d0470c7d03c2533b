"""A receiver of callbacks whose answer is in the path of each request."""

import re
import threading
from collections import Counter

from tests.processes import PATIENCE
from tests.servers.http import Arrival, Receiver, Reply


class Endpoint(Receiver):
    """`/status/410` answers so, `/fails/2` succeeds after two 503s, `/hold` answers once it is released."""

    def __init__(self) -> None:
        super().__init__()
        self._released = threading.Event()

    def __exit__(self, *arguments: object) -> None:
        self.release()
        super().__exit__(*arguments)

    def release(self) -> None:
        """Answer what is held, and hold nothing from now on."""
        self._released.set()

    def take(self, arrival: Arrival) -> Reply:
        super().take(arrival)
        if arrival.target.startswith("/hold"):
            self._released.wait(PATIENCE)
        return Reply(_status(arrival.target, int(arrival.value("X-At-Worker-Attempt"))))

    def attempts(self) -> Counter[int]:
        """How often each task arrived, by its id."""
        return Counter(int(arrival.value("X-At-Worker-Task-Id")) for arrival in list(self.arrivals))


def _status(path: str, attempt: int) -> int:
    match = re.match(r"/(status|fails)/(\d+)", path)
    if match is None:
        return 200
    if match[1] == "status":
        return int(match[2])
    return 503 if attempt <= int(match[2]) else 200
