"""The lines of a file or of standard input, gzipped or not, a thousand at a time."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from at_worker.cli.errors import Failed, WrongArgument
from at_worker.cli.lines import LONGEST

STANDARD_INPUT = "-"
MOST_LINES = 1000
MOST_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"


class Batch(NamedTuple):
    """Lines with their numbers; `end` is how many bytes of the file have been read by then."""

    lines: list[tuple[int, bytes]]
    end: int


@dataclass(frozen=True, slots=True)
class LineFile:
    """An open file; `size` is in bytes, None where it is not known."""

    name: str
    size: int | None
    _source: IO[bytes]
    _content: IO[bytes]

    def batches(self) -> Iterator[Batch]:
        """All lines but blank ones, once; memory holds one batch. Raises Failed where they cannot be read."""
        lines: list[tuple[int, bytes]] = []
        size = 0
        try:
            for number, line in enumerate(self._lines(), 1):
                if line and not line.isspace():
                    lines.append((number, line.rstrip(b"\r\n")))
                    size += len(line)
                if len(lines) == MOST_LINES or size >= MOST_BYTES:
                    yield Batch(lines, self._place())
                    lines, size = [], 0
            if lines:
                yield Batch(lines, self._place())
        except (OSError, EOFError, zlib.error) as error:
            raise Failed(f"{self.name} cannot be read: {error}; nothing was imported") from None

    def is_file(self, name: str) -> bool:
        """Whether that path leads to the same file."""
        return Path(name).exists() and os.path.samestat(Path(name).stat(), os.fstat(self._source.fileno()))

    def _lines(self) -> Iterator[bytes]:
        while line := self._content.readline(LONGEST + 1):
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = self._content.readline(LONGEST)
            yield line

    def _place(self) -> int:
        return self._source.tell() if self.size is not None else 0


@contextmanager
def open_lines(name: str) -> Iterator[LineFile]:
    """Open a file by its path, or standard input as `-`. Raises WrongArgument."""
    if name == STANDARD_INPUT:
        with io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer)) as standard:
            yield _line_file("standard input", None, standard)
        return
    with ExitStack() as closing:
        try:
            source = closing.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise WrongArgument(f"{name} cannot be opened: {error.strerror}") from None
        yield _line_file(name, os.fstat(source.fileno()).st_size or None, source)


def _line_file(name: str, size: int | None, source: "io.BufferedReader[Any]") -> LineFile:
    try:
        zipped = source.peek(2).startswith(_GZIP)
    except OSError as error:
        raise WrongArgument(f"{name} cannot be read: {error.strerror}") from None
    return LineFile(
        name, size, source, cast("IO[bytes]", gzip.GzipFile(fileobj=source)) if zipped else source
    )
