"""Sends a mail: the `email` task type."""

import time
from datetime import UTC, datetime

from at_worker.config import ConfigError, Settings
from at_worker.executors.email import delivery, mail, mailbox
from at_worker.executors.email.content import Render, no_templates
from at_worker.executors.email.delivery import Progress
from at_worker.executors.email.mail import Mail
from at_worker.executors.email.pool import SmtpPool
from at_worker.executors.email.smtp import Envelope, Server
from at_worker.jsontext import Json
from at_worker.outcome import Done, Outcome, Retry
from at_worker.plugin import Attempt, InvalidPayload

_REACH_SECONDS = 10.0


class Email:
    """Hands mails to the SMTP server of the settings. Raises ConfigError where SMTP_FROM is no address."""

    def __init__(self, settings: Settings) -> None:
        try:
            self._sender = mailbox.one("SMTP_FROM", settings.smtp_from)
        except InvalidPayload as problem:
            raise ConfigError([f"{problem.field}: {problem.why}"]) from None
        self._render = (
            no_templates if settings.smtp_templates is None else _templates(settings.smtp_templates)
        )
        self._timeout = settings.smtp_timeout
        self._server = Server(
            host=settings.smtp_host,
            port=settings.smtp_port,
            tls=settings.smtp_tls,
            user=settings.smtp_user,
            password=settings.smtp_password,
            ca_file=settings.smtp_ca_file,
        )
        self._smtp = SmtpPool(self._server)

    def parse(self, payload: Json) -> Mail:
        return mail.parse(payload, self._sender, self._render)

    def destination(self, payload: Mail) -> str:  # noqa: ARG002 - all mails go to one server
        """The mail server."""
        return str(self._server)

    def execute(self, payload: Mail, attempt: Attempt) -> Outcome:
        started = time.monotonic()
        progress = Progress.read(payload.recipients, attempt.previous)
        if not progress.open:
            return Done(attempt.previous)
        seconds = min(self._timeout, attempt.deadline - started)
        if seconds <= 0:
            return Retry("no time was left to send the mail")
        report = self._smtp.send(_envelope(payload, progress, attempt), seconds)
        facts: dict[str, Json] = {
            "message_id": mail.message_id(payload, attempt),
            "ms": round((time.monotonic() - started) * 1000),
        }
        return delivery.conclude(progress, report, str(self._server), facts)

    def describe(self, payload: Mail, attempt: Attempt) -> str:
        """The server, the envelope, and the message, for who has not got it yet."""
        envelope = _envelope(payload, Progress.read(payload.recipients, attempt.previous), attempt)
        recipients = [f"RCPT TO:<{recipient}>" for recipient in envelope.recipients]
        content = envelope.content.decode().replace("\r\n", "\n")
        return "\n".join([str(self._server), "", f"MAIL FROM:<{envelope.sender}>", *recipients, "", content])

    def reach(self) -> str:
        """Connect, with TLS and the login. Raises ConnectionError."""
        self._smtp.reach(min(self._timeout, _REACH_SECONDS))
        return f"{self._server} ({self._server.tls})"

    def close(self) -> None:
        self._smtp.close()


def _templates(directory: str) -> Render:
    from at_worker.executors.email.templates import Templates  # noqa: PLC0415 - a worker without templates does without

    return Templates(directory).render


def _envelope(payload: Mail, progress: Progress, attempt: Attempt) -> Envelope:
    content = mail.stamped(payload, attempt, datetime.now(UTC))
    return Envelope(payload.sender, progress.open, payload.international, content)
