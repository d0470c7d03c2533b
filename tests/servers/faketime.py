"""A wall clock of a process's own, which a test sets while it runs (libfaketime); intervals stay true."""

import os
from pathlib import Path

from tests.servers import debian

LIBRARY = "usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """The clock of all processes that are started with its `environment`; right until it is set."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: float) -> None:
        """Let it be so many seconds later than it is."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+f}\n")
        new.replace(self._file)


def _library() -> str:
    installed = next(Path("/").glob(LIBRARY), None)
    return os.fspath(installed or next(debian.unless_installed("libfaketime").glob(LIBRARY)))
