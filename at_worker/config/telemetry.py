"""What the standard variables of OpenTelemetry say about traces.

They are not ours: a cluster may set them for all its programs, so that nothing in them stops a worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "OTEL_"
HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The variables that begin with OTEL_, as they were given; some hold secrets."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def wanted(self) -> bool:
        """Whether traces are asked for: by the address of a collector, or by naming their exporter."""
        given = self.variables
        if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return False
        if exporters := given.get("OTEL_TRACES_EXPORTER"):
            return exporters.lower() != "none"
        return any(given.get(name) for name in ENDPOINTS)

    @property
    def obstacle(self) -> str | None:
        """Why they cannot be sent."""
        exporters = self.variables.get("OTEL_TRACES_EXPORTER", "otlp")
        if "otlp" not in exporters.lower().split(","):
            return f"OTEL_TRACES_EXPORTER={exporters}: at-worker has otlp alone"
        for name in _PROTOCOLS:
            if protocol := self.variables.get(name):
                return None if protocol == _HTTP else f"{name}={protocol}: at-worker has {_HTTP} alone"
        return None
