"""How the values of settings are read; whatever does not fit raises ValueError with the reason."""

import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from at_worker.durations import seconds

LISTEN_OFF = "off"

Parse = Callable[[str], Any]

CENTURY = 36525 * 86400.0  # what threads can wait and dates can be moved by


def anything(text: str) -> str:
    """Any text."""
    return text


def one_of(*choices: str) -> Parse:
    """One of these words, in any case of letters."""

    def parse(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"{text!r} is none of {', '.join(choices)}")

    return parse


def whole(least: int, most: int) -> Parse:
    """A whole number within these bounds."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return parse


def duration(unit: str, least: float, most: float = CENTURY) -> Parse:
    """Seconds within these bounds; a bare number counts in `unit`."""

    def parse(text: str) -> float:
        length = seconds(text, unit)
        if length < least:
            raise ValueError(f"{text!r} is shorter than {least:g} s")
        if length > most:
            raise ValueError(f"{text!r} is longer than {most:g} s")
        return length

    return parse


def optional(parse: Parse) -> Parse:
    """The same, or None where nothing is set."""
    return lambda text: parse(text) if text else None


def names(text: str) -> tuple[str, ...]:
    """Words between commas, at least one."""
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if not names:
        raise ValueError("holds nothing but commas")
    return names


def delays(text: str) -> tuple[float, ...]:
    """Durations between commas, at least one; a bare number is seconds."""
    delay = duration("s", 0)
    return tuple(delay(part) for part in names(text))


def url(*schemes: str) -> Parse:
    """A URL of one of these schemes."""

    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"is not a URL of the form {' or '.join(f'{s}://host:port' for s in schemes)}")
        return text

    return parse


def database_url(text: str) -> str:
    """The address of a PostgreSQL, as libpq reads it."""
    # Several hosts with a port each, or a socket in the query, are for libpq to read.
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a URL that begins with postgresql:// or postgres://")
    return text


def is_loopback(host: str) -> bool:
    """Whether what goes to a host stays within the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def sender(text: str) -> str:
    """Something like an e-mail address; the executor looks closer."""
    _, at, domain = text.rpartition("@")
    if not at or not domain or not text.isprintable():
        raise ValueError(f"{text!r} is not an e-mail address")
    return text


def listen_dsn(text: str) -> str:
    """The address of a PostgreSQL, or `off`."""
    return LISTEN_OFF if text.lower() == LISTEN_OFF else database_url(text)


def directory(text: str) -> str:
    """A directory that is there; relative to the current one."""
    path = Path(text).absolute()
    if not path.is_dir():
        raise ValueError(f"{text!r} is not a directory")
    return str(path)


def certificates(text: str) -> str:
    """A file with certificates that can be read."""
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        raise ValueError(f"{text!r} holds no readable certificates ({error.strerror or error})") from None
    return text
