"""Hears of rows that are due soon, and tells the poller."""

import logging
import os
import re
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import inf
from types import TracebackType
from typing import Self

from at_worker.engine.plan import Announcement
from at_worker.store.database import Database
from at_worker.store.errors import Unavailable
from at_worker.store.lanes import Lane
from at_worker.store.session import Session

logger = logging.getLogger(__name__)

CHANNEL = "scheduled_tasks"
# A connection that is half open is silent, like one on which nothing happens.
PROBE = 10.0
# As the trigger in sql/ddl.sql writes it: when (0 is long ago), whether that has come, priority, type. One of
# 200 characters may have been cut: it could be anybody's, so all look at everything.
_PAYLOAD = re.compile(r"(\d{1,15})(!?) (\d) (.{1,199})", re.DOTALL)


class Listener:
    """Waits on a connection of its own, which it probes and makes anew where it breaks.

    `heard` is called with what was announced, and with nothing after a pause in which it may have missed
    something. `probe` asks the server for any answer.
    """

    def __init__(
        self,
        database: Database,
        heard: Callable[[Sequence[Announcement]], None],
        probe: Callable[[Session], None] = Session.ping,
    ) -> None:
        self._database = database
        self._heard = heard
        self._probe = probe
        self._probe_at = 0.0
        self._session: Session | None = None
        self._life = ExitStack()
        self._told = ""
        self._readable, self._writable = os.pipe()

    def turn(self) -> float:
        """Wait for one announcement, or for the time of a probe."""
        try:
            session = self._session or self._connect()
            poll = select.poll()  # select() knows no descriptors above 1,023
            poll.register(session.fileno(), select.POLLIN)
            poll.register(self._readable, select.POLLIN)
            poll.poll(max(0.0, self._probe_at - time.monotonic()) * 1000)
            # Before the look at what was heard: psycopg also takes in what comes during a statement.
            if time.monotonic() >= self._probe_at:
                self._probe(session)
                self._probe_at = time.monotonic() + PROBE
            if payloads := session.notifications():
                self._hear(payloads)
        except Unavailable as error:
            if self._told != str(error):
                logger.warning("[Listener] Rows are found by polling until LISTEN works again: %s", error)
                self._told = str(error)
            self._disconnect()
            raise
        if self._told:
            logger.info("[Listener] LISTEN works again")
            self._told = ""
        return 0.0

    def interrupt(self) -> None:
        """End the wait: the worker stops."""
        os.write(self._writable, b"!")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._disconnect()
        os.close(self._readable)
        os.close(self._writable)

    def _hear(self, payloads: list[str]) -> None:
        matches = [_PAYLOAD.fullmatch(payload) for payload in payloads]
        # Half a name, somebody else's words, or those of another version: look at all there is.
        known = [match for match in matches if match]
        if len(known) < len(matches):
            self._heard(())
        if known:
            self._heard([_announcement(match) for match in known])

    def _connect(self) -> Session:
        self._session = self._life.enter_context(self._database.direct())
        self._session.listen(CHANNEL)
        self._heard(())
        return self._session

    def _disconnect(self) -> None:
        self._session = None
        self._life.close()


def _announcement(match: re.Match[str]) -> Announcement:
    second, is_due, priority, task_type = match.groups()
    return Announcement(Lane(task_type, int(priority)), float(second) or -inf, bool(is_due))
