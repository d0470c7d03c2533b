"""The guard of HTTP_GUARD and HTTP_ALLOW: which addresses a callback may be sent to.

What counts is the address that a connection is made to, not how the URL spells it: every address that a host
name resolves to is judged, and the connection goes to that very address, so that a name server which answers
twice in different ways (DNS rebinding) gains nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from at_worker.config import Address, Allowances
from at_worker.executors.http_callback.addresses import carried, hazard, not_global
from at_worker.executors.http_callback.names import Addresses

_MAYBE_ADDRESS = re.compile(r".*:.*|(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
_FOUR_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


class Refused(Exception):
    """The guard lets none of a host's addresses through; the text names the setting that would."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Judges addresses by a mode and what is allowed all the same."""

    mode: Literal["metadata", "public", "off"]
    allowed: Allowances

    def admit(self, host: str, addresses: Addresses) -> Addresses:
        """Those of the addresses of `host` that may be connected to. Raises Refused where there is none."""
        if self.mode == "off" or self.allowed.has_host(host):
            return addresses
        admitted = [entry for entry in addresses if not self.objection(as_connected(entry[4][0]))]
        if addresses and not admitted:
            raise Refused(f"{host} resolves to {self._refusal(as_connected(addresses[0][4][0]))}")
        return admitted

    def refusal_of_spelled(self, host: str) -> str | None:
        """Why `host`, an address in whatever spelling, is refused; None also where it is a name.

        A proxy resolves names by itself, so before one this is all that can be judged.
        """
        if self.mode == "off" or not _MAYBE_ADDRESS.fullmatch(host):
            return None
        refused = (address for address in _readings(host.removesuffix(".")) if self.objection(address))
        return next(map(self._refusal, refused), None)

    def objection(self, address: Address) -> str | None:
        """What an address is that may not be connected to; None for one that may."""
        if self.mode == "off" or self.allowed.has_address(address):
            return None
        judge = not_global if self.mode == "public" else hazard
        if kind := judge(address):
            return kind
        inside = ((ipv4, judge(ipv4)) for ipv4 in carried(address) if not self.allowed.has_address(ipv4))
        return next((f"carries {ipv4}, {kind}" for ipv4, kind in inside if kind), None)

    def _refusal(self, address: Address) -> str:
        return (
            f"{address} ({self.objection(address)}), which HTTP_GUARD={self.mode} refuses; "
            f"HTTP_ALLOW={address} would let it through"
        )


UNGUARDED = Guard("off", Allowances())


def as_connected(text: str) -> Address:
    """An address as the kernel connects to it: its scope aside, and an IPv4-mapped one as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (address.version == 6 and address.ipv4_mapped) or address


def _readings(host: str) -> Iterator[Address]:
    """What `host` is read as: 0177.0.0.1 by inet_aton in octal, by others in decimal."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        pass
    else:
        yield as_connected(str(found[0][4][0]))
    if _FOUR_NUMBERS.fullmatch(host):
        numbers = [int(number) for number in host.split(".")]
        if max(numbers) <= 255:
            yield ipaddress.IPv4Address(bytes(numbers))
