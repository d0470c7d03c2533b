"""A collector of OpenTelemetry: takes spans over HTTP, in protobuf, as any other one does."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.servers.http import Receiver

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a span."""

    name: str
    attributes: dict[str, object]


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it arrived; ids in hexadecimal, instants in nanoseconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    started: int
    ended: int
    is_error: bool
    message: str
    attributes: dict[str, object]
    events: list[Event]
    resource: dict[str, object]

    @property
    def task(self) -> object:
        return self.attributes["at_worker.task.id"]


class Collector(Receiver):
    """A receiver at whose address a worker sends its spans."""

    def spans(self) -> list[Span]:
        """All that have arrived."""
        found = []
        for arrival in list(self.arrivals):
            assert (arrival.target, arrival.value("Content-Type")) == ("/v1/traces", "application/x-protobuf")
            request = ExportTraceServiceRequest.FromString(arrival.body)
            for of_resource in request.resource_spans:
                resource = _attributes(of_resource.resource.attributes)
                for scope in of_resource.scope_spans:
                    found += [
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.trace_state,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            span.status.code == span.status.STATUS_CODE_ERROR,
                            span.status.message,
                            _attributes(span.attributes),
                            [Event(event.name, _attributes(event.attributes)) for event in span.events],
                            resource,
                        )
                        for span in scope.spans
                    ]
        return found

    def wait_for_spans(self, holds: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once this holds of them."""
        until = time.monotonic() + PATIENCE
        while not holds(found := self.spans()):
            if time.monotonic() > until:
                raise AssertionError(f"it did not come to pass within {PATIENCE:g} s: {found}")
            self.wait_for(len(self.arrivals) + 1, max(0.1, until - time.monotonic()))
        return found


def _attributes(given: "list[KeyValue]") -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in given}


def _value(given: AnyValue) -> object:
    kind = given.WhichOneof("value")
    return None if kind is None else getattr(given, kind)
