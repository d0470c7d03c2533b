"""The guard on real sockets: what it refuses sees no connection."""

import socket
from collections.abc import Iterator

import pytest

from at_worker.executors.http_callback import HttpCallback
from at_worker.outcome import Done, Fail, Retry
from at_worker.plugin import InvalidPayload
from tests.executors.http_callback.callbacks import call, executor, once
from tests.servers.http import HOST, Receiver, Reply, tunnelling


class Untouched:
    """A port where the kernel would take a connection, and nobody may make one."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port = int(listener.getsockname()[1])

    def connected(self) -> bool:
        self._listener.setblocking(False)
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


class Names:
    """The system's resolver, for which `addresses` are those of every name."""

    def __init__(self, *addresses: str) -> None:
        self.asked: list[str] = []
        self._addresses = addresses
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, **options: int) -> list[object]:
        if options.get("flags"):
            return list(self._real(host, port, **options))
        self.asked.append(host)
        return [found for address in self._addresses for found in self._real(address, port, **options)]


@pytest.fixture
def untouched() -> Iterator[Untouched]:
    with socket.create_server((HOST, 0)) as listener:
        yield Untouched(listener)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The addresses that sockets were told to connect to."""
    addresses: list[object] = []
    connect = socket.socket.connect

    def remember(self: socket.socket, address: tuple[str, int]) -> None:
        addresses.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", remember)
    return addresses


@pytest.fixture
def public() -> Iterator[HttpCallback]:
    with executor(HTTP_GUARD="public") as running:
        yield running


def test_an_untouched_port_would_notice_a_connection(untouched: Untouched) -> None:
    assert not untouched.connected()
    socket.create_connection((HOST, untouched.port)).close()
    assert untouched.connected()


def test_a_name_that_leads_inwards_fails_for_good_before_anything_is_sent(
    public: HttpCallback, untouched: Untouched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(HOST))
    outcome = call(public, {"url": f"http://intranet.example:{untouched.port}/?token=s3cr3t"})
    assert outcome == Fail(
        "refused: intranet.example resolves to 127.0.0.1 (loopback), which HTTP_GUARD=public refuses; "
        "HTTP_ALLOW=127.0.0.1 would let it through"
    )
    assert not untouched.connected()


def test_the_name_of_this_machine_is_refused_to_the_public(
    public: HttpCallback, untouched: Untouched
) -> None:
    assert isinstance(call(public, {"url": f"https://localhost:{untouched.port}/"}), Fail)
    assert not untouched.connected()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0X7F.0.0.1", "0x7f000001", "0177.0.0.1",
        "017700000001", "0127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]", "[::127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1]", "0", "0.0", "[::]",
    ],
)  # fmt: skip
def test_no_spelling_of_an_address_gets_past_the_guard(
    public: HttpCallback, untouched: Untouched, host: str
) -> None:
    with pytest.raises(
        InvalidPayload, match=r"url: is .*, which HTTP_GUARD=public refuses; HTTP_ALLOW="
    ) as refusal:
        call(public, {"url": f"http://{host}:{untouched.port}/"})
    assert refusal.value.field == "url"
    assert not untouched.connected()


@pytest.mark.parametrize(
    "host",
    [
        "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "127\uff0e0\uff0e0\uff0e1", "①②⑦.⓪.⓪.①",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1\u00ad", "%31%32%37.0.0.1", "127.0.0.1%00", "[::1%25lo]",
        "[fe80::1%25eth0]", "[::1.]", "127.0.0.1..",
    ],
)  # fmt: skip
def test_a_spelling_that_is_no_host_is_refused_in_every_mode(untouched: Untouched, host: str) -> None:
    with pytest.raises(InvalidPayload, match=r"url: has (a|no valid) host"):
        once({"url": f"http://{host}:{untouched.port}/"}, HTTP_GUARD="off")
    assert not untouched.connected()


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://127.0.0.1:{}/", {}),
        ("http://localhost:{}/", {}),
        ("http://127.0.0.1:{}/", {"HTTP_GUARD": "off"}),
        ("http://127.0.0.1:{}/", {"HTTP_GUARD": "public", "HTTP_ALLOW": "127.0.0.0/8"}),
        ("http://2130706433:{}/", {"HTTP_GUARD": "public", "HTTP_ALLOW": "127.0.0.0/8"}),
        ("http://[::ffff:127.0.0.1]:{}/", {"HTTP_GUARD": "public", "HTTP_ALLOW": "127.0.0.0/8"}),
        ("http://localhost:{}/", {"HTTP_GUARD": "public", "HTTP_ALLOW": "127.0.0.0/8"}),
        ("http://LocalHost:{}/", {"HTTP_GUARD": "public", "HTTP_ALLOW": "localhost"}),
    ],
)
def test_what_is_allowed_arrives(receiver: Receiver, url: str, settings: dict[str, str]) -> None:
    with executor(**settings) as callback:
        assert isinstance(call(callback, {"url": url.format(receiver.port)}), Done)
    assert len(receiver.arrivals) == 1


def test_an_allowed_name_does_not_allow_its_address(untouched: Untouched) -> None:
    with pytest.raises(InvalidPayload):
        once({"url": f"http://127.0.0.1:{untouched.port}/"}, HTTP_GUARD="public", HTTP_ALLOW="localhost")
    assert not untouched.connected()


def test_refused_addresses_of_a_name_are_passed_over(
    receiver: Receiver, connected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names("169.254.169.254", "::ffff:169.254.169.254", HOST))
    assert isinstance(once({"url": f"http://both.example:{receiver.port}/"}), Done)
    assert connected == [(HOST, receiver.port)]


def test_a_name_is_looked_up_once_and_connected_where_it_was_judged(
    receiver: Receiver, connected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(HOST)
    monkeypatch.setattr(socket, "getaddrinfo", names)
    assert isinstance(once({"url": f"http://rebound.example:{receiver.port}/"}), Done)
    assert names.asked == ["rebound.example"]
    assert connected == [(HOST, receiver.port)]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "0251.0376.0251.0376", "0169.254.169.254.", "[64:ff9b::a9fe:a9fe]"],
)
def test_an_address_is_refused_before_a_proxy_too(untouched: Untouched, scheme: str, host: str) -> None:
    with pytest.raises(InvalidPayload, match="link-local"):
        once({"url": f"{scheme}://{host}/"}, HTTP_PROXY_URL=f"http://{HOST}:{untouched.port}")
    assert not untouched.connected()


def test_the_proxy_itself_is_not_judged_and_resolves_names_itself(receiver: Receiver) -> None:
    outcome = once({"url": "http://intranet.example/"}, HTTP_GUARD="public", HTTP_PROXY_URL=receiver.url)
    assert isinstance(outcome, Done)
    assert receiver.arrivals[0].target == "http://intranet.example/"
    heads: list[bytes] = []
    with tunnelling(heads, answer=b"HTTP/1.1 502 No\r\n\r\n") as port:
        proxy = f"http://{HOST}:{port}"
        assert isinstance(
            once({"url": "https://a.example/"}, HTTP_GUARD="public", HTTP_PROXY_URL=proxy), Retry
        )
    assert len(heads) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inwards_is_not_followed(receiver: Receiver, untouched: Untouched, status: int) -> None:
    receiver.script(Reply(status, {"Location": f"http://{HOST}:{untouched.port}/"}))
    once({"url": receiver.url, "data": {}})
    assert len(receiver.arrivals) == 1
    assert not untouched.connected()
