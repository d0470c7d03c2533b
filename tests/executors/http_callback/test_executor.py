import base64
import gzip
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from at_worker import __version__, jsontext
from at_worker.executors.http_callback import HttpCallback, idle
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Retry
from tests.executors.http_callback.callbacks import UID, attempt, call, executor, once
from tests.servers.http import Receiver, Reply, read_head, refusing, serving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def callback() -> Iterator[HttpCallback]:
    with executor() as running:
        yield running


JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("data", "body", "content_type"),
    [
        ('{"a": "grün ☃", "b": [1, true, null]}', '{"a":"grün ☃","b":[1,true,null]}', JSON_TYPE),
        ("12345678901234567890", "12345678901234567890", JSON_TYPE),
        (
            "[1.10, 0.1000000000000000055511151231257827]",
            "[1.10,0.1000000000000000055511151231257827]",
            JSON_TYPE,
        ),
        ("false", "false", JSON_TYPE),
        (r'"a\r\nb\u0000 ü"', "a\r\nb\x00 ü", TEXT_TYPE),
        (r'" {\"a\": 1.10} "', ' {"a": 1.10} ', JSON_TYPE),
        ('""', "", TEXT_TYPE),
    ],
)
def test_data_arrives_byte_for_byte(
    receiver: Receiver, callback: HttpCallback, data: str, body: str, content_type: str
) -> None:
    assert isinstance(call(callback, {"url": receiver.url, "data": jsontext.parse(data)}), Done)
    (arrival,) = receiver.arrivals
    assert arrival.body == body.encode()
    assert arrival.value("Content-Type") == content_type
    assert arrival.value("Content-Length") == str(len(arrival.body))


def test_no_data_is_an_empty_body_without_a_content_type(receiver: Receiver, callback: HttpCallback) -> None:
    call(callback, {"url": receiver.url})
    (arrival,) = receiver.arrivals
    assert arrival.method == "POST"
    assert arrival.value("Content-Length") == "0"
    assert arrival.values("Content-Type") == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_method_that_expects_no_body_sends_none(
    receiver: Receiver, callback: HttpCallback, method: str
) -> None:
    call(callback, {"url": receiver.url, "method": method})
    (arrival,) = receiver.arrivals
    assert arrival.method == method
    assert arrival.values("Content-Length") == []
    assert arrival.values("Transfer-Encoding") == []


def test_the_head_is_what_the_contract_says_and_nothing_else(
    receiver: Receiver, callback: HttpCallback
) -> None:
    before = int(time.time())
    payload = callback.parse({"url": f"{receiver.url}/hook?q=1", "data": {}})
    callback.execute(payload, attempt(number=3))
    (arrival,) = receiver.arrivals
    stamp = arrival.value("webhook-timestamp")
    assert before <= int(stamp) <= time.time()
    assert arrival.head.decode("latin-1").split("\r\n") == [
        "POST /hook?q=1 HTTP/1.1",
        f"Host: 127.0.0.1:{receiver.port}",
        "Accept-Encoding: identity",
        f"User-Agent: at-worker/{__version__}",
        f"Idempotency-Key: {UID}",
        f"webhook-id: {UID}",
        f"webhook-timestamp: {stamp}",
        "X-At-Worker-Task-Id: 42",
        "X-At-Worker-Attempt: 3",
        "X-At-Worker-Scheduled-At: 2030-05-17T09:30:00.123Z",
        "Accept: */*",
        "Content-Type: application/json",
        "Content-Length: 2",
        "",
        "",
    ]


def test_headers_of_the_payload_arrive_once_and_in_latin_1(
    receiver: Receiver, callback: HttpCallback
) -> None:
    headers: dict[str, Json] = {
        "accept": "text/plain",
        "content-type": "a/b",
        "X-Name": "Jürgen",
        "Cookie": "a=b",
    }
    call(callback, {"url": receiver.url, "data": "x", "headers": headers})
    (arrival,) = receiver.arrivals
    assert b"\r\nX-Name: J\xfcrgen\r\n" in arrival.head
    assert arrival.value("Accept") == "text/plain"
    assert arrival.value("Content-Type") == "a/b"
    assert arrival.value("Cookie") == "a=b"


