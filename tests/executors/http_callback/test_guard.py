"""Which addresses the guard lets callbacks go to."""

import ipaddress
import socket
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from at_worker.config import Address, Allowances, load
from at_worker.executors.http_callback.addresses import HAZARDOUS, NOT_GLOBAL
from at_worker.executors.http_callback.guard import Guard, Refused, as_connected

HAZARDOUS_RANGES = [(text, kind) for kind, texts in HAZARDOUS.items() for text in texts]
NOT_GLOBAL_RANGES = [(text, kind) for kind, texts in NOT_GLOBAL.items() for text in texts]

# Independent of the tables of the guard: every block of the IANA registries, and what lies next to each.
INWARDS = [
    "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0", "127.0.0.1",
    "127.255.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.9", "192.0.0.170",
    "192.0.0.255", "192.0.2.0", "192.0.2.255", "192.88.99.0", "192.88.99.2", "192.88.99.255",
    "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255",
    "203.0.113.0", "203.0.113.255", "240.0.0.0", "255.255.255.254", "::1", "1::", "100::",
    "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "200::", "1fff::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:1::1", "2001:2::", "2001:3::", "2001:4:112::", "2001:10::", "2001:20::", "2001:30::",
    "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002:808:808::1", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5f00::",
    "5f00:ffff::1", "64:ff9b::1:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9c::", "fc00::",
    "fd00::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::1", "feff::1", "::8.8.8.8",
    "::ffff:0:8.8.8.8", "fe00::", "fb00::",
]  # fmt: skip
NOWHERE = [
    "0.0.0.0",  # noqa: S104 - nothing binds to it
    "0.0.0.1", "0.255.255.255", "169.254.0.0", "169.254.0.23", "169.254.42.42",
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.255.255", "168.63.129.16",
    "100.100.100.200", "100.96.0.96", "192.0.0.192", "224.0.0.0", "224.0.0.1", "239.255.255.255",
    "255.255.255.255", "::", "fe80::", "fe80::1", "fe80::a9fe:a9fe",
    "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", "ff02::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::253",
    "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "fd00:a9fe:a9fe::1", "fd00:100::100:200",
    "64:ff9b:1::", "::2", "2001::", "2002::", "2002:ffff:ffff::", "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip
OUTWARDS = [
    "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0",
    "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0",
    "192.31.196.1", "192.52.193.1", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0",
    "192.175.48.1", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
    "203.0.114.0", "223.255.255.255", "2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::",
    "2001:4860:4860::8888", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::",
    "2606:4700:4700::1111", "2620:4f:8000::1", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::",
    "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
]  # fmt: skip


def guard(mode: str = "metadata", allow: str = "") -> Guard:
    settings = load({"HTTP_GUARD": mode, "HTTP_ALLOW": allow}, ())
    return Guard(settings.http_guard, settings.http_allow)


METADATA, PUBLIC, OFF = guard("metadata"), guard("public"), guard("off")


def objection(judge: Guard, address: str | Address) -> str | None:
    return judge.objection(as_connected(str(address)))


def ends(text: str) -> tuple[Address, Address]:
    network = ipaddress.ip_network(text)
    return network[0], network[-1]


def neighbours(text: str) -> list[Address]:
    first, last = ends(text)
    return [
        type(end)(int(end) + step)
        for end, step in ((first, -1), (last, 1))
        if 0 <= int(end) + step < 2**end.max_prefixlen
    ]


def within(address: Address, ranges: list[tuple[str, str]]) -> bool:
    return any(address in ipaddress.ip_network(text) for text, _ in ranges)


@pytest.mark.parametrize("address", NOWHERE)
def test_an_address_that_no_callback_is_for_is_refused(address: str) -> None:
    assert objection(METADATA, address)
    assert objection(PUBLIC, address)
    assert objection(OFF, address) is None


@pytest.mark.parametrize("address", INWARDS)
def test_an_address_within_the_house_is_refused_to_the_public_alone(address: str) -> None:
    assert objection(METADATA, address) is None
    assert objection(PUBLIC, address)
    assert objection(OFF, address) is None


@pytest.mark.parametrize("address", OUTWARDS)
def test_a_globally_routable_address_is_never_refused(address: str) -> None:
    assert [objection(judge, address) for judge in (METADATA, PUBLIC, OFF)] == [None, None, None]


@pytest.mark.parametrize(("text", "kind"), HAZARDOUS_RANGES)
def test_a_hazardous_range_is_refused_from_its_first_address_to_its_last(text: str, kind: str) -> None:
    for address in ends(text):
        assert objection(METADATA, address) == kind
        assert objection(PUBLIC, address) == kind


@pytest.mark.parametrize(("text", "kind"), NOT_GLOBAL_RANGES)
def test_a_range_that_is_not_global_is_refused_from_its_first_address_to_its_last(
    text: str, kind: str
) -> None:
    for address in ends(text):
        assert objection(PUBLIC, address) == (kind if not within(address, HAZARDOUS_RANGES) else "broadcast")


@pytest.mark.parametrize("text", [text for text, _ in HAZARDOUS_RANGES])
def test_the_neighbours_of_a_hazardous_range_are_not(text: str) -> None:
    for address in neighbours(text):
        if not within(address, HAZARDOUS_RANGES) and address != ipaddress.ip_address("::1"):
            assert objection(METADATA, address) is None


def mapped(ipv4: int, _: int) -> int:
    return 0xFFFF << 32 | ipv4


def compatible(ipv4: int, _: int) -> int:
    return ipv4


def translated(ipv4: int, _: int) -> int:
    return 0xFFFF << 48 | ipv4


def nat64(ipv4: int, _: int) -> int:
    return 0x0064_FF9B << 96 | ipv4


def local_nat64(ipv4: int, rest: int) -> int:
    return 0x0064_FF9B_0001 << 80 | rest << 32 & (1 << 80) - 1 | ipv4


def six_to_four(ipv4: int, rest: int) -> int:
    return 0x2002 << 112 | ipv4 << 80 | rest & (1 << 80) - 1


def teredo_client(ipv4: int, rest: int) -> int:
    return 0x2001_0000 << 96 | rest << 32 & (1 << 96) - 1 | ipv4 ^ 0xFFFF_FFFF


def teredo_server(ipv4: int, rest: int) -> int:
    return 0x2001_0000 << 96 | ipv4 << 64 | rest & (1 << 64) - 1


def isatap(ipv4: int, rest: int) -> int:
    return 0x2600 << 112 | rest << 64 & (1 << 112) - 1 | 0x5EFE << 32 | ipv4


def isatap_of_a_global_address(ipv4: int, rest: int) -> int:
    return isatap(ipv4, rest) | 0x0200_0000 << 32


FORMS = [
    mapped, compatible, translated, nat64, local_nat64, six_to_four, teredo_client, teredo_server, isatap,
    isatap_of_a_global_address,
]  # fmt: skip


def ipv4_of(ranges: list[tuple[str, str]]) -> st.SearchStrategy[int]:
    networks = [ipaddress.ip_network(text) for text, _ in ranges if "." in text]
    return st.one_of([st.integers(int(network[0]), int(network[-1])) for network in networks])


IPV4 = st.integers(0, 2**32 - 1) | ipv4_of(HAZARDOUS_RANGES) | ipv4_of(NOT_GLOBAL_RANGES)
IPV6 = st.integers(0, 2**128 - 1) | st.builds(
    lambda form, ipv4, rest: form(ipv4, rest), st.sampled_from(FORMS), IPV4, st.integers(0, 2**128 - 1)
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("judge", [METADATA, PUBLIC], ids=lambda judge: judge.mode)
@given(ipv4=IPV4, rest=st.integers(0, 2**128 - 1))
def test_an_ipv4_address_is_refused_inside_an_ipv6_address_too(
    form: Callable[[int, int], int], judge: Guard, ipv4: int, rest: int
) -> None:
    assume(objection(judge, ipaddress.IPv4Address(ipv4)))
    address = ipaddress.IPv6Address(form(ipv4, rest))
    assume(address not in (ipaddress.ip_address("::1"), ipaddress.ip_address("::")) or judge is PUBLIC)
    assert objection(judge, address)


@given(address=st.builds(ipaddress.IPv4Address, IPV4) | st.builds(ipaddress.IPv6Address, IPV6))
def test_each_mode_lets_through_what_a_stricter_one_does(address: Address) -> None:
    assert objection(OFF, address) is None
    if objection(METADATA, address):
        assert objection(PUBLIC, address)


@given(address=st.builds(ipaddress.IPv4Address, IPV4) | st.builds(ipaddress.IPv6Address, IPV6))
def test_the_allowance_that_a_refusal_names_would_let_it_through(address: Address) -> None:
    allowed = guard("public", str(as_connected(str(address))))
    assert objection(allowed, address) is None


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("64:ff9b::169.254.169.254", "carries 169.254.169.254, link-local"),
        ("2002:a9fe:a9fe::", "carries 169.254.169.254, link-local"),
        ("2001:0:808:808::5601:5601", "carries 169.254.169.254, link-local"),
        ("2001:0:a83f:8110::", "carries 168.63.129.16, cloud metadata"),
        ("2600::5efe:a9fe:a9fe", "carries 169.254.169.254, link-local"),
        ("2001:0:808:808:0:5efe:5601:5601", "carries 169.254.169.254, link-local"),
        ("2002:a9fe:a9fe::5efe:808:808", "carries 169.254.169.254, link-local"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fe80::1%25eth0", "link-local"),
    ],
)
def test_an_objection_says_what_the_address_is(address: str, what: str) -> None:
    assert objection(METADATA, address) == what


@pytest.mark.parametrize(
    ("allow", "address", "passes"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3", True),
        ("10.0.0.0/8", "2002:a01:203::", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.0.0.0/8", "192.168.0.1", False),
        ("192.168.0.7", "192.168.0.7", True),
        ("192.168.0.7", "192.168.0.8", False),
        ("fd00::/8", "fd12::1", True),
        ("64:ff9b::/96", "64:ff9b::10.1.2.3", True),
        ("64:ff9b::/96", "10.1.2.3", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("example.org", "10.1.2.3", False),
    ],
)
def test_an_allowed_network_is_let_through(allow: str, address: str, passes: bool) -> None:
    assert (objection(guard("public", allow), address) is None) is passes


def resolved(
    *addresses: str,
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]:
    return [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in addresses
    ]


def test_refused_addresses_of_a_name_are_left_out_and_the_others_used() -> None:
    addresses = resolved("10.0.0.1", "8.8.8.8", "::1", "2606:4700:4700::1111")
    assert PUBLIC.admit("example.org", addresses) == [addresses[1], addresses[3]]


def test_a_name_with_refused_addresses_only_is_refused_and_told_what_would_allow_it() -> None:
    with pytest.raises(Refused) as refusal:
        PUBLIC.admit("intranet.example.org", resolved("10.0.0.1", "10.0.0.2"))
    assert str(refusal.value) == (
        "intranet.example.org resolves to 10.0.0.1 (private), which HTTP_GUARD=public refuses; "
        "HTTP_ALLOW=10.0.0.1 would let it through"
    )


def test_a_name_without_addresses_is_not_refused() -> None:
    assert PUBLIC.admit("example.org", []) == []


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("intranet", True),
        ("INTRANET", True),
        ("intranet.", True),
        ("xintranet", False),
        ("intranet.example", False),
        ("a.intranet", False),
        ("a.corp.example", True),
        ("a.b.CORP.example.", True),
        ("corp.example", False),
        ("evilcorp.example", False),
        ("a.corp.example.org", False),
        ("xn--mnchen-3ya.example", True),
    ],
)
def test_an_allowed_name_is_let_through_wherever_it_leads(host: str, passes: bool) -> None:
    allowed = guard("public", "Intranet., *.Corp.example xn--mnchen-3ya.example")
    addresses = resolved("169.254.169.254")
    if passes:
        assert allowed.admit(host, addresses) == addresses
    else:
        with pytest.raises(Refused):
            allowed.admit(host, addresses)


SPELLINGS_OF_METADATA = [
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9FEA9FE", "025177524776",
    "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "169.254.43518", "169.16689662", "0169.0254.0169.0254",
    "169.254.0169.254", "00169.254.169.254", "0xa9.254.0251.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS_OF_METADATA)
def test_an_address_is_refused_in_every_spelling(host: str) -> None:
    assert METADATA.refusal_of_spelled(host)
    assert OFF.refusal_of_spelled(host) is None


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0X7F000001", "::1", "0127.0.0.1"]
)
def test_a_spelling_of_this_machine_is_refused_to_the_public(host: str) -> None:
    assert PUBLIC.refusal_of_spelled(host)
    assert METADATA.refusal_of_spelled(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "metadata.google.internal",
        "example.org",
        "1.example",
        "0xabc.example",
        "8.8.8.8",
        "256.1.1.1",
    ],
)
def test_names_and_global_addresses_are_no_refused_spellings(host: str) -> None:
    assert PUBLIC.refusal_of_spelled(host) is None


def test_the_default_guards_metadata_and_allows_nothing_more() -> None:
    settings = load({}, ())
    assert (settings.http_guard, settings.http_allow) == ("metadata", Allowances())
