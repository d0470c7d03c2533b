"""Secrets that payloads name, each bound to the hosts that may receive it."""

import ipaddress
import re
from dataclasses import dataclass, field

from at_worker.config.values import names
from at_worker.redact import SHORTEST

PREFIX = "AT_SECRET_"

_NAME = re.compile("[A-Z][A-Z0-9_]*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value for `hosts` and nobody else; `*.example.org` are all hosts below example.org."""

    value: str = field(repr=False)
    hosts: tuple[str, ...] = ()

    def is_for(self, host: str) -> bool:
        """Whether a host, in lower case and ASCII, may receive it."""
        host = host.removesuffix(".")
        return any(
            host.endswith(bound[1:]) if bound.startswith("*.") else host == bound for bound in self.hosts
        )


def is_name(text: str) -> bool:
    """Whether a secret can have this name: NAME of AT_SECRET_NAME."""
    return _NAME.fullmatch(text) is not None and not text.endswith(("_FILE", "_HOSTS"))


def secret_value(text: str) -> str:
    """A text that can stand in a header, and be found wherever it must not stand."""
    if _CONTROL.search(text):
        raise ValueError("holds a control character")
    if len(text) < SHORTEST:
        raise ValueError(f"is shorter than {SHORTEST} characters")
    return text


def hosts(text: str) -> tuple[str, ...]:
    """Host names and addresses between commas, as URLs have them: in lower case and ASCII."""
    return tuple(map(_host, names(text)))


def _host(text: str) -> str:
    host = text.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"{text!r} is not a host name (in ASCII, without a port), an address, or *.DOMAIN"
            ) from None
        return host
