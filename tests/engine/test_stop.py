import threading

import pytest

from at_worker.engine.loop import Loop, running
from at_worker.engine.stop import EXIT_NO_THREADS, EXIT_OK, Stop
from tests.tables import PATIENCE


def test_a_thread_that_dies_for_want_of_memory_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    stop = Stop()

    def turn() -> None:
        raise MemoryError

    with stop.installed(), running(Loop("poller", turn, stop.unusable)):
        assert stop.wait(PATIENCE)
    assert stop.exit_code == EXIT_NO_THREADS
    assert stop.reason == "Memory ran out and cost a thread, so this process ends"
    assert "Exception in thread poller:" in capfd.readouterr().err


def test_a_thread_that_dies_of_something_else_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    stop = Stop()

    def of_a_plugin() -> None:
        raise RuntimeError("its own")

    with stop.installed():
        thread = threading.Thread(target=of_a_plugin)
        thread.start()
        thread.join()
        assert not stop.wait(0)
    assert stop.exit_code == EXIT_OK
    assert "RuntimeError: its own" in capfd.readouterr().err
