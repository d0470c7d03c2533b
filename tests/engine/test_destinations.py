"""Dead and slow destinations beside healthy ones."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from at_worker import Done, Fail, Outcome, Retry
from at_worker.engine.destination import (
    FAILURES,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_QUEUE,
    LONGEST_SLOW_PAUSE,
    SLOW_PAUSE,
    Postpone,
)
from at_worker.engine.destinations import FORGOTTEN, Destinations, Verdict
from at_worker.jsontext import Json
from at_worker.plugin import Attempt
from at_worker.task import Claim, Task
from tests.engine.bench import Gate, Probe, bench
from tests.tables import Table
from tests.test_outcome import TASK

UNREACHABLE = Retry("cannot connect to dead:80: Connection refused", unreachable=True)
START = 1_000.0


class Visitor(Probe):
    """A plug-in whose payload says where its task goes."""

    def destination(self, payload: Json) -> str | None:
        assert isinstance(payload, Mapping)
        to = payload.get("to")
        assert isinstance(to, str | None)
        return to


def visitor(**behaviour: Callable[[Json, Attempt], Outcome]) -> Visitor:
    """Behaves at each destination as told, and succeeds elsewhere."""

    def behave(payload: Json, attempt: Attempt) -> Outcome:
        assert isinstance(payload, Mapping)
        behave_there = behaviour.get(str(payload.get("to")))
        return Done() if behave_there is None else behave_there(payload, attempt)

    return Visitor(behave)


def insert(table: Table, to: str | None, count: int = 1, **columns: Any) -> list[int]:  # noqa: ANN401 - as Table's
    return [table.insert(payload={"to": to}, **columns) for _ in range(count)]


def states(table: Table, ids: list[int]) -> set[tuple[str, int]]:
    return {(row["status"], row["attempts"]) for row in map(table.row, ids)}


_claims = itertools.count(1)


def task(due: float = START) -> Task:
    return TASK._replace(claim=Claim(next(_claims), 1), due=due)


def filled(destinations: Destinations, name: str, now: float = START) -> list[Task]:
    """Let tasks in until no more may start; the last one waits."""
    inside = []
    while destinations.enter(one := task(now), name, now) is Verdict.START:
        inside.append(one)
    return inside


def broken(destinations: Destinations, name: str = "dead:80", now: float = START) -> None:
    """Fail so often that the breaker opens."""
    for _ in range(FAILURES):
        attempt(destinations, name, now, unreachable="refused")


def attempt(destinations: Destinations, name: str, now: float, *, unreachable: str | None) -> None:
    one = task(now)
    assert destinations.enter(one, name, now) is Verdict.START
    destinations.leave(one.claim, name, unreachable=unreachable, now=now)


def test_a_destination_that_cannot_be_reached_costs_its_tasks_no_attempt(table: Table) -> None:
    with bench(table, known={"probe": visitor(dead=lambda *_: UNREACHABLE)}) as worker:
        tried = insert(table, "dead", FAILURES)
        worker.work()
        worker.work()
        spared = insert(table, "dead", 3)
        healthy = insert(table, "healthy")
        worker.work()
    assert states(table, tried) == {("pending", 1)}
    assert states(table, spared) == {("pending", 0)}
    assert states(table, healthy) == {("completed", 1)}
    row = table.row(spared[0])
    assert row["error_message"] == f"postponed: {UNREACHABLE.reason}"
    assert row["original_execute_at"] is not None
    assert FIRST_PAUSE - 1 < (row["execute_at"] - row["updated_at"]).total_seconds() <= FIRST_PAUSE + 1


def test_a_task_that_would_come_back_after_its_expiry_has_expired(table: Table) -> None:
    with bench(table, known={"probe": visitor(dead=lambda *_: UNREACHABLE)}) as worker:
        insert(table, "dead", FAILURES)
        worker.work()
        worker.work()
        (expiry,) = table.sql("SELECT now() + interval '2 s' AS at")
        (late,) = insert(table, "dead", expires_at=expiry["at"])
        worker.work()
    row = table.row(late)
    assert (row["status"], row["attempts"]) == ("failed", 0)
    assert row["error_message"] == f"expired: postponed: {UNREACHABLE.reason}"


def test_a_hanging_destination_leaves_threads_to_the_others(table: Table) -> None:
    gate = Gate()
    variables = {"WORKER_CONCURRENCY": "16", "WORKER_BATCH_SIZE": "100"}
    with bench(table, known={"probe": visitor(hanging=gate)}, **variables) as worker:
        hanging = insert(table, "hanging", 40)
        worker.poll()
        gate.wait_until_entered(15)
        table.wait_for(lambda: worker.destinations.waiting == 1)
        assert worker.runner.room == 0
        worker.watchdog.look(time.monotonic() + 1.5)
        assert worker.runner.room == 1
        worker.settler.turn()
        (postponed,) = [row for row in map(table.row, hanging) if row["error_message"]]
        assert postponed["error_message"].startswith("postponed: 15 tasks run at hanging, the oldest for ")
        (healthy,) = insert(table, "healthy", priority=9)
        worker.poll()
        table.wait_for(lambda: worker.runner.room == 1)
        worker.settler.turn()
        assert table.row(healthy)["status"] == "completed"
        gate.open()
        worker.settle()


def test_a_task_that_waited_runs_as_soon_as_another_at_its_destination_ends(table: Table) -> None:
    gate = Gate()
    with bench(table, known={"probe": visitor(one=gate)}, WORKER_DESTINATION_CONCURRENCY="1") as worker:
        both = insert(table, "one", 2)
        worker.poll()
        gate.wait_until_entered()
        table.wait_for(lambda: worker.destinations.waiting == 1)
        gate.open()
        worker.settle()
        worker.settle()
    assert states(table, both) == {("completed", 1)}
    assert worker.destinations.waiting == 0


def test_what_waits_is_given_back_when_the_worker_stops(table: Table) -> None:
    gate = Gate()
    with bench(table, known={"probe": visitor(one=gate)}, WORKER_DESTINATION_CONCURRENCY="1") as worker:
        insert(table, "one", 2)
        worker.poll()
        gate.wait_until_entered()
        table.wait_for(lambda: worker.destinations.waiting == 1)
        (waiting,) = worker.destinations.release()
        worker.execution.give_back(waiting)
        worker.settler.turn()
        assert table.row(waiting.id)["status"] == "pending"
        gate.open()
        worker.settle()


def test_tasks_without_a_destination_share_all_threads(table: Table) -> None:
    together = threading.Barrier(4)
    known = {"probe": Visitor(lambda *_: Done(together.wait(10)))}
    with bench(table, known=known, WORKER_DESTINATION_CONCURRENCY="1") as worker:
        four = insert(table, None, 4)
        worker.work()
    assert states(table, four) == {("completed", 1)}


def test_one_destination_gets_all_threads_but_two_of_thirty_two() -> None:
    assert len(filled(Destinations(32, None), "one")) == 30


@pytest.mark.parametrize("threads", [8, 16, 32, 64, 256])
@pytest.mark.parametrize("slow", [1, 2, 3, 50])
def test_all_slow_destinations_together_leave_an_eighth_of_the_threads(threads: int, slow: int) -> None:
    destinations = Destinations(threads, None)
    names = [f"slow-{n}" for n in range(slow)]
    for name in names:
        first = task()
        assert destinations.enter(first, name, START) is Verdict.START
        destinations.leave(first.claim, name, unreachable=None, now=START + 2)
    taken = sum(len(filled(destinations, name, START + 2)) for name in names)
    assert taken == threads - threads // 8
    assert destinations.enter(task(), "healthy", START + 2) is Verdict.START


def test_a_slow_destination_that_is_quick_again_gets_its_whole_share() -> None:
    destinations = Destinations(32, None)
    for seconds in (2.0, 0.1):
        one = task()
        assert destinations.enter(one, "one", START) is Verdict.START
        destinations.leave(one.claim, "one", unreachable=None, now=START + seconds)
    assert len(filled(destinations, "one")) == 30


def test_a_small_pool_keeps_no_thread_back() -> None:
    destinations = Destinations(4, None)
    verdicts = [destinations.enter(task(), "one", START) for _ in range(4)]
    assert verdicts == [Verdict.START] * 4


def test_a_limit_holds_for_each_destination() -> None:
    destinations = Destinations(32, 3)
    assert [len(filled(destinations, name)) for name in ("one", "two")] == [3, 3]


def test_a_destination_that_is_quick_lets_tasks_wait_and_a_slow_one_postpones_them() -> None:
    destinations = Destinations(32, 2)
    inside = filled(destinations, "one")
    assert destinations.enter(task(), "one", START + 0.4) is Verdict.WAIT
    verdict = destinations.enter(task(), "one", START + 0.6)
    assert isinstance(verdict, Postpone)
    assert verdict.seconds == pytest.approx(SLOW_PAUSE)
    assert verdict.why == "2 tasks run at one, the oldest for 0.6 s"
    started: list[Task] = []
    destinations.start = started.append
    destinations.leave(inside[0].claim, "one", unreachable=None, now=START + 1.2)
    assert len(started) == 1


def test_a_destination_that_ends_more_tasks_than_could_come_back_lets_them_wait_until_it_ends_none() -> None:
    destinations = Destinations(640, None)
    inside = filled(destinations, "busy")
    for one in inside[:320]:
        destinations.leave(one.claim, "busy", unreachable=None, now=START + 0.7)
    # About 600 run, 0.7 s each: what waits for a tenth of a second waits in memory.
    verdicts = [destinations.enter(task(), "busy", START + 0.7) for _ in range(500)]
    assert set(verdicts[:320]) == {Verdict.START}
    assert isinstance(verdicts[-1], Postpone)
    assert 80 < destinations.waiting == verdicts.count(Verdict.WAIT) < 100
    assert not destinations.overdue(0.0, START + 1.0)
    assert len(destinations.overdue(0.0, START + 1.3)) > 80
    assert destinations.waiting == 0


def test_what_waits_for_a_destination_that_becomes_slow_is_postponed_at_once() -> None:
    destinations = Destinations(32, 2)
    filled(destinations, "one")
    assert destinations.enter(task(), "one", START) is Verdict.WAIT
    waiting = destinations.waiting
    assert destinations.overdue(START - 1, START + 0.4) == []
    late = destinations.overdue(START - 1, START + 0.6)
    assert (len(late), destinations.waiting) == (waiting, 0)
    assert late[0][1].seconds == pytest.approx(SLOW_PAUSE)


def test_no_more_tasks_wait_than_run_while_nobody_knows_how_quick_they_are() -> None:
    destinations = Destinations(32, 2)
    filled(destinations, "one")
    assert destinations.enter(task(), "one", START) is Verdict.WAIT
    assert isinstance(destinations.enter(task(), "one", START), Postpone)


def test_of_quick_tasks_as_many_wait_as_get_their_turn_in_a_moment() -> None:
    destinations = Destinations(32, 2)
    for _ in range(100):
        one = task()
        assert destinations.enter(one, "one", START) is Verdict.START
        destinations.leave(one.claim, "one", unreachable=None, now=START + 0.01)
    filled(destinations, "one")
    verdicts = itertools.takewhile(
        lambda verdict: verdict is Verdict.WAIT,
        (destinations.enter(task(), "one", START) for _ in range(100)),
    )
    assert len(list(verdicts)) == pytest.approx(2 * LONGEST_QUEUE / 0.01, abs=1)


def test_postponed_tasks_come_back_one_after_the_other() -> None:
    destinations = Destinations(32, None)
    broken(destinations)
    seconds = []
    for _ in range(1001):
        verdict = destinations.enter(task(), "dead:80", START)
        assert isinstance(verdict, Postpone)
        seconds.append(verdict.seconds)
    assert seconds[0] >= FIRST_PAUSE
    assert seconds == sorted(seconds)
    assert seconds[-1] - seconds[0] == pytest.approx(2.0)


@pytest.mark.parametrize(("tasks", "apart"), [(100, 0.02), (1_000, 0.02), (6_000, 0.01), (100_000, 0.002)])
def test_tasks_that_are_postponed_again_come_back_further_apart(tasks: int, apart: float) -> None:
    """Those of a minute in a minute, unless they are too few, or too many, for that."""
    destinations = Destinations(32, None)
    broken(destinations)
    now, seconds = START, [0.0]
    for _ in range(6):
        now += max(seconds[-1], LONGEST_PAUSE)
        attempt(destinations, "dead:80", now, unreachable="refused")
        seconds = [postponed(destinations, "dead:80", now) for _ in range(tasks)]
    assert (seconds[-1] - seconds[0]) / (tasks - 1) == pytest.approx(apart)


def postponed(destinations: Destinations, name: str, now: float) -> float:
    verdict = destinations.enter(task(), name, now)
    assert isinstance(verdict, Postpone)
    return verdict.seconds


def test_more_tasks_than_were_expected_do_not_wait_for_longer() -> None:
    destinations = Destinations(32, None)
    broken(destinations)
    now, longest = START, 0.0
    for tasks in (10, 10, 20_000):
        now += LONGEST_PAUSE
        attempt(destinations, "dead:80", now, unreachable="refused")
        longest = max(postponed(destinations, "dead:80", now) for _ in range(tasks))
    assert longest < 2 * LONGEST_PAUSE


def test_tasks_of_a_destination_that_stays_slow_come_back_less_often() -> None:
    destinations = Destinations(32, 2)
    filled(destinations, "one")
    pauses = [postponed(destinations, "one", START + seconds) for seconds in (1, 5, 11, 16, 1000)]
    assert pauses == pytest.approx([SLOW_PAUSE, 4, 10, 15, LONGEST_SLOW_PAUSE], abs=0.2)


def test_one_task_tries_while_the_others_are_postponed_and_each_pause_is_longer() -> None:
    destinations = Destinations(32, None)
    broken(destinations)
    now, pauses = START, []
    for _ in range(6):
        verdict = destinations.enter(task(), "dead:80", now)
        assert isinstance(verdict, Postpone)
        pauses.append(round(verdict.seconds))
        now += verdict.seconds
        trying = task(now)
        assert destinations.enter(trying, "dead:80", now) is Verdict.START
        assert isinstance(destinations.enter(task(), "dead:80", now), Postpone)
        destinations.leave(trying.claim, "dead:80", unreachable="refused", now=now)
    assert pauses == [5, 10, 20, 40, 60, LONGEST_PAUSE]


def test_a_destination_that_is_reached_again_is_open_to_all() -> None:
    destinations = Destinations(32, None)
    broken(destinations)
    attempt(destinations, "dead:80", START + FIRST_PAUSE + 1, unreachable=None)
    assert destinations.enter(task(), "dead:80", START + FIRST_PAUSE + 1) is Verdict.START


def test_an_answer_in_between_starts_the_count_anew() -> None:
    destinations = Destinations(32, None)
    for _ in range(3):
        for _ in range(FAILURES - 1):
            attempt(destinations, "flaky", START, unreachable="refused")
        attempt(destinations, "flaky", START, unreachable=None)
    assert destinations.enter(task(), "flaky", START) is Verdict.START


def test_failures_of_tasks_that_ran_already_do_not_lengthen_the_pause() -> None:
    destinations = Destinations(32, None)
    for one in filled(destinations, "dead:80"):
        destinations.leave(one.claim, "dead:80", unreachable="refused", now=START)
    verdict = destinations.enter(task(), "dead:80", START)
    assert isinstance(verdict, Postpone)
    assert verdict.seconds == pytest.approx(FIRST_PAUSE, abs=0.1)


def test_a_thread_that_is_written_off_holds_no_place() -> None:
    destinations = Destinations(32, 1)
    (hung,) = filled(destinations, "one")
    destinations.release()
    destinations.forget(hung.claim, START)
    assert destinations.enter(task(), "one", START) is Verdict.START
    destinations.leave(hung.claim, "one", unreachable=None, now=START)
    assert isinstance(destinations.enter(task(), "one", START + 2), Postpone)


def test_where_the_thread_of_the_only_one_is_written_off_the_next_gets_its_turn() -> None:
    destinations = Destinations(32, 1)
    started: list[Task] = []
    destinations.start = started.append
    (hung,) = filled(destinations, "one")
    assert destinations.waiting == 1
    destinations.forget(hung.claim, START)
    assert (len(started), destinations.waiting) == (1, 0)


def test_a_turn_that_is_not_taken_goes_to_the_next_although_others_run() -> None:
    destinations = Destinations(32, 2)
    started: list[Task] = []
    destinations.start = started.append
    first, _ = filled(destinations, "one")
    destinations.enter(last := task(), "one", START)
    destinations.leave(first.claim, "one", unreachable=None, now=START)
    destinations.pass_on("one", START)
    assert started[1:] == [last]
    assert destinations.enter(task(), "one", START) is Verdict.START
    assert destinations.waiting == 0


def test_a_task_that_expired_while_it_waited_does_not_hold_up_the_next(table: Table) -> None:
    gate = Gate()

    def behave(payload: Json, attempt: Attempt) -> Outcome:
        return gate(payload, attempt) if attempt.task_id == first else Done()

    with bench(table, known={"probe": visitor(one=behave)}, WORKER_DESTINATION_CONCURRENCY="1") as worker:
        first = 0
        for _ in range(10):  # so that it is known as quick, and more than one may wait
            insert(table, "one")
            worker.work()
        (first,) = insert(table, "one")
        worker.poll()
        gate.wait_until_entered()
        (soon,) = table.sql("SELECT now() + interval '150 ms' AS instant")
        (late,) = insert(table, "one", expires_at=soon["instant"])
        (last,) = insert(table, "one")
        worker.poll()
        table.wait_for(lambda: worker.destinations.waiting == 2 or None)
        table.wait_for(lambda: table.sql("SELECT 1 WHERE now() > %(at)s", at=soon["instant"]) or None)
        gate.open()
        table.wait_for(lambda: worker.destinations.waiting == 0 or None)
        worker.settle()
    assert states(table, [late]) == {("failed", 0)}
    assert states(table, [last]) == {("completed", 1)}


def test_a_destination_without_tasks_is_forgotten() -> None:
    destinations = Destinations(32, None)
    broken(destinations)
    later = START + FORGOTTEN + 1
    destinations.overdue(later, later)
    assert destinations.enter(task(), "dead:80", later) is Verdict.START


def test_any_answer_counts_as_reached(table: Table) -> None:
    failing: Iterator[Outcome] = itertools.cycle([Fail("400"), Retry("503")])
    with bench(table, known={"probe": visitor(host=lambda *_: next(failing))}) as worker:
        ten = insert(table, "host", 10)
        for _ in range(3):
            worker.work()
    assert {attempts for _, attempts in states(table, ten)} == {1}
