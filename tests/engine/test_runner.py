"""The threads that run tasks."""

import threading
import time
from dataclasses import replace

from at_worker.engine.runner import Runner, Running
from at_worker.task import Claim
from tests.engine.bench import PATIENCE
from tests.test_outcome import TASK


def test_a_task_that_waited_may_begin_again_before_its_first_thread_is_back() -> None:
    """The thread that ends another task at the destination starts it, at once."""
    task = replace(TASK, claim=Claim(1, 1))
    begun_again = threading.Event()
    turns = iter([False, True])

    def carry_out(_running: Running) -> bool:
        if ended := next(turns):
            begun_again.set()
        else:
            runner.start(task)
            assert begun_again.wait(PATIENCE)
        return ended

    with Runner(2, 300, carry_out) as runner:
        runner.start(task)
        assert runner.wait_until_idle(time.monotonic() + PATIENCE)
        assert runner.written_off == 0
        assert runner.room == 2 + 1
