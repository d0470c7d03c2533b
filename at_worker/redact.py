"""Keeps secrets out of what people read: log lines, tracebacks, error messages, results.

Two nets: the secrets that this process knows, in whatever form they turn up, and everything in a URL that is
usually one. `learn` tells it the secrets once, at the start, as the log is set up once for the whole process.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus

from at_worker.jsontext import Json

HIDDEN = "***"
# A shorter one would be found where nobody wrote it, and make texts unreadable.
SHORTEST = 8
# So much of a secret at the end of a text that was cut counts as the secret.
_SHORTEST_REST = 6

_SENSITIVE = re.compile(
    "auth(?!ors?$)|cookie|credential|(?<!routing_)key|pass|pwd|secret|session|sig|token", re.IGNORECASE
)
_ESCAPE = re.compile("%..")
_URL_SAFE = str.maketrans("+/", "-_")
_URL = re.compile(r"""://[^\s"'<>]+""")
_QUERY = re.compile(r"""\?([\w.~%+\[\]-]+=[^\s"'<>]*)""")

_known: tuple[str, ...] = ()


def learn(secrets: Iterable[str]) -> None:
    """Take these for the secrets of this process; those of less than SHORTEST characters are left out."""
    global _known  # noqa: PLW0603 - one process has one log, and one set of secrets
    _known = _all_forms(secret for secret in secrets if len(secret) >= SHORTEST)


def text(given: str) -> str:
    """A text without the known secrets, and without user-info and query values of URLs."""
    return _QUERY.sub(lambda found: f"?{_bare_query(found[1])}", _URL.sub(_bare_url, _without(given, _known)))


def result(value: Json) -> Json:
    """A value of JSON without the known secrets in its strings."""
    match value:
        case str():
            return _without(value, _known)
        case None | bool() | int():  # to ask for an abstract class takes longer
            return value
        case dict() | Mapping():
            return {name: result(item) for name, item in value.items()}
        case list() | tuple():
            return [result(item) for item in value]
        case _:
            return value


def payload(value: Json) -> Json:
    """A payload as people may see it: nothing that its name says is secret, else as `text` and `result` do.

    A reference to a secret, `{"$secret": "NAME"}`, is none.
    """
    match value:
        case str():
            return text(value)
        case Mapping():
            return {
                name: _hidden(item) if is_sensitive(name) and name != "$secret" else payload(item)
                for name, item in value.items()
            }
        case list() | tuple():
            return [payload(item) for item in value]
        case _:
            return value


def _hidden(value: Json) -> Json:
    match value:
        case Mapping():
            return {name: item if name == "$secret" else _hidden(item) for name, item in value.items()}
        case list() | tuple():
            return [_hidden(item) for item in value]
        case None | bool():
            return value
        case _:
            return HIDDEN


def without(given: str, secrets: Iterable[str]) -> str:
    """A text without these secrets, which only the caller knows."""
    return _without(given, _all_forms(secrets))


def named_values(url: str) -> str:
    """A URL without the values in its query whose names say that they are secret."""
    address, mark, query = url.partition("?")
    parts = (part.partition("=") for part in query.split("&"))
    shown = (
        name + equals + (HIDDEN if value and is_sensitive(name) else value) for name, equals, value in parts
    )
    return address + mark + "&".join(shown)


def is_sensitive(name: str) -> bool:
    """Whether what goes by this name, a header or parameter, is usually secret."""
    return _SENSITIVE.search(name) is not None


def _without(given: str, forms: Iterable[str]) -> str:
    for form in forms:
        if form in given:
            given = given.replace(form, HIDDEN)
        end = len(given.rstrip("…"))
        rest = given.rfind(form[:_SHORTEST_REST], max(end - len(form), 0), end)
        if rest >= 0 and form.startswith(given[rest:end]):
            given = given[:rest] + HIDDEN + given[end:]
    return given


def _all_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Longest first: one form may be part of another."""
    return tuple(sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True))


@lru_cache(maxsize=512)
def _forms(secret: str) -> frozenset[str]:
    """How a secret looks as it is, in JSON, in a traceback, in a URL, and in base64."""
    found = {secret, repr(secret)[1:-1]}
    found |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    # Headers are Latin-1 and most else is UTF-8, and each is read as the other.
    encodings = {secret.encode(errors="surrogateescape")}
    if all(character <= "\xff" for character in secret):
        encodings.add(secret.encode("latin-1"))
    for octets in encodings:
        found |= {octets.decode(errors="replace"), octets.decode("latin-1")}
        found |= _in_url(octets) | _in_base64(octets)
    return frozenset(filter(None, found))


def _in_url(octets: bytes) -> set[str]:
    escaped = {quote(octets), quote(octets, safe=""), quote_plus(octets)}
    return escaped | {_ESCAPE.sub(lambda escape: escape[0].lower(), form) for form in escaped}


def _in_base64(octets: bytes) -> set[str]:
    """The characters in which no bit is of a neighbour, for every number of bytes that may stand before."""
    encoded = [base64.b64encode(bytes(before) + octets).decode() for before in range(3)]
    own = {form[(0, 2, 3)[at] : (at + len(octets)) * 8 // 6] for at, form in enumerate(encoded)}
    own |= {form.translate(_URL_SAFE) for form in own}
    return {form for form in own if len(form) >= SHORTEST}


def _bare_url(found: re.Match[str]) -> str:
    address, mark, query = found[0].removeprefix("://").partition("?")
    authority, slash, path = address.partition("/")
    _, at, host = authority.rpartition("@")
    user = HIDDEN if at else ""
    return f"://{user}{at}{host}{slash}{path}{mark}{_bare_query(query)}"


def _bare_query(query: str) -> str:
    said = query.rstrip("…).,;:")
    values = [
        name + equals + HIDDEN for name, equals, _ in (part.rpartition("=") for part in said.split("&"))
    ]
    return ("&".join(values) if said else "") + query[len(said) :]
