"""Runs the trials of each measurement, round by round in turns: nobody gets all the quiet minutes."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from bench.arena import Arena, RabbitMQ, open_arena
from bench.machine import circumstances
from bench.measure import Measure, Trial
from bench.plan import Plan
from bench.results import Line, Table

PATIENCE = 300  # seconds that one trial, or the preparation of all of a measurement, may take


class TookTooLong(RuntimeError):
    """Something hangs; the others are to have their turn."""


def measured(measure: Measure, plan: Plan, broker: RabbitMQ, dsn: str | None) -> Table:
    """One measurement, on a PostgreSQL server of its own; what fails says so in the table.

    So neither a broken server nor ten million rows reach the next one.
    """
    table = Table(measure.name, measure.title, measure.about, measure.metrics, circumstances())
    began = time.monotonic()
    try:
        with open_arena(broker, dsn) as arena:
            table.circumstances = replace(table.circumstances, postgres=arena.postgres_version)
            carry_out(measure, arena, plan, table)
    except Exception as error:  # noqa: BLE001 - what it cannot prepare, it says
        line = table.lines["the whole"] = Line("the whole", "")
        line.fail(error)
        say(f"{measure.name}: {line.problem}")
    table.seconds = time.monotonic() - began
    say(f"{measure.name}: {table.seconds:.0f} s")
    return table


def carry_out(measure: Measure, arena: Arena, plan: Plan, table: Table) -> None:
    """All rounds, in turns. A trial that fails leaves the others alone."""
    with ExitStack() as shared:
        with _limited():
            trials = shared.enter_context(measure.trials(arena, plan))
        _rounds(measure, trials, table, min(plan.rounds, measure.most_rounds))


def _rounds(measure: Measure, trials: Sequence[Trial], table: Table, rounds: int) -> None:
    for trial in trials:
        problem = f"not available: {trial.unavailable}" if trial.unavailable else None
        table.lines[trial.label] = Line(trial.label, trial.settings, problem)
    able = [trial for trial in trials if trial.unavailable is None]
    for number in range(rounds):
        # Another one begins each round.
        first = number % max(1, len(able))
        for trial in able[first:] + able[:first]:
            _round(measure, trial, table.lines[trial.label], number)


def _round(measure: Measure, trial: Trial, line: Line, number: int) -> None:
    began = time.monotonic()
    try:
        with _limited():
            sample = trial.run()
    except Exception as error:  # noqa: BLE001 - one contender's failure is a line of the table
        line.fail(error)
        say(f"{measure.name} {number + 1}: {trial.label}: {line.problem}")
        return
    line.add(sample)
    figures = _figures(measure, sample.values)
    say(f"{measure.name} {number + 1}: {trial.label}: {figures} [{time.monotonic() - began:.1f} s]")


@contextmanager
def _limited() -> Iterator[None]:
    """End what takes too long, wherever it waits. Raises TookTooLong."""

    def over(*_: object) -> None:
        raise TookTooLong(f"not done after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _figures(measure: Measure, values: object) -> str:
    known: Sequence[str] = [
        f"{metric.label} {values[metric.key]:,.{metric.digits}f}"
        for metric in measure.metrics
        if isinstance(values, dict) and metric.key in values
    ]
    return ", ".join(known)


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
