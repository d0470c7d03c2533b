"""Receivers that mean harm, or are dead or slow, beside one that is well."""

import gzip
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE
from tests.servers.http import refusing, serving
from tests.servers.http_faults import FAULTS, OK, answer_ok, answering, drip_handshake, hang_after_request

TIMEOUT = 1.0
FREE_AFTER = 0.5  # seconds beyond the timeout
MOST_GROWTH = 64 * 2**20
RATE = 50.0  # tasks a second
SECONDS = 5.0
BOMB = gzip.compress(b"0" * 50_000_000)
# By so many seconds a busy machine alone may make a healthy receiver's tasks late.
BUSY = 0.05

LIES = [
    OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    OK + b"Content-Length: 100\r\n\r\nhalf",
    OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nbody",
    OK + b"Content-Length: -5\r\n\r\nbody",
    OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\nbody",
]
INWARDS = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"

ENDED = """
SELECT count(*) FILTER (WHERE attempts = 1) AS once, count(*) AS all,
       max(extract(epoch FROM updated_at - started_at))::float8 AS seconds
  FROM scheduled_tasks WHERE id = ANY (%(tasks)s) AND status IN ('completed', 'failed')
"""
POSTPONED = """
SELECT FROM scheduled_tasks
 WHERE payload->>'url' = %(url)s AND status = 'pending' AND error_message LIKE 'postponed: %%'
"""
# What just then is postponed once more has its turn the next time.
CANCELLED = """
WITH cancelled AS (UPDATE scheduled_tasks SET status = 'cancelled' WHERE status = 'pending')
SELECT FROM scheduled_tasks WHERE status IN ('pending', 'processing')
"""
LATENESS = """
SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - execute_at)) AS p99
  FROM scheduled_tasks WHERE id = ANY (%(tasks)s)
"""


@contextmanager
def hostile(inwards: str) -> Iterator[list[str]]:
    """The URLs of one server of each kind; some send their callers to `inwards`."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(stranger)
    away = [INWARDS % url.encode() for url in (inwards, "http://169.254.169.254/latest/meta-data")]
    with ExitStack() as stack:
        plain = [serving(handle) for handle in (*FAULTS, *map(answering, (*LIES, *away)))]
        secure = [serving(answer_ok, stranger), serving(answer_ok), serving(drip_handshake)]
        yield [
            *(f"http://127.0.0.1:{stack.enter_context(server)}/" for server in plain),
            *(f"https://127.0.0.1:{stack.enter_context(server)}/" for server in secure),
        ]


def test_hostile_receivers_cost_neither_threads_nor_memory_nor_others_their_time(
    experiment: Experiment,
) -> None:
    each = int(2 * experiment.size)
    settings = {"HTTP_TIMEOUT": f"{TIMEOUT:g}", "WORKER_CONCURRENCY": "64"}
    with hostile(experiment.receiver.url) as urls, experiment.worker("w-1", **settings) as worker:
        experiment.submit(64)
        experiment.wait_until_ended()
        (pid,) = worker.processes().values()
        before = memory(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the highest figure up to now
        harmful = [
            task
            for url in urls
            for task in experiment.insert("http_callback", {"url": url}, each, each * TIMEOUT, max_attempts=1)
        ]
        experiment.submit(100, spread=2.0)
        experiment.wait_until_ended()
        growth = memory(pid, "VmHWM") - before
        assert worker.stop() == 0
    (ended,) = experiment.table.sql(ENDED, tasks=harmful)
    assert (ended["once"], ended["all"]) == (len(harmful), len(harmful))
    experiment.figure("hostile receivers: longest attempt beyond its deadline, s", ended["seconds"] - TIMEOUT)
    experiment.figure("hostile receivers: memory growth, MiB", growth / 2**20)
    assert ended["seconds"] < TIMEOUT + FREE_AFTER
    assert growth < MOST_GROWTH
    assert not experiment.receiver.attempts().keys() & set(harmful)
    experiment.verify(unrecorded=harmful)


def memory(pid: int, field: str) -> int:
    """Bytes of real memory, now (VmRSS) or at most (VmHWM)."""
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.mark.patient
def test_a_dead_and_a_slow_receiver_do_not_make_a_healthy_one_late(experiment: Experiment) -> None:
    """Once they are known as such, for which a slow one takes the first seconds."""
    seconds = SECONDS * experiment.size
    count = int(RATE * seconds)
    with (
        refusing() as dead,
        serving(hang_after_request) as slow,
        experiment.worker("w-1", HTTP_TIMEOUT="5") as worker,
    ):
        experiment.submit(100)
        experiment.wait_until_ended()
        batches = {"alone": experiment.submit(count, spread=seconds)}
        experiment.wait_until_ended(seconds + PATIENCE)
        # What any other tasks at the same time cost.
        experiment.submit(2 * count, "/others", spread=seconds)
        batches["beside as many that are well"] = experiment.submit(count, spread=seconds)
        experiment.wait_until_ended(seconds + PATIENCE)
        urls = [f"http://127.0.0.1:{port}/" for port in (dead, slow)]
        sick = [
            task
            for url in urls
            for task in experiment.insert("http_callback", {"url": url}, count, seconds, max_attempts=1)
        ]
        batches["beside a dead and a slow one, its first seconds"] = experiment.submit(250, spread=5.0)
        for url in urls:
            experiment.table.wait_for(partial(experiment.table.sql, POSTPONED, url=url))
        experiment.wait_for_end_of(batches["beside a dead and a slow one, its first seconds"])
        batches["beside a dead and a slow one"] = experiment.submit(count, spread=seconds)
        experiment.wait_for_end_of(batches["beside a dead and a slow one"], seconds + PATIENCE)
        experiment.table.wait_for(lambda: not experiment.table.sql(CANCELLED))
        assert worker.stop() == 0
    late = {name: experiment.table.sql(LATENESS, tasks=tasks)[0]["p99"] for name, tasks in batches.items()}
    for name, p99 in late.items():
        experiment.figure(f"healthy receiver {name}: p99 late, ms", 1000 * p99)
    assert late["beside a dead and a slow one"] < 2 * late["alone"] + BUSY
    experiment.verify(unrecorded=sick)
