"""Files that a mail's payload brings along."""

import base64
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from at_worker.executors import fields
from at_worker.executors.email import headertext
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

# Only the table that Python brings: the same file gets the same type on every machine.
_MEDIA_TYPES = mimetypes.MimeTypes()
_BINARY = "application/octet-stream"

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"  # noqa: S105 - a token of RFC 2045 section 5.1
_PARAMETER = re.compile(rf';\s*({_TOKEN})=({_TOKEN}|"[^"\\]*")\s*')
_CONTENT_TYPE = re.compile(rf"({_TOKEN})/({_TOKEN})\s*((?:{_PARAMETER.pattern})*)")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file with its media type."""

    filename: str
    content: bytes
    maintype: str
    subtype: str
    parameters: Mapping[str, str]


def several(payload: Mapping[str, Json]) -> tuple[Attachment, ...]:
    """The payload's `attachments`: objects of `filename`, `content_base64` and perhaps `content_type`."""
    value = payload.get("attachments")
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidPayload("attachments", f"must be an array, not {fields.kind(value)}")
    return tuple(_one(f"attachments[{index}]", item) for index, item in enumerate(value))


def _one(where: str, item: Json) -> Attachment:
    members = fields.members(item, where)
    try:
        filename = _filename(fields.required_line(members, "filename"))
        content = _bytes(fields.text(members, "content_base64"))
        maintype, subtype, parameters = _content_type(fields.line(members, "content_type"), filename)
    except InvalidPayload as problem:
        raise InvalidPayload(f"{where}.{problem.field}", problem.why) from None
    return Attachment(filename, content, maintype, subtype, parameters)


def _filename(text: str) -> str:
    name = headertext.decoded("filename", text)
    # The standard library decodes encoded words in a name once more when it writes it.
    if name in ("", ".", "..") or any(part in name for part in ("/", "\\", "=?")) or len(name.encode()) > 255:
        raise InvalidPayload("filename", "is not a plain file name of at most 255 bytes")
    return name


def _bytes(text: str | None) -> bytes:
    if text is None:
        raise InvalidPayload("content_base64", "is missing")
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError as error:
        raise InvalidPayload("content_base64", f"is not base64: {error}") from None


def _content_type(given: str | None, filename: str) -> tuple[str, str, dict[str, str]]:
    if given is None:
        maintype, _, subtype = _guessed(filename).partition("/")
        return maintype, subtype, {}
    match = _CONTENT_TYPE.fullmatch(given.strip())
    if match is None or "=?" in given or not given.isascii():
        raise InvalidPayload("content_type", "is not a media type such as text/csv; charset=utf-8")
    maintype, subtype = match[1].lower(), match[2].lower()
    if maintype in ("multipart", "message"):
        # RFC 2046 sections 5.1 and 5.2.1 forbid base64 for them.
        raise InvalidPayload("content_type", f"{maintype}/{subtype} cannot be attached; use {_BINARY}")
    return maintype, subtype, {name: value.strip('"') for name, value in _PARAMETER.findall(match[3])}


def _guessed(filename: str) -> str:
    guess, compression = _MEDIA_TYPES.guess_type(filename)
    return _BINARY if guess is None or compression or guess.startswith("message/") else guess
