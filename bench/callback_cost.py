"""Where the time of one HTTP callback goes: `python -m bench.callback_cost`.

One thread, kept-alive connections, a local server that answers at once; medians of rounds in turns. What the
engine adds (claim, hand-over, settle) is the inverse of the drain of no-op tasks in RESULTS.md.
"""

import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from at_worker import config, jsontext
from at_worker.executors.http_callback import HttpCallback
from at_worker.outcome import Done
from at_worker.plugin import Attempt
from bench.bare import BODY, TIMEOUT
from bench.bare import http as requests_session
from bench.servers.serving import serving

CALLS, ROUNDS = 200, 15
UID = "6f1c5a52-8f0e-4d53-9a3a-0c9d6f1f2a11"
REQUEST = b"POST /hook HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def round_trip(port: int) -> Callable[[], object]:
    """Bytes out and bytes in: the kernel and the server."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> bytes:
        connection.sendall(REQUEST)
        return connection.recv(65_536)

    return call


def clients(port: int) -> Mapping[str, Callable[[], object]]:
    """The parts of a callback, and the library to compare with."""
    url = f"http://127.0.0.1:{port}/hook"
    text = f'{{"url": "{url}", "data": {BODY.decode()}}}'
    executor = HttpCallback(config.load({}, ()))
    parsed = executor.parse(jsontext.parse(text))
    now, stopping = datetime.now(UTC), threading.Event()
    post = requests_session(url)

    def execute() -> None:
        attempt = Attempt(42, UID, 1, now, {}, None, time.monotonic() + TIMEOUT, stopping)
        if not isinstance(executor.execute(parsed, attempt), Done):
            raise TypeError("the callback failed")

    return {
        "parse": lambda: executor.parse(jsontext.parse(text)),
        "round trip": round_trip(port),
        "execute": execute,
        "requests": lambda: post(0),
    }


def microseconds(call: Callable[[], object]) -> float:
    """What one call takes, on average."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6


def main() -> None:
    """Measure in turns and print."""
    with (
        tempfile.TemporaryDirectory() as directory,
        serving("http", Path(directory), CALLS * (ROUNDS + 1) * 3, "0") as server,
    ):
        calls = clients(server.port)
        rounds = [{name: microseconds(call) for name, call in calls.items()} for _ in range(ROUNDS + 1)]
    took = {name: statistics.median(one[name] for one in rounds[1:]) for name in calls}
    rows = {
        "payload: JSON, checks, body": took["parse"],
        "executor: headers, http.client, result": took["execute"] - took["round trip"],
        "kernel and server: one write, one read": took["round trip"],
        "the whole callback": took["parse"] + took["execute"],
        "for comparison: requests.Session.post": took["requests"],
    }
    sys.stdout.writelines(f"{name:<40} {value:>6,.0f} us\n" for name, value in rows.items())


if __name__ == "__main__":
    main()
