"""What a measurement is made of: trials that take turns, and the metrics that each of them yields."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.arena import Arena
from bench.marks import Times
from bench.plan import Plan

# The first tenth of the tasks is the start-up of workers, connections and caches.
WARM = 0.1

Curve = Sequence[float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure; `better` says which way, `digits` how it is printed."""

    key: str
    label: str
    better: Literal["higher", "lower", "neither"]
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one trial yielded; a curve holds 201 quantiles of a distribution."""

    values: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One line of a table; `unavailable` says why it cannot be run."""

    label: str
    settings: str
    run: Callable[[], Sample]
    unavailable: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement. `trials` holds what they share for as long as they run."""

    name: str
    title: str
    about: str
    metrics: tuple[Metric, ...]
    trials: Callable[[Arena, Plan], AbstractContextManager[Sequence[Trial]]]
    most_rounds: int = 99


def rate(times: Times, finished: float | None = None) -> float:
    """Tasks a second from the first tenth on; `finished` is when the store held no unfinished one."""
    ordered = np.sort(times)
    skipped = int(len(ordered) * WARM)
    end = max(float(ordered[-1]), finished or 0.0)
    return (len(ordered) - skipped) / (end - float(ordered[skipped]))


def curve(values: Times) -> Curve:
    """201 quantiles: enough to draw the distribution and to read p50, p99 and the largest."""
    return [float(value) for value in np.quantile(values, np.linspace(0, 1, 201))]


def spread(values: Times) -> dict[str, float]:
    """p50, p99 and the largest."""
    p50, p99 = np.quantile(values, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}


def median(values: Sequence[float]) -> float:
    """The median of the rounds."""
    return statistics.median(values)