def test_auth_is_sent(receiver: Receiver, callback: HttpCallback) -> None:
    call(callback, {"url": receiver.url, "auth": {"basic": ["jürgen", "pässwort"]}})
    call(callback, {"url": receiver.url, "auth": {"bearer": "t0ken"}})
    basic, bearer = (arrival.value("Authorization") for arrival in receiver.arrivals)
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "jürgen:pässwort"
    assert bearer == "Bearer t0ken"


def test_the_target_arrives_as_it_was_written(receiver: Receiver, callback: HttpCallback) -> None:
    call(callback, {"url": f"{receiver.url}/a%2fb/../c;d?sig=%7e%2B+&x=ü#top"})
    assert receiver.arrivals[0].head.split()[1] == b"/a%2fb/../c;d?sig=%7e%2B+&x=%C3%BC"


def test_a_success_reports_status_body_and_milliseconds(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(201, {"Content-Type": "text/plain; charset=latin-1"}, "grün".encode("latin-1")))
    outcome = call(callback, {"url": receiver.url})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    milliseconds = outcome.result.pop("ms")
    assert outcome.result == {"status": 201, "body": "grün"}
    assert isinstance(milliseconds, int)


def test_an_empty_body_is_not_reported(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(204))
    outcome = call(callback, {"url": receiver.url})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert outcome.result.keys() == {"status", "ms"}


@pytest.mark.parametrize(("most", "kept"), [("0", None), ("3", "abc"), ("5", "abcde"), ("99", "abcdef")])
def test_no_more_of_a_body_is_kept_than_the_setting_says(
    receiver: Receiver, most: str, kept: str | None
) -> None:
    receiver.script(Reply(body=b"abcdef"), Reply(500, body=b"abcdef"))
    with executor(HTTP_RESULT_BYTES=most) as callback:
        for outcome in (call(callback, {"url": receiver.url}) for _ in range(2)):
            assert isinstance(outcome.result, dict)
            assert outcome.result.get("body") == kept


def test_a_failure_carries_reason_result_and_retry_after(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(503, {"Retry-After": "120"}, b"\ndeploying\nback soon"))
    outcome = call(callback, {"url": f"{receiver.url}/?token=s3cr3t"})
    assert isinstance(outcome, Retry)
    assert outcome.reason == f"HTTP 503 from 127.0.0.1:{receiver.port}: deploying"
    assert outcome.after == 120
    assert isinstance(outcome.result, dict)
    assert outcome.result["status"] == 503


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, callback: HttpCallback, status: int) -> None:
    receiver.script(Reply(status, {"Location": "/elsewhere?token=s3cr3t"}))
    outcome = call(callback, {"url": receiver.url, "data": {}})
    assert isinstance(outcome, Fail if status in (301, 308) else Retry)
    assert f"{receiver.url}/elsewhere?…" in outcome.reason
    assert len(receiver.arrivals) == 1


def test_interim_answers_are_skipped(callback: HttpCallback) -> None:
    def hint(connection: socket.socket, _: threading.Event) -> None:
        while True:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            connection.sendall(
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
            )

    with serving(hint) as port:
        for _ in range(2):
            outcome = call(callback, {"url": f"http://127.0.0.1:{port}/"})
            assert isinstance(outcome, Done)
            assert isinstance(outcome.result, dict)
            assert (outcome.result["status"], outcome.result["body"]) == (202, "ok")


def test_cookies_are_not_kept_between_tasks(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(headers={"Set-Cookie": "session=1; Path=/"}))
    call(callback, {"url": receiver.url})
    call(callback, {"url": receiver.url})
    assert receiver.arrivals[1].values("Cookie") == []


def test_a_kept_connection_serves_whichever_thread_comes_next(
    receiver: Receiver, callback: HttpCallback
) -> None:
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(call, callback, {"url": receiver.url, "data": {}}).result()
    assert len({arrival.client for arrival in receiver.arrivals}) == 1


def test_a_connection_serves_one_exchange_at_a_time(callback: HttpCallback) -> None:
    together = threading.Barrier(3)
    connections = []

    def answer_together(connection: socket.socket, _: threading.Event) -> None:
        connections.append(connection)
        while True:
            read_head(connection)
            together.wait(10)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(answer_together) as port, ThreadPoolExecutor(3) as pool:
        for _ in range(2):
            outcomes = pool.map(call, [callback] * 3, [{"url": f"http://127.0.0.1:{port}/"}] * 3)
            assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len(connections) == 3


