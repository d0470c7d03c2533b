"""What the tests of mails share."""

import threading
import time
from datetime import UTC, datetime

from at_worker import Attempt
from at_worker.jsontext import Json

UID = "0189f7a2-3b5c-4d6e-8f90-123456789abc"
LEAST: dict[str, Json] = {"to": "ann@example.org", "subject": "hello", "body": "text"}


def attempt(number: int = 1, previous: Json = None, seconds: float = 10) -> Attempt:
    return Attempt(
        task_id=7,
        task_uid=UID,
        number=number,
        scheduled_at=datetime.now(UTC),
        context={},
        previous=previous,
        deadline=time.monotonic() + seconds,
        stopping=threading.Event(),
    )
