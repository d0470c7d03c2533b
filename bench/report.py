"""RESULTS.md: a run as tables."""

from pathlib import Path

from bench import plots
from bench.measure import Metric
from bench.results import Line, Run, Table
from bench.targets import targets

MEANING = (
    "A figure is the median of the rounds, with the smallest and the largest behind it where there were "
    "several. Figures compare within one run; take the ratios, not the absolutes."
)


def write(run: Run, directory: Path) -> None:
    """Write the tables and the plots."""
    drawn = plots.draw(run, directory / "plots")
    on = run.machine
    text = [
        "# Results",
        "",
        f"Measured on {run.date} with `{run.command}`.",
        "",
        f"Machine: {on['cores']} cores ({on['processor']}), {on['memory']}, {on['system']}.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in run.versions.items()) + ".",
        "",
        MEANING,
    ]
    text += _targets(run)
    for table in run.tables.values():
        text += ["", f"## {table.title}", "", table.about, "", *_table(table)]
        text += [f"\n![{table.title}](plots/{name})" for name in drawn.get(table.name, ())]
        text += _notes(table)
    (directory / "RESULTS.md").write_text("\n".join(text) + "\n")


def _targets(run: Run) -> list[str]:
    rows = [
        f"| {one.what} | {one.value:,.{one.digits}f} | {'at most' if one.most else 'at least'} {one.bound:g} "
        f"| {'reached' if one.reached else '**not reached**'} |"
        for one in targets(run)
    ]
    if not rows:
        return []
    return [
        "",
        "## What at-worker is to reach",
        "",
        "| | measured | wanted | |",
        "| --- | ---: | ---: | --- |",
        *rows,
    ]


def _table(table: Table) -> list[str]:
    metrics = [
        metric
        for metric in table.metrics
        if any(line.rounds.get(metric.key) for line in table.lines.values())
    ]
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
