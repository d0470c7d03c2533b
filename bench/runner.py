"""Runs the trials of each measurement, round by round in turns: nobody gets all the quiet minutes."""

import sys
import time
from collections.abc import Sequence

from bench.arena import Arena
from bench.measure import Measure, Trial
from bench.plan import Plan
from bench.results import Line, Table


def carry_out(measure: Measure, arena: Arena, plan: Plan) -> Table:
    """All rounds of one measurement. A trial that fails says so in the table and the others go on."""
    table = Table(measure.name, measure.title, measure.about, measure.metrics)
    began = time.monotonic()
    try:
        with measure.trials(arena, plan) as trials:
            _rounds(measure, trials, table, min(plan.rounds, measure.most_rounds))
    except Exception as error:  # noqa: BLE001 - what it cannot prepare, it says
        table.lines["preparation"] = Line("preparation", "", _failed(error))
        say(f"{measure.name}: {_failed(error)}")
    table.seconds = time.monotonic() - began
    return table


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
        sample = trial.run()
    except Exception as error:  # noqa: BLE001 - one contender's failure is a line of the table
        line.problem = _failed(error)
        say(f"{measure.name} {number + 1}: {trial.label}: {line.problem}")
        return
    line.add(sample)
    figures = _figures(measure, sample.values)
    say(f"{measure.name} {number + 1}: {trial.label}: {figures} [{time.monotonic() - began:.1f} s]")


def _failed(error: Exception) -> str:
    return f"failed: {type(error).__name__}: {error}"


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
