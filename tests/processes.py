"""Real `at-worker` processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from at_worker.config import is_setting

PATIENCE = 20.0


class Worker:
    """A running worker: the parent and its worker processes; what they write is kept as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._news = threading.Condition()
        self._ended = False
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, name="log reader")
        self._thread.start()

    @property
    def log(self) -> str:
        with self._news:
            return "\n".join(self.lines)

    def count(self, text: str) -> int:
        """How many lines hold this text, up to now."""
        with self._news:
            return sum(text in line for line in self.lines)

    def wait_for_line(self, text: str, times: int = 1) -> str:
        """The first line that holds this text, or the one of the given number, once it is there."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [line for line in self.lines if text in line]
            return len(found) >= times or self._ended

        with self._news:
            self._news.wait_for(there, PATIENCE)
        if len(found) < times:
            raise AssertionError(f"{text!r} came {len(found)} of {times} times in this log:\n{self.log}")
        return found[times - 1]

    def signal_workers(self, number: signal.Signals) -> None:
        """To every worker process."""
        for pid in self.processes().values():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def signal(self, number: signal.Signals) -> None:
        """To the parent."""
        self._process.send_signal(number)

    def processes(self) -> dict[str, int]:
        """The process ids of the worker processes that run now, by boot id."""
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        found = {}
        for pid in (int(word) for file in children for word in _read(file).split()):
            arguments = _read(Path(f"/proc/{pid}/cmdline")).split("\0")
            if "worker" in arguments:
                found[arguments[arguments.index("worker") + 1]] = pid
        return found

    def command_lines(self) -> str:
        """What the process list shows of the parent and the worker processes."""
        pids = [self._process.pid, *self.processes().values()]
        return "\n".join(_read(Path(f"/proc/{pid}/cmdline")) for pid in pids)

    def kill(self) -> int:
        """Kill the parent and all worker processes, as if the machine was gone; returns the exit code."""
        self.signal(signal.SIGSTOP)  # starts no others meanwhile
        self.signal_workers(signal.SIGKILL)
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once the process has ended and its log is complete."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {PATIENCE:g} s; its log:\n{self.log}") from None
        self._thread.join(PATIENCE)
        return code

    def stop(self) -> int:
        """End it as an orchestrator does; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def _read(path: Path) -> str:
    """The text of a file in /proc; empty where its process is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextmanager
def worker(dsn: str, cwd: Path, *options: str, **settings: str) -> Iterator[Worker]:
    """A worker named w-1 that runs in `cwd`, and is killed at the end of the block if it still runs.

    A test that fails shows its log.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "at_worker", "run", *options],
        cwd=cwd,
        env=environment(**{"DATABASE_URL": dsn, "WORKER_ID": "w-1", **settings}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    started = Worker(process)
    try:
        yield started
    finally:
        started.end()
        print(started.log)  # noqa: T201 - pytest shows it where a test fails


def command(cwd: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run an `at-worker` command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "at_worker", *arguments],
        cwd=cwd,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process with these settings and no others."""
    inherited = {name: value for name, value in os.environ.items() if not is_setting(name)}
    return {**inherited, **settings}
