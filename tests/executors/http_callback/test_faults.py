"""Whatever a receiver does, an attempt ends by its deadline."""

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from at_worker.executors.http_callback import HttpCallback
from at_worker.outcome import Done, Outcome, Retry
from tests.executors.http_callback.callbacks import Authority, call, executor
from tests.servers.http import Handle, deaf, read_head, refusing, serving
from tests.servers.http_faults import (
    OK,
    answer_garbage,
    answer_ok,
    break_off_body,
    close_without_answer,
    drip_body,
    drip_chunks,
    drip_handshake,
    drip_headers,
    endless_body,
    endless_chunks,
    endless_headers,
    endless_interim,
    endless_line,
    endless_trailers,
    hang,
    hang_after_request,
    hang_in_headers,
    reset,
)

TIMEOUT = 0.4
SLACK = 0.5


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    return authority.server("127.0.0.1")


@pytest.fixture
def callback(authority: Authority) -> Iterator[HttpCallback]:
    with executor(HTTP_TIMEOUT=str(TIMEOUT), HTTP_CA_FILE=authority.ca_file) as running:
        yield running


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry)
    assert outcome.result is None
    assert "s3cr3t" not in outcome.reason
    return outcome.reason


@pytest.mark.parametrize(
    "handle",
    [hang, hang_after_request, hang_in_headers, drip_headers, endless_interim],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_server_that_never_answers_is_left_at_the_deadline(
    callback: HttpCallback, tls: ssl.SSLContext, handle: Handle, secure: bool
) -> None:
    with serving(handle, tls if secure else None) as port, within(TIMEOUT + SLACK):
        outcome = call(callback, {"url": f"http{'s' if secure else ''}://127.0.0.1:{port}/?token=s3cr3t"})
        assert reason(outcome) == f"127.0.0.1:{port} did not answer within {TIMEOUT} s"


@pytest.mark.parametrize("handle", [hang, drip_handshake], ids=lambda f: f.__name__)
def test_a_tls_handshake_that_never_ends_is_left_at_the_deadline(
    callback: HttpCallback, handle: Handle
) -> None:
    with serving(handle) as port, within(TIMEOUT + SLACK):
        outcome = call(callback, {"url": f"https://127.0.0.1:{port}/?token=s3cr3t"})
        assert reason(outcome) == f"127.0.0.1:{port} did not answer within {TIMEOUT} s"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_upload_that_is_not_read_is_left_at_the_deadline(
    callback: HttpCallback, tls: ssl.SSLContext, secure: bool
) -> None:
    payload = callback.parse({"url": "http://127.0.0.1/", "data": "x" * 20_000_000})
    assert payload.content is not None
    with serving(hang, tls if secure else None) as port, within(TIMEOUT + SLACK):
        url = f"http{'s' if secure else ''}://127.0.0.1:{port}/"
        outcome = call(callback, {"url": url, "data": payload.content.decode()})
        assert reason(outcome) == f"127.0.0.1:{port} did not answer within {TIMEOUT} s"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_never_answers_is_left_at_the_deadline(scheme: str) -> None:
    with serving(hang_after_request) as port:
        proxy = f"http://127.0.0.1:{port}"
        with executor(HTTP_TIMEOUT=str(TIMEOUT), HTTP_PROXY_URL=proxy) as callback, within(TIMEOUT + SLACK):
            outcome = call(callback, {"url": f"{scheme}://example.org/?token=s3cr3t"})
            assert f"did not answer within {TIMEOUT} s" in reason(outcome)


def test_a_port_that_takes_no_connection_is_left_at_the_deadline(callback: HttpCallback) -> None:
    with deaf() as port, within(TIMEOUT + SLACK):
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
        assert reason(outcome) == f"cannot connect to 127.0.0.1:{port}: no answer within {TIMEOUT} s"


def test_a_name_that_does_not_resolve_in_time_is_left_at_the_deadline(
    callback: HttpCallback, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    real = socket.getaddrinfo

    def hang_on_names(host: str, port: int, **options: int) -> object:
        if not options.get("flags"):
            over.wait()
        return real(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang_on_names)
    try:
        with within(TIMEOUT + SLACK):
            outcome = call(callback, {"url": "http://localhost:1/?token=s3cr3t"})
        assert reason(outcome) == f"cannot resolve the name of localhost:1: no answer within {TIMEOUT} s"
    finally:
        over.set()


@pytest.mark.parametrize("handle", [drip_body, drip_chunks], ids=lambda f: f.__name__)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_body_that_never_ends_is_left_at_the_deadline_and_its_status_counts(
    callback: HttpCallback, tls: ssl.SSLContext, handle: Handle, secure: bool
) -> None:
    with serving(handle, tls if secure else None) as port, within(TIMEOUT + SLACK):
        outcome = call(callback, {"url": f"http{'s' if secure else ''}://127.0.0.1:{port}/"})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert set(str(outcome.result["body"])) == {"x"}


def test_endless_trailers_are_left_at_the_deadline_and_the_status_counts(callback: HttpCallback) -> None:
    with serving(endless_trailers) as port, within(TIMEOUT + SLACK):
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == "x"


@pytest.mark.parametrize("handle", [endless_body, endless_chunks], ids=lambda f: f.__name__)
def test_an_endless_body_is_cut_at_once(callback: HttpCallback, handle: Handle) -> None:
    with serving(handle) as port, within(TIMEOUT):
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == "x" * 4096


@pytest.mark.parametrize(
    ("lie", "kept"),
    [
        (b"Content-Length: 100\r\n\r\nhalf", "half"),
        (b"Content-Length: -5\r\n\r\nbody", "body"),
        (b"Content-Length: many\r\n\r\nbody", "body"),
        (b"Content-Length: " + b"9" * 30 + b"\r\n\r\nbody", "body"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nbody", "body"),
        (b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\nbody", "body"),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nmany\r\n", "body"),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n-4\r\nmore", "bodymore"),
    ],
)
def test_a_body_that_is_not_as_long_as_it_says_is_kept_as_far_as_it_came(
    callback: HttpCallback, lie: bytes, kept: str
) -> None:
    def answer(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)
        connection.sendall(OK + lie)

    with serving(answer) as port, within(TIMEOUT):
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == kept


@pytest.mark.parametrize(
    "lie",
    [
        b"Content-Length: 2\r\n\r\nok and more",
        b"Content-Length: 0\r\n\r\nHTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_what_comes_after_the_end_of_an_answer_is_not_taken_for_the_next(
    callback: HttpCallback, lie: bytes
) -> None:
    answers = iter([lie, b"Content-Length: 4\r\n\r\nnext"])

    def answer(connection: socket.socket, _: threading.Event) -> None:
        while True:
            read_head(connection)
            connection.sendall(OK + next(answers))

    with serving(answer) as port:
        outcomes = [call(callback, {"url": f"http://127.0.0.1:{port}/"}) for _ in range(2)]
    assert isinstance(outcomes[1], Done)
    assert isinstance(outcomes[1].result, dict)
    assert outcomes[1].result["body"] == "next"


BOMB = b"0" * 50_000_000


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        (b"gzip", gzip.compress(BOMB)),
        (b"deflate", zlib.compress(BOMB)),
        (b"deflate", zlib.compress(BOMB)[2:]),
    ],
    ids=["gzip", "deflate", "bare deflate"],
)
@pytest.mark.parametrize("most", ["0", "4096"])
def test_a_compression_bomb_costs_no_memory(coding: bytes, bomb: bytes, most: str) -> None:
    head = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(bomb))

    def explode(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)
        connection.sendall(head + bomb)

    with serving(explode) as port, executor(HTTP_RESULT_BYTES=most) as callback:
        tracemalloc.start()
        try:
            outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert len(str(outcome.result.get("body", ""))) == int(most)
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("handle", "why"),
    [
        (reset, "{} broke the connection: Connection reset by peer"),
        (close_without_answer, "{} closed the connection without an answer"),
        (answer_garbage, "{} sent no HTTP answer: BadStatusLine: SSH-2.0-OpenSSH_9.2"),
        (
            endless_line,
            "{} sent no HTTP answer: LineTooLong: got more than 65536 bytes when reading header line",
        ),
        (endless_headers, "{} sent no HTTP answer: HTTPException: got more than 100 headers"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_exchange_says_why_and_may_pass(callback: HttpCallback, handle: Handle, why: str) -> None:
    with serving(handle) as port, within(TIMEOUT):
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/?token=s3cr3t", "method": "GET"})
        assert reason(outcome) == why.format(f"127.0.0.1:{port}")


def test_a_refused_connection_says_so(callback: HttpCallback) -> None:
    with refusing() as port:
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/?token=s3cr3t"})
        assert reason(outcome) == f"cannot connect to 127.0.0.1:{port}: Connection refused"


def test_a_name_that_is_not_known_says_so(callback: HttpCallback, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    outcome = call(callback, {"url": "http://no-such-name.example/?token=s3cr3t"})
    assert reason(outcome) == "cannot resolve the name of no-such-name.example:80: Name or service not known"


def test_the_next_attempt_after_a_broken_one_works(callback: HttpCallback) -> None:
    turns: Iterator[Callable[..., None]] = iter([reset, hang_after_request, break_off_body, answer_ok])

    def take_turns(connection: socket.socket, stopped: threading.Event) -> None:
        next(turns)(connection, stopped)

    with serving(take_turns) as port:
        outcomes = [call(callback, {"url": f"http://127.0.0.1:{port}/", "data": "x"}) for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [Retry, Retry, Done, Done]


def test_an_early_answer_counts_though_the_upload_was_not_read(callback: HttpCallback) -> None:
    def refuse(connection: socket.socket, stopped: threading.Event) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        stopped.wait()

    with serving(refuse) as port:
        outcome = call(callback, {"url": f"http://127.0.0.1:{port}/", "data": "x" * 1000})
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("HTTP 503 ")


@pytest.mark.parametrize(
    ("setting", "payload", "seconds"),
    [("30", None, 0.3), ("30", 0.3, 30), ("0.3", None, 30), ("0.3", 30, 0.6)],
)
def test_the_shortest_of_payload_setting_and_attempt_is_the_deadline(
    setting: str, payload: float | None, seconds: float
) -> None:
    with serving(hang) as port, executor(HTTP_TIMEOUT=setting) as callback, within(0.6 + SLACK):
        url = f"http://127.0.0.1:{port}/"
        outcome = call(callback, {"url": url, "timeout": payload}, seconds)
        assert reason(outcome).startswith(f"127.0.0.1:{port} did not answer within 0.")
