"""What IP addresses are for, and the IPv4 addresses that IPv6 addresses carry.

Python's `is_global` is no help: it calls multicast, 6to4, NAT64 and Azure's 168.63.129.16 global, and what it
says differs between Python versions.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from at_worker.config import Address, Network

# No receiver of a callback lives there, and whoever answers hands out credentials or is this machine itself.
HAZARDOUS = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "cloud metadata": (
        "100.96.0.96/32",  # Volcengine
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:42::42/128",  # Scaleway
        "fd00:100::100:200/128",  # Alibaba
        "fd00:a9fe:a9fe::1/128",  # Akamai
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:ec2::/32",  # Amazon: metadata, credentials of EKS pods, DNS, time
        "fd20:ce::254/128",  # Google
    ),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "broadcast": ("255.255.255.255/32",),
    # RFC 8215: where in it the IPv4 address stands is known to its operator alone.
    "local-use NAT64": ("64:ff9b:1::/48",),
}

# What is not "globally reachable" by https://www.iana.org/assignments/iana-ipv4-special-registry and
# https://www.iana.org/assignments/iana-ipv6-special-registry, as of 2025-10-09. The few services that these
# exempt inside 192.0.0.0/24 and 2001::/23 are no receivers of callbacks.
NOT_GLOBAL = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "shared address space": ("100.64.0.0/10",),
    "protocol assignments": ("192.0.0.0/24", "2001::/23"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "benchmarking": ("198.18.0.0/15",),
    "6to4": ("192.88.99.0/24", "2002::/16"),
    "reserved": ("240.0.0.0/4",),
}

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out of IPv6
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380
_6TO4 = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_IN_THE_LAST_BITS = (
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, section 2.5.5.2
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    _NAT64,
)
_NO_IPV4 = frozenset({IPv6Address("::"), IPv6Address("::1")})
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214 section 6.1


def _ranges(table: Mapping[str, tuple[str, ...]]) -> tuple[tuple[Network, str], ...]:
    return tuple((ipaddress.ip_network(text), kind) for kind, texts in table.items() for text in texts)


_HAZARDOUS = _ranges(HAZARDOUS)
_NOT_GLOBAL = _ranges(NOT_GLOBAL)


def hazard(address: Address) -> str | None:
    """What makes an address one that no callback is for; None for all others, private ones included."""
    return next((kind for network, kind in _HAZARDOUS if address in network), None)


def not_global(address: Address) -> str | None:
    """What an address is that is not globally routable unicast; None where it is."""
    if kind := hazard(address) or next((kind for network, kind in _NOT_GLOBAL if address in network), None):
        return kind
    if address.version == 4 or address in _GLOBAL_UNICAST or address in _NAT64:
        return None
    return "not global unicast"


def carried(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a translator or tunnel on the way would read out of an IPv6 address.

    One address may have several readings: the last half of a Teredo or 6to4 address can look like ISATAP.
    """
    if address.version == 4 or address in _NO_IPV4:
        return
    bits = int(address)
    if any(address in network for network in _IN_THE_LAST_BITS) or bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield _ipv4(bits)
    if address in _6TO4:
        yield _ipv4(bits >> 80)
    if address in _TEREDO:
        yield _ipv4(bits >> 64)  # the server
        yield _ipv4(~bits)  # the client, inverted


def _ipv4(bits: int) -> IPv4Address:
    return IPv4Address(bits & 0xFFFF_FFFF)
