import os
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from at_worker.config import ConfigError
from at_worker.engine.destination import FAILURES
from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.jsontext import Json
from at_worker.outcome import Done, Retry
from tests.engine.bench import bench
from tests.executors.rabbitmq.messages import Drain, reason, run, threads, worker
from tests.servers.amqp_proxy import Proxy, proxy
from tests.servers.http import refusing
from tests.servers.rabbitmq import Broker, External
from tests.tables import Table


def test_a_broker_that_stopped_is_noticed_fast_and_found_again(faulty: Broker | Proxy) -> None:
    executor = worker(faulty.url)
    unroutable: Json = {"queue": "at-worker-test-nowhere", "data": 1}
    try:
        assert "NO_ROUTE" in reason(run(executor, unroutable))
        faulty.stop()
        started = time.monotonic()
        assert "Connection refused" in reason(run(executor, unroutable))
        assert time.monotonic() - started < 3
        faulty.start()
        assert "NO_ROUTE" in reason(run(executor, unroutable))
    finally:
        executor.close()


def test_messages_that_wait_for_a_broker_that_is_away_share_its_answer(
    broker: Broker | External,
) -> None:
    with proxy(broker.url) as away:
        executor = worker(away.url)
        away.stop()
        started = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda n: run(executor, {"queue": "q", "data": n}), range(32)))
        executor.close()
        away.start()
    assert all("Connection refused" in reason(outcome) for outcome in outcomes)
    assert time.monotonic() - started < 8


def test_a_broker_that_cannot_be_reached_costs_its_tasks_no_attempt(table: Table) -> None:
    with refusing() as port:
        executor = worker(f"amqp://127.0.0.1:{port}")
        with bench(table, known={"rabbitmq": executor}, WORKER_CONCURRENCY="8") as engine:
            payload = {"queue": "q", "data": 1}
            tried = [table.insert(task_type="rabbitmq", payload=payload) for _ in range(FAILURES)]
            engine.work()
            spared = table.insert(task_type="rabbitmq", payload=payload)
            engine.work()
        executor.close()
    assert {table.row(task)["attempts"] for task in tried} == {1}
    row = table.row(spared)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert row["error_message"] == f"postponed: cannot connect to 127.0.0.1:{port}: Connection refused"


def test_a_connection_that_breaks_under_a_message_may_pass(broker: Broker | External, queue: str) -> None:
    with proxy(broker.url) as cable:
        executor = worker(cable.url)
        assert isinstance(run(executor, {"queue": queue, "data": "1"}), Done)
        cable.freeze()
        cut = threading.Timer(0.3, cable.cut)
        cut.start()
        why = reason(run(executor, {"queue": queue, "data": "2"}))
        cut.join()
        cable.thaw()
        assert isinstance(run(executor, {"queue": queue, "data": "3"}), Done)
        executor.close()
    assert "lost" in why
    assert "may have arrived" in why


def test_a_frozen_broker_holds_nobody_beyond_the_deadline(faulty: Broker | Proxy, queue: str) -> None:
    executor = worker(faulty.url)
    try:
        assert isinstance(run(executor, {"queue": queue, "data": "1"}), Done)
        faulty.freeze()
        started = time.monotonic()
        outcome = run(executor, {"queue": queue, "data": "2"}, seconds=0.7)
        assert 0.6 < time.monotonic() - started < 1.2
        assert "did not confirm" in reason(outcome)
        assert outcome == Retry(reason(outcome))
        faulty.thaw()
        assert isinstance(run(executor, {"queue": queue, "data": "3"}), Done)
    finally:
        faulty.thaw()
        executor.close()


def test_messages_that_run_out_of_time_cost_the_others_nothing(
    broker: Broker | External, queue: str, drain: Drain
) -> None:
    executor = worker(broker.url)
    payloads: list[Json] = [{"queue": queue, "data": str(number)} for number in range(2000)]
    # Every second one gives up after 0 to 5 ms, about when its confirm comes.
    seconds = [20 if number % 2 else number % 50 / 10_000 for number in range(2000)]
    with ThreadPoolExecutor(32) as pool:
        outcomes = list(pool.map(run, [executor] * 2000, payloads, seconds))
    executor.close()
    assert all(isinstance(outcome, Done) for outcome in outcomes[1::2])
    assert sorted(n for n in map(int, drain(queue)) if n % 2) == list(range(1, 2000, 2))


def test_a_first_connection_to_a_frozen_broker_ends_at_the_timeout(broker: Broker | External) -> None:
    with proxy(broker.url) as hole:
        hole.freeze()
        executor = worker(hole.url, RABBITMQ_TIMEOUT="0.5")
        started = time.monotonic()
        outcome = run(executor, {"queue": "q", "data": 1})
        assert 0.4 < time.monotonic() - started < 1.0
        assert isinstance(outcome, Retry)
        assert outcome.reason.startswith("no connection to 127.0.0.1:")
        assert outcome.unreachable
        started = time.monotonic()
        executor.close()
        assert time.monotonic() - started < 0.5
    assert threads() == []


