"""The figures that the project's README shows, between two marks in it."""

import re
from pathlib import Path

from bench.report import described
from bench.results import Line, Run
from bench.targets import BARE_INSERT, Target, targets

BEGIN = "<!-- written by make bench -->\n"
END = "<!-- end of what make bench writes -->\n"

HEAD = (
    "| | late at 50/s, p50 / p99 | late at 1,000/s, p50 / p99 | tasks/s | with 2 processes |",
    "|---|---:|---:|---:|---:|",
)


def write(run: Run, readme: Path) -> None:
    """Replace the old figures."""
    figures = "\n".join(["", *_contenders(run), "", *described(run), "", *_unreached(targets(run)), "", ""])
    marked = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    readme.write_text(marked.sub(lambda _: figures, readme.read_text()))


def _contenders(run: Run) -> list[str]:
    lines = {
        label: line
        for name in ("lateness", "drain")
        if name in run.tables
        for label, line in run.tables[name].lines.items()
        if line.rounds and "processes" not in label and label != BARE_INSERT
    }
    return [*HEAD, *(_row(run, line) for line in lines.values())]


def _row(run: Run, line: Line) -> str:
    label = line.label
    cells = [
        f"**{label}**" if label.startswith("at-worker") else label,
        *(_late(run, label, rate) for rate in (50, 1000)),
        *(_rate(run, name) for name in (label, f"{label}, 2 processes")),
    ]
    return f"| {' | '.join(cells)} |"


def _late(run: Run, label: str, rate: int) -> str:
    found = [run.value("lateness", label, f"{key}@{rate}") for key in ("p50", "p99")]
    figures = [f"{one:,.{2 if one < 100 else 0}f}" for one in found if one is not None]
    return f"{' / '.join(figures)} ms" if figures else ""


def _rate(run: Run, label: str) -> str:
    found = run.value("drain", label, "rate")
    return "" if found is None else f"{found:,.0f}"


def _unreached(every: list[Target]) -> list[str]:
    measured = [one for one in every if one.value is not None]
    missed = [one for one in measured if not one.reached]
    told = (
        f"Of {len(measured)} figures that at-worker is to reach, {len(measured) - len(missed)} were reached"
    )
    if not missed:
        return [f"{told}."]
    return [f"{told}. Not yet, and what bounds them:", "", *(f"- {_told(one)}" for one in missed)]


def _told(one: Target) -> str:
    limit = "at most" if one.ceiling else "at least"
    return f"{one.what}: {one.value:,.{one.digits}f}, wanted {limit} {one.bound:g} ({one.bounded_by})"
