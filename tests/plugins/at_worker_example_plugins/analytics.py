"""`analytics`: {"event_name": ..., "user_id": a UUID or absent, "payload": anything}.

Events go into the database that ANALYTICS_DSN names:

    CREATE TABLE analytics_events (
        task_uid uuid PRIMARY KEY,
        event_name text NOT NULL,
        user_id uuid,
        payload jsonb,
        occurred_at timestamptz NOT NULL
    );
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import psycopg
import simplejson
from psycopg.types.json import Jsonb

from at_worker import Attempt, Done, InvalidPayload, Outcome, Retry

# An attempt may be repeated: task_uid is the same each time, so its event is there once.
INSERT_EVENT = """
    INSERT INTO analytics_events (task_uid, event_name, user_id, payload, occurred_at)
    VALUES (%(task_uid)s, %(event_name)s, %(user_id)s, %(payload)s, %(occurred_at)s)
    ON CONFLICT (task_uid) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, and to whom."""

    name: str
    user_id: UUID | None
    payload: object


class Analytics:
    """Records an event exactly once."""

    def parse(self, payload: object) -> Event:
        """Check the payload; no connection is made."""
        if not isinstance(payload, Mapping):
            raise InvalidPayload("payload", "must be an object")
        name = payload.get("event_name")
        if not isinstance(name, str) or not name:
            raise InvalidPayload("event_name", "must be a text that is not empty")
        return Event(name, _user_id(payload.get("user_id")), payload.get("payload"))

    def execute(self, event: Event, attempt: Attempt) -> Outcome:
        """An exception, a database that is away for instance, counts as a failure that may pass."""
        dsn = os.environ.get("ANALYTICS_DSN")
        if not dsn:
            return Retry("ANALYTICS_DSN is not set")
        seconds = max(1, int(attempt.deadline - time.monotonic()))
        with psycopg.connect(
            dsn, autocommit=True, connect_timeout=seconds, options=f"-c statement_timeout={seconds}s"
        ) as connection:
            cursor = connection.execute(
                INSERT_EVENT,
                {
                    "task_uid": attempt.task_uid,
                    "event_name": event.name,
                    "user_id": event.user_id,
                    # simplejson keeps the digits of the Decimals that at-worker reads numbers as.
                    "payload": None
                    if event.payload is None
                    else Jsonb(event.payload, dumps=simplejson.dumps),
                    "occurred_at": attempt.scheduled_at,
                },
            )
        return Done({"inserted": cursor.rowcount == 1})

    def close(self) -> None:
        """Nothing is held between two tasks."""


def _user_id(value: object) -> UUID | None:
    if value is None:
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise InvalidPayload("user_id", "must be a UUID") from None
