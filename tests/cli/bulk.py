"""Commands that read or write many lines, as people run them: with files, pipes and a terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from at_worker.jsontext import Json
from tests.processes import environment

GOOD: dict[str, Json] = {"task_type": "http_callback", "payload": {"url": "https://example.org/"}}
LATER = "2099-05-17T09:30:00+00:00"


def write(name: str, *lines: object) -> str:
    """A file of JSON Lines in the current directory; a string or bytes stand as they are."""
    texts = (line if isinstance(line, str | bytes) else json.dumps(line) for line in lines)
    Path(name).write_bytes(
        b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in texts)
    )
    return name


@contextmanager
def started(cwd: Path, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that waits for its standard input; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "at_worker", *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def on_terminal(cwd: Path, typed: str, *arguments: str, **settings: str) -> tuple[int, str]:
    """The exit code of a command, and all that it writes to a terminal where somebody types this."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "at_worker", *arguments],
        cwd=cwd,
        env=environment(**{"TERM": "xterm", **settings}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        written = b""
        try:
            while piece := os.read(ours, 65_536):
                written += piece
        except OSError:  # how Linux says that nobody has it open any more
            pass
        code = process.wait(20)
    os.close(ours)
    return code, written.decode().replace("\r\n", "\n")
