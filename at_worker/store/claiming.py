"""The statements that claim, each with its two parts."""

from collections.abc import Mapping
from typing import LiteralString

from at_worker import jsontext
from at_worker.store.lanes import EVERYTHING, Lane, Place
from at_worker.store.quarantine import Choosing
from at_worker.store.rows import EXPIRED, TASK

# The lanes, one per (task_type, priority) that has pending rows, are found by stepping over the index.
_FOUND = """
step AS (
    (SELECT t.task_type, t.priority FROM {tasks} t
      WHERE t.status = 'pending' ORDER BY t.task_type, t.priority LIMIT 1)
    UNION ALL
    SELECT next.task_type, next.priority
      FROM step CROSS JOIN LATERAL (
        SELECT t.task_type, t.priority FROM {tasks} t
         WHERE t.status = 'pending' AND (t.task_type, t.priority) > (step.task_type, step.priority)
         ORDER BY t.task_type, t.priority LIMIT 1) next
), known AS (
    SELECT task_type, priority, '-infinity'::timestamptz AS since, 0::bigint AS after FROM step
)"""

_TOLD = """
known AS (
    SELECT task_type, priority, coalesce(to_timestamp(since), '-infinity') AS since, after
      FROM json_to_recordset(%(lanes)s::json)
           AS l (task_type text, priority smallint, since float8, after bigint)
)"""

# Each lane is walked in order from its earliest row, or from where it has been worked off. So rows of the
# future, of other types, of paused ones or of lower priority cost nothing. Lanes come by priority, the types
# within one in turns; the outer LIMIT stops the walk, and with it the locking, as soon as there are enough.
# The ids go through an array, so that the UPDATE always looks them up in the primary key; and the CTE is
# MATERIALIZED, or a LIMIT under SKIP LOCKED may be evaluated twice and take more rows than it says
# (PostgreSQL bug 15715).
_CHOSEN = """
lane AS MATERIALIZED (
    SELECT task_type, priority, since, after,
           (row_number() OVER types + %(turn)s) %% count(*) OVER (PARTITION BY priority) AS place
      FROM known
     WHERE (%(types)s::text[] IS NULL OR task_type = ANY (%(types)s::text[]))
       AND NOT EXISTS (SELECT FROM {paused} p WHERE p.task_type = known.task_type)
    WINDOW types AS (PARTITION BY priority ORDER BY task_type)
), due AS MATERIALIZED (
    SELECT first.id
      FROM (SELECT * FROM lane ORDER BY priority DESC, place) AS lane
     CROSS JOIN LATERAL (
        SELECT t.id FROM {tasks} t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND (t.execute_at, t.id) > (lane.since, lane.after) AND t.execute_at <= now()
           AND t.id <> ALL (%(refused)s::bigint[])
         ORDER BY t.execute_at, t.id
         LIMIT %(room)s FOR UPDATE SKIP LOCKED) first
     LIMIT %(room)s
), soon AS MATERIALIZED (
    SELECT first.id
      FROM (SELECT * FROM lane ORDER BY priority DESC, place) AS lane
     CROSS JOIN LATERAL (
        SELECT t.id FROM {tasks} t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND t.execute_at > now() AND t.execute_at <= now() + %(look_ahead)s * interval '1 second'
           AND t.id <> ALL (%(refused)s::bigint[])
         ORDER BY t.execute_at, t.id
         LIMIT %(ahead)s FOR UPDATE SKIP LOCKED) first
     LIMIT least(%(ahead)s, %(room)s - (SELECT count(*) FROM due))
)"""

# Of one lane, from a place before which nothing is known to wait: what is due and what is near in one walk.
_FIRST = """
first AS MATERIALIZED (
    SELECT t.id FROM {tasks} t
     WHERE t.status = 'pending' AND t.task_type = %(task_type)s AND t.priority = %(priority)s::smallint
       AND (t.execute_at, t.id) > (to_timestamp(%(since)s::float8), %(after)s::bigint)
       AND t.execute_at <= now() + %(look_ahead)s * interval '1 second'
       AND t.id <> ALL (%(refused)s::bigint[])
       AND (SELECT open FROM lane)
     ORDER BY t.execute_at, t.id
     LIMIT %(room)s FOR UPDATE SKIP LOCKED
)"""

# Of one lane, from an instant on at which nothing before it is known to wait, only what is due.
_DUE = """
due AS MATERIALIZED (
    SELECT t.id FROM {tasks} t
     WHERE t.status = 'pending' AND t.task_type = %(task_type)s AND t.priority = %(priority)s::smallint
       AND t.execute_at >= to_timestamp(%(since)s::float8) AND t.execute_at <= now()
       AND t.id <> ALL (%(refused)s::bigint[])
       AND NOT EXISTS (SELECT FROM {paused} p WHERE p.task_type = %(task_type)s)
     ORDER BY t.execute_at, t.id
     LIMIT %(room)s FOR UPDATE SKIP LOCKED
)"""

