"""Mails of all threads over the connections of one event loop, kept for a while for the next mail."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from at_worker.executors.email import smtp
from at_worker.executors.email.delivery import Broken, Delivered, Report
from at_worker.executors.email.loopthread import LoopThread
from at_worker.executors.email.smtp import Connection, Envelope, Server, Step

# Servers let one client have 10 to 50 connections by default; a mail above that waits for a free one.
CONNECTIONS = 20
KEPT_SECONDS = 10.0
_FIRST_ANSWER_SECONDS = 5.0


class SmtpPool:
    """Sends mails to one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tls = None if server.tls == "none" else ssl.create_default_context(cafile=server.ca_file)
        self._own_name: str | None = None
        self._thread = LoopThread("smtp")
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._kept: dict[Connection, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def send(self, envelope: Envelope, seconds: float) -> Report:
        """Send a mail within `seconds`; what goes wrong is reported, not raised."""
        try:
            return self._thread.run(lambda: self._send(envelope, seconds))
        except CancelledError:
            return Broken(f"{self._server}: interrupted by the worker's end, the mail may have been sent")

    def reach(self, seconds: float) -> None:
        """Connect as for a mail, TLS and login included. Raises ConnectionError with a plain reason."""
        report = self._thread.run(lambda: self._reach(seconds))
        if isinstance(report, Broken):
            raise ConnectionError(report.reason)

    def close(self) -> None:
        """Say goodbye to the server and end the thread; takes a second or two at most."""
        self._thread.close(self._farewell)

    async def _farewell(self) -> None:
        self._let_go_all()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _send(self, envelope: Envelope, seconds: float) -> Report:
        step = Step()
        try:
            async with asyncio.timeout(seconds), self._room:
                return await self._transaction(envelope, step)
        except smtp.ERRORS as error:
            return smtp.failure(error, self._server, step, seconds)

    async def _reach(self, seconds: float) -> Report | None:
        step = Step()
        try:
            async with asyncio.timeout(seconds):
                self._retire(await self._connect(step))
        except smtp.ERRORS as error:
            return smtp.failure(error, self._server, step, seconds)
        return None

    async def _transaction(self, envelope: Envelope, step: Step) -> Report:
        connection = await self._begin(envelope, step)
        with self._retired_on_error(connection):
            step.doing = "naming the recipients"
            refused = await connection.name_recipients(envelope)
            if len(refused) == len(envelope.recipients):
                self._retire(connection)
                return Delivered(None, refused)
            step.doing = "sending the mail, it may have been sent"
            reply = await connection.send_content(envelope)
        self._keep(connection)
        return Delivered(reply, refused)

    async def _begin(self, envelope: Envelope, step: Step) -> Connection:
        """A connection whose server has accepted the sender."""
        step.doing = "naming the sender"
        if (kept := self._take()) is not None:
            with self._retired_on_error(kept):
                if await kept.still_serves(envelope, _FIRST_ANSWER_SECONDS):
                    return kept
            # Nothing of the mail was sent, so a new connection may have it; the other kept ones are as old.
            kept.close()
            self._let_go_all()
        connection = await self._connect(step)
        with self._retired_on_error(connection):
            step.doing = "naming the sender"
            await connection.name_sender(envelope)
        return connection

    async def _connect(self, step: Step) -> Connection:
        if self._own_name is None:
            self._own_name = await asyncio.to_thread(_own_name)
        connection = Connection(self._server, self._tls, self._own_name)
        with self._retired_on_error(connection):
            await connection.open(self._server, step)
        return connection

    def _take(self) -> Connection | None:
        while self._kept:
            connection, timer = self._kept.popitem()
            timer.cancel()
            if connection.is_connected:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        timer = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._let_go, connection)
        self._kept[connection] = timer

    def _let_go(self, connection: Connection) -> None:
        self._kept.pop(connection).cancel()
        self._retire(connection)

    def _let_go_all(self) -> None:
        for connection in list(self._kept):
            self._let_go(connection)

    def _retire(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.say_goodbye())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    @contextmanager
    def _retired_on_error(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._retire(connection)
            raise
        except BaseException:  # the time is up: no more waiting for this server
            connection.close()
            raise


def _own_name() -> str:
    """What EHLO says; a host without a full name gives an address literal, RFC 5321 section 4.1.4."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
