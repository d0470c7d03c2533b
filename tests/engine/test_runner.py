"""The threads that run tasks."""

import threading
import time
from collections import Counter, deque
from random import Random

from at_worker.engine.runner import Runner
from at_worker.engine.running import Left, Running
from at_worker.task import Claim
from tests.engine.bench import PATIENCE
from tests.test_outcome import TASK


def test_a_task_that_waited_may_begin_again_before_its_first_thread_is_back() -> None:
    """The thread that ends another task at the destination starts it, at once."""
    task = TASK._replace(claim=Claim(1, 1))
    begun_again = threading.Event()
    turns = iter([Left.WAITING, Left.ENDED])

    def carry_out(_running: Running) -> Left:
        if (left := next(turns)) is Left.ENDED:
            begun_again.set()
        else:
            runner.start(task)
            assert begun_again.wait(PATIENCE)
        return left

    with Runner(2, 300, carry_out) as runner:
        runner.start(task)
        assert runner.wait_until_idle(time.monotonic() + PATIENCE)
        assert runner.written_off == 0
        assert runner.room == 2 + 1


def test_each_of_many_tasks_runs_once_and_none_before_its_instant() -> None:
    """Three threads hand over, in all mixtures of due and held, short and long tasks, as fast as they can."""
    begun: deque[Running] = deque()
    ended = threading.Semaphore(0)

    def carry_out(running: Running) -> Left:
        begun.append(running)
        if running.task.claim.id % 7 == 0:
            time.sleep(0.0005)
        ended.release()
        return Left.ENDED

    def hand_over(seed: int) -> None:
        random = Random(seed)  # noqa: S311 - mixes tasks, guards no secret
        for number in range(0, 3000, 3):
            now = time.monotonic()
            tasks = [TASK._replace(claim=Claim(seed * 10_000 + number + n, 1), due=now) for n in range(3)]
            if random.random() < 0.5:
                runner.start(*tasks)
            else:
                runner.hold([task._replace(due=now + random.uniform(-0.001, 0.01)) for task in tasks])

    with Runner(8, 300, carry_out) as runner:
        threads = [threading.Thread(target=hand_over, args=[seed]) for seed in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(9000):
            assert ended.acquire(timeout=PATIENCE)
        assert runner.wait_until_idle(time.monotonic() + PATIENCE)
    assert Counter(Counter(running.task.claim for running in begun).values()) == {1: 9000}
    assert all(running.started >= running.task.due for running in begun)


def test_an_earlier_task_does_not_wait_for_a_later_one() -> None:
    """The leader sleeps until the instant of the later one already."""
    later = TASK._replace(claim=Claim(1, 1), due=time.monotonic() + 300)
    begun: deque[Running] = deque()
    done = threading.Event()

    def carry_out(running: Running) -> Left:
        begun.append(running)
        done.set()
        return Left.ENDED

    with Runner(2, 300, carry_out) as runner:
        runner.hold([later])
        earlier = TASK._replace(claim=Claim(2, 1), due=time.monotonic() + 0.05)
        runner.hold([earlier])
        assert done.wait(PATIENCE)
        assert [running.task for running in begun] == [earlier]
        assert begun[0].started - earlier.due < 1
        assert runner.unstarted() == [later]


def test_a_held_task_finds_a_thread_although_the_one_that_waited_for_it_was_needed() -> None:
    gate = threading.Event()
    done = threading.Event()

    def carry_out(running: Running) -> Left:
        if running.task.claim.id == 1:
            assert gate.wait(PATIENCE)
        else:
            done.set()
        return Left.ENDED

    with Runner(1, 300, carry_out) as runner:
        runner.hold([TASK._replace(claim=Claim(2, 1), due=time.monotonic() + 0.02)])
        runner.start(TASK._replace(claim=Claim(1, 1), due=time.monotonic()))
        assert not done.is_set()
        gate.set()
        assert done.wait(PATIENCE)
