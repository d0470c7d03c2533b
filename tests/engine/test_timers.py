"""Timers that end when they are meant to."""

import threading
from pathlib import Path

from at_worker.engine.timers import exact_timers


def test_threads_are_started_without_timer_slack() -> None:
    slack: list[str] = []

    def look() -> None:
        slack.append(Path(f"/proc/{threading.get_native_id()}/timerslack_ns").read_text())

    exact_timers()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert slack == ["1\n"]
