"""Whichever process of an import ends, and whenever, the others end with it and nothing is imported."""

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import randrange
from subprocess import Popen
from threading import Thread

import pytest

from tests.cli.bulk import GOOD, started
from tests.processes import PATIENCE
from tests.tables import Table

LINES = (json.dumps(GOOD).encode() + b"\n") * 1000
KILLED = b"Error: a process that checked lines was killed, for want of memory perhaps; nothing was imported\n"


@pytest.fixture
def ticks() -> int:
    """How long a checker has used a processor: not yet, for some of its start, or of its work."""
    return randrange(60)  # noqa: S311 - chooses a moment, guards no secret


@pytest.mark.parametrize("whom", ["one", "all"])
def test_checkers_that_are_killed_while_they_start_or_check_are_one_line(
    whom: str, ticks: int, tasks: Table, tmp_path: Path
) -> None:
    with started(tmp_path, "import", "-", DATABASE_URL=tasks.dsn) as process, _fed(process):
        tasks.wait_for(lambda: _has_had(ticks, process))
        _signal(_checkers(process)[: 1 if whom == "one" else None], signal.SIGKILL)
        assert _end(process, tasks) == (1, KILLED)


def test_a_checker_that_is_killed_while_it_has_nothing_to_do_is_one_line_too(
    tasks: Table, tmp_path: Path
) -> None:
    with started(tmp_path, "import", "-", DATABASE_URL=tasks.dsn) as process:
        assert process.stdin is not None
        process.stdin.write(LINES * 7)
        process.stdin.flush()
        tasks.wait_for(lambda: (found := _checkers(process)) and all(map(_sleeps, [*found, process.pid])))
        _signal(_checkers(process)[:1], signal.SIGKILL)
        with process.stdin:
            process.stdin.write(LINES)
        assert _end(process, tasks) == (1, KILLED)


def test_only_the_end_of_an_import_is_for_its_checkers_and_not_ctrl_c(
    ticks: int, tasks: Table, tmp_path: Path
) -> None:
    with started(tmp_path, "import", "-", DATABASE_URL=tasks.dsn) as process, _fed(process):
        tasks.wait_for(lambda: _has_had(ticks, process))
        _signal(_checkers(process), signal.SIGINT)
        process.kill()
        code, said = _end(process, tasks)
    assert code == -signal.SIGKILL
    assert b"KeyboardInterrupt" not in said


@contextmanager
def _fed(process: "Popen[bytes]") -> Iterator[None]:
    """It gets lines without end."""

    def feed() -> None:
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            while True:
                process.stdin.write(LINES)

    thread = Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        process.kill()
        thread.join()


def _end(process: "Popen[bytes]", tasks: Table) -> tuple[int, bytes]:
    """The exit code, and what it said, once nothing of it is left; it has imported nothing."""
    code = process.wait(PATIENCE)
    tasks.wait_for(lambda: not _processes_with(tasks.dsn))
    assert tasks.sql("SELECT count(*) FROM scheduled_tasks") == [{"count": 0}]
    assert process.stderr is not None
    return code, process.stderr.read()


def _processes_with(dsn: str) -> list[Path]:
    """Those that were given this database, so also those that have lost their parent."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if dsn.encode() in environment.read_bytes():
                found.append(environment)
    return found


def _checkers(process: "Popen[bytes]") -> list[int]:
    children = " ".join(file.read_text() for file in Path(f"/proc/{process.pid}/task").glob("*/children"))
    return [
        pid
        for pid in map(int, children.split())
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def _has_had(ticks: int, process: "Popen[bytes]") -> bool:
    return any(_ticks(pid) >= ticks for pid in _checkers(process))


def _ticks(pid: int) -> int:
    fields = _stat(Path("/proc", str(pid)))
    return int(fields[11]) + int(fields[12])


def _sleeps(pid: int) -> bool:
    return all(_stat(thread)[0] == "S" for thread in Path(f"/proc/{pid}/task").iterdir())


def _stat(process: Path) -> list[str]:
    return (process / "stat").read_text().rpartition(")")[2].split()


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)
