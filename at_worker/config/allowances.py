"""What HTTP_ALLOW names: hosts and networks that the HTTP guard lets through."""

import ipaddress
import re
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SEPARATOR = re.compile(r"[,\s]+")
# A host whose last label is a number is an address, whatever its spelling (WHATWG URL, "ends in a number").
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)*(?!(?:[0-9]+|0x[0-9a-f]*)$)[a-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Allowances:
    """Host names in lower case, `suffixes` that begin with a dot, and networks."""

    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def has_host(self, host: str) -> bool:
        """Tell whether a host is named."""
        host = host.lower().removesuffix(".")
        return host in self.hosts or host.endswith(self.suffixes)

    def has_address(self, address: Address) -> bool:
        """Tell whether an address lies in one of the networks."""
        return any(address in network for network in self.networks)


def allowances(text: str) -> Allowances:
    """Read host names, `*.` and a domain, addresses and networks between commas or blanks."""
    hosts: set[str] = set()
    networks: list[Network] = []
    for part in filter(None, _SEPARATOR.split(text)):
        host = part.lower().removesuffix(".")
        if _HOST.fullmatch(host):
            hosts.add(host)
        else:
            networks.append(_network(part))
    suffixes = sorted(host.removeprefix("*") for host in hosts if host.startswith("*"))
    return Allowances(
        frozenset(host for host in hosts if not host.startswith("*")), tuple(suffixes), tuple(networks)
    )


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a host name (in ASCII, xn--...) nor an address or network like 10.0.0.0/8"
        ) from None
    raise ValueError(f"{text!r} is no network; is {meant} meant?")
