"""Many new tasks at once, from the lines of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import LiteralString, NamedTuple

from at_worker.store.errors import Refused
from at_worker.store.quarantine import in_halves
from at_worker.store.session import Session

# The lines themselves, so that PostgreSQL reads the digits that the file holds. In binary form, where a text
# needs no quotes: they take longer than the insert. OFFSET 0 has each line read once.
_GIVEN = """
  FROM (SELECT l.line::jsonb, l.execute_at::timestamptz, l.expires_at::timestamptz
          FROM unnest(%(lines)b::text[], %(execute_at)b::text[], %(expires_at)b::text[])
               AS l (line, execute_at, expires_at)
        OFFSET 0) AS given
 CROSS JOIN LATERAL jsonb_to_record(given.line)
       AS r (task_type text, priority smallint, max_attempts integer, retry_delays interval[],
             dedupe_key text, context jsonb)"""

# ON CONFLICT that names no columns asks for no right to read them.
INSERT = """
WITH inserted AS (
    INSERT INTO {tasks} (task_type, payload, execute_at, priority, expires_at, max_attempts, retry_delays,
                         dedupe_key, context)
    SELECT r.task_type, coalesce(given.line -> 'payload', '{}'), coalesce(given.execute_at, now()),
           coalesce(r.priority, 5), given.expires_at, coalesce(r.max_attempts, 5), r.retry_delays,
           r.dedupe_key, coalesce(r.context, '{}')
    {given}
        ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT count(*) FROM inserted
""".replace("{given}", _GIVEN)

# A fifth as fast, but it knows what to do about a key that is taken.
SCHEDULE = """
SELECT count({home}.at_schedule(
           r.task_type, coalesce(given.line -> 'payload', '{}'), coalesce(given.execute_at, now()),
           (given.line - '{task_type,payload,execute_at}'::text[])
           || jsonb_build_object('expires_at', given.expires_at, 'on_duplicate', %(on_duplicate)s::text)))
{given}
""".replace("{given}", _GIVEN)

TRY = "SELECT count(r.task_type) {given}".replace("{given}", _GIVEN)


class OnDuplicate(StrEnum):
    """What becomes of a task whose dedupe_key is taken, as at_schedule has it."""

    IGNORE = "ignore"
    REPLACE = "replace"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class NewTask:
    """One line: a JSON object with the columns of a task, and the times in it as PostgreSQL reads them."""

    number: int
    line: str
    execute_at: str | None
    expires_at: str | None
    keyed: bool


class Loaded(NamedTuple):
    """How many PostgreSQL took, and which it refused, with its reason."""

    taken: int
    refused: list[tuple[NewTask, str]]


def load(session: Session, tasks: Sequence[NewTask], on_duplicate: OnDuplicate) -> Loaded:
    """Insert all that PostgreSQL does not refuse, within the transaction of the caller.

    A task that was left out because its dedupe_key is taken (OnDuplicate.IGNORE) is not counted.
    """
    decided = on_duplicate is OnDuplicate.IGNORE
    plain = [task for task in tasks if decided or not task.keyed]
    keyed = [task for task in tasks if not decided and task.keyed]
    inserted, scheduled = _run(session, INSERT, plain), _run(session, SCHEDULE, keyed, on_duplicate)
    return Loaded(inserted.taken + scheduled.taken, inserted.refused + scheduled.refused)


def rehearse(session: Session, tasks: Sequence[NewTask]) -> Loaded:
    """Find the lines whose values PostgreSQL would refuse, and write nothing; all others are counted."""
    return _run(session, TRY, tasks)


def _run(
    session: Session, query: LiteralString, tasks: Sequence[NewTask], on_duplicate: str | None = None
) -> Loaded:
    def write(part: Sequence[NewTask]) -> int:
        parameters = {
            "lines": [task.line for task in part],
            "execute_at": [task.execute_at for task in part],
            "expires_at": [task.expires_at for task in part],
            "on_duplicate": on_duplicate,
        }
        with session.savepoint():
            taken: int = session.rows(query, parameters)[0][0]
        return taken

    taken, refused = 0, []
    for part, result in in_halves(tasks, write):
        if isinstance(result, Refused):
            refused.append((part[0], str(result)))
        else:
            taken += result
    return Loaded(taken, refused)
