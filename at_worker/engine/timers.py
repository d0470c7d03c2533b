"""Timers that end when they are meant to."""

from contextlib import suppress
from pathlib import Path


def exact_timers() -> None:
    """Let the threads that the main thread starts from now on wake on time.

    Linux ends the timed waits of a thread up to 50 us late, to save power: its timer slack, which the thread
    that starts it hands on (prctl(2), PR_SET_TIMERSLACK; proc(5), timerslack_ns).
    """
    with suppress(OSError):  # other systems
        Path("/proc/self/timerslack_ns").write_text("1")
