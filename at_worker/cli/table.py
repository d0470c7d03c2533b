"""Tables that fit the terminal. rich enters here, and only when there is a table to show."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import click

from at_worker.text import visible

# Who reads from a pipe wants the whole of every cell.
_UNBOUNDED = 100_000

STYLES = {"processing": "cyan", "completed": "green", "failed": "red", "cancelled": "dim"}


class Cell(NamedTuple):
    """A text in a style of rich's, which shows on a terminal only."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """`flexible` gives way where the terminal is too narrow for all."""

    name: str
    right: bool = False
    flexible: bool = False


def show(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
    """Print a table; a cell that has no room ends in an ellipsis. Colours honour NO_COLOR.

    It has no head where no column has a name.
    """
    # Workers, and commands without a table, do without it.
    from rich.console import Console  # noqa: PLC0415 - others do without it
    from rich.table import Table  # noqa: PLC0415 - others do without it
    from rich.text import Text  # noqa: PLC0415 - others do without it

    console = Console(width=None if sys.stdout.isatty() else _UNBOUNDED)
    named = any(column.name for column in columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=named)
    for column in columns:
        table.add_column(
            column.name, justify="right" if column.right else "left", no_wrap=not column.flexible
        )
    for row in rows:
        cells = (cell if isinstance(cell, Cell) else Cell(cell) for cell in row)
        table.add_row(
            *(Text(visible(text), style, no_wrap=True, overflow="ellipsis") for text, style in cells)
        )
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=True)
