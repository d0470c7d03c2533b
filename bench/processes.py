"""Processes of a run: each ends with the block that started it, and with the run however that ends."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 2.0  # seconds between the request to end and the kill; what is measured is over by then

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Ended(RuntimeError):
    """A process ended before its time; the message quotes its last lines."""


def python_path() -> str:
    """Where the processes find this package and the at-worker that is measured."""
    return os.pathsep.join(part for part in (os.environ.get("PYTHONPATH"), str(ROOT)) if part)


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes; its errors go to `log`. It may close by itself once its input ends."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": python_path(), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - the run has one thread
        )
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def workers(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str], count: int = 1
) -> Iterator[list[subprocess.Popen[str]]]:
    """So many equal processes whose output goes to `log`."""
    started: list[subprocess.Popen[str]] = []
    try:
        with log.open("ab") as output:
            for _ in range(count):
                process = subprocess.Popen(
                    command,
                    cwd=log.parent,
                    env={**os.environ, "PYTHONPATH": python_path(), **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    text=True,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,  # noqa: PLW1509 - the run has one thread
                )
                started.append(process)
        yield started
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in started:
            _end(process)


def check(processes: Sequence[subprocess.Popen[str]], log: Path) -> None:
    """Raise Ended where one of them is gone."""
    for process in processes:
        if (code := process.poll()) is not None:
            raise Ended(f"exit code {code}: {tail(log)}")


def tail(log: Path) -> str:
    """The last lines that a process wrote."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "it said nothing"


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(PATIENCE)
    # Its session is its own: whatever it started and left behind goes with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit(1)
