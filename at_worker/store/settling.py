"""Writing how claims ended; every settlement carries the fence of its claim."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from at_worker import jsontext
from at_worker.jsontext import Json
from at_worker.outcome import Settlement, Status
from at_worker.store.session import Row, Session
from at_worker.task import Claim


@dataclass(frozen=True, slots=True)
class Leftover:
    """Claims that a statement did not touch: locked by somebody just now, or no longer ours."""

    locked: frozenset[Claim]
    lost: frozenset[Claim]


# A standby that takes over may never have seen the last claims, and give out their claim_seq again; the boot
# id in the holder's name tells them apart. NULL: of whatever holder, for who has read and locked the row.
OURS = "(%(holder)s::text IS NULL OR t.locked_by = %(holder)s)"

# Of the claims that a statement was given, those that it has not done, as `leftover` reads them.
LEFT = """
SELECT g.id, g.claim_seq,
       EXISTS (SELECT FROM {tasks} t
                WHERE t.id = g.id AND t.claim_seq = g.claim_seq AND t.status = 'processing'
                  AND {ours}) AS still_ours
  FROM {given} g
 WHERE NOT EXISTS (SELECT FROM {done} d WHERE d.id = g.id AND d.claim_seq = g.claim_seq)
"""

# Rows are locked in the order of their ids and locked ones are skipped, so that neither a deadlock nor a
# person's open transaction holds up the others. What is left over is either locked now, and tried again, or
# no longer ours.
_SETTLE = """
WITH ended AS MATERIALIZED (
    SELECT id::bigint, claim_seq::bigint,
           coalesce(status, 'completed') AS status, coalesce(attempted, 1) AS attempted,
           delay, error, result, started_ago::bigint, ended_ago::bigint
      -- Not unnest(), of which the planner expects so little that it compares each with each.
      FROM ROWS FROM (
               json_array_elements_text(%(ids)s::json), json_array_elements_text(%(seqs)s::json),
               json_array_elements_text(%(started)s::json), json_array_elements_text(%(ended)s::json))
           WITH ORDINALITY AS e (id, claim_seq, started_ago, ended_ago, nth)
      LEFT JOIN json_to_recordset(%(details)s::json)
           AS d (nth bigint, status text, attempted int, delay float8, error text, result text) USING (nth)
), held AS MATERIALIZED (
    SELECT t.id FROM {tasks} t
     WHERE t.id = ANY (ARRAY(SELECT id FROM ended)) AND t.status = 'processing'
     ORDER BY t.id FOR UPDATE SKIP LOCKED
), written AS (
    UPDATE {tasks} t
       SET status = e.status,
           attempts = least(t.attempts::bigint + e.attempted, 2147483647),
           execute_at = CASE WHEN e.delay IS NULL THEN t.execute_at
                             ELSE now() + e.delay * interval '1 second' END,
           original_execute_at = CASE WHEN e.delay IS NULL THEN t.original_execute_at
                                      ELSE coalesce(t.original_execute_at, t.execute_at) END,
           error_message = CASE WHEN e.attempted = 1 OR e.error IS NOT NULL THEN e.error
                                ELSE t.error_message END,
           result = coalesce(e.result::jsonb, t.result),
           started_at = coalesce(now() - e.started_ago * interval '1 microsecond', t.started_at),
           completed_at = CASE WHEN e.status = 'completed'
                               THEN now() - e.ended_ago * interval '1 microsecond' END,
           updated_at = now()
      FROM ended e
     WHERE t.id = e.id AND t.id = ANY (ARRAY(SELECT id FROM held))
       AND t.claim_seq = e.claim_seq AND t.status = 'processing' AND {ours}
    RETURNING t.id, t.claim_seq{more}
){noted}
{left}
""".replace("{left}", LEFT.replace("{given}", "ended").replace("{done}", "written")).replace("{ours}", OURS)

SETTLE = _SETTLE.replace("{more}", "").replace("{noted}", "")

# Attempts that did not succeed are kept besides. What a batch of successes would pay for that is a tenth.
SETTLE_AND_NOTE = _SETTLE.replace(
    "{more}",
    """, t.attempts, t.locked_by, t.started_at,
              now() - coalesce(e.ended_ago, 0) * interval '1 microsecond' AS ended_at,
              e.status, e.error, e.result, e.attempted, e.started_ago""",
).replace(
    "{noted}",
    """, noted AS (
    INSERT INTO {attempts} (task_id, attempt, worker, started_at, ended_at, outcome, error_message, result)
    SELECT w.id, w.attempts, w.locked_by, w.started_at, w.ended_at,
           -- Of an attempt whose worker died nobody knows when it ran.
           CASE WHEN w.started_ago IS NULL THEN 'lost'
                WHEN w.status = 'pending' THEN 'retry' ELSE 'failed' END,
           w.error, w.result::jsonb
      FROM written w WHERE w.error IS NOT NULL AND w.attempted = 1
)""",
)

# What a write did whose reply was lost: the row counts this attempt and no later one, and tells of it what
# was to be written. It may have been claimed again since.
WRITTEN = """
SELECT t.id, e.claim_seq
  FROM json_to_recordset(%(ended)s::json)
       AS e (id bigint, claim_seq bigint, status text, attempts bigint, error text, attempted bool)
  JOIN {tasks} t USING (id)
 WHERE t.attempts = e.attempts
   AND (t.error_message IS NOT DISTINCT FROM e.error OR NOT e.attempted AND e.error IS NULL)
   AND (t.claim_seq = e.claim_seq AND t.status = e.status AND {ours}
        OR t.claim_seq > e.claim_seq AND e.status = 'pending')
