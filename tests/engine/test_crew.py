"""Who sleeps, who wakes and who gives way, among threads that are only told what they would do."""

import threading
import time
from collections import deque

import pytest

from at_worker.engine.crew import NAP, Crew, Hand
from at_worker.engine.runner import Runner
from at_worker.engine.running import Left, Running
from at_worker.task import Claim
from tests.engine.bench import PATIENCE
from tests.test_outcome import TASK


@pytest.fixture
def crew() -> Crew:
    return Crew(threading.Lock())


def asleep(crew: Crew) -> Hand:
    hand = Hand()
    crew.rest(hand, None)
    return hand


def is_awake(hand: Hand) -> bool:
    return hand.alarm.acquire(blocking=False)


def end(crew: Crew, tasks: int, seconds: float) -> None:
    for _ in range(tasks):
        crew.end(seconds)


def test_one_thread_wakes_at_a_time_the_last_to_fall_asleep_first(crew: Crew) -> None:
    first, last = asleep(crew), asleep(crew)
    crew.wake()
    crew.wake()
    assert is_awake(last)
    assert not is_awake(first)
    crew.look(last)
    crew.wake()
    assert is_awake(first)


def test_the_leader_wakes_at_its_instant_or_for_an_earlier_one(crew: Crew) -> None:
    leader = Hand()
    sleep = crew.rest(leader, time.monotonic() + 0.02)
    began = time.monotonic()
    sleep()
    assert time.monotonic() - began >= 0.02 - 0.005
    assert not crew.has_leader
    crew.rest(leader, time.monotonic() + 300)
    crew.expect(time.monotonic() + 301)
    assert not is_awake(leader)
    crew.expect(time.monotonic() + 299)
    assert is_awake(leader)


def test_where_no_other_thread_sleeps_the_leader_comes(crew: Crew) -> None:
    leader = Hand()
    crew.rest(leader, time.monotonic() + 300)
    crew.wake()
    assert is_awake(leader)


def test_a_thread_gives_way_where_others_end_short_tasks_while_it_wakes(crew: Crew) -> None:
    """It naps, and is the one that the others need not wake; a second one sleeps."""
    end(crew, 500, 0.00001)
    woken = asleep(crew)
    crew.wake()
    assert is_awake(woken)
    assert not crew.is_spare(woken)
    end(crew, 1, 0.00001)
    assert crew.is_spare(woken)
    nap = crew.give_way(woken)
    began = time.monotonic()
    nap()
    assert time.monotonic() - began >= NAP
    assert not crew.is_spare(woken)
    second = Hand()
    end(crew, 1, 0.00001)
    assert crew.is_spare(second)
    crew.give_way(second)
    crew.wake()
    assert not is_awake(second)
    crew.look(woken)
    crew.wake()
    assert is_awake(second)


@pytest.mark.parametrize(("short", "long"), [(0, 0), (500, 20), (0, 500)])
def test_no_thread_gives_way_where_tasks_take_their_time(crew: Crew, short: int, long: int) -> None:
    """Nor before much is known of them."""
    end(crew, short, 0.00001)
    woken = asleep(crew)
    crew.wake()
    end(crew, long, 0.02)
    assert not crew.is_spare(woken)


def test_a_thread_that_has_run_a_task_goes_on_with_the_next(crew: Crew) -> None:
    """Its own end does not make it one too many, that of another does."""
    end(crew, 500, 0.00001)
    hand = Hand()
    crew.begin(hand)
    end(crew, 1, 0.00001)
    assert not crew.is_spare(hand)
    crew.begin(hand)
    end(crew, 2, 0.00001)
    assert crew.is_spare(hand)


def test_short_tasks_leave_most_threads_asleep() -> None:
    """And when tasks begin to wait, a thread comes for each at once."""
    ran: deque[str] = deque()
    meeting = threading.Barrier(32)

    def carry_out(running: Running) -> Left:
        if running.task.claim.id < 0:
            meeting.wait(PATIENCE)
        else:
            ran.append(threading.current_thread().name + str(threading.get_ident()))
        return Left.ENDED

    with Runner(32, 300, carry_out) as runner:
        for start in range(0, 20_000, 500):
            runner.start(*(TASK._replace(claim=Claim(n, 1)) for n in range(start, start + 500)))
            assert runner.wait_until_idle(time.monotonic() + PATIENCE)
        assert len(ran) == 20_000
        assert len(set(list(ran)[-5000:])) < 16
        runner.start(*(TASK._replace(claim=Claim(-n, 1)) for n in range(1, 33)))
        assert runner.wait_until_idle(time.monotonic() + PATIENCE)
        assert not meeting.broken
