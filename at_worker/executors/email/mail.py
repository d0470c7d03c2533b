"""What a mail's payload becomes: an envelope and a message, RFC 5322 and MIME."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from at_worker.executors import fields
from at_worker.executors.email import attachment, content, headertext, mailbox
from at_worker.executors.email.attachment import Attachment
from at_worker.executors.email.content import Content, Render, no_templates
from at_worker.executors.email.mailbox import Mailbox
from at_worker.jsontext import Json
from at_worker.plugin import Attempt, InvalidPayload

# Everything but addresses goes as 7 bits, which every server takes.
_POLICY = SMTP.clone(cte_type="7bit")

_HEADER_NAME = re.compile(r"[!-9;-~]{1,70}")  # RFC 5322 section 3.6.8
_RESERVED_HEADERS = re.compile(
    r"from|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|sender|return-path|received"
    r"|dkim-signature|x-at-worker-.*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to be stamped and sent.

    `content` is the whole message but for what differs from attempt to attempt. `international` mails have
    an address that only SMTPUTF8 (RFC 6531) can carry.
    """

    sender: str
    recipients: tuple[str, ...]
    domain: str
    international: bool
    content: bytes = field(repr=False)


def parse(payload: Json, default_sender: Mailbox, render: Render = no_templates) -> Mail:
    """Check a payload and render its message. Raises InvalidPayload, and MissingSetting for a template."""
    members = fields.members(payload)
    to = mailbox.several(members, "to")
    if not to:
        raise InvalidPayload("to", "is missing" if members.get("to") is None else "names no recipient")
    cc, bcc = mailbox.several(members, "cc"), mailbox.several(members, "bcc")
    reply_to = mailbox.several(members, "reply_to")
    given_sender = fields.text(members, "from")
    sender = default_sender if given_sender is None else mailbox.one("from", given_sender)
    said = content.parse(members, render)
    headers = _headers(members)
    mime = _mime(said, attachment.several(members))

    head = [f"From: {mailbox.header([sender])}", f"To: {mailbox.header(to)}"]
    head += [f"Cc: {mailbox.header(cc)}"] if cc else []
    head += [f"Reply-To: {mailbox.header(reply_to)}"] if reply_to else []
    head += [headertext.folded(name, value) for name, value in {"Subject": said.subject, **headers}.items()]
    everybody = (*to, *cc, *bcc)
    return Mail(
        sender=sender.address,
        recipients=tuple(dict.fromkeys(box.address for box in everybody)),
        domain=sender.domain,
        international=not all(box.local.isascii() for box in (sender, *everybody, *reply_to)),
        content="".join(f"{line}\r\n" for line in head).encode() + mime,
    )


def message_id(mail: Mail, attempt: Attempt) -> str:
    """The same on every attempt, so that receivers can tell a repetition."""
    return f"<{attempt.task_uid}@{mail.domain}>"


def stamped(mail: Mail, attempt: Attempt, now: datetime) -> bytes:
    """The message of one attempt, as it goes over the wire."""
    head = (
        f"Date: {format_datetime(now)}\r\n"
        f"Message-ID: {message_id(mail, attempt)}\r\n"
        f"X-At-Worker-Task-Id: {attempt.task_id}\r\n"
        f"X-At-Worker-Attempt: {attempt.number}\r\n"
    )
    return head.encode() + mail.content


def _headers(members: Mapping[str, Json]) -> dict[str, str]:
    found = {}
    for name, value in fields.lines(members, "headers").items():
        where = f"headers.{name}"
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidPayload(where, "is not a header name")
        if _RESERVED_HEADERS.fullmatch(name):
            raise InvalidPayload(where, "is set by at-worker or by a field of its own")
        found[name] = headertext.decoded(where, value)
    # RFC 3834 section 5: keeps holiday notices from answering.
    if not any(name.lower() == "auto-submitted" for name in found):
        found["Auto-Submitted"] = "auto-generated"
    return found


def _mime(said: Content, attachments: Sequence[Attachment]) -> bytes:
    message = EmailMessage(_POLICY)
    message.set_content(said.body)
    if said.html is not None:
        message.add_alternative(said.html, subtype="html")
    for part in attachments:
        message.add_attachment(
            part.content,
            maintype=part.maintype,
            subtype=part.subtype,
            filename=part.filename,
            params=part.parameters,
        )
    return message.as_bytes()
