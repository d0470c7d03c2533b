"""What the kernel knows of a process and of those it started."""

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its descendants."""
    total = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def anonymous(pid: int) -> int:
    """Bytes of memory that no file backs, such as the file of marks, of a process and its descendants."""
    pages = 0
    for one in family(pid):
        _, resident_pages, shared, *_ = Path(f"/proc/{one}/statm").read_text().split()
        pages += int(resident_pages) - int(shared)
    return pages * _PAGE


def resident(pid: int) -> int:
    """Bytes of memory of a process and its descendants."""
    return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE for one in family(pid))
