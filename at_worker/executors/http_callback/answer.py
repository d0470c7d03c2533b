"""What the answer to a callback means, and what of it people read."""

import codecs
import re
import time
import zlib
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from at_worker.executors.http_callback.transport import Answer
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Outcome, Retry
from at_worker.text import clip

# Their receivers may need a login renewed, a deployment finished, a lock released, or simply time.
_PASSING = frozenset({401, 403, 404, 408, 409, 421, 423, 425, 429})
_MOVED = frozenset({301, 308})
# Python's own codecs: no receiver means them, and some decode in quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
_LONGEST_NOTE = 200


def classify(
    status: int,
    origin: str,
    *,
    moved_to: str = "",
    after: float | None = None,
    note: str = "",
    result: Json = None,
) -> Outcome:
    """Decide how an attempt ended, by the status of its answer.

    `moved_to` is the address of a redirect, `after` what Retry-After asks for in seconds, `note` what the
    body says.
    """
    said = f"HTTP {status} from {origin}"
    if 200 <= status < 300:
        return Done(result)
    if status in _MOVED:
        return Fail(f"{said}: moved permanently to {moved_to or 'an address that it does not name'}", result)
    if 300 <= status < 400 and moved_to:
        return Retry(f"{said}: redirects to {moved_to}, which is not followed", after, result)
    reason = f"{said}: {note}" if note else said
    if 400 <= status < 500 and status not in _PASSING:
        return Fail(reason, result)
    return Retry(reason, after, result)


def retry_after(answer: Answer) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110 section 10.2.3); a date counts from the answer's own."""
    value = answer.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if re.fullmatch("[0-9]+", value):
        return float(value)
    until = _instant(value)
    if until is None:
        return None
    now = _instant(answer.headers.get("Date", ""))
    return max(until - (time.time() if now is None else now), 0.0)


def moved_to(answer: Answer, url: str) -> str:
    """Where a redirect points to, without user-info and query, which may hold secrets."""
    location = answer.headers.get("Location", "")
    if not location:
        return ""
    try:
        parts = urlsplit(urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace")))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    query = "?…" if parts.query else ""
    return _printable(f"{parts.scheme}://{host}{port}{parts.path}{query}")


def body_text(answer: Answer, most: int) -> str:
    """The first `most` bytes of the decoded body, as text in the declared charset, else UTF-8."""
    content = _decoded(answer.content, answer.headers.get("Content-Encoding", ""), most)
    try:
        text = content.decode(_charset(answer), "replace")
    except (LookupError, ValueError):
        text = content.decode("utf-8", "replace")
    # Where the body is cut, the cut may have split its last character.
    return text if answer.whole and len(content) < most else text.rstrip("\ufffd")


def first_line(body: str) -> str:
    """The first line with anything on it, for an error message."""
    return next((line for line in map(_printable, body.splitlines()) if line), "")


def _charset(answer: Answer) -> str:
    name = codecs.lookup(answer.headers.get_content_charset("utf-8")).name
    return "utf-8" if name.replace("-", "_") in _NO_CHARSETS else name


def _decoded(content: bytes, coding: str, most: int) -> bytes:
    """Undo the content coding, as far as `most` bytes; nothing where nobody asked for that coding.

    zlib stops at `most` bytes, however far a small body would expand.
    """
    coding = coding.strip().lower()
    if not most or coding in ("", "identity"):
        return content[:most]
    if coding not in ("gzip", "x-gzip", "deflate"):
        return b""
    for window in (47, -15):  # with the header of gzip or zlib; bare, as some servers send deflate
        try:
            return zlib.decompressobj(window).decompress(content, most)
        except zlib.error:
            continue
    return b""


def _instant(http_date: str) -> float | None:
    try:
        date = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else " " for character in text)
    return clip(" ".join(shown.split()), _LONGEST_NOTE)
