"""Traces of real workers, as a real collector takes them."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.entry_points import offering
from tests.executors.rabbitmq.conftest import channel, queue
from tests.processes import worker
from tests.servers.otlp import Collector, Span
from tests.servers.rabbitmq import Broker, External
from tests.tables import Table
from tests.worker.endpoint import Endpoint
from tests.worker.test_secrets import CORES, MARKERS, assert_no_marker

__all__ = ["channel", "queue"]  # fixtures

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PRODUCER = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=north", "by": "checkout"}
HURRY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def settings(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **HURRY}


def of(spans: list[Span], task: int) -> list[Span]:
    return [span for span in spans if span.task == task]


def test_each_attempt_is_a_span_in_the_trace_of_its_producer(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    task = table.insert(
        "http_callback",
        {"url": f"{endpoint.url}/fails/1"},
        context=json.dumps(PRODUCER),
        retry_delays=[timedelta(milliseconds=10)],
    )
    alone = table.insert("http_callback", {"url": endpoint.url})
    invalid = table.insert("email", {"to": "nobody"})
    before = time.time_ns()
    with worker(table.dsn, tmp_path, **settings(collector)) as process:
        spans = collector.wait_for_spans(lambda found: len(found) >= 4)
        assert process.stop() == 0
    assert len(collector.spans()) == 4
    first, second = of(spans, task)
    for number, span in enumerate((first, second), 1):
        assert (span.name, span.trace_id, span.parent_id) == ("attempt http_callback", TRACE, PARENT)
        assert span.trace_state == "shop=north"
        assert span.attributes["at_worker.task.attempt"] == number
        assert span.attributes["at_worker.task.type"] == "http_callback"
        assert span.attributes["at_worker.task.uid"] == str(table.row(task)["task_uid"])
        assert 0 <= float(str(span.attributes["at_worker.task.lateness"])) < 30
        assert before < span.started < span.ended < time.time_ns()
        assert (span.resource["service.name"], span.resource["service.instance.id"]) == (
            "at-worker",
            table.row(task)["locked_by"],
        )
    assert (first.is_error, first.attributes["at_worker.outcome"]) == (True, "retry")
    assert first.message.startswith("HTTP 503 from 127.0.0.1:")
    assert (second.is_error, second.attributes["at_worker.outcome"]) == (False, "completed")
    # What receivers get continues the span of the attempt.
    arrivals = {
        (int(arrival.value("X-At-Worker-Task-Id")), int(arrival.value("X-At-Worker-Attempt"))): arrival
        for arrival in endpoint.arrivals
    }
    for number, span in enumerate((first, second), 1):
        assert arrivals[task, number].value("traceparent") == f"00-{TRACE}-{span.span_id}-01"
        assert arrivals[task, number].value("tracestate") == "shop=north"
    (own,) = of(spans, alone)
    assert own.parent_id == ""
    assert own.trace_id != TRACE
    assert arrivals[alone, 1].value("traceparent").startswith(f"00-{own.trace_id}-{own.span_id}-")
    (failed,) = of(spans, invalid)
    assert (failed.is_error, failed.attributes["at_worker.outcome"]) == (True, "failed")
    assert failed.message.startswith("invalid payload: to: ")


def test_a_payload_that_names_a_trace_itself_keeps_it(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    table.insert("http_callback", {"url": endpoint.url, "headers": {"Traceparent": own}})
    with worker(table.dsn, tmp_path, **settings(collector)):
        (arrival,) = endpoint.wait_for(1)
    assert arrival.value("traceparent") == own
    assert arrival.values("tracestate") == []


def test_a_message_carries_the_trace_on(
    table: Table,
    channel: BlockingChannel,
    queue: str,
    broker: Broker | External,
    collector: Collector,
    tmp_path: Path,
) -> None:
    task = table.insert("rabbitmq", {"queue": queue, "data": 1}, context=json.dumps(PRODUCER))
    with worker(table.dsn, tmp_path, RABBITMQ_URL=broker.url, **settings(collector)):
        table.wait(task, "completed")
        (span,) = collector.wait_for_spans(bool)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    assert properties is not None
    assert properties.headers is not None
    assert properties.headers["traceparent"] == f"00-{TRACE}-{span.span_id}-01"
    assert properties.headers["tracestate"] == "shop=north"
    assert span.trace_id == TRACE


def test_without_a_collector_there_are_no_traces(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    table.insert("http_callback", {"url": endpoint.url}, context=json.dumps(PRODUCER))
    with worker(table.dsn, tmp_path) as process:
        (arrival,) = endpoint.wait_for(1)
        assert process.stop() == 0
        assert "Traces" not in process.log
    assert arrival.values("traceparent") == arrival.values("tracestate") == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin: at-worker has otlp alone"),
        ({"PYTHONPATH": "without"}, "they need pip install 'at-worker[otel]'"),
    ],
)
def test_traces_that_cannot_be_sent_stop_nobody(
    given: dict[str, str], told: str, table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    if "PYTHONPATH" in given:
        (tmp_path / "opentelemetry.py").write_text("raise ImportError")
        given = {"PYTHONPATH": str(tmp_path)}
    task = table.insert("http_callback", {"url": endpoint.url})
    with worker(table.dsn, tmp_path, **settings(collector), **given) as process:
        table.wait(task, "completed")
        assert process.stop() == 0
    assert [line.partition("Traces are not sent: ")[2] for line in process.lines if "Traces" in line] == [
        told
    ]
    assert collector.arrivals == []


def test_the_variables_may_stand_in_a_dotenv_file_and_a_key_in_a_file_of_its_own(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"x-api-key={CORES[0]}\n")
    (tmp_path / ".env").write_text(
        f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}\nOTEL_SERVICE_NAME=shop\n"
        f"OTEL_EXPORTER_OTLP_HEADERS_FILE={tmp_path / 'key'}\n"
    )
    table.insert("http_callback", {"url": endpoint.url})
    with worker(table.dsn, tmp_path, **HURRY) as process:
        (span,) = collector.wait_for_spans(bool)
        process.stop()
    assert span.resource["service.name"] == "shop"
    assert collector.arrivals[0].value("x-api-key") == CORES[0]


def test_no_secret_reaches_a_span_nor_the_log_of_its_exporter(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    path = offering(tmp_path, leaks="tests.worker.plugins:Leaks")
    secret = MARKERS[0]
    for how in ("raise", "fail", "retry"):
        table.insert("leaks", {"do": how}, max_attempts=1)
    headers = {"Authorization": f"Bearer {CORES[1]}", "X-Api-Key": CORES[2]}
    table.insert("http_callback", {"url": f"{endpoint.url}/status/500?token={CORES[3]}", "headers": headers})
    given = {"PYTHONPATH": path, "AT_SECRET_PLUGIN": secret, "OTEL_EXPORTER_OTLP_HEADERS": f"key={CORES[4]}"}
    with worker(table.dsn, tmp_path, **settings(collector), **given) as process:
        spans = collector.wait_for_spans(lambda found: len(found) >= 4)
        process.stop()
    raised = next(span for span in spans if span.events)
    (event,) = raised.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "builtins.RuntimeError")
    assert event.attributes["exception.message"] == "with ***"
    assert "RuntimeError: with ***" in str(event.attributes["exception.stacktrace"])
    assert_no_marker(repr(spans) + process.log)


def test_a_task_that_was_postponed_or_handed_back_was_not_attempted(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    held = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    one_thread = {"WORKER_CONCURRENCY": "2", "WORKER_DESTINATION_CONCURRENCY": "1"}
    with worker(table.dsn, tmp_path, **one_thread, **settings(collector)) as process:
        endpoint.wait_for(1)
        other = table.insert("http_callback", {"url": endpoint.url})
        table.wait_for_row(other, lambda row: row["error_message"] is not None)
        endpoint.release()
        table.wait(held, "completed")
        process.stop()
    assert [span.task for span in collector.spans()] == [held]


def test_an_attempt_that_was_interrupted_has_its_span_too(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(table.dsn, tmp_path, WORKER_SHUTDOWN_TIMEOUT="0.1", **settings(collector)) as process:
        endpoint.wait_for(1)
        process.stop()
    (span,) = collector.spans()
    assert (span.task, span.is_error) == (task, True)
    assert span.message.startswith("interrupted")


def test_an_attempt_that_overran_ends_with_its_time_and_not_with_its_thread(
    table: Table, collector: Collector, tmp_path: Path
) -> None:
    task = table.insert("comes_back_late", {"seconds": 2.5}, max_attempts=1)
    path = offering(tmp_path, comes_back_late="tests.worker.plugins:ComesBackLate")
    given = {"PYTHONPATH": path, "WORKER_TASK_TIMEOUT": "0.2"}
    with worker(table.dsn, tmp_path, **settings(collector), **given) as process:
        assert table.wait(task, "failed")["error_message"].startswith("timed out")
        (span,) = collector.wait_for_spans(bool)
        process.wait_for_line("it is late")
        process.stop()
    assert (span.is_error, span.attributes["at_worker.outcome"]) == (True, "failed")
    assert span.message.startswith("timed out after 0.2 s")
    assert len(collector.spans()) == 1
    assert "thread of task" not in process.log


def test_a_collector_that_does_not_answer_holds_up_neither_tasks_nor_the_end(
    table: Table, endpoint: Endpoint, collector: Collector, tmp_path: Path
) -> None:
    address = collector.url.replace(str(collector.port), "9")
    task = table.insert("http_callback", {"url": endpoint.url})
    with worker(table.dsn, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address, **HURRY) as process:
        table.wait(task, "completed")
        process.signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - asked < 4
