"""OpenTelemetry: one span for each attempt, in the trace that the producer of the task began."""

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from at_worker import __version__, jsontext, redact
from at_worker.engine.running import Left, Running
from at_worker.engine.tally import Ended, how
from at_worker.outcome import Settlement
from at_worker.plugin import Attempt, TracedAttempt

# A collector that does not answer holds up the end of the worker no longer than this.
LAST_SPANS = 1.0

_W3C = TraceContextTextMapPropagator()


@dataclass(slots=True)
class _Open:
    """A span that has not ended; `begun` once its executor has."""

    span: Span
    context: context.Context
    begun: bool = False


class Tracing:
    """The spans of the attempts that run; all threads share it. Failures are told in them as in the row.

    One that the watchdog has ended is no longer known when its thread comes back.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("at-worker", __version__)
        self._open: dict[Running, _Open] = {}

    def around(self, carry_out: Callable[[Running], Left]) -> Callable[[Running], Left]:
        """The same within the span of an attempt, which may end elsewhere."""

        def within(running: Running) -> Left:
            left = Left.ENDED
            try:
                with self._attempt(running):
                    left = carry_out(running)
            finally:
                if left is not Left.ELSEWHERE:
                    self.discard(running)
            return left

        return within

    @contextmanager
    def _attempt(self, running: Running) -> Iterator[None]:
        """What this thread does in the block belongs to the span of this attempt."""
        task = running.task
        span = self._tracer.start_span(
            f"attempt {task.type}",
            _W3C.extract(_carrier(task.context)),
            SpanKind.CONSUMER,
            {
                "at_worker.task.id": task.id,
                "at_worker.task.uid": task.uid,
                "at_worker.task.type": task.type,
                "at_worker.task.attempt": task.attempt,
                "at_worker.task.max_attempts": task.max_attempts,
                "at_worker.task.lateness": running.started - task.instant,
            },
            start_time=_epoch(running.started),
        )
        opened = self._open[running] = _Open(span, set_span_in_context(span))
        token = context.attach(opened.context)
        try:
            yield
        finally:
            context.detach(token)

    def traced(self, attempt: Attempt, running: Running) -> Attempt:
        """The attempt with what carries the trace on: `traceparent`, and perhaps `tracestate`."""
        opened = self._open.get(running)
        if opened is None:
            return attempt
        opened.begun = True
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, opened.context)
        return TracedAttempt(
            **{own.name: getattr(attempt, own.name) for own in fields(attempt)}, carried=carrier
        )

    def surprise(self, running: Running, error: BaseException) -> None:
        """Note an exception, as the SDK would if it knew what is secret."""
        if opened := self._open.get(running):
            opened.span.add_event(
                "exception",
                {
                    "exception.type": f"{type(error).__module__}.{type(error).__qualname__}",
                    "exception.message": redact.text(str(error)),
                    "exception.stacktrace": redact.text("".join(traceback.format_exception(error))),
                },
            )

    def discard(self, running: Running) -> None:
        """Forget an attempt that was not settled: its claim was lost meanwhile.

        Where nothing was attempted in the end (the task is postponed, or was handed back) there is no span.
        """
        opened = self._open.pop(running, None)
        if opened and opened.begun:
            opened.span.set_attribute("at_worker.outcome", Ended.DISCARDED)
            opened.span.end()

    def end(self, running: Running, settlement: Settlement) -> None:
        """End the span of an attempt that is settled, by whichever thread."""
        if opened := self._open.pop(running, None):
            opened.span.set_attribute("at_worker.outcome", how(settlement))
            if settlement.error is not None:
                opened.span.set_status(Status(StatusCode.ERROR, settlement.error))
            opened.span.end()


@contextmanager
def tracing(variables: Mapping[str, str], holder: str) -> Iterator[Tracing]:
    """Send spans as these variables of OpenTelemetry say; `holder` names the process."""
    # The SDK reads the environment alone; some may have come from .env or from files.
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("OTEL_SERVICE_NAME", "at-worker")
    resource = Resource.create({SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: holder})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Tracing(provider)
    finally:
        farewell = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        farewell.start()
        farewell.join(LAST_SPANS)


def _carrier(notes: str) -> Mapping[str, str]:
    """What of the producer's notes says to which trace the task belongs."""
    if notes == "{}":
        return {}
    try:
        found = jsontext.parse(notes)
    except ValueError:
        return {}
    match found:
        case {"traceparent": str(parent), "tracestate": str(state)}:
            return {"traceparent": parent, "tracestate": state}
        case {"traceparent": str(parent)}:
            return {"traceparent": parent}
        case _:
            return {}


def _epoch(instant: float) -> int:
    """Nanoseconds since the epoch at a monotonic instant, by this machine's clock."""
    return time.time_ns() - int((time.monotonic() - instant) * 1e9)
