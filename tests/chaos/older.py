"""A worker of release 1.0.0, as the table sees it: it sends the statements that versions/1 keeps."""

import http.client
import json
import threading
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from tests.processes import PATIENCE

STATEMENTS = Path(__file__).parents[1] / "store" / "versions" / "1"
CLAIM, SETTLE = ((STATEMENTS / f"{name}.sql").read_bytes() for name in ("claim", "settle"))
ROOM = 4
REST = 0.02  # seconds between two claims


class OlderWorker:
    """It claims, delivers and settles callbacks, a handful at a time, until the end of the block."""

    def __init__(self, dsn: str, name: str) -> None:
        self.boot_id = uuid.uuid4().hex[:12]
        self._dsn = dsn
        self._holder = f"{name}/{self.boot_id}"
        self._ending = threading.Event()
        self._dying = threading.Event()
        self._surprise: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As at SIGTERM: what it has claimed it brings to an end."""
        self._ending.set()
        self._join()

    def die(self) -> None:
        """As at SIGKILL, once it has delivered what it claims next: nobody hears what came of it."""
        self._dying.set()
        self._join()

    def _join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._surprise is not None:
            raise self._surprise

    def _work(self) -> None:
        try:
            # The release prepared its statements at once, for this plan.
            with psycopg.connect(self._dsn, autocommit=True, prepare_threshold=0) as connection:
                connection.execute("SET plan_cache_mode = force_generic_plan")
                turn = 0
                while not self._ending.is_set():
                    turn += 1
                    self._turn(connection, turn)
                    self._ending.wait(REST)
        except BaseException as error:  # noqa: BLE001 - the thread of the test raises it
            self._surprise = error

    def _turn(self, connection: psycopg.Connection[Any], turn: int) -> None:
        given = {
            "room": ROOM,
            "ahead": 0,
            "look_ahead": 0,
            "turn": turn,
            "types": None,
            "holder": self._holder,
        }
        claimed = [row[3:] for row in connection.execute(CLAIM, given).fetchall() if row[3] is not None]
        for task, _, uid, _, payload, *_, attempts, _, _ in claimed:
            _deliver(json.loads(payload)["url"], task, uid, attempts + 1)
        if claimed and self._dying.is_set():
            self._ending.set()
        elif claimed:
            _settle(connection, [(row[0], row[1]) for row in claimed])


def _deliver(url: str, task: int, uid: str, attempt: int) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    try:
        connection.request(
            "POST",
            parts.path,
            headers={
                "X-At-Worker-Task-Id": str(task),
                "X-At-Worker-Attempt": str(attempt),
                "Idempotency-Key": uid,
            },
        )
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def _settle(connection: psycopg.Connection[Any], claims: list[tuple[int, int]]) -> None:
    """All of these were carried out. None may be lost; what somebody has locked is tried again."""
    while claims:
        ids, seqs = zip(*claims, strict=True)
        nothing, now = [None] * len(claims), [0.0] * len(claims)
        left = connection.execute(
            SETTLE,
            {
                "ids": list(ids),
                "seqs": list(seqs),
                "statuses": ["completed"] * len(claims),
                "attempted": [1] * len(claims),
                "delays": nothing,
                "errors": nothing,
                "results": ["200"] * len(claims),
                "started": now,
                "ended": now,
            },
        ).fetchall()
        assert all(still_ours for _, _, still_ours in left), left
        claims = [(task, seq) for task, seq, _ in left]