def test_a_connection_goes_to_its_own_origin_only(callback: HttpCallback) -> None:
    with Receiver() as one, Receiver() as other:
        for receiver in (one, other, one, other):
            call(callback, {"url": receiver.url})
        for receiver in (one, other):
            assert len(receiver.arrivals) == 2
            assert len({arrival.client for arrival in receiver.arrivals}) == 1


def test_of_too_many_idle_connections_the_oldest_is_closed(
    receiver: Receiver, callback: HttpCallback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "MOST_IDLE", 1)
    with Receiver() as other:
        for url in (receiver.url, other.url, other.url, receiver.url):
            call(callback, {"url": url})
        assert len({arrival.client for arrival in other.arrivals}) == 1
        assert len({arrival.client for arrival in receiver.arrivals}) == 2


def test_a_small_body_beyond_what_is_kept_is_read_and_the_connection_reused(
    receiver: Receiver, callback: HttpCallback
) -> None:
    receiver.script(Reply(body=b"x" * 60_000))
    call(callback, {"url": receiver.url})
    call(callback, {"url": receiver.url})
    assert len({arrival.client for arrival in receiver.arrivals}) == 1


def test_a_large_body_is_cut_and_its_connection_dropped(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(body=b"x" * 10_000_000))
    outcome = call(callback, {"url": receiver.url})
    call(callback, {"url": receiver.url})
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == "x" * 4096
    assert len({arrival.client for arrival in receiver.arrivals}) == 2


def test_a_compressed_body_is_kept_as_text(receiver: Receiver, callback: HttpCallback) -> None:
    receiver.script(Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"hello")))
    outcome = call(callback, {"url": receiver.url})
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == "hello"


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    receiver: Receiver, callback: HttpCallback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "LONGEST_IDLE", 0.0)
    call(callback, {"url": receiver.url})
    call(callback, {"url": receiver.url})
    assert len({arrival.client for arrival in receiver.arrivals}) == 2


def test_a_connection_that_the_server_closed_is_not_used_again(callback: HttpCallback) -> None:
    closed = threading.Semaphore(0)

    def once_each(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)
        closed.release()

    with serving(once_each) as port:
        for _ in range(3):
            assert isinstance(call(callback, {"url": f"http://127.0.0.1:{port}/"}), Done)
            assert closed.acquire(timeout=10)


def test_close_ends_the_kept_connections(receiver: Receiver) -> None:
    with executor() as callback:
        call(callback, {"url": receiver.url})
        callback.close()
        call(callback, {"url": receiver.url})
    assert len({arrival.client for arrival in receiver.arrivals}) == 2


def test_the_proxy_and_netrc_of_the_environment_are_ignored(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cr3t\ndefault login me password s3cr3t\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with refusing() as port:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert isinstance(once({"url": receiver.url}), Done)
    assert receiver.arrivals[0].values("Authorization") == []


def test_the_libraries_log_no_urls(
    receiver: Receiver, callback: HttpCallback, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        call(callback, {"url": f"{receiver.url}/?token=s3cr3t"})
        with refusing() as port:
            call(callback, {"url": f"http://127.0.0.1:{port}/?token=s3cr3t"})
    assert "s3cr3t" not in caplog.text


def test_an_attempt_whose_time_is_over_sends_nothing(receiver: Receiver, callback: HttpCallback) -> None:
    assert isinstance(call(callback, {"url": receiver.url}, seconds=-1), Retry)
    assert receiver.arrivals == []


def test_what_the_receiver_quotes_of_the_secrets_of_a_callback_is_hidden(
    receiver: Receiver, callback: HttpCallback
) -> None:
    basic = base64.b64encode(b"ann:hunter22").decode()
    said = f"hunter22 and {basic} and abcd1234efgh and key=q%2Ferty789 and north, south"
    receiver.script(Reply(401, body=said.encode()))
    payload: dict[str, Json] = {
        "url": f"{receiver.url}/?key=q%2Ferty789",
        "auth": {"basic": ["ann", "hunter22"]},
        "headers": {"X-Api-Key": "Bearer abcd1234efgh", "X-Shop": "north, south"},
    }
    outcome = call(callback, payload)
    assert isinstance(outcome, Retry)
    assert outcome.reason.endswith(": *** and YW5uOm*** and *** and key=*** and north, south")
    assert isinstance(outcome.result, dict)
    assert outcome.result["body"] == "*** and YW5uOm*** and *** and key=*** and north, south"
