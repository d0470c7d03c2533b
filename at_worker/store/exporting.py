"""Tasks as lines of JSON, as they stand in the table: every digit, every key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from at_worker.outcome import Status
from at_worker.store.session import Session

# Times are written in the zone of the session, and lengths of time in its style.
FORMS = "SELECT set_config('TimeZone', 'UTC', true), set_config('IntervalStyle', 'postgres', true)"

_CHOSEN = """
  FROM {tasks} t
 WHERE {status}
   AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
   AND (%(after)s::timestamptz IS NULL OR t.execute_at >= %(after)s::timestamptz)
   AND (%(before)s::timestamptz IS NULL OR t.execute_at < %(before)s::timestamptz)
 ORDER BY t.id"""
_BY_STATUS = _CHOSEN.replace("{status}", "t.status = ANY (%(statuses)s::text[])")

# Those columns that a producer sets, in the order of cli.lines.
_GIVEN = """
SELECT row_to_json(given)::text
  FROM (SELECT t.task_type, t.payload, t.execute_at, t.priority, t.expires_at, t.max_attempts, t.retry_delays,
               t.dedupe_key, t.context
        {chosen}) AS given
"""
GIVEN = _GIVEN.replace("{chosen}", _BY_STATUS)
# By a status that stands in the statement its index finds them among millions that have ended.
GIVEN_PENDING = _GIVEN.replace("{chosen}", _CHOSEN.replace("{status}", "t.status = 'pending'"))
# Columns of the users' own are among them.
WHOLE = "SELECT row_to_json(t)::text {chosen}".replace("{chosen}", _BY_STATUS)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tasks; None is no condition. The times are those of execute_at."""

    statuses: Sequence[str]
    types: Sequence[str] | None
    after: datetime | None
    before: datetime | None


def lines(session: Session, choice: Choice, *, whole: bool) -> Iterator[str]:
    """A JSON object for each task, in the order of ids, as of one instant; `whole` with all columns."""
    parameters = {
        "statuses": list(choice.statuses),
        "types": None if choice.types is None else list(choice.types),
        "after": choice.after,
        "before": choice.before,
    }
    query = WHOLE if whole else GIVEN_PENDING if parameters["statuses"] == [Status.PENDING] else GIVEN
    with session.transaction():
        session.rows(FORMS)
        for (line,) in session.stream(query, parameters):
            yield line