_TAKE = """
UPDATE {tasks} t
   SET (status, error_message, claim_seq, locked_by, started_at, updated_at) = (
        SELECT 'failed', {expired}, t.claim_seq, t.locked_by, t.started_at, now()
         WHERE t.expires_at <= now()
        UNION ALL
        SELECT 'processing', t.error_message, least(t.claim_seq + 1, 1000000000000000), %(holder)s,
               now(), now()
         WHERE t.expires_at <= now() IS NOT TRUE)
 WHERE t.id = ANY ({ids})
RETURNING t.status, {task}
""".replace("{task}", TASK).replace("{expired}", EXPIRED)

# A claim does not wait for the disk: a crash of the server may forget the last ones, so that their rows are
# pending again. That may run a task twice, so a claim with one that is to run at most once does wait.
_UNHURRIED = """
unhurried AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
     WHERE NOT EXISTS (SELECT FROM claimed WHERE max_attempts = 1)
)"""

_CLAIM = """
WITH RECURSIVE {known}, {chosen}, placed AS MATERIALIZED (
    SELECT id, row_number() OVER () AS nth FROM (SELECT id FROM due UNION ALL SELECT id FROM soon) AS found
), claimed AS ({take}), coming AS (
    SELECT min(first.execute_at) AS execute_at
      FROM lane CROSS JOIN LATERAL (
        SELECT t.execute_at FROM {tasks} t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           AND t.execute_at > now() + %(look_ahead)s * interval '1 second'
         ORDER BY t.execute_at LIMIT 1) first
), {unhurried}
SELECT date_part('epoch', coming.execute_at), date_part('epoch', now()),
       date_part('epoch', clock_timestamp()),
       {found}::text, (SELECT count(*) FROM unhurried),
       claimed.*
  FROM coming LEFT JOIN (claimed JOIN placed USING (id)) ON true
 ORDER BY placed.nth
"""

_CHOICE = "WITH RECURSIVE {known}, {chosen} SELECT id FROM due UNION ALL SELECT id FROM soon"

_OPEN = """
lane AS MATERIALIZED (
    SELECT NOT EXISTS (SELECT FROM {paused} p WHERE p.task_type = %(task_type)s) AS open
)"""

_CLAIM_OF_LANE = """
WITH {open}, {first}, claimed AS ({take}), coming AS (
    SELECT (
        SELECT t.execute_at FROM {tasks} t
         WHERE t.status = 'pending' AND t.task_type = %(task_type)s AND t.priority = %(priority)s::smallint
           AND t.execute_at > now() + %(look_ahead)s * interval '1 second'
           AND (SELECT open FROM lane)
         ORDER BY t.execute_at LIMIT 1) AS execute_at
), {unhurried}
SELECT date_part('epoch', coming.execute_at), date_part('epoch', now()),
       date_part('epoch', clock_timestamp()),
       NULL, (SELECT count(*) FROM unhurried),
       claimed.*
  FROM coming LEFT JOIN claimed ON true
"""

_CHOICE_OF_LANE = "WITH {open}, {first} SELECT id FROM first"

_CLAIM_DUE = """
WITH {due}, claimed AS ({take}), {unhurried}
SELECT (SELECT count(*) FROM unhurried), claimed.* FROM claimed
"""

_CHOICE_DUE = "WITH {due} SELECT id FROM due"


def _claiming(whole: LiteralString, choice: LiteralString, chosen: LiteralString) -> Choosing:
    """The statement that takes the rows of `chosen`."""
    return Choosing(
        whole=whole.replace("{take}", _TAKE.replace("{ids}", chosen)).replace("{unhurried}", _UNHURRIED),
        choice=choice,
        change=_TAKE.replace("{ids}", "%(ids)s::bigint[]"),
    )


def _of_all(known: LiteralString, found: LiteralString) -> Choosing:
    return _claiming(
        _CLAIM.replace("{known}", known).replace("{found}", found).replace("{chosen}", _CHOSEN),
        _CHOICE.replace("{known}", known).replace("{chosen}", _CHOSEN),
        "ARRAY(SELECT id FROM placed)",
    )


# A claim that knows the lanes and their bounds is shorter, and steps over what it has worked off.
CLAIM = _of_all(_TOLD, found="NULL")
SURVEY = _of_all(_FOUND, found="(SELECT json_agg(json_build_array(task_type, priority)) FROM step)")

# Where it is known that only one lane has rows, there is less to plan, to walk and to answer.
CLAIM_OF_LANE = _claiming(
    _CLAIM_OF_LANE.replace("{open}", _OPEN).replace("{first}", _FIRST),
    _CHOICE_OF_LANE.replace("{open}", _OPEN).replace("{first}", _FIRST),
    "ARRAY(SELECT id FROM first)",
)

# Where it is known besides that there is a row that is due, there is no need to ask what comes next.
CLAIM_DUE = _claiming(
    _CLAIM_DUE.replace("{due}", _DUE), _CHOICE_DUE.replace("{due}", _DUE), "ARRAY(SELECT id FROM due)"
)


def told(lanes: Mapping[Lane, Place]) -> str:
    """The lanes and their bounds, as CLAIM reads them."""
    return jsontext.render(
        [
            {
                "task_type": lane.task_type,
                "priority": lane.priority,
                "since": None if bound == EVERYTHING else bound.execute_at,
                "after": bound.id,
            }
            for lane, bound in lanes.items()
        ]
    )
