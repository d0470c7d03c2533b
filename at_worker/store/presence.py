"""Showing that a worker is there, and what it runs, for people who ask why a task waits."""

import logging
from collections.abc import Iterable

from at_worker import __version__
from at_worker.store.errors import Away, Refused, Unavailable
from at_worker.store.session import Session

logger = logging.getLogger(__name__)

# Seconds; the view scheduled_tasks_workers takes who missed three for dead.
SHOWN_EVERY = 10.0

# What workers left behind that could not take their leave goes too. Neither a lock on that, nor a disk or a
# standby that is slow, may hold this up.
SHOW = """
WITH gone AS (
    DELETE FROM {presence}
     WHERE holder = ANY (ARRAY(SELECT p.holder FROM {presence} p
                                WHERE p.seen_at < now() - interval '1 hour' FOR UPDATE SKIP LOCKED))
)
INSERT INTO {presence} AS p (holder, worker_id, task_types, version, threads)
SELECT %(holder)s, %(worker_id)s, %(task_types)s::text[], %(version)s, %(threads)s
  FROM (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
    ON CONFLICT (holder) DO UPDATE SET seen_at = now()
RETURNING seen_at
"""

LEAVE = "DELETE FROM {presence} WHERE holder = %(holder)s RETURNING seen_at"


class Presence:
    """One worker in `scheduled_tasks_presence`. Nothing but the answers to people depends on it."""

    def __init__(self, holder: str, worker_id: str, task_types: Iterable[str], threads: int) -> None:
        self._row = {
            "holder": holder,
            "worker_id": worker_id,
            "task_types": sorted(task_types),
            "version": __version__,
            "threads": threads,
        }
        self._told = ""

    def show(self, session: Session) -> None:
        """Tell that the worker is there. Raises Away where no answer comes."""
        try:
            session.probe(SHOW, self._row)
        except Away:
            raise
        except (Unavailable, Refused) as error:
            if self._told != str(error):
                logger.warning("The worker cannot show itself in scheduled_tasks_presence: %s", error)
                self._told = str(error)

    def leave(self, session: Session) -> None:
        """Tell that the worker is no more."""
        session.rows(LEAVE, self._row)
