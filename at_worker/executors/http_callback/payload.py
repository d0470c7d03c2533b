"""The payload of an `http_callback`, checked and ready to be sent."""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from at_worker import redact
from at_worker.executors import body, fields
from at_worker.executors.http_callback.dialer import ascii_host
from at_worker.executors.http_callback.vault import Vault
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE", "HEAD")
_EXPECT_CONTENT = frozenset({"POST", "PUT", "PATCH"})
_RESERVED = frozenset({
    "connection", "content-length", "expect", "host", "idempotency-key", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip
_RESERVED_PREFIXES = ("proxy-", "x-at-worker-")
_LONGEST_URL = 8192
_LONGEST_TIMEOUT = 366 * 86_400.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(.*))?")
_SPACE = re.compile(r"\s")
_LABEL = re.compile("[A-Za-z0-9_-]{1,63}")
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Callback:
    """An HTTP request to make; `timeout` is in seconds, `content` None where there is no body to send.

    `secrets` are what of it nobody may read, should the receiver quote it.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    timeout: float | None
    signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


_NO_SECRETS = Vault()


def parse(payload: Json, vault: Vault = _NO_SECRETS) -> Callback:
    """Check a payload. Raises InvalidPayload and MissingSetting, which name the field and hold no secret."""
    payload = fields.members(payload)
    url = _url(fields.required_line(payload, "url"))
    given_method = fields.line(payload, "method")
    method = "POST" if given_method is None else given_method.upper()
    if method not in _METHODS:
        raise InvalidPayload("method", f"must be one of {', '.join(_METHODS)}")
    encoded = body.encode(payload.get("data"))
    content = encoded.content if encoded.content_type or method in _EXPECT_CONTENT else None
    headers = {"Accept": "*/*"}
    if encoded.content_type:
        headers["Content-Type"] = encoded.content_type
    given = _headers(payload, vault, url)
    named = {name.lower() for name in given}
    headers = {name: value for name, value in headers.items() if name.lower() not in named} | given
    secrets = _secrets(url, given)
    if credentials := _credentials(payload, vault, url):
        if "authorization" in named:
            raise InvalidPayload("auth", "is there beside the header Authorization; give one of them")
        headers["Authorization"], secret = credentials
        secrets += [secret]
    if content is not None:
        headers["Content-Length"] = str(len(content))
    timeout = fields.number(payload, "timeout", above=0, most=_LONGEST_TIMEOUT)
    sign = payload.get("sign")
    keys = () if sign is None else vault.signing_keys("sign", sign, url)
    secrets = [secret for secret in secrets if len(secret) >= redact.SHORTEST]
    return Callback(method, url, headers, content, timeout, keys, tuple(secrets))


def _url(given: str) -> str:
    """The URL with everything percent-encoded that RFC 3986 wants so, otherwise as it was written."""
    if len(given) > _LONGEST_URL:
        raise InvalidPayload("url", f"is longer than {_LONGEST_URL:,} characters")
    if _SPACE.search(given):
        raise InvalidPayload("url", "holds a space")
    match = _URL.fullmatch(given)
    if match is None:
        raise InvalidPayload("url", "must begin with http:// or https://")
    scheme, authority, target = match[1].lower(), match[2], match[3]
    if "@" in authority:
        raise InvalidPayload("url", "holds a user or password; give them as auth")
    try:
        target = quote(target, safe="/?%:@!$&'()*+,;=~")
    except UnicodeEncodeError:
        raise InvalidPayload("url", "holds a lone surrogate, which UTF-8 cannot carry") from None
    if not target.startswith("/"):
        target = f"/{target}"
    return f"{scheme}://{_authority(authority, _PORTS[scheme])}{_STRAY_PERCENT.sub('%25', target)}"


def _authority(given: str, default_port: int) -> str:
    if not given or given.startswith(":"):
        raise InvalidPayload("url", "has no host")
    match = _AUTHORITY.fullmatch(given)
    if match is None:
        raise InvalidPayload("url", "has no valid host")
    host = f"[{_ipv6(match[1])}]" if match[1] else _host(match[2])
    port = match[3] or str(default_port)
    if not re.fullmatch("0*[1-9][0-9]{0,4}", port) or int(port) > 65_535:
        raise InvalidPayload("url", "has a port that is not a number from 1 to 65535")
    return host if int(port) == default_port else f"{host}:{int(port)}"


def _ipv6(given: str) -> str:
    try:
        return str(ipaddress.IPv6Address(given))
    except ValueError:
        raise InvalidPayload("url", "has no valid host") from None


def _host(given: str) -> str:
    try:
        name = (given if given.isascii() else ascii_host(given)).lower()
    except ValueError:
        raise InvalidPayload("url", "has a host name that cannot be encoded (IDNA)") from None
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidPayload("url", "has no valid host")
    return name


def _headers(payload: Mapping[str, Json], vault: Vault, url: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    names: set[str] = set()
    given = payload.get("headers")
    if isinstance(given, Mapping):
        given = {name: vault.revealed(f"headers.{name}", value, url) for name, value in given.items()}
    for name, value in fields.lines({"headers": given}, "headers").items():
        where = f"headers.{name}"
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            raise InvalidPayload(where, "is not a header name")
        if lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
            raise InvalidPayload(where, "is set by at-worker itself")
        if lower in names:
            raise InvalidPayload(where, "is there twice")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidPayload(where, "holds characters outside Latin-1") from None
        names.add(lower)
        headers[name] = value.strip(" ")
    return headers


def _secrets(url: str, headers: Mapping[str, str]) -> list[str]:
    """What names say is secret, and the token after a word such as Bearer."""
    named = [*headers.items(), *parse_qsl(urlsplit(url).query)]
    values = [value for name, value in named if redact.is_sensitive(name)]
    return values + [value.rpartition(" ")[2] for value in values]


def _credentials(payload: Mapping[str, Json], vault: Vault, url: str) -> tuple[str, str] | None:
    """The header Authorization, and the secret in it."""
    if payload.get("auth") is None:
        return None
    auth = fields.members(payload["auth"], "auth")
    basic, bearer = auth.get("basic"), auth.get("bearer")
    if (basic is None) == (bearer is None):
        raise InvalidPayload("auth", "must hold either basic or bearer")
    if basic is None:
        return _bearer(vault.revealed("auth.bearer", bearer, url))
    match basic:
        case [user, password]:
            return _basic([user, vault.revealed("auth.basic", password, url)])
        case _:
            return _basic(basic)


def _basic(given: Json) -> tuple[str, str]:
    """RFC 7617, in UTF-8."""
    match given:
        case [str(user), str(password)]:
            pass
        case _:
            raise InvalidPayload("auth.basic", "must be an array of two strings: user and password")
    if ":" in user:
        raise InvalidPayload("auth.basic", "has a colon in the user")
    fields.refuse_control_characters("auth.basic", user + password)
    try:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}", password
    except UnicodeEncodeError:
        raise InvalidPayload("auth.basic", "holds a lone surrogate, which UTF-8 cannot carry") from None


def _bearer(given: Json) -> tuple[str, str]:
    if not isinstance(given, str):
        raise InvalidPayload("auth.bearer", f"must be a string, not {fields.kind(given)}")
    if not re.fullmatch("[!-~]+", given):
        raise InvalidPayload("auth.bearer", "must be visible ASCII characters without spaces")
    return f"Bearer {given}", given
