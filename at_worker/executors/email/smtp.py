"""One conversation with an SMTP server, from the greeting to QUIT: RFC 5321."""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import aiosmtplib

from at_worker import redact
from at_worker.executors.email.delivery import Broken, Refused, Reply, Report

ERRORS = (OSError, aiosmtplib.SMTPException)
_GOODBYE_SECONDS = 1.0
CONNECTING = "connecting"


@dataclass(frozen=True, slots=True)
class Server:
    """Where mails go; without `ca_file` the system's authorities are trusted."""

    host: str
    port: int
    tls: Literal["none", "starttls", "tls"]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def __str__(self) -> str:
        return f"SMTP server at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One transaction of RFC 5321 section 3.3; an international one needs SMTPUTF8 (RFC 6531)."""

    sender: str
    recipients: tuple[str, ...]
    international: bool
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Step:
    """What goes on right now, for the reason should it break."""

    doing: str = "waiting for a free connection"


class Connection(aiosmtplib.SMTP):
    """A connection; its methods raise one of ERRORS."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None, own_name: str) -> None:
        super().__init__(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "tls",
            start_tls=False,  # `open` does it, to know what goes on
            tls_context=tls,
            local_hostname=own_name,
            timeout=None,  # that of the library holds for each command, the caller's for all together
        )

    async def open(self, server: Server, step: Step) -> None:
        """Connect, start TLS and log in, as the server's settings say."""
        step.doing = CONNECTING
        await self.connect()
        if server.tls == "starttls":
            step.doing = "starting TLS"
            await self.starttls()
        await self.ehlo()
        if server.user:
            step.doing = "logging in"
            await self.login(server.user, server.password or "")

    async def name_sender(self, envelope: Envelope, seconds: float | None = None) -> None:
        """Begin a transaction; the answer may take `seconds`."""
        options = [f"SIZE={len(envelope.content)}"] if self.supports_extension("size") else []
        if envelope.international:
            if not self.supports_extension("smtputf8"):
                raise aiosmtplib.SMTPNotSupported(
                    "cannot carry non-ASCII characters before the @ (no SMTPUTF8)"
                )
            options.append("SMTPUTF8")
        await self.mail(envelope.sender, options=options, encoding=_encoding(envelope), timeout=seconds)

    async def still_serves(self, envelope: Envelope, seconds: float) -> bool:
        """Begin a transaction on a connection that the server may have given up meanwhile."""
        try:
            await self.name_sender(envelope, seconds)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError):
            return False
        except aiosmtplib.SMTPSenderRefused as refusal:
            if refusal.code != 421:
                raise
            return False
        return True

    async def name_recipients(self, envelope: Envelope) -> dict[str, Reply]:
        """Name everybody; returns who was refused."""
        refused = {}
        for recipient in envelope.recipients:
            try:
                await self.rcpt(recipient, encoding=_encoding(envelope))
            except aiosmtplib.SMTPRecipientRefused as refusal:
                if refusal.code == 421:  # the server ends the session, whoever the recipient is
                    raise
                refused[recipient] = Reply.of(refusal.code, refusal.message)
        return refused

    async def send_content(self, envelope: Envelope) -> Reply:
        """Send the message; the server answers for all recipients that it has not refused."""
        response = await self.data(envelope.content)
        return Reply.of(response.code, response.message)

    async def say_goodbye(self) -> None:
        """QUIT, and close within a second whatever the server does."""
        try:
            with suppress(*ERRORS):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self.quit()
        finally:
            self.close()

    def close(self) -> None:
        """Close at once: the library's own way waits half a minute for a TLS peer that does not answer."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        super().close()


def failure(error: Exception, server: Server, step: Step, seconds: float) -> Report:
    """What one of ERRORS means for the mail."""
    match error:
        case aiosmtplib.SMTPSenderRefused():
            return Refused(f"the sender {error.sender}", Reply.of(error.code, error.message))
        case aiosmtplib.SMTPDataError():
            return Refused("the mail", Reply.of(error.code, error.message))
        case aiosmtplib.SMTPNotSupported():
            return Broken(f"{server} {error}", permanent=True)
        case aiosmtplib.SMTPAuthenticationError():
            # Some servers quote what they were given.
            reply = redact.without(str(Reply.of(error.code, error.message)), [server.password or ""])
            return Broken(f"{server} refused the login of {server.user}: {reply}")
        case aiosmtplib.SMTPConnectError(__cause__=OSError() as cause):
            return _not_delivered(cause, server, step, seconds)
        case _:
            return _not_delivered(error, server, step, seconds)


def _not_delivered(error: Exception, server: Server, step: Step, seconds: float) -> Broken:
    reason = f"{server} {_broken(error, seconds)} while {step.doing}"
    return Broken(reason, unreachable=step.doing == CONNECTING)


def _broken(error: Exception, seconds: float) -> str:
    match error:
        case aiosmtplib.SMTPResponseException():
            what = f"answered {Reply.of(error.code, error.message)}"
        case TimeoutError():
            what = f"gave no answer within {seconds:.3g} s"
        case aiosmtplib.SMTPServerDisconnected():
            what = "closed the connection"
        case ssl.SSLCertVerificationError():
            what = f"has a certificate that is not trusted ({error.verify_message})"
        case OSError(errno=int(number)) if not isinstance(error, ssl.SSLError | socket.gaierror):
            what = f"cannot be reached ({os.strerror(number)})"
        case OSError():
            what = f"cannot be reached ({error.strerror or error})"
        case _:
            what = f"cannot be used ({' '.join(str(error).split())})"
    return what


def _encoding(envelope: Envelope) -> str:
    return "utf-8" if envelope.international else "ascii"
