"""RESULTS.md: a run as tables."""

from pathlib import Path

from bench import plots
from bench.measure import Metric
from bench.results import Circumstances, Line, Run, Table
from bench.targets import Target, targets

MEANING = (
    "A figure is the median of the rounds, with the smallest and the largest behind it where there were "
    "several. Figures compare within one run; take the ratios, not the absolutes."
)


def write(run: Run, directory: Path) -> None:
    """Write the tables and the plots, and what the project's README shows of them."""
    drawn = plots.draw(run, directory / "plots")
    text = ["# Results", ""]
    if run.tables:
        text += [*described(run), "", MEANING, "", "## What at-worker is to reach", "", *target_rows(run)]
    for table in run.tables.values():
        text += ["", f"## {table.title}", "", table.about, "", _when(table, run.latest), "", *_table(table)]
        text += [f"\n![{table.title}](plots/{name})" for name in drawn.get(table.name, ())]
        text += _notes(table)
    (directory / "RESULTS.md").write_text("\n".join(text) + "\n")


def described(run: Run) -> list[str]:
    """When and on what it was measured, the last time."""
    last = run.latest
    on = last.machine
    dates = sorted({table.circumstances.date for table in run.tables.values()})
    measured = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    versions = {"PostgreSQL": last.postgres, **last.versions}
    return [
        f"Measured {measured} on {on['cores']} cores ({on['processor']}), {on['memory']}, {on['system']}.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version) + ".",
    ]


def target_rows(run: Run) -> list[str]:
    """The targets as a table."""
    return [
        "| | measured | wanted | | what bounds it now |",
        "| --- | ---: | ---: | --- | --- |",
        *(
            f"| {one.what} | {_measured(one)} | {_wanted(one)} | {_verdict(one)} | {one.bounded_by} |"
            for one in targets(run)
        ),
    ]


def _measured(target: Target) -> str:
    return "-" if target.value is None else f"{target.value:,.{target.digits}f}"


def _wanted(target: Target) -> str:
    stretch = f", better {target.stretch:g}" if target.stretch else ""
    return f"{'at most' if target.ceiling else 'at least'} {target.bound:g}{stretch}"


def _verdict(target: Target) -> str:
    if target.value is None:
        return "not measured"
    return "reached" if target.reached else "**not reached**"


def _when(table: Table, latest: Circumstances) -> str:
    """When this one was measured, and what was different from the latest."""
    on = table.circumstances
    text = f"*{on.date}, {table.seconds:.0f} s, `{on.command}`"
    text += "." if on.busy is None else f"; before it, others kept the machine {on.busy:.0f} % busy."
    ours, theirs = ({"PostgreSQL": one.postgres, **one.versions, **one.machine} for one in (on, latest))
    if different := [
        f"{name} {value}" for name, value in ours.items() if value and theirs.get(name) != value
    ]:
        text += f" Other than above: {', '.join(different)}."
    return text + "*"


def _table(table: Table) -> list[str]:
    metrics = [
        metric
        for metric in table.metrics
        if any(line.rounds.get(metric.key) for line in table.lines.values())
    ]
    if not metrics:
        return []
    head = ["", *(metric.label for metric in metrics)]
    rows = [head, ["---", *("---:" for _ in metrics)]]
    rows += [[line.label, *(_cell(line, metric) for metric in metrics)] for line in table.lines.values()]
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(line: Line, metric: Metric) -> str:
    rounds = line.rounds.get(metric.key)
    value = line.value(metric.key)
    if not rounds or value is None:
        return "-"
    text = f"{value:,.{metric.digits}f}"
    if len(rounds) > 1:
        text += f" ({min(rounds):,.{metric.digits}f} to {max(rounds):,.{metric.digits}f})"
    return text


def _notes(table: Table) -> list[str]:
    notes = [f"- {line.label}: {line.problem}" for line in table.lines.values() if line.problem]
    notes += [
        f"- {line.label}: settings {line.settings}"
        for line in table.lines.values()
        if line.settings not in ("", "none")
    ]
    return ["", *notes] if notes else []