""".replace("{ours}", OURS)


def settle(session: Session, settlements: Sequence[Settlement], holder: str | None) -> Leftover:
    """Write how the claims of a holder ended, all in one statement; None: of whatever holder.

    Raises Refused if a value of any of them is.
    """
    now = time.monotonic()
    failed = any(settlement.attempted and settlement.error is not None for settlement in settlements)
    rows = session.rows(
        SETTLE_AND_NOTE if failed else SETTLE,
        {**_columns(settlements, now), "holder": holder},
    )
    return leftover(rows)


def written(session: Session, settlements: Sequence[Settlement], holder: str) -> frozenset[Claim]:
    """Of ends whose write got no answer and that are not open any more, those that it has written."""
    ended = [
        {
            "id": end.claim.id,
            "claim_seq": end.claim.seq,
            "status": end.status,
            "attempts": end.task.attempt if end.attempted else end.task.attempts,
            "error": end.error,
            "attempted": end.attempted,
        }
        for end in settlements
    ]
    rows = session.rows(WRITTEN, {"ended": jsontext.render(ended), "holder": holder})
    return frozenset(Claim(*row) for row in rows)


def _columns(settlements: Sequence[Settlement], now: float) -> dict[str, str]:
    """Settlements as SETTLE reads them: what all have as arrays, and the details of those that have any."""
    claims = [settlement.task.claim for settlement in settlements]
    return {
        "ids": _array(claim.id for claim in claims),
        "seqs": _array(claim.seq for claim in claims),
        "started": _ago(now, [settlement.started for settlement in settlements]),
        "ended": _ago(now, [settlement.ended for settlement in settlements]),
        "details": jsontext.render(
            [
                details
                for nth, settlement in enumerate(settlements, 1)
                if (details := _details(nth, settlement))
            ]
        ),
    }


def _details(nth: int, settlement: Settlement) -> dict[str, Json] | None:
    """What parts a settlement from a success that has nothing to tell, or None."""
    _, status, attempted, delay, error, result, _, _ = settlement
    if status is Status.COMPLETED and result is error is None:
        return None
    told: dict[str, Json] = {
        "nth": nth,
        "status": status,
        "attempted": int(attempted),
        "delay": delay,
        "error": error,
        "result": result,
    }
    return {name: value for name, value in told.items() if value is not None}


def _ago(now: float, instants: Iterable[float | None]) -> str:
    """Whole microseconds, as exact as a timestamp; rounded down, so that no task seems to start early."""
    return _array("null" if instant is None else int((now - instant) * 1e6) for instant in instants)


def _array(items: Iterable[object]) -> str:
    """A JSON array, quickly."""
    return f"[{','.join(map(str, items))}]"


def leftover(rows: list[Row]) -> Leftover:
    """What SETTLE and BEAT tell of the claims that they did not touch."""
    return Leftover(
        locked=frozenset(Claim(row[0], row[1]) for row in rows if row[2]),
        lost=frozenset(Claim(row[0], row[1]) for row in rows if not row[2]),
    )
