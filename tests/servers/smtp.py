"""A real SMTP server that keeps what it gets."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from functools import cache
from pathlib import Path
from typing import Literal

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"
Tls = Literal["none", "starttls", "tls"]


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def ca_file(directory: Path) -> str:
    """A PEM file of the authority that the servers' certificates come from."""
    path = directory / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


@cache
def _server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("localhost", HOST).configure_cert(context)
    return context


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came in."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    raw: bytes
    encrypted: bool
    user: str | None
    at: float  # seconds since the epoch

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.raw, policy=WIRE)
        assert isinstance(message, EmailMessage)
        return message


class SmtpServer:
    """Takes every mail and keeps it in `mails`, unless `replies` (by address) or `content_replies` say no."""

    def __init__(
        self, tls: Tls, login: tuple[str, str] | None, host: str, *, smtputf8: bool, size_limit: int
    ) -> None:
        self.mails: list[Received] = []
        self.replies: dict[str, str] = {}
        self.content_replies: list[str] = []
        self.login_reply = "535 5.7.8 wrong user or password"
        self.connections = 0
        self._tls = tls
        self._login = login
        self._smtputf8 = smtputf8
        self._size_limit = size_limit
        self._address = (host, 0)
        self._listen()
        self._transports: list[asyncio.Transport] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="smtp-server")
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def restart(self) -> None:
        """Stop, and start again at the same port, with the same mails."""
        self.stop()
        self._ready.clear()
        self._listen()
        self.start()

    def hang_up(self) -> None:
        """Cut every connection; returns when they are closed."""

        async def cut() -> None:
            self._cut()
            await asyncio.sleep(0)

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def _listen(self) -> None:
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        self.port: int = self._address[1]

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            self._protocol, sock=self._listener, ssl=_server_tls() if self._tls == "tls" else None
        )
        self._ready.set()
        await self._stopping.wait()
        server.close()
        self._cut()
        await asyncio.sleep(0)

    def _cut(self) -> None:
        for transport in self._transports:
            transport.abort()

    def _protocol(self) -> SMTP:
        starttls = self._tls == "starttls"
        return _Protocol(
            self,
            hostname="mx.test",
            tls_context=_server_tls() if starttls else None,
            require_starttls=starttls,
            auth_require_tls=starttls,
            authenticator=self._authenticate,
            loop=self._loop,
            enable_SMTPUTF8=self._smtputf8,
            data_size_limit=self._size_limit,
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        del server, session, envelope, mechanism
        user = data.login.decode()
        right = (user, data.password.decode()) == self._login
        # Without handled=False a refused client waits for a reply for ever.
        return AuthResult(
            success=right, handled=False, auth_data=user, message=None if right else self.login_reply
        )

    async def handle_MAIL(  # noqa: N802 - aiosmtpd names its hooks after the commands
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server
        if self._login and not session.authenticated:
            return "530 5.7.0 authentication required"
        if address in self.replies:
            return self.replies[address]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender ok"

    async def handle_RCPT(  # noqa: N802 - the same
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(  # noqa: N802 - the same
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        del server
        reply = self.content_replies.pop(0) if self.content_replies else "250 2.0.0 queued"
        if reply.startswith("250"):
            assert isinstance(envelope.original_content, bytes)
            self.mails.append(
                Received(
                    sender=str(envelope.mail_from),
                    recipients=tuple(map(str, envelope.rcpt_tos)),
                    options=tuple(envelope.mail_options),
                    raw=envelope.original_content,
                    encrypted=self._tls == "tls" or session.ssl is not None,
                    user=session.auth_data if session.authenticated else None,
                    at=time.time(),
                )
            )
        return reply


class _Protocol(SMTP):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._original_transport is None:
            self.event_handler.connections += 1
        self.event_handler._transports.append(transport)
        super().connection_made(transport)


@contextmanager
def smtp_server(
    tls: Tls = "none",
    *,
    login: tuple[str, str] | None = None,
    host: str = HOST,
    smtputf8: bool = True,
    size_limit: int = 33_554_432,
) -> Iterator[SmtpServer]:
    """A server on a free port; nothing of it is left at the end."""
    server = SmtpServer(tls, login, host, smtputf8=smtputf8, size_limit=size_limit)
    server.start()
    try:
        yield server
    finally:
        server.stop()
