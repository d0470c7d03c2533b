"""What `data` of a payload becomes on the wire, for callbacks and messages alike."""

from dataclasses import dataclass

from at_worker import jsontext
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes and their media type; no media type where there is no body."""

    content: bytes
    content_type: str | None


def encode(data: Json) -> Body:
    """Encode `data`: a string goes raw, null is an empty body, all else is JSON with its digits kept."""
    if data is None:
        return Body(b"", None)
    if isinstance(data, str):
        return Body(_utf8(data), JSON_TYPE if _is_json(data) else TEXT_TYPE)
    return Body(_utf8(jsontext.render(data)), JSON_TYPE)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidPayload("data", "holds a lone surrogate, which UTF-8 cannot carry") from None


def _is_json(text: str) -> bool:
    try:
        jsontext.parse(text)
    except ValueError:
        return False
    return True
