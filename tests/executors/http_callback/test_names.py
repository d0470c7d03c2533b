import socket
import threading
from collections.abc import Iterator

import pytest

from at_worker.executors.http_callback import names
from at_worker.executors.http_callback.names import TooManyLookups, resolve


class Hanging:
    """The system's resolver, which answers once `over` is set."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[str] = []
        self.fails_with: OSError | None = None
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, **options: int) -> object:
        if options.get("flags"):
            return self._real(host, port, **options)
        self.asked.append(host)
        self.over.wait(10)
        if self.fails_with:
            raise self.fails_with
        return self._real("127.0.0.1", port, **options)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    resolver = Hanging()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("resolve "):
            thread.join(10)


def test_a_name_is_resolved_for_tcp() -> None:
    assert ("127.0.0.1", 80) in [address for *_, address in resolve("localhost", 80, 10)]


def test_a_name_that_does_not_exist_is_an_error_every_time(hanging: Hanging) -> None:
    hanging.fails_with = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    hanging.over.set()
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="Name or service not known"):
            resolve("no-such-name.example", 80, 10)


def test_a_name_that_is_none_is_an_error_every_time() -> None:
    for _ in range(2):
        with pytest.raises(UnicodeError):
            resolve("a..b", 80, 10)


def test_an_address_needs_no_lookup(hanging: Hanging) -> None:
    resolve("127.0.0.1", 80, 0)
    resolve("::1", 80, 0)
    assert hanging.asked == []


def test_those_who_ask_for_the_same_name_share_a_lookup(hanging: Hanging) -> None:
    for _ in range(5):
        with pytest.raises(TimeoutError):
            resolve("one.example", 80, 0.01)
    assert hanging.asked == ["one.example"]


@pytest.mark.usefixtures("hanging")
def test_hanging_lookups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_LOOKUPS", 2)
    for name in ("one.example", "two.example"):
        with pytest.raises(TimeoutError):
            resolve(name, 80, 0.01)
    with pytest.raises(TooManyLookups, match="2 name lookups are hanging"):
        resolve("three.example", 80, 10)


def test_a_name_is_looked_up_again_after_its_lookup_ended(hanging: Hanging) -> None:
    hanging.over.set()
    resolve("one.example", 80, 10)
    resolve("one.example", 80, 10)
    assert hanging.asked == ["one.example", "one.example"]
