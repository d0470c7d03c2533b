"""E-mail addresses: read from a payload, checked, and written for headers and envelopes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.errors import NonASCIILocalPartDefect, ObsoleteHeaderDefect
from email.header import Header
from email.policy import SMTP
from typing import Any

from at_worker.executors import fields
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

LONGEST_LIST = 10_000
_LONGEST_QUOTED_NAME = 60
_ATEXT = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# IDNA 2003 turns these into other letters, IDNA 2008 keeps them: the mail could reach a stranger's domain.
_AMBIGUOUS = frozenset("ßς\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address and its display name; `domain` is lower-case ASCII, as DNS has it."""

    name: str
    local: str
    domain: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"


def several(payload: Mapping[str, Json], name: str) -> tuple[Mailbox, ...]:
    """Addresses given as an array, one each, or as one string where commas part them."""
    value = payload.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(_read(name, value))
    if not isinstance(value, Sequence):
        raise InvalidPayload(name, f"must be a string or an array of strings, not {fields.kind(value)}")
    found = []
    for index, item in enumerate(value):
        where = f"{name}[{index}]"
        if not isinstance(item, str):
            raise InvalidPayload(where, f"must be a string, not {fields.kind(item)}")
        found.append(one(where, item))
    return tuple(found)


def one(where: str, text: str) -> Mailbox:
    """Exactly one address: `a@example.org` or `Ann <a@example.org>`, RFC 5322 section 3.4."""
    found = _read(where, text)
    if len(found) != 1:
        raise InvalidPayload(where, f"must be one address, not {len(found)}")
    return found[0]


def header(boxes: Iterable[Mailbox]) -> str:
    """The value of an address header, one mailbox a line."""
    return ",\r\n ".join(map(_written, boxes))


def _read(where: str, text: str) -> list[Mailbox]:
    fields.refuse_control_characters(where, text)
    fields.utf8(where, text)
    if not text.strip():
        raise InvalidPayload(where, "is empty")
    if len(text) > LONGEST_LIST:
        raise InvalidPayload(where, f"is longer than {LONGEST_LIST} characters; write an array of addresses")
    try:
        parsed = SMTP.header_factory("To", text)
    except Exception:  # noqa: BLE001 - the parser of the standard library raises anything on broken input
        raise _not_an_address(where, text) from None
    for defect in parsed.defects:
        # "Ann A. Smith <a@x>" is obsolete for its full stop, and everybody writes it.
        if not isinstance(defect, NonASCIILocalPartDefect | ObsoleteHeaderDefect):
            raise _not_an_address(where, text)
    if any(group.display_name is not None for group in parsed.groups):
        raise InvalidPayload(where, "names a group; write its addresses")
    if not parsed.addresses:
        raise _not_an_address(where, text)
    return [_checked(where, text, address) for address in parsed.addresses]


def _checked(where: str, text: str, address: Any) -> Mailbox:  # noqa: ANN401 - the parser's class has no types
    name, local, domain = address.display_name, address.username, address.domain
    fields.refuse_control_characters(where, name)
    # Comments and encoded words inside an address read as something that is not written there.
    if f"{local}@{domain}" not in text or not all(map(_is_word, local.split("."))):
        raise _not_an_address(where, text)
    box = Mailbox(" ".join(name.split()), local, _ascii_domain(where, domain))
    # RFC 5321 section 4.5.3.1: 64 octets before the @; a path of 256 less its brackets.
    if len(local.encode()) > 64 or len(box.address.encode()) > 254:
        raise InvalidPayload(where, "is longer than an e-mail address may be")
    return box


def _is_word(text: str) -> bool:
    return bool(text) and all(_ATEXT.match(c) if c.isascii() else c.isprintable() for c in text)


def _ascii_domain(where: str, domain: str) -> str:
    ascii_domain = domain
    if not domain.isascii():
        if any(character.lower() in _AMBIGUOUS for character in domain):
            raise InvalidPayload(where, f"the domain {domain!r} is ambiguous; write it in its xn-- form")
        try:
            ascii_domain = domain.encode("idna").decode()
        except UnicodeError:
            raise _not_a_domain(where, domain) from None
    ascii_domain = ascii_domain.lower()
    if not all(map(_LABEL.fullmatch, ascii_domain.split("."))):
        raise _not_a_domain(where, domain)
    return ascii_domain


def _written(box: Mailbox) -> str:
    if not box.name:
        return box.address
    if box.name.isascii() and "=?" not in box.name and len(box.name) <= _LONGEST_QUOTED_NAME:
        quoted = box.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{box.address}>'
    encoded = Header(box.name, "utf-8", header_name="Reply-To").encode(linesep="\r\n")
    return f"{encoded} <{box.address}>"


def _not_an_address(where: str, text: str) -> InvalidPayload:
    return InvalidPayload(where, f"is not an e-mail address: {_shown(text)}")


def _not_a_domain(where: str, domain: str) -> InvalidPayload:
    return InvalidPayload(where, f"the domain {_shown(domain)} is not a host name")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
