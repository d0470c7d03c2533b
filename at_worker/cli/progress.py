"""How far a long command is: a bar on stderr, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

import click


@contextmanager
def progress(label: str, length: int | None) -> Iterator[Callable[[int], None]]:
    """Call what this yields with the place that is reached, of `length` or of nobody knows how many."""
    with click.progressbar(
        repeat(None),
        length=length,
        label=label,
        show_pos=length is None,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        yield lambda place: bar.update(place - bar.pos)
