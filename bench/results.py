"""What came out, as it is kept in results.json: each measurement with its own circumstances."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Curve, Metric, Sample, median

LEVELS = 4  # measurements, their fields, their lines, the fields of these
DIGITS = 5


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When and on what a measurement was made; `busy` is what others took of all cores just before, in %."""

    date: str
    command: str
    busy: float | None  # None: nobody looked
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    postgres: str = ""


@dataclass(slots=True)
class Line:
    """One line of a table: every round of one trial."""

    label: str
    settings: str
    problem: str | None = None
    failed: bool = False  # the problem is a failure, and not that it cannot run here
    rounds: dict[str, list[float]] = field(default_factory=dict)
    curves: dict[str, list[Curve]] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """One more round."""
        for key, value in sample.values.items():
            self.rounds.setdefault(key, []).append(_rounded(value))
        for key, points in sample.curves.items():
            self.curves.setdefault(key, []).append([_rounded(point) for point in points])

    def fail(self, error: Exception) -> None:
        """Say what went wrong."""
        text = f"failed: {type(error).__name__}: {error}"
        self.problem, self.failed = " ".join(text.split()), True

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
    circumstances: Circumstances
    seconds: float = 0.0
    lines: dict[str, Line] = field(default_factory=dict)

    def value(self, label: str, key: str) -> float | None:
        """The median of one trial, if it ran."""
        line = self.lines.get(label)
        return line.value(key) if line else None

    @property
    def failed(self) -> bool:
        """Something of it that could have been measured was not, or not every time."""
        return any(line.failed for line in self.lines.values())


def _rounded(value: float) -> float:
    """More digits than the noise has would only fill the file."""
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Run:
    """All measurements by name, in the order of the report; they may be of different days."""

    tables: Mapping[str, Table]

    def value(self, table: str, label: str, key: str) -> float | None:
        """A median, if it was measured."""
        return self.tables[table].value(label, key) if table in self.tables else None

    @property
    def latest(self) -> Circumstances:
        """Of the last measurement."""
        return max((table.circumstances for table in self.tables.values()), key=lambda one: one.date)

    def renewed(self, table: Table, order: Iterable[str]) -> "Run":
        """The same with this measurement in place of an older one."""
        tables = {**self.tables, table.name: table}
        return Run({name: tables[name] for name in order if name in tables})


def save(run: Run, path: Path) -> None:
    """Write all; a reader never meets half a file. A line of the file for each measured line."""
    draft = path.with_suffix(".new")
    draft.write_text(_written(asdict(run)["tables"], LEVELS) + "\n")
    draft.replace(path)


def _written(value: object, levels: int) -> str:
    """JSON, its first levels one entry a line."""
    if levels == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value)
    entries = ",\n".join(f"{json.dumps(key)}: {_written(one, levels - 1)}" for key, one in value.items())
    return f"{{\n{entries}\n}}"


def load(path: Path) -> Run:
    """Read what is there; nothing is an empty run."""
    tables = {}
    for name, table in (json.loads(path.read_text()) if path.exists() else {}).items():
        lines = {label: Line(**line) for label, line in table.pop("lines").items()}
        metrics = tuple(Metric(**metric) for metric in table.pop("metrics"))
        circumstances = Circumstances(**table.pop("circumstances"))
        tables[name] = Table(**table, metrics=metrics, circumstances=circumstances, lines=lines)
    return Run(tables)
