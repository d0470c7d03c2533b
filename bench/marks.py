"""Start times of tasks in a file that every worker process shares: one slot a task, its wall clock inside."""

import mmap
import os
import struct
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VARIABLE = "BENCH_MARKS"

_SLOT = struct.Struct("=d")

Times = NDArray[np.float64]


class Marks:
    """A mapped file of `time.time()` values; a slot that nobody wrote is 0."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def mark(self, number: int) -> None:
        """Task `number` starts now."""
        _SLOT.pack_into(self._map, number * _SLOT.size, time.time())

    def times(self, first: int, count: int) -> Times:
        """The starts of so many tasks from number `first` on."""
        return np.frombuffer(self._map, np.float64, count, first * _SLOT.size).copy()

    def written(self, first: int, count: int) -> int:
        """How many of these tasks have started."""
        return int(np.count_nonzero(np.frombuffer(self._map, np.float64, count, first * _SLOT.size)))


def create(path: Path, slots: int) -> Marks:
    """An empty file of so many slots."""
    with path.open("wb") as file:
        file.truncate(slots * _SLOT.size)
    return Marks(path)


def inherited() -> Marks:
    """The file that the runner named to this process."""
    return Marks(Path(os.environ[VARIABLE]))