def test_close_leaves_no_thread_even_when_the_broker_is_frozen(broker: Broker | External, queue: str) -> None:
    with proxy(broker.url) as hole:
        executor = worker(hole.url)
        assert isinstance(run(executor, {"queue": queue, "data": "1"}), Done)
        hole.freeze()
        started = time.monotonic()
        executor.close()
        assert time.monotonic() - started < 2.5
    assert threads() == []


def test_close_is_quick_and_final(broker: Broker | External, queue: str) -> None:
    executor = worker(broker.url)
    run(executor, {"queue": queue, "data": "1"})
    started = time.monotonic()
    executor.close()
    executor.close()
    assert time.monotonic() - started < 1
    assert threads() == []
    assert "closed" in reason(run(executor, {"queue": queue, "data": "2"}))


def test_close_of_an_executor_that_was_never_used_is_fine(broker: Broker | External) -> None:
    worker(broker.url).close()


def test_an_idle_connection_outlives_its_heartbeats(broker: Broker | External, queue: str) -> None:
    executor = worker(f"{broker.url}?heartbeat=1")
    try:
        run(executor, {"queue": queue, "data": "1"})
        connection = executor._publisher._connection._connection
        # The broker would cut a silent connection after two or three heartbeats.
        threading.Event().wait(4)
        assert isinstance(run(executor, {"queue": queue, "data": "2"}), Done)
        assert executor._publisher._connection._connection is connection
    finally:
        executor.close()


def test_a_broker_that_blocks_publishers_is_named_until_it_unblocks(
    broker: Broker | External, queue: str
) -> None:
    with proxy(broker.url) as wire:
        executor = worker(wire.url)
        run(executor, {"queue": queue, "data": "1"})
        # connection.blocked("low on memory") and connection.unblocked, as method frames of channel 0
        wire.tell(b"\x01\x00\x00\x00\x00\x00\x12\x00\x0a\x00\x3c\x0dlow on memory\xce")
        outcome = run(executor, {"queue": queue, "data": "2"}, seconds=0.5)
        while isinstance(outcome, Done):  # the frame may be slower than the message
            outcome = run(executor, {"queue": queue, "data": "2"}, seconds=0.5)
        assert "blocks publishers: low on memory" in reason(outcome)
        wire.tell(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x3d\xce")
        assert isinstance(run(executor, {"queue": queue, "data": "3"}), Done)
        executor.close()


def test_reach_names_the_broker_and_keeps_the_password(rabbitmq: RabbitMQ) -> None:
    line = rabbitmq.reach()
    assert line.startswith("RabbitMQ ")
    assert "vhost /" in line
    assert "guest" not in line


def test_a_wrong_password_is_a_clean_line_without_it(broker: Broker | External) -> None:
    address = broker.url.rpartition("@")[2]
    executor = worker(f"amqp://nobody:s3cret-pw@{address}")
    try:
        with pytest.raises(ConnectionError, match="ACCESS_REFUSED") as caught:
            executor.reach()
        why = reason(run(executor, {"queue": "q", "data": 1}))
    finally:
        executor.close()
    for text in (str(caught.value), why):
        assert "s3cret" not in text
        assert "\n" not in text


def test_a_vhost_that_is_not_there_is_a_clean_line(broker: Broker | External) -> None:
    executor = worker(f"{broker.url.rpartition('/')[0]}/at-worker-test-none")
    try:
        with pytest.raises(ConnectionError, match="at-worker-test-none"):
            executor.reach()
    finally:
        executor.close()


def test_tls_reaches_a_broker_whose_certificate_is_trusted(
    broker: Broker | External, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(os.fspath(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(tmp_path / "ca.pem"))
    with proxy(broker.url, tls=server_context(authority.issue_cert("127.0.0.1"))) as listener:
        executor = worker(listener.url)
        try:
            assert executor.reach().startswith("RabbitMQ ")
        finally:
            executor.close()


def test_tls_refuses_a_broker_whose_certificate_is_not_trusted(broker: Broker | External) -> None:
    with proxy(broker.url, tls=server_context(trustme.CA().issue_cert("127.0.0.1"))) as listener:
        executor = worker(listener.url)
        try:
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                executor.reach()
        finally:
            executor.close()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize("rest", ["localhost:x/", "localhost?heartbeat=often", "localhost?nonsense=1"])
def test_a_url_that_cannot_be_used_is_refused_without_printing_it(rest: str) -> None:
    with pytest.raises(ConfigError, match="RABBITMQ_URL") as caught:
        worker(f"amqp://user:s3cret-pw@{rest}")
    assert "s3cret" not in str(caught.value)
