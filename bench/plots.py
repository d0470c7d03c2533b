"""The plots of a run, as SVG files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.results import Line, Run, Table

OURS, THEIRS = "#c2410c", "#64748b"
PALE = 0.55
SHADES = ("#1d4ed8", "#0f766e", "#7c3aed", "#a16207", "#475569", "#be185d")

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "at-worker",  # the same run draws the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
}


def draw(run: Run, directory: Path) -> Mapping[str, list[str]]:
    """Draw what was measured; the names of the files by measurement."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[str]] = {}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are an enumeration
        for measure, name, figure in _figures(run.tables):
            figure.savefig(directory / name, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
            drawn.setdefault(measure, []).append(name)
    return drawn


def _figures(tables: Mapping[str, Table]) -> Iterator[tuple[str, str, Figure]]:
    if "drain" in tables and (lines := _measured(tables["drain"], "rate")):
        yield "drain", "throughput.svg", _bars(lines, "rate", "Drain of no-op tasks", "tasks a second")
    for rate in (50, 1000):
        key = f"lateness@{rate}"
        if "lateness" in tables and (lines := _drawn(tables["lateness"], key)):
            title = f"Lateness of tasks scheduled ahead, {rate:,} a second"
            yield "lateness", f"lateness-{rate}.svg", _distribution(lines, key, title, "milliseconds late")
    if "lateness" in tables and (lines := _drawn(tables["lateness"], "latency@now")):
        title = "From the call that enqueues to the start, tasks due now"
        yield "lateness", "due-now.svg", _distribution(lines, "latency@now", title, "milliseconds")
    if "claims" in tables and (figure := _claims(tables["claims"])):
        yield "claims", "claims.svg", figure


def _measured(table: Table, key: str) -> list[Line]:
    return [line for line in table.lines.values() if line.value(key) is not None]


def _drawn(table: Table, key: str) -> list[Line]:
    return [line for line in table.lines.values() if line.curve(key) is not None]


def _axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    return figure, axes


def _bars(lines: list[Line], key: str, title: str, unit: str) -> Figure:
    """The fastest on top; at-worker in its own colour, defaults paler than what is tuned."""
    ordered = sorted(lines, key=lambda line: line.value(key) or 0.0)
    values = [line.value(key) or 0.0 for line in ordered]
    labels = [line.label for line in ordered]
    figure, axes = _axes(8, 0.9 + 0.3 * len(ordered), title)
    bars = axes.barh(labels, values, height=0.7)
    for bar, label in zip(bars, labels, strict=True):
        bar.set_color(OURS if label.startswith("at-worker") else THEIRS)
        bar.set_alpha(PALE if "defaults" in label else 1.0)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=4)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(right=max(values) * 1.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(unit)
    return figure


def _distribution(lines: list[Line], key: str, title: str, unit: str) -> Figure:
    """Quantiles on a logarithmic scale: the further left and the steeper, the better."""
    figure, axes = _axes(8, 4.5, title)
    names = list(dict.fromkeys(_name(line) for line in lines if _name(line) != "at-worker"))
    for line in lines:
        points = line.curve(key) or []
        name = _name(line)
        colour = OURS if name == "at-worker" else SHADES[names.index(name) % len(SHADES)]
        axes.plot(
            [max(point, 0.01) for point in points],
            [100 * place / (len(points) - 1) for place in range(len(points))],
            color=colour,
            linestyle="-" if line.label.endswith("defaults") else "--",
            linewidth=2.2 if name == "at-worker" else 1.4,
            label=line.label,
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{unit}, logarithmic")
    axes.set_ylabel("% of the tasks, at most that much")
    axes.set_ylim(0, 101)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    return figure


def _claims(table: Table) -> Figure | None:
    """p50 and p99 of a claim against the number of future rows, which begins each label."""
    sized = {
        int(line.label.partition(" ")[0].replace(",", "")): line
        for line in _measured(table, "p50")
        if line.label.endswith("future rows")
    }
    if len(sized) < 2:
        return None
    figure, axes = _axes(6, 3.5, "A claim that finds nothing due")
    for key, style in (("p50", "-o"), ("p99", "--o")):
        axes.plot(
            list(sized), [line.value(key) or 0.0 for line in sized.values()], style, color=OURS, label=key
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 1.25 * max(line.value("p99") or 0.0 for line in sized.values()))
    axes.set_xticks(list(sized), [f"{rows:,}" for rows in sized], minor=False)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("future rows in the table, logarithmic")
    axes.set_ylabel("milliseconds")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _name(line: Line) -> str:
    return line.label.partition(",")[0]
