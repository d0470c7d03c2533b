"""Why a task has not run: all that bears on it, as of one moment."""

from dataclasses import dataclass
from datetime import datetime

from at_worker.store.session import Session

# More that go before it are no better known.
MOST_AHEAD = 10_000

# A worker is alive as scheduled_tasks_workers has it. What goes before a task is due, and of a higher
# priority or, within its type, earlier; but not what nobody starts.
FACTS = """
WITH taker AS MATERIALIZED (
    SELECT w.holder, w.task_types, w.running, w.threads
      FROM {tasks} t JOIN {home}.scheduled_tasks_workers w ON w.alive AND t.task_type = ANY (w.task_types)
     WHERE t.id = %(id)s
)
SELECT now(), t.id, t.task_type, t.status, t.priority, t.execute_at, t.original_execute_at, t.expires_at,
       t.attempts, t.max_attempts, t.error_message, t.updated_at, t.started_at, t.completed_at, t.locked_by,
       paused.paused_at, paused.paused_by, paused.reason,
       (SELECT count(*) FROM {home}.scheduled_tasks_workers w WHERE w.alive),
       (SELECT count(*) FROM taker), (SELECT coalesce(sum(running), 0)::bigint FROM taker),
       (SELECT sum(threads)::bigint FROM taker HAVING bool_and(coalesce(running >= threads, false))),
       (SELECT count(*) FROM (
            SELECT FROM (SELECT DISTINCT unnest(task_types) AS task_type FROM taker) AS taken
              JOIN {tasks} o USING (task_type)
             WHERE t.status = 'pending' AND t.execute_at <= now()
               AND o.status = 'pending' AND o.execute_at <= now() AND o.expires_at <= now() IS NOT TRUE
               AND o.priority >= t.priority
               AND (o.priority > t.priority
                    OR o.task_type = t.task_type AND (o.execute_at, o.id) < (t.execute_at, t.id))
               AND NOT EXISTS (SELECT FROM {paused} p WHERE p.task_type = o.task_type)
             LIMIT %(most)s) AS first)
  FROM {tasks} t LEFT JOIN {paused} paused USING (task_type)
 WHERE t.id = %(id)s
"""

# Who holds a lock that a claim of this row steps over, or of the table that it waits for. A row that is
# locked has the transaction of its holder in xmax, which takes the right to read the whole row.
MAY_SEE_LOCKS = "SELECT has_table_privilege($name${tasks}$name$, 'SELECT')"
LOCKER = """
SELECT a.pid, a.usename::text, nullif(a.application_name, ''), a.xact_start
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.granted AND l.pid <> pg_backend_pid()
   AND (l.locktype = 'transactionid' AND l.transactionid = (SELECT t.xmax FROM {tasks} t WHERE t.id = %(id)s)
        OR l.locktype = 'relation' AND l.relation = $name${tasks}$name$::regclass
           AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
 ORDER BY a.xact_start LIMIT 1
"""


MAY_SEE_WORKERS = "SELECT has_table_privilege($name${home}.scheduled_tasks_workers$name$, 'SELECT')"
TAKEN = "SELECT DISTINCT unnest(w.task_types) FROM {home}.scheduled_tasks_workers w WHERE w.alive"


@dataclass(frozen=True, slots=True)
class Locker:
    """A session whose transaction holds the row, or the table, since `since`."""

    pid: int
    user: str | None
    application: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """A task and all that bears on when it runs.

    `workers` are alive, `takers` those of them that take its type, `running` is what these have claimed,
    `busy` are all their threads, or None where one of them may have a free one, and `ahead` is how many due
    tasks go before it, MOST_AHEAD at most.
    """

    now: datetime
    id: int
    task_type: str
    status: str
    priority: int
    execute_at: datetime
    original_execute_at: datetime | None
    expires_at: datetime | None
    attempts: int
    max_attempts: int
    error_message: str | None
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    locked_by: str | None
    paused_at: datetime | None
    paused_by: str | None
    paused_why: str | None
    workers: int
    takers: int
    running: int
    busy: int | None
    ahead: int
    locker: Locker | None = None


def facts(session: Session, task: int) -> Facts | None:
    """What bears on a task; None where there is none."""
    rows = session.rows(FACTS, {"id": task, "most": MOST_AHEAD})
    if not rows:
        return None
    lockers = []
    if session.rows(MAY_SEE_LOCKS)[0][0]:
        lockers = session.rows(LOCKER, {"id": task})
    return Facts(*rows[0], *(Locker(*locker) for locker in lockers))


def taken_types(session: Session) -> frozenset[str] | None:
    """The types that the workers take which are alive; None where the role may not know."""
    if not session.rows(MAY_SEE_WORKERS)[0][0]:
        return None
    return frozenset(row[0] for row in session.rows(TAKEN))
