"""What arrived: every delivery, as its receiver saw it."""

import threading
import time
from dataclasses import dataclass

from tests.processes import PATIENCE
from tests.servers.http import Arrival, Reply
from tests.worker.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request from its arrival to its answer; instants are seconds since the epoch.

    `status` is that of HTTP; for a broker or a mail server that took the message over it is 200.
    """

    task: int
    uid: str
    attempt: int
    start: float
    end: float
    status: int

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


class Ledger:
    """The deliveries of one experiment; all threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []

    def add(self, delivery: Delivery) -> None:
        with self._lock:
            self._deliveries.append(delivery)

    def deliveries(self) -> list[Delivery]:
        with self._lock:
            return list(self._deliveries)


class RecordingEndpoint(Endpoint):
    """An endpoint that enters what it answers into a ledger.

    It knows the paths `/`, `/hold`, `/status/503` and `/fails/2`; with `/turns` the attempts of one number
    are answered once `answer(number)` was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self._turns = {attempt: threading.Event() for attempt in range(1, 10)}

    def __exit__(self, *arguments: object) -> None:
        for attempt in self._turns:
            self.answer(attempt)
        super().__exit__(*arguments)

    def answer(self, attempt: int) -> None:
        self._turns[attempt].set()

    def take(self, arrival: Arrival) -> Reply:
        start, attempt = time.time(), int(arrival.value("X-At-Worker-Attempt"))
        reply = super().take(arrival)
        if arrival.target == "/turns":
            self._turns[attempt].wait(PATIENCE)
        self.ledger.add(
            Delivery(
                task=int(arrival.value("X-At-Worker-Task-Id")),
                uid=arrival.value("Idempotency-Key"),
                attempt=attempt,
                start=start,
                end=time.time(),
                status=reply.status,
            )
        )
        return reply
