"""A place for one worker process after the other."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from at_worker.engine.report import Report
from at_worker.engine.stop import EXIT_DATABASE, EXIT_OK, EXIT_SETTINGS
from at_worker.engine.tally import Numbers, plus
from at_worker.supervisor.process import WorkerProcess, fate

logger = logging.getLogger(__name__)

# A process that lived longer did not die of its start, and the next death is the first again.
QUICK = 5.0
LONGEST_PAUSE = 30.0

# What another process would end with too; it has logged why.
FINAL = (EXIT_DATABASE, EXIT_SETTINGS)


class Slot:
    """Starts a worker process, waits for its end, and starts another.

    `died` hears of a process that is no more and how it ended, `finish` of an exit code that ends the whole
    run. `exit_code` is that of the process that ended because it was to, `problems` are settings
    that it could not use.
    """

    def __init__(
        self,
        label: str,
        environment: Mapping[str, str],
        died: Callable[[WorkerProcess, str], None],
        finish: Callable[[int], None],
    ) -> None:
        self.label = label
        self.exit_code = EXIT_OK
        self.problems: list[str] = []
        self._environment = environment
        self._died = died
        self._finish = finish
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._process: WorkerProcess | None = None
        self._counting = threading.Lock()
        self._counted: Numbers = {}  # by those that are no more
        self.deaths = 0
        self._thread = threading.Thread(target=self._tend, name=f"slot {label}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the process for a graceful end, and start no other."""
        with self._starting:
            self._stopping.set()
            if self._process is not None:
                self._process.stop()

    def join(self) -> None:
        """Wait for the end of the process."""
        if self._thread.ident is not None:
            self._thread.join()

    def kill(self) -> None:
        """End the process at once; waits for no lock, for nothing may hold this up."""
        if self._process is not None:
            self._process.kill()

    @property
    def forsaken(self) -> bool:
        """The thread that looks after the process is gone."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def report(self) -> Report:
        """What the process tells of itself; its counts are those of all processes that were here."""
        process = self._process
        told = Report("it is not running") if process is None else process.report()
        with self._counting:
            # Of a process that died meanwhile, or does not answer, what it told last counts, and once.
            running = self._process
            counts = plus(self._counted, running.last.counts) if running else self._counted
        return replace(told, counts=counts)

    def _tend(self) -> None:
        quick_deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            how = self._run()
            if self._stopping.is_set():
                break
            quick_deaths = quick_deaths + 1 if time.monotonic() - started < QUICK else 1
            pause = pause_after(quick_deaths)
            again = f"in {pause:g} s" if pause else "at once"
            logger.warning("[Parent] Worker process %s %s; another starts %s", self.label, how, again)
            self._stopping.wait(pause)

    def _run(self) -> str:
        """Run one process; returns how it ended."""
        try:
            with self._starting:
                if self._stopping.is_set():
                    return "was not started"
                process = self._process = WorkerProcess(self.label, self._environment)
        except OSError as error:
            return f"cannot be started: {error}"
        logger.debug("[Parent] Started worker process %s (pid %d)", self.label, process.pid)
        code = process.wait()
        with self._counting:
            self._counted = plus(self._counted, process.last.counts)
            self._process = None
        if code in FINAL:
            self._stopping.set()
            self.problems = process.last.problems
            self._finish(code)
        else:
            if self._stopping.is_set():
                self.exit_code = code if code >= 0 else 128 - code
            if code != EXIT_OK or not self._stopping.is_set():
                self.deaths += 1
                self._died(process, fate(code))
        return f"(pid {process.pid}) {fate(code)}"


def pause_after(quick_deaths: int) -> float:
    """Seconds to wait after so many deaths in a row: 0, 1, 2, 4 ... 30."""
    return 0.0 if quick_deaths < 2 else min(2.0 ** (quick_deaths - 2), LONGEST_PAUSE)
