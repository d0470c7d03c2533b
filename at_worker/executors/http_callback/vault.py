"""Secrets by reference: `{"$secret": "NAME"}` in a payload stands for a secret that the worker knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from at_worker.config import Secret, is_loopback, is_name, signing_keys
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload, MissingSetting

_REFERENCE = "$secret"


@dataclass(frozen=True, slots=True)
class Vault:
    """The secrets that payloads may name; `proxied` where a proxy sees what goes out in clear text."""

    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    proxied: bool = False

    def revealed(self, where: str, value: Json, url: str) -> Json:
        """The secret that a reference names, to be sent to `url`; any other value comes back as it is.

        Raises InvalidPayload, and MissingSetting where this worker may not send it there.
        """
        if not isinstance(value, Mapping) or _REFERENCE not in value:
            return value
        name = _name(where, value)
        parts = urlsplit(url)
        if parts.scheme != "https" and (self.proxied or not is_loopback(parts.hostname or "")):
            raise InvalidPayload("url", "must begin with https:// for a secret to go along")
        return self._bound(where, name, url).value

    def signing_keys(self, where: str, value: Json, url: str) -> tuple[bytes, ...]:
        """The keys of the signing secret that a reference names, for `url`. Raises the same."""
        if not isinstance(value, Mapping) or _REFERENCE not in value:
            raise InvalidPayload(where, f'must be {{"{_REFERENCE}": "NAME"}}')
        name = _name(where, value)
        secret = self._bound(where, name, url)
        try:
            return signing_keys(secret.value)
        except ValueError as error:
            raise MissingSetting(where, f"AT_SECRET_{name} {error}") from None

    def _bound(self, where: str, name: str, url: str) -> Secret:
        secret = self.secrets.get(name)
        if secret is None:
            raise MissingSetting(where, f"this worker has no AT_SECRET_{name}")
        host = urlsplit(url).hostname or ""
        if not secret.is_for(host):
            raise MissingSetting(where, f"AT_SECRET_{name}_HOSTS does not name {host}")
        return secret


def _name(where: str, reference: Mapping[str, Json]) -> str:
    name = reference[_REFERENCE]
    if not isinstance(name, str) or not is_name(name) or len(reference) != 1:
        raise InvalidPayload(where, f'must be {{"{_REFERENCE}": "NAME"}}, a name of A-Z, 0-9 and _ alone')
    return name
