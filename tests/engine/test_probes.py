"""What goes wrong while a probe is answered, in the log of a worker."""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from at_worker import log, redact
from at_worker.engine.probes import Page, Probes
from tests import logs

SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def restored_log() -> Iterator[None]:
    with logs.restored():
        yield


def surprise() -> str:
    raise RuntimeError(f"no page today,\nbut {SECRET} and postgresql://ann:s3cret@db/app")


def ask(port: int, path: str) -> None:
    """A question that gets no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
    finally:
        connection.close()


def lines(form: Callable[[], None], capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What is written where a probe is a surprise."""
    redact.learn([SECRET])
    form()
    with Probes("127.0.0.1", 0, {"/healthz": surprise}) as probes:
        ask(probes.port, "/healthz")
    out, err = capfd.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_surprise_is_one_line_of_text_without_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(lambda: log.configure("INFO", "text", "w-1"), capfd)
    assert " ERROR   Surprise while a probe was answered, at " in line
    assert line.endswith(": RuntimeError: no page today, but *** and postgresql://***@db/app")


def test_a_surprise_is_one_line_of_json_without_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    (line,) = lines(lambda: log.configure("INFO", "json", "w-1"), capfd)
    told = json.loads(line)
    assert (told["level"], told["worker"]) == ("ERROR", "w-1")
    assert told["message"].endswith(": RuntimeError: no page today, but *** and postgresql://***@db/app")


def test_who_leaves_before_the_answer_is_no_surprise(capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO", "text", "w-1")
    large = Page("text/plain", b"x" * 50_000_000)
    with Probes("127.0.0.1", 0, {}, {"/large": lambda: large}) as probes:
        with socket.create_connection(("127.0.0.1", probes.port), timeout=10) as client:
            client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            assert client.recv(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join(10)
    assert capfd.readouterr() == ("", "")
