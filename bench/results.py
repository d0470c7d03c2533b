"""The results of a run, as they are kept in results.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Curve, Metric, Sample, median


@dataclass(slots=True)
class Line:
    """One line of a table: every round of one trial."""

    label: str
    settings: str
    problem: str | None = None
    rounds: dict[str, list[float]] = field(default_factory=dict)
    curves: dict[str, list[Curve]] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """One more round."""
        for key, value in sample.values.items():
            self.rounds.setdefault(key, []).append(value)
        for key, points in sample.curves.items():
            self.curves.setdefault(key, []).append(points)

    def value(self, key: str) -> float | None:
        """The median of the rounds."""
        return median(self.rounds[key]) if self.rounds.get(key) else None

    def curve(self, key: str) -> list[float] | None:
        """The median curve of the rounds, point by point."""
        if not self.curves.get(key):
            return None
        return [median(points) for points in zip(*self.curves[key], strict=True)]


@dataclass(slots=True)
class Table:
    """One measurement."""

    name: str
    title: str
    about: str
    metrics: tuple[Metric, ...]
    seconds: float = 0.0
    lines: dict[str, Line] = field(default_factory=dict)

    def value(self, label: str, key: str) -> float | None:
        """The median of one trial, if it ran."""
        line = self.lines.get(label)
        return line.value(key) if line else None


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run: on what, how, and what came out."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    command: str
    date: str
    tables: Mapping[str, Table]

    def value(self, table: str, label: str, key: str) -> float | None:
        """A median, if it was measured."""
        return self.tables[table].value(label, key) if table in self.tables else None


def save(run: Run, path: Path) -> None:
    """Write a run."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(run), indent=1) + "\n")
    draft.replace(path)


def load(path: Path) -> Run:
    """Read a run."""
    raw = json.loads(path.read_text())
    tables = {}
    for name, table in raw.pop("tables").items():
        lines = {label: Line(**line) for label, line in table.pop("lines").items()}
        metrics = tuple(Metric(**metric) for metric in table.pop("metrics"))
        tables[name] = Table(**table, metrics=metrics, lines=lines)
    return Run(**raw, tables=tables)
