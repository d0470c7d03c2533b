"""Whether what is announced arrives where a worker listens for it."""

import secrets
import select
import time

from at_worker.store.database import Database

PATIENCE = 3.0  # seconds; an announcement takes a millisecond


def arrives(announced: Database, listening: Database) -> bool:
    """Announce something in one database and listen for it over the other, on a channel of its own.

    A pooler between transactions lets it get lost, and so does another database of the same server. Raises as
    `Database.direct` does.
    """
    channel = f"at_worker_{secrets.token_hex(8)}"
    with listening.direct() as ears, announced.direct() as mouth:
        ears.listen(channel)
        mouth.rows("SELECT pg_catalog.pg_notify(%(channel)s, '')", {"channel": channel})
        poll = select.poll()
        poll.register(ears.fileno(), select.POLLIN)
        until = time.monotonic() + PATIENCE
        while not (heard := ears.notifications()) and (left := until - time.monotonic()) > 0:
            poll.poll(left * 1000)
        return bool(heard)
