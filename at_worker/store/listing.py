"""The tasks that people ask for, in the order in which they look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from at_worker.store.session import Session

# What a task is about, in few words; plug-ins have payloads of any form.
_ABOUT = """
        left(CASE t.task_type
             WHEN 'http_callback' THEN
                concat_ws(' ', upper(coalesce(t.payload ->> 'method', 'POST')), t.payload ->> 'url')
             WHEN 'rabbitmq' THEN
                coalesce(t.payload ->> 'queue',
                         concat_ws(' ', t.payload ->> 'exchange', t.payload ->> 'routing_key'))
             WHEN 'email' THEN
                concat_ws(': ', CASE WHEN jsonb_typeof(t.payload -> 'to') = 'array'
                                     THEN (SELECT string_agg(box, ', ')
                                             FROM jsonb_array_elements_text(t.payload -> 'to') AS box)
                                     ELSE t.payload ->> 'to' END,
                          t.payload ->> 'subject')
             ELSE t.payload::text END, 300)"""

# Of each status the first so many: what is to come by its time, what has ended the latest first. The pending
# rows are found lane by lane, as in a claim, so that it costs nothing how many there are; what has ended has
# no index, and is looked through.
_LIST = """
WITH RECURSIVE lane AS (
    (SELECT t.task_type, t.priority FROM {tasks} t
      WHERE t.status = 'pending' ORDER BY t.task_type, t.priority LIMIT 1)
    UNION ALL
    SELECT next.task_type, next.priority FROM lane CROSS JOIN LATERAL (
        SELECT t.task_type, t.priority FROM {tasks} t
         WHERE t.status = 'pending' AND (t.task_type, t.priority) > (lane.task_type, lane.priority)
         ORDER BY t.task_type, t.priority LIMIT 1) AS next
), pending AS (
    SELECT first.id FROM lane CROSS JOIN LATERAL (
        SELECT t.id, t.execute_at FROM {tasks} t
         WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
           {condition}
         ORDER BY t.execute_at, t.id LIMIT %(limit)s) AS first
     WHERE 'pending' = ANY (%(statuses)s::text[])
     ORDER BY first.execute_at, first.id LIMIT %(limit)s
), running AS (
    SELECT t.id FROM {tasks} t
     WHERE t.status = 'processing' AND 'processing' = ANY (%(statuses)s::text[]) {condition}
     ORDER BY t.execute_at, t.id LIMIT %(limit)s
), ended AS (
    SELECT latest.id FROM unnest(%(statuses)s::text[]) AS wanted (status) CROSS JOIN LATERAL (
        SELECT t.id FROM {tasks} t
         WHERE t.status = wanted.status AND wanted.status <> ALL ('{pending,processing}') {condition}
         ORDER BY t.updated_at DESC, t.id LIMIT %(limit)s) AS latest
)
SELECT t.id, t.task_type, t.status, t.priority, t.execute_at, t.original_execute_at, t.expires_at, t.attempts,
       t.max_attempts, t.error_message, t.created_at, t.updated_at, t.started_at, t.completed_at,
       t.locked_by, {carried}, now()
  FROM {tasks} t
 WHERE t.id = ANY (ARRAY(
        SELECT id FROM pending UNION ALL SELECT id FROM running UNION ALL SELECT id FROM ended))
 ORDER BY CASE WHEN t.status IN ('pending', 'processing') THEN extract(epoch FROM t.execute_at)
               ELSE -extract(epoch FROM t.updated_at) END, t.id
"""

_OF_ALL = """
           AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
           AND (%(after)s::timestamptz IS NULL OR t.execute_at >= %(after)s::timestamptz)
           AND (%(before)s::timestamptz IS NULL OR t.execute_at < %(before)s::timestamptz)"""
_OF_READERS = """
           AND (%(key)s::text IS NULL OR t.dedupe_key = %(key)s)
           AND (%(text)s::text IS NULL OR position(lower(%(text)s) IN lower(
                concat_ws(E'\n', t.payload::text, t.context::text, t.dedupe_key, t.error_message))) > 0)"""

LIST = (
    _LIST.replace("{carried}", "t.dedupe_key, {about}")
    .replace("{about}", _ABOUT)
    .replace("{condition}", _OF_ALL + _OF_READERS)
)
# For a role that may not see what tasks carry.
LIST_BARE = _LIST.replace("{carried}", "NULL::text, NULL::text").replace("{condition}", _OF_ALL)

MAY_READ = """
SELECT has_column_privilege($name${tasks}$name$, 'payload', 'SELECT')
   AND has_column_privilege($name${tasks}$name$, 'context', 'SELECT')
   AND has_column_privilege($name${tasks}$name$, 'dedupe_key', 'SELECT')
   AND has_column_privilege($name${tasks}$name$, 'result', 'SELECT')
"""

NOW = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Listed:
    """A row in a list; `about` says what it does in few words, None where the role may not see it."""

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
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    locked_by: str | None
    dedupe_key: str | None
    about: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks; None is no condition. `limit` bounds each status, `text` is what they carry or say."""

    statuses: Sequence[str]
    limit: int | None = None
    types: Sequence[str] | None = None
    key: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    text: str | None = None


def listed(session: Session, wanted: Wanted) -> dict[str, list[Listed]]:
    """The tasks of each status that is wanted."""
    parameters: dict[str, Any] = {
        "statuses": list(wanted.statuses),
        "limit": wanted.limit,
        "types": None if wanted.types is None else list(wanted.types),
        "after": wanted.after,
        "before": wanted.before,
    }
    if not may_read(session) and wanted.key is None and wanted.text is None:
        rows = session.rows(LIST_BARE, parameters)
    else:
        rows = session.rows(LIST, {**parameters, "key": wanted.key, "text": wanted.text})
    found: dict[str, list[Listed]] = {status: [] for status in wanted.statuses}
    for row in rows:
        task = Listed(*row)
        found[task.status].append(task)
    return found


def may_read(session: Session) -> bool:
    """Whether the role may see what tasks carry: payload, context, dedupe_key and result."""
    allowed: bool = session.rows(MAY_READ)[0][0]
    return allowed


def now(session: Session) -> datetime:
    """The database's time."""
    moment: datetime = session.rows(NOW)[0][0]
    return moment
