"""Tables on a real terminal; what is in them is for the tests of each command."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.processes import environment
from tests.tables import Table

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(cwd: Path, width: int, *arguments: str, **settings: str) -> str:
    """What a command writes to a terminal of this width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    inherited = environment(**{"TERM": "xterm", **settings})
    inherited.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "at_worker", *arguments],
        cwd=cwd,
        env=inherited,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 65_536):
                written += piece
        except OSError:  # how Linux says that nobody has it open any more
            pass
        assert process.stderr is not None
        assert (process.wait(20), process.stderr.read()) == (0, b"")
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


@pytest.fixture
def failed(table: Table) -> Table:
    payload = {"url": "https://example.org/a/rather/long/path/to/an/order/that/was/paid"}
    table.insert("http_callback", payload, status="failed", error_message="HTTP 503 from example.org " * 9)
    return table


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits_the_terminal_and_says_where_something_is_missing(
    width: int, failed: Table, tmp_path: Path
) -> None:
    lines = ESCAPES.sub("", on_terminal(tmp_path, width, "list", DATABASE_URL=failed.dsn)).splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert lines[1].count("…") == 2
    assert "failed" in lines[1]


def test_colours_show_on_a_terminal_unless_somebody_wants_none(failed: Table, tmp_path: Path) -> None:
    assert "\x1b[31mfailed" in on_terminal(tmp_path, 100, "list", DATABASE_URL=failed.dsn)
    assert "\x1b[31m" not in on_terminal(tmp_path, 100, "list", DATABASE_URL=failed.dsn, NO_COLOR="1")


def test_workers_do_without_the_library_of_tables() -> None:
    look = "import sys, at_worker.cli, at_worker.app; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False, timeout=60).returncode == 0
